// Locks over the wire: who waits is called, gives up, is cut off, or loses its session.
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/master/service_world.h"

namespace cairn {
namespace {

class ServiceLocks : public testing::Test {
 protected:
  ServiceLocks() : owned(std::make_unique<MasterWorld>(7)), cluster(*owned) {
    EXPECT_EQ(a.attach(), 0);
    EXPECT_EQ(b.attach(), 0);
    EXPECT_EQ(c.attach(), 0);
    EXPECT_EQ(a.make("f"), 0);
    file = a.inode;
  }
  ~ServiceLocks() noexcept {}

  void fill(wire::LockRequest::Builder out, wire::LockType type) {
    out.setInode(raw(file));
    out.setOwner(1);
    out.setType(type);
    out.setLast(UINT64_MAX);
  }
  int lock(TestClient& client, wire::LockType type = wire::LockType::EXCLUSIVE) {
    return client.execute([this, type](wire::Op::Builder op) {
      op.initCaller();
      fill(op.initLock(), type);
    });
  }
  void unlock(TestClient& client) { EXPECT_EQ(lock(client, wire::LockType::NONE), 0); }

  // Waits, and notes what came of it; -1: a broken link.
  struct Wait {
    int code = -2;
    kj::Promise<void> promise = nullptr;
    bool over() const { return code != -2; }
  };
  std::unique_ptr<Wait> wait(TestClient& client) {
    auto out = std::make_unique<Wait>();
    auto request = KJ_ASSERT_NONNULL(client.session).awaitLockRequest();
    fill(request.initLock(), wire::LockType::EXCLUSIVE);
    auto& wait = *out;
    wait.promise = request.send()
                       .then([&wait](capnp::Response<wire::ClientSession::AwaitLockResults>&& response) {
                         wait.code = response.getOutcome().getErrno();
                       }, [&wait](kj::Exception&&) { wait.code = -1; })
                       .eagerlyEvaluate(nullptr);
    cluster.world.runFor(20 * MILLISECOND);
    return out;
  }
  LogIndex applied() { return cluster.member().replica().reader().appliedIndex(); }

  std::unique_ptr<MasterWorld> owned;
  MasterWorld& cluster;
  TestClient a{cluster, "h1"}, b{cluster, "h2"}, c{cluster, "h3"};
  InodeId file{};
};

TEST_F(ServiceLocks, WhoWaitsIsCalledWhenItIsFree) {
  ASSERT_EQ(lock(a), 0);
  EXPECT_EQ(lock(b), EAGAIN);
  auto first = wait(b);
  auto second = wait(c);
  EXPECT_FALSE(first->over());
  unlock(a);
  ASSERT_TRUE(cluster.world.runUntil([&] { return first->over(); }, 50 * MILLISECOND));
  EXPECT_EQ(first->code, 0);
  EXPECT_FALSE(second->over());
  EXPECT_EQ(lock(b), 0);
  cluster.world.runFor(SECOND);
  EXPECT_FALSE(second->over());
  unlock(b);
  EXPECT_TRUE(cluster.world.runUntil([&] { return second->over(); }, 50 * MILLISECOND));
}

TEST_F(ServiceLocks, WhatIsFreeMeanwhileNeedsNoWaiting) {
  ASSERT_EQ(lock(a), 0);
  EXPECT_EQ(lock(b), EAGAIN);
  unlock(a);
  EXPECT_EQ(wait(b)->code, 0);
}

TEST_F(ServiceLocks, AskingInVainIsNotLogged) {
  ASSERT_EQ(lock(a), 0);
  cluster.world.runFor(SECOND);
  LogIndex before = applied();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(lock(b), EAGAIN);
  }
  EXPECT_EQ(applied(), before);
}

TEST_F(ServiceLocks, WhoGaveUpOrIsCutOffKeepsNobodyBack) {
  ASSERT_EQ(lock(a), 0);
  auto gaveUp = wait(b);
  auto waits = wait(c);
  gaveUp = nullptr;
  EXPECT_TRUE(b.renew()) << "which tells the master as well";
  unlock(a);
  EXPECT_TRUE(cluster.world.runUntil([&] { return waits->over(); }, 50 * MILLISECOND));
  ASSERT_EQ(lock(c), 0);
  auto cut = wait(b);
  auto other = wait(a);
  b.hangUp();
  unlock(c);
  EXPECT_TRUE(cluster.world.runUntil([&] { return other->over(); }, SECOND));
  EXPECT_EQ(other->code, 0);
}

TEST_F(ServiceLocks, ALostClientsLocksGoWithItsSession) {
  ASSERT_EQ(lock(a), 0);
  auto waits = wait(b);
  a.hangUp();
  auto renewed = [&] { return b.renew() && waits->over(); };
  for (int i = 0; i < 10 && !renewed(); ++i) {
    cluster.world.runFor(SECOND);
  }
  EXPECT_EQ(waits->code, 0);
  EXPECT_EQ(lock(b), 0);
}

TEST_F(ServiceLocks, AWaitEndsWithItsSession) {
  ASSERT_EQ(lock(a), 0);
  auto waits = wait(b);
  TestLink link(cluster.world, "admin", cluster.address);
  auto request = link.admin(MasterWorld::CLUSTER).evictRequest();
  request.setSession(b.id);
  kj::Promise<capnp::Response<wire::Admin::EvictResults>> sent = request.send();
  cluster.world.await(kj::mv(sent), LIMIT);
  EXPECT_TRUE(cluster.world.runUntil([&] { return waits->over(); }, SECOND));
  EXPECT_EQ(waits->code, -1);
}

TEST_F(ServiceLocks, ARepeatedRequestHasItsFirstAnswer) {
  ASSERT_EQ(lock(a), 0);
  EXPECT_EQ(a.repeat(), 0);
  cluster.restart();
  ASSERT_TRUE(cluster.world.runUntil([&] { return cluster.member().replica().isLeader(); }, LIMIT));
  ASSERT_EQ(a.attach(), 0);
  EXPECT_EQ(a.repeat(), 0);
  ASSERT_EQ(b.attach(), 0);
  EXPECT_EQ(lock(b), EAGAIN) << "locks are in the state";
}

}  // namespace
}  // namespace cairn
