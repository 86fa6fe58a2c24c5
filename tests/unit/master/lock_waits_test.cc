#include "master/session/lock_waits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "tests/unit/master/seeded_random.h"

namespace cairn {
namespace {

using wire::LockKind;
using wire::LockType;
constexpr InodeId X{100}, Y{101};
constexpr LockOwner A{SessionId{1}, 1}, B{SessionId{2}, 1}, C{SessionId{3}, 1}, D{SessionId{3}, 2};
constexpr Nanos START = 1000 * SECOND;

class LockWaitsTest : public testing::Test {
 protected:
  FileLock wish(LockOwner owner, InodeId inode, LockType type = LockType::EXCLUSIVE, uint64_t first = 0,
                uint64_t last = UINT64_MAX) {
    return FileLock{inode, LockKind::POSIX, type, owner, first, last, 1};
  }
  // As the state would be changed.
  bool take(const FileLock& wanted) {
    if (inTheWay(held, wanted) != nullptr) {
      return false;
    }
    auto change = changeOf(held, wanted);
    std::erase_if(held, [&](auto& lock) {
      return std::find(change.removed.begin(), change.removed.end(), lock) != change.removed.end();
    });
    held.insert(held.end(), change.added.begin(), change.added.end());
    return true;
  }
  void unlock(LockOwner owner, InodeId inode) { take(wish(owner, inode, LockType::NONE)); }
  uint64_t wait(const FileLock& wanted) {
    auto added = waits.add(wanted, now);
    return added.ok() ? added.value() : 0;
  }
  using Calls = std::vector<uint64_t>;

  std::vector<FileLock> held;
  Nanos now = START;
  LockWaits waits{[this](InodeId inode, LockKind kind) {
    std::vector<FileLock> out;
    std::copy_if(held.begin(), held.end(), std::back_inserter(out),
                 [&](auto& lock) { return lock.inode == inode && lock.kind == kind; });
    return out;
  }};
};

TEST_F(LockWaitsTest, TheFirstIsCalledFirstAndAlone) {
  take(wish(A, X));
  uint64_t b = wait(wish(B, X));
  uint64_t c = wait(wish(C, X));
  EXPECT_TRUE(waits.call(X, now).empty());
  unlock(A, X);
  EXPECT_EQ(waits.call(X, now), Calls{b});
  EXPECT_TRUE(waits.call(X, now).empty()) << "it is B's turn";
  EXPECT_TRUE(take(wish(B, X)));
  waits.tried(wish(B, X), true);
  EXPECT_TRUE(waits.call(X, now).empty());
  unlock(B, X);
  EXPECT_EQ(waits.call(X, now), Calls{c});
}

TEST_F(LockWaitsTest, ThoseWhoDisturbNobodyAreCalledTogether) {
  take(wish(A, X));
  uint64_t b = wait(wish(B, X, LockType::SHARED));
  uint64_t c = wait(wish(C, X, LockType::SHARED));
  wait(wish(D, X));
  uint64_t e = wait(wish({SessionId{4}, 1}, X, LockType::SHARED, 7, 7));
  unlock(A, X);
  EXPECT_EQ(waits.call(X, now), (Calls{b, c, e}));
}

TEST_F(LockWaitsTest, ATurnThatNobodyTakesPasses) {
  take(wish(A, X));
  uint64_t b = wait(wish(B, X));
  uint64_t c = wait(wish(C, X));
  unlock(A, X);
  EXPECT_EQ(waits.call(X, now), Calls{b});
  now += LockWaits::TURN - 1;
  EXPECT_TRUE(waits.passTime(now).empty());
  now += 1;
  EXPECT_EQ(waits.passTime(now), std::vector<InodeId>{X});
  EXPECT_EQ(waits.call(X, now), Calls{c});
}

TEST_F(LockWaitsTest, WhoWasForestalledGetsItsPlaceBack) {
  take(wish(A, X));
  uint64_t b = wait(wish(B, X));
  uint64_t c = wait(wish(C, X));
  unlock(A, X);
  EXPECT_EQ(waits.call(X, now), Calls{b});
  take(wish(D, X));  // which didn't wait
  waits.tried(wish(B, X), false);
  EXPECT_EQ(wait(wish(B, X)), b);
  unlock(D, X);
  EXPECT_EQ(waits.call(X, now), Calls{b});
  waits.tried(wish(B, X), false);
  now += LockWaits::TURN;
  waits.passTime(now);
  EXPECT_GT(wait(wish(B, X)), c) << "too late";
}

TEST_F(LockWaitsTest, WhoGivesUpIsNotCalled) {
  take(wish(A, X));
  uint64_t b = wait(wish(B, X));
  uint64_t c = wait(wish(C, X));
  uint64_t d = wait(wish(D, X));
  waits.remove(b);
  waits.removeAll(C.session);
  EXPECT_FALSE(waits.contains(c));
  EXPECT_FALSE(waits.contains(d));
  unlock(A, X);
  EXPECT_TRUE(waits.call(X, now).empty());
  EXPECT_TRUE(waits.list().empty());
}

TEST_F(LockWaitsTest, ACircleIsADeadlock) {
  take(wish(A, X));
  take(wish(B, Y));
  EXPECT_NE(wait(wish(A, Y)), 0u);
  EXPECT_EQ(waits.add(wish(B, X), now).code(), EDEADLK);
  EXPECT_NE(wait(wish(C, X)), 0u) << "nobody waits for C";
}

TEST_F(LockWaitsTest, ACircleOfRangesOfOneFileToo) {
  take(wish(A, X, LockType::SHARED, 0, 9));
  take(wish(B, X, LockType::SHARED, 0, 9));
  EXPECT_NE(wait(wish(A, X, LockType::EXCLUSIVE, 0, 9)), 0u);
  EXPECT_EQ(waits.add(wish(B, X, LockType::EXCLUSIVE, 5, 5), now).code(), EDEADLK) << "both would upgrade";
  EXPECT_NE(wait(wish(B, X, LockType::EXCLUSIVE, 20, 29)), 0u);
}

TEST_F(LockWaitsTest, FlocksAreNotLookedThrough) {
  auto flock = [&](LockOwner owner, InodeId inode) {
    auto out = wish(owner, inode);
    out.kind = LockKind::FLOCK;
    return out;
  };
  take(flock(A, X));
  take(flock(B, Y));
  EXPECT_NE(wait(flock(A, Y)), 0u);
  EXPECT_NE(wait(flock(B, X)), 0u);
}

// Owners of one thread each, taking and waiting at random: the graph of who waits for whom must never have a circle,
// and EDEADLK must never be said without one.
TEST_F(LockWaitsTest, RandomWaitersNeverStandInACircle) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    LockWaits own([this](InodeId inode, LockKind) {
      std::vector<FileLock> out;
      std::copy_if(held.begin(), held.end(), std::back_inserter(out), [&](auto& lock) { return lock.inode == inode; });
      return out;
    });
    held.clear();
    std::map<LockOwner, std::pair<uint64_t, FileLock>> waiting;
    auto waitsForItself = [&](const FileLock& wanted) {
      std::set<LockOwner> reached;
      std::vector<FileLock> open{wanted};
      while (!open.empty()) {
        FileLock next = open.back();
        open.pop_back();
        for (auto& lock : held) {
          bool fresh = isInTheWay(lock, next) && reached.insert(lock.owner).second;
          if (fresh && waiting.contains(lock.owner)) {
            open.push_back(waiting.at(lock.owner).second);
          }
        }
      }
      return reached.contains(wanted.owner);
    };
    for (int step = 0; step < 300; ++step) {
      LockOwner owner{SessionId{1 + random.next() % 3}, random.next() % 3};
      InodeId inode{100 + random.next() % 3};
      uint64_t first = random.next() % 4;
      auto type = random.next() % 2 == 0 ? LockType::SHARED : LockType::EXCLUSIVE;
      if (waiting.contains(owner)) {
        continue;
      }
      auto wanted = wish(owner, inode, type, first, first + random.next() % 3);
      if (random.next() % 3 == 0) {
        unlock(owner, inode);
      } else if (!take(wanted)) {
        auto added = own.add(wanted, now);
        ASSERT_EQ(added.code() == EDEADLK, waitsForItself(wanted));
        if (added.ok()) {
          waiting[owner] = {added.value(), wanted};
        }
      }
      for (InodeId changed : {InodeId{100}, InodeId{101}, InodeId{102}}) {
        for (uint64_t number : own.call(changed, now)) {
          auto called = std::find_if(waiting.begin(), waiting.end(), [&](auto& w) { return w.second.first == number; });
          ASSERT_NE(called, waiting.end());
          FileLock again = called->second.second;
          ASSERT_TRUE(take(again)) << "called too early";
          own.tried(again, true);
          waiting.erase(called);
        }
      }
      for (auto& [who, wait] : waiting) {
        ASSERT_FALSE(waitsForItself(wait.second));
      }
    }
  }
}

}  // namespace
}  // namespace cairn
