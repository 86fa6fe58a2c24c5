// Locks on bytes: the rules alone, against a model that knows every byte, and as they stand in the state.
#include "master/namespace/lock_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/unit/master/seeded_random.h"
#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

using wire::LockKind;
using wire::LockType;
constexpr InodeId FILE_ID{100};
constexpr SessionId S1{1}, S2{2};

FileLock lockOf(LockType type, LockOwner owner, uint64_t first, uint64_t last) {
  return FileLock{FILE_ID, LockKind::POSIX, type, owner, first, last, 1};
}

void carryOut(std::vector<FileLock>& held, const LockChange& change) {
  for (const auto& gone : change.removed) {
    auto at = std::find(held.begin(), held.end(), gone);
    ASSERT_NE(at, held.end());
    held.erase(at);
  }
  held.insert(held.end(), change.added.begin(), change.added.end());
}

TEST(Locks, OnlyAnotherOwnersExclusiveByteIsInTheWay) {
  auto shared = lockOf(LockType::SHARED, {S1, 1}, 10, 20);
  EXPECT_FALSE(isInTheWay(shared, lockOf(LockType::SHARED, {S2, 1}, 0, 30)));
  EXPECT_TRUE(isInTheWay(shared, lockOf(LockType::EXCLUSIVE, {S2, 1}, 20, 30)));
  EXPECT_TRUE(isInTheWay(shared, lockOf(LockType::EXCLUSIVE, {S1, 2}, 0, 10)));
  EXPECT_FALSE(isInTheWay(shared, lockOf(LockType::EXCLUSIVE, {S1, 1}, 0, 30)));
  EXPECT_FALSE(isInTheWay(shared, lockOf(LockType::EXCLUSIVE, {S2, 1}, 21, 30)));
  EXPECT_FALSE(isInTheWay(shared, lockOf(LockType::NONE, {S2, 1}, 0, 30)));
  auto other = lockOf(LockType::EXCLUSIVE, {S2, 1}, 0, 30);
  other.kind = LockKind::FLOCK;
  EXPECT_FALSE(isInTheWay(shared, other)) << "flock and fcntl know nothing of each other";
}

TEST(Locks, WhatTheOwnerHasAlreadyChangesNothing) {
  std::vector<FileLock> held{lockOf(LockType::SHARED, {S1, 1}, 0, UINT64_MAX)};
  auto change = changeOf(held, lockOf(LockType::SHARED, {S1, 1}, 5, 9));
  EXPECT_TRUE(change.removed.empty());
  EXPECT_TRUE(change.added.empty());
}

TEST(Locks, PiecesSplitAndJoin) {
  std::vector<FileLock> held{lockOf(LockType::SHARED, {S1, 1}, 0, UINT64_MAX)};
  carryOut(held, changeOf(held, lockOf(LockType::NONE, {S1, 1}, 10, 19)));
  EXPECT_EQ(held, (std::vector<FileLock>{lockOf(LockType::SHARED, {S1, 1}, 0, 9),
                                         lockOf(LockType::SHARED, {S1, 1}, 20, UINT64_MAX)}));
  carryOut(held, changeOf(held, lockOf(LockType::SHARED, {S1, 1}, 10, 19)));
  EXPECT_EQ(held, (std::vector<FileLock>{lockOf(LockType::SHARED, {S1, 1}, 0, UINT64_MAX)}));
  carryOut(held, changeOf(held, lockOf(LockType::EXCLUSIVE, {S1, 1}, UINT64_MAX, UINT64_MAX)));
  EXPECT_EQ(held.size(), 2u);
}

// Every byte of a short file, and the very last one that there can be.
class ByteModel {
 public:
  static constexpr uint64_t BYTES = 48;

  bool isInTheWay(const FileLock& wanted) const {
    for (auto& [owner, types] : owners_) {
      for (uint64_t byte = 0; byte < BYTES; ++byte) {
        bool exclusive = types[byte] == LockType::EXCLUSIVE || wanted.type == LockType::EXCLUSIVE;
        if (owner != wanted.owner && inside(byte, wanted) && types[byte] != LockType::NONE &&
            wanted.type != LockType::NONE && exclusive) {
          return true;
        }
      }
    }
    return false;
  }
  void set(const FileLock& wanted) {
    auto& types = owners_.try_emplace(wanted.owner, BYTES, LockType::NONE).first->second;
    for (uint64_t byte = 0; byte < BYTES; ++byte) {
      types[byte] = inside(byte, wanted) ? wanted.type : types[byte];
    }
  }
  void expectSame(const std::vector<FileLock>& held) const {
    size_t locked = 0;
    for (const auto& lock : held) {
      for (uint64_t byte = 0; byte < BYTES; ++byte) {
        if (inside(byte, lock)) {
          ++locked;
          ASSERT_EQ(owners_.at(lock.owner)[byte], lock.type) << byte;
        }
      }
    }
    size_t expected = 0;
    for (auto& [owner, types] : owners_) {
      expected += BYTES - static_cast<size_t>(std::count(types.begin(), types.end(), LockType::NONE));
    }
    ASSERT_EQ(locked, expected) << "a byte is locked twice by its owner, or not at all";
  }
  static uint64_t place(uint64_t byte) { return byte == BYTES - 1 ? UINT64_MAX : byte; }

 private:
  // The last one stands for all after it.
  static bool inside(uint64_t byte, const FileLock& lock) {
    return lock.first <= place(byte) && lock.last >= place(byte);
  }

  std::map<LockOwner, std::vector<LockType>> owners_;
};

// No two of an owner's pieces could be one.
void expectJoined(const std::vector<FileLock>& held) {
  for (const auto& a : held) {
    for (const auto& b : held) {
      bool touch = a.last != UINT64_MAX && a.last + 1 == b.first;
      ASSERT_FALSE(touch && a.owner == b.owner && a.type == b.type);
    }
  }
}

FileLock randomWish(Random& random) {
  LockOwner owner{random.next() % 2 == 0 ? S1 : S2, random.next() % 3};
  uint64_t a = random.next() % ByteModel::BYTES;
  uint64_t b = random.next() % ByteModel::BYTES;
  return lockOf(static_cast<LockType>(random.next() % 3), owner, ByteModel::place(std::min(a, b)),
                ByteModel::place(std::max(a, b)));
}

TEST(Locks, RandomRangesAgreeWithAModelOfBytes) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    ByteModel model;
    std::vector<FileLock> held;
    for (int step = 0; step < 150; ++step) {
      FileLock wanted = randomWish(random);
      bool refused = inTheWay(held, wanted) != nullptr;
      ASSERT_EQ(refused, model.isInTheWay(wanted));
      if (!refused) {
        carryOut(held, changeOf(held, wanted));
        model.set(wanted);
      }
      model.expectSame(held);
      expectJoined(held);
    }
  }
}

// ---- in the state -------------------------------------------------------------------------------

class LockState : public testing::Test {
 protected:
  LockState() : file(ns.make(ROOT_INODE, "f", S_IFREG | 0644).inode()), other(ns.openSession("other", 2)) {}

  int lock(const FileLock& wanted) {
    auto fill = [&](wire::Op::Builder op) {
      auto out = op.initLock();
      out.setInode(raw(wanted.inode));
      out.setKind(wanted.kind);
      out.setType(wanted.type);
      out.setOwner(wanted.owner.id);
      out.setFirst(wanted.first);
      out.setLast(wanted.last);
      out.setPid(wanted.pid);
    };
    auto reply = ns.send(wanted.owner.session, SLOT, ++sequence, fill);
    unlocked = reply.applied().changes.unlocked;
    return reply.code();
  }
  FileLock wish(LockType type, SessionId session, uint64_t owner, uint64_t first = 0, uint64_t last = UINT64_MAX) {
    return FileLock{file, LockKind::POSIX, type, {session, owner}, first, last, 7};
  }
  FileLock flock(LockType type, SessionId session, uint64_t owner) {
    auto out = wish(type, session, owner);
    out.kind = LockKind::FLOCK;
    return out;
  }
  void endSession(SessionId session) {
    ns.apply([&](auto command) { command.setEndSession(raw(session)); });
  }
  size_t count() { return ns.reader().allLocks(1000000).size(); }

  static constexpr uint8_t SLOT = 63;  // the fixture hasn't come so far

  TestNamespace ns;
  InodeId file;
  SessionId other;
  uint64_t sequence = 0;
  std::vector<InodeId> unlocked;
};

TEST_F(LockState, ALockIsRefusedUntilItIsFree) {
  EXPECT_EQ(lock(wish(LockType::EXCLUSIVE, ns.session, 1, 0, 9)), 0);
  EXPECT_EQ(lock(wish(LockType::SHARED, other, 1, 9, 20)), EAGAIN);
  EXPECT_EQ(lock(wish(LockType::SHARED, other, 1, 10, 20)), 0);
  EXPECT_EQ(lock(wish(LockType::NONE, ns.session, 1, 5, 9)), 0);
  EXPECT_EQ(unlocked, std::vector<InodeId>{file});
  EXPECT_EQ(lock(wish(LockType::SHARED, other, 1, 9, 20)), 0);
  EXPECT_EQ(count(), 2u);
  ns.reopen();
  auto held = ns.reader().locks(file, LockKind::POSIX);
  ASSERT_EQ(held.size(), 2u);
  EXPECT_EQ(held[0], wish(LockType::EXCLUSIVE, ns.session, 1, 0, 4));
  EXPECT_EQ(held[1], wish(LockType::SHARED, other, 1, 9, 20));
}

TEST_F(LockState, ASessionsEndFreesItsLocks) {
  auto second = ns.make(ROOT_INODE, "g", S_IFREG | 0644).inode();
  lock(wish(LockType::EXCLUSIVE, ns.session, 1, 0, 9));
  lock(wish(LockType::SHARED, ns.session, 2, 20, 29));
  lock(wish(LockType::SHARED, other, 1, 20, 29));
  lock(flock(LockType::EXCLUSIVE, ns.session, 3));
  auto elsewhere = wish(LockType::EXCLUSIVE, ns.session, 1);
  elsewhere.inode = second;
  lock(elsewhere);
  auto applied = ns.apply([&](auto command) { command.setEndSession(raw(ns.session)); });
  EXPECT_EQ(applied.changes.unlocked, (std::vector<InodeId>{file, second}));
  ASSERT_EQ(count(), 1u);
  EXPECT_EQ(ns.reader().allLocks(1)[0].owner.session, other);
  endSession(other);
  for (auto& [key, value] : ns.contents()) {
    EXPECT_TRUE(key[0] != 'F' && key[0] != 'f') << "left behind";
  }
}

TEST_F(LockState, NothingIsLeftOfLocksThatWereGivenBack) {
  SeededRandom random(5);
  for (int step = 0; step < 500; ++step) {
    FileLock wanted = randomWish(random);
    wanted.inode = file;
    wanted.owner.session = random.next() % 2 == 0 ? ns.session : other;
    lock(wanted);
  }
  for (SessionId session : {ns.session, other}) {
    for (uint64_t owner = 0; owner < 3; ++owner) {
      EXPECT_EQ(lock(wish(LockType::NONE, session, owner)), 0);
    }
  }
  for (auto& [key, value] : ns.contents()) {
    EXPECT_TRUE(key[0] != 'F' && key[0] != 'f') << "left behind";
  }
}

TEST_F(LockState, WhoFailsToConvertAFlockHasNone) {
  EXPECT_EQ(lock(flock(LockType::SHARED, ns.session, 1)), 0);
  EXPECT_EQ(lock(flock(LockType::SHARED, other, 1)), 0);
  EXPECT_EQ(lock(flock(LockType::EXCLUSIVE, ns.session, 1)), EAGAIN);
  EXPECT_EQ(unlocked, std::vector<InodeId>{file});
  EXPECT_EQ(lock(flock(LockType::EXCLUSIVE, other, 1)), 0) << "two that convert must not block each other";
}

TEST_F(LockState, AnAdministratorBreaksALock) {
  lock(wish(LockType::EXCLUSIVE, ns.session, 1, 0, 99));
  auto breakIt = [&](uint64_t owner) {
    return ns.outcome(ns.apply([&](auto command) {
      auto out = command.initBreakLock();
      out.setSession(raw(ns.session));
      out.initLock().setInode(raw(file));
      out.getLock().setOwner(owner);
      out.getLock().setFirst(0);
      out.getLock().setLast(99);
    }));
  };
  EXPECT_EQ(breakIt(2), ENOENT);
  EXPECT_EQ(breakIt(1), 0);
  EXPECT_EQ(breakIt(1), ENOENT);
  EXPECT_EQ(lock(wish(LockType::EXCLUSIVE, other, 1)), 0);
}

TEST_F(LockState, AFileThatIsGoneCanOnlyBeUnlocked) {
  EXPECT_EQ(lock(wish(LockType::EXCLUSIVE, ns.session, 1)), 0);
  ns.unlink(ROOT_INODE, "f");
  EXPECT_EQ(lock(wish(LockType::SHARED, ns.session, 1)), ESTALE);
  EXPECT_EQ(lock(wish(LockType::NONE, ns.session, 1)), 0);
  EXPECT_EQ(count(), 0u);
}

TEST_F(LockState, NonsenseAndTooManyAreRefused) {
  EXPECT_EQ(lock(wish(LockType::SHARED, ns.session, 1, 9, 8)), EINVAL);
  EXPECT_EQ(lock(wish(static_cast<LockType>(3), ns.session, 1)), EINVAL);
  int code = 0;
  uint64_t made = 0;
  for (; code == 0 && made <= LOCKS_MAX; ++made) {
    uint64_t byte = 2 * (LOCKS_MAX - made);  // from the end, where the others needn't be looked at
    code = lock(wish(LockType::SHARED, ns.session, 1, byte, byte));
  }
  EXPECT_EQ(code, ENOLCK);
  EXPECT_EQ(made - 1, LOCKS_MAX);
  EXPECT_EQ(lock(wish(LockType::SHARED, ns.session, 1)), 0) << "all in one are fewer";
  EXPECT_EQ(count(), 1u);
}

}  // namespace
}  // namespace cairn
