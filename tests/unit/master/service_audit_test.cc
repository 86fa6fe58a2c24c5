// What the master writes down of administrators' actions, and what it tells chunkservers of settings.
#include <gtest/gtest.h>

#include "tests/unit/master/service_world.h"

namespace cairn {
namespace {

struct Told {
  std::string who;
  std::string action;
  bool ended = false;
  int errnum = 0;
};

class AuditService : public testing::Test {
 protected:
  AuditService() { cluster.start(); }
  ~AuditService() noexcept {}  // gtest's fixtures need it

  wire::Admin::Client admin() {
    link = std::make_unique<TestLink>(cluster.world, "desk", cluster.address);
    auto request = link->master(MasterWorld::CLUSTER, wire::Role::ADMIN).adminRequest();
    request.initCaller().setWho("ann@desk");
    request.getCaller().setCommand("dfsadmin session evict 4711");
    return request.send().getAdmin();
  }
  int evict(uint64_t session) {
    auto request = admin().evictRequest();
    request.setSession(session);
    kj::Promise<capnp::Response<wire::Admin::EvictResults>> sent = request.send();
    return cluster.world.await(kj::mv(sent), LIMIT).getOutcome().getErrno();
  }
  std::vector<Told> history() {
    auto request = admin().historyRequest();
    request.setItemsMax(10);
    kj::Promise<capnp::Response<wire::Admin::HistoryResults>> sent = request.send();
    auto reply = cluster.world.await(kj::mv(sent), LIMIT);
    std::vector<Told> out;
    for (auto item : reply.getItems()) {
      out.push_back({item.getWho().cStr(), item.getAction().cStr(), item.getEnded(), item.getOutcome().getErrno()});
    }
    return out;
  }

  MasterWorld cluster;
  std::unique_ptr<TestLink> link;
};

TEST_F(AuditService, ARefusedActionIsToldOfToo) {
  EXPECT_NE(evict(4711), 0);
  auto told = history();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].action, "session evict 4711");
  EXPECT_TRUE(told[0].ended);
  EXPECT_NE(told[0].errnum, 0);
  EXPECT_TRUE(told[0].who.starts_with("ann@desk ("));  // and what the transport knows
}

TEST_F(AuditService, AfterARestartItIsStillKnown) {
  TestClient client(cluster, "mount");
  ASSERT_EQ(client.attach(), 0);
  EXPECT_EQ(evict(client.id), 0);
  cluster.restart();
  auto told = history();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].errnum, 0);
  EXPECT_TRUE(told[0].ended);
}

TEST_F(AuditService, WhatOnlyLooksIsNotTold) {
  history();
  EXPECT_TRUE(history().empty());
}

}  // namespace
}  // namespace cairn
