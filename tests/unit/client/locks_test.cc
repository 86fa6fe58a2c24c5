// What locks cost when there are none, and that none is left behind.
#include <algorithm>

#include "tests/unit/client/client_world.h"

namespace cairn {
namespace {

constexpr uint64_t ALICE = 1, BOB = 2;  // owners

class ClientLocks : public testing::Test {
 protected:
  ClientLocks() : client(w.newClient()) {
    w.create(*client, "f");
    inode = w.done(client->lookup(ROOT_INODE, "f", Caller{})).inode;
    w.master.log.clear();
  }
  ~ClientLocks() noexcept {}  // gtest needs it
  static LockWish exclusive(uint64_t owner, bool flock = false) {
    LockWish wish;
    wish.mode = LockMode::EXCLUSIVE;
    wish.owner = owner;
    wish.flock = flock;
    return wish;
  }
  void lock(HandleId handle, const LockWish& wish) {
    EXPECT_EQ(w.world.await(client->lock(handle, wish), SECOND).code(), 0);
  }
  // As close(2) does.
  void close(HandleId handle, uint64_t owner, bool last = true) {
    EXPECT_EQ(w.world.await(client->flush(handle), SECOND).code(), 0);
    EXPECT_EQ(w.world.await(client->unlockAll(handle, owner), SECOND).code(), 0);
    if (last) {
      client->release(handle);
    }
    w.world.runFor(SECOND);
  }
  using Log = std::vector<std::string>;

  ClientWorld w{1};
  std::unique_ptr<Client> client;
  InodeId inode{};
};

TEST_F(ClientLocks, ClosingWhatNobodyLockedAsksNobody) {
  auto handle = client->open(inode, OPEN_WRITE);
  close(handle, ALICE);
  EXPECT_TRUE(w.master.log.empty());
}

TEST_F(ClientLocks, WhoClosesUnlocksOnce) {
  auto handle = client->open(inode, OPEN_WRITE);
  lock(handle, exclusive(ALICE));
  close(handle, BOB, false);
  EXPECT_EQ(w.master.log, Log{"lock"});
  close(handle, ALICE, false);
  EXPECT_EQ(w.master.log, (Log{"lock", "unlock"}));
  close(handle, ALICE);
  EXPECT_EQ(w.master.log, (Log{"lock", "unlock"}));
}

TEST_F(ClientLocks, AnOpenFilesOwnLocksGoWithIt) {
  auto handle = client->open(inode, OPEN_WRITE);
  auto other = client->open(inode, OPEN_WRITE);
  lock(handle, exclusive(BOB, true));
  lock(handle, exclusive(BOB));
  close(other, ALICE);
  EXPECT_EQ(w.master.log, (Log{"lock", "lock"}));
  close(handle, ALICE);
  EXPECT_EQ(w.master.log, (Log{"lock", "lock", "unlock", "unlock"}));
}

TEST_F(ClientLocks, WhatWasGivenBackIsNotGivenBackAgain) {
  auto handle = client->open(inode, OPEN_WRITE);
  lock(handle, exclusive(ALICE));
  auto nothing = exclusive(ALICE);
  nothing.mode = LockMode::NONE;
  lock(handle, nothing);
  close(handle, ALICE);
  EXPECT_EQ(w.master.log, (Log{"lock", "unlock"}));
}

TEST_F(ClientLocks, AProgramThatIsKilledMeanwhileLeavesNoLock) {
  auto handle = client->open(inode, OPEN_WRITE);
  { auto dropped = client->lock(handle, exclusive(ALICE)).promise(); }
  close(handle, ALICE);
  EXPECT_EQ(w.master.log, (Log{"lock", "unlock"}));
}

TEST_F(ClientLocks, ABrokenLinkDoesNotChangeTheOrder) {
  auto handle = client->open(inode, OPEN_WRITE);
  bool breaks = true;
  w.master.fate = [&breaks](const char* kind) {
    bool now = std::string(kind) == "execute" && breaks;
    breaks = breaks && !now;
    return now ? FakeMaster::Fate::BREAK_AFTER : FakeMaster::Fate::NORMAL;
  };
  auto locking = client->lock(handle, exclusive(ALICE)).promise();
  auto closing = client->unlockAll(handle, ALICE).promise();
  EXPECT_EQ(w.world.await(kj::mv(locking), 10 * SECOND).code(), 0);
  EXPECT_EQ(w.world.await(kj::mv(closing), 10 * SECOND).code(), 0);
  EXPECT_EQ(w.master.log, (Log{"lock", "unlock"}));
}

TEST_F(ClientLocks, WithItsSessionAFileLosesItsLocksAndSaysSo) {
  auto handle = client->open(inode, OPEN_WRITE);
  auto plain = w.create(*client, "g");
  lock(handle, exclusive(ALICE));
  w.master.evict(SessionId{client->stats().session});
  w.world.runFor(10 * SECOND);
  EXPECT_EQ(w.code(client->read(handle, 0, 1)), EIO);
  EXPECT_EQ(w.world.await(client->lock(handle, exclusive(ALICE)), SECOND).code(), EIO);
  EXPECT_EQ(w.code(client->read(plain, 0, 1)), 0);
  w.master.log.clear();
  close(handle, ALICE);
  EXPECT_TRUE(w.master.log.empty()) << "there is nothing left to give back";
  lock(client->open(inode, OPEN_WRITE), exclusive(ALICE));
}

}  // namespace
}  // namespace cairn
