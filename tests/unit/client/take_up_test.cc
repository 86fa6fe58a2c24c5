// A client that ends without a word, and the one that takes its place.
#include <algorithm>

#include "tests/unit/client/client_world.h"

namespace cairn {
namespace {

// What a predecessor's memory would hold when it dies.
class Notes final : public Ledger {
 public:
  void attaching(SessionId session, uint64_t attempt) override {
    left.session = session;
    left.attempts = attempt;
  }
  void sending(const SentChange& change) override {
    std::erase_if(left.sent, [&](const SentChange& old) { return old.slot == change.slot; });
    left.sent.push_back(change);
  }
  void answered(uint8_t slot) override {
    for (auto& change : left.sent) {
      change.answered = change.answered || change.slot == slot;
    }
  }
  void mayHaveLocks(const HeldLock& lock) override {
    hasNoLocks(lock);
    left.locks.push_back(lock);
  }
  void hasNoLocks(const HeldLock& lock) override {
    std::erase_if(left.locks, [&](const HeldLock& old) {
      return old.inode == lock.inode && old.flock == lock.flock && old.owner == lock.owner;
    });
  }
  void locksLost(HandleId) override {}
  void safety(InodeId inode, Safety now) override {
    std::erase_if(left.unsafe, [&](const Inheritance::Unsafe& old) { return old.inode == inode; });
    if (now != Safety::SAFE) {
      left.unsafe.push_back({inode, now});
    }
  }
  Safety of(InodeId inode) const {
    for (const auto& file : left.unsafe) {
      if (file.inode == inode) {
        return file.safety;
      }
    }
    return Safety::SAFE;
  }
  void opened(HandleId handle, InodeId inode, uint32_t bits) {
    left.files.push_back({handle, inode, bits, false});
    left.lastHandle = std::max(left.lastHandle, raw(handle));
  }

  Inheritance left;
};

class TakeUp : public testing::Test {
 protected:
  TakeUp() {
    first->setLedger(notes);
  }
  ~TakeUp() noexcept {}  // gtest needs it

  // The first one is gone; another goes on where it ended.
  Client& second() {
    first = nullptr;
    ClusterFile file;
    file.cluster = ClientWorld::CLUSTER;
    file.masters.push_back({"m1", w.master.address(), "/run/m1.sock"});
    ClientOptions options;
    options.name = "k1";
    w.randoms.push_back(w.world.random("k1"));
    next = std::make_unique<Client>(w.world.clock(), w.world.network().host("k1"), *w.randoms.back(), file, options);
    next->setLedger(notes);
    Inheritance left = notes.left;
    next->takeUp(left);
    w.done(next->start());
    return *next;
  }
  static Caller asking(uint64_t request) {
    Caller caller;
    caller.request = request;
    return caller;
  }

  ClientWorld w{1};
  Notes notes;
  std::unique_ptr<Client> first = startLedgered();
  std::unique_ptr<Client> next;

 private:
  // Its session is noted, though it began before the notes did.
  std::unique_ptr<Client> startLedgered() {
    auto client = w.newClient();
    notes.attaching(SessionId{client->stats().session}, 1);
    return client;
  }
};

TEST_F(TakeUp, AChangeThatIsAskedForAgainHappensOnce) {
  auto made = w.done(first->makeDirectory(ROOT_INODE, "d", 0755, asking(7)));
  w.done(first->makeDirectory(ROOT_INODE, "e", 0755, asking(8)));
  w.done(first->rename(ROOT_INODE, "e", ROOT_INODE, "f", 0, asking(9)));
  Client& client = second();
  EXPECT_EQ(raw(notes.left.session), client.stats().session) << "the same session goes on";
  w.done(client.rename(ROOT_INODE, "e", ROOT_INODE, "f", 0, asking(9)));
  client.expectOnly({});
  EXPECT_EQ(w.code(client.lookup(ROOT_INODE, "e", Caller{})), ENOENT);
  EXPECT_EQ(w.done(client.lookup(ROOT_INODE, "d", Caller{})).inode, made.inode);
}

TEST_F(TakeUp, ARequestOfAnotherKindOrNumberIsAnother) {
  w.done(first->makeDirectory(ROOT_INODE, "d", 0755, asking(7)));
  Client& client = second();
  EXPECT_EQ(w.code(client.makeDirectory(ROOT_INODE, "d", 0755, asking(8))), EEXIST);
  w.done(client.rename(ROOT_INODE, "d", ROOT_INODE, "e", 0, asking(7)));
  EXPECT_EQ(w.code(client.lookup(ROOT_INODE, "d", Caller{})), ENOENT);
}

TEST_F(TakeUp, WhatNobodyAsksForAgainKeepsNoSlot) {
  for (uint64_t i = 1; i <= 200; ++i) {
    w.done(first->makeDirectory(ROOT_INODE, "d" + std::to_string(i), 0755, asking(i)));
  }
  Client& client = second();
  client.expectOnly({});
  EXPECT_EQ(w.code(client.makeDirectory(ROOT_INODE, "d200", 0755, asking(200))), EEXIST);
}

TEST_F(TakeUp, WhatNobodyAsksForAgainIsOvertaken) {
  w.done(first->makeDirectory(ROOT_INODE, "d", 0755, asking(0)));
  ASSERT_EQ(notes.left.sent.size(), 1u);
  EXPECT_TRUE(notes.left.sent[0].answered);
  notes.left.sent[0].answered = false;
  uint64_t before = notes.left.sent[0].sequence;
  second();
  EXPECT_EQ(notes.left.sent[0].sequence, before + 1);
  EXPECT_TRUE(notes.left.sent[0].answered);
}

TEST_F(TakeUp, WhatQuotasGrantedToAPredecessorIsGivenBack) {
  w.done(first->makeDirectory(ROOT_INODE, "d", 0755, asking(7)));
  second();
  auto givesBack = [](const SentChange& change) { return change.kind == wire::Op::GIVE_BACK && change.answered; };
  EXPECT_EQ(std::count_if(notes.left.sent.begin(), notes.left.sent.end(), givesBack), 1);
}

TEST_F(TakeUp, OpenFilesGoOn) {
  auto handle = w.create(*first, "f", OPEN_WRITE);
  auto inode = w.done(first->lookup(ROOT_INODE, "f", Caller{})).inode;
  w.write(*first, handle, 0, "before");
  w.done(first->fsync(handle, false));
  notes.opened(handle, inode, OPEN_WRITE);
  EXPECT_EQ(notes.of(inode), Safety::SAFE);
  Client& client = second();
  EXPECT_EQ(w.read(client, handle, 0, 100), "before");
  w.write(client, handle, 6, " after");
  w.done(client.fsync(handle, false));
  EXPECT_EQ(w.read(client, handle, 0, 100), "before after");
  EXPECT_NE(raw(client.open(inode, 0)), raw(handle)) << "the kernel knows that number";
}

TEST_F(TakeUp, LostBytesAreToldOnceToEachOpenFile) {
  auto handle = w.create(*first, "f", OPEN_WRITE);
  auto other = w.create(*first, "g", OPEN_WRITE);
  auto inode = w.done(first->lookup(ROOT_INODE, "f", Caller{})).inode;
  auto safe = w.done(first->lookup(ROOT_INODE, "g", Caller{})).inode;
  w.write(*first, other, 0, "safe");
  w.done(first->fsync(other, false));
  w.write(*first, handle, 0, "lost");
  EXPECT_EQ(notes.of(inode), Safety::UNSENT);
  notes.opened(handle, inode, OPEN_WRITE);
  notes.opened(other, safe, OPEN_WRITE);
  Client& client = second();
  EXPECT_EQ(w.world.await(client.fsync(handle, false), SECOND).code(), EIO);
  w.done(client.fsync(handle, false));
  w.done(client.fsync(other, false));
  EXPECT_EQ(notes.of(inode), Safety::SAFE);
}

TEST_F(TakeUp, BytesAreUnsafeUntilTheyAreSynced) {
  auto handle = w.create(*first, "f", OPEN_WRITE);
  auto inode = w.done(first->lookup(ROOT_INODE, "f", Caller{})).inode;
  w.write(*first, handle, 0, "text");
  EXPECT_EQ(notes.of(inode), Safety::UNSENT);
  w.world.runFor(5 * SECOND);
  EXPECT_EQ(notes.of(inode), Safety::UNSYNCED) << "sent by itself";
  w.done(first->fsync(handle, false));
  EXPECT_EQ(notes.of(inode), Safety::SAFE);
}

TEST_F(TakeUp, LocksStayAndThoseOfClosedFilesGo) {
  auto handle = w.create(*first, "f", OPEN_WRITE);
  auto inode = w.done(first->lookup(ROOT_INODE, "f", Caller{})).inode;
  LockWish mine;
  mine.mode = LockMode::EXCLUSIVE;
  mine.owner = 1;
  LockWish whole = mine;
  whole.flock = true;
  whole.owner = 2;
  w.done(first->lock(handle, mine));
  auto closed = first->open(inode, OPEN_WRITE);
  w.done(first->lock(closed, whole));
  EXPECT_EQ(notes.left.locks.size(), 2u);
  notes.opened(handle, inode, OPEN_WRITE);  // the other one the kernel has closed
  w.master.log.clear();
  Client& client = second();
  w.world.runFor(SECOND);
  EXPECT_EQ(w.master.log, std::vector<std::string>{"unlock"});
  w.done(client.unlockAll(handle, 1));
  EXPECT_EQ(w.master.log.size(), 2u);
  EXPECT_TRUE(notes.left.locks.empty());
}

}  // namespace
}  // namespace cairn
