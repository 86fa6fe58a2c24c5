#include "master/session/session_table.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/unit/master/seeded_random.h"

namespace cairn {
namespace {

constexpr SessionId A{1}, B{2}, C{3};
constexpr InodeId X{100}, Y{101};
constexpr Nanos START = 1000 * SECOND;

using Ids = std::vector<SessionId>;

TEST(SessionTable, OnlyHoldersHold) {
  SessionTable table(START);
  table.add(A, "a", START);
  table.add(B, "b", START);
  table.attach(A, 1, true, START);
  table.attach(B, 1, true, START);
  EXPECT_TRUE(table.take(A, X));
  EXPECT_TRUE(table.take(B, X));
  EXPECT_TRUE(table.take(B, Y));
  EXPECT_EQ(table.holders(X), (Ids{A, B}));
  EXPECT_EQ(table.holders(Y), (Ids{B}));
  EXPECT_TRUE(table.drop(A, X));
  EXPECT_FALSE(table.drop(A, X));
  EXPECT_EQ(table.holders(X), (Ids{B}));
  table.end(B);
  EXPECT_TRUE(table.holders(X).empty());
  EXPECT_FALSE(table.take(B, X));
}

TEST(SessionTable, WithoutALinkASessionMayHoldAnything) {
  SessionTable table(START);
  table.add(A, "a", START);
  table.add(B, "b", START);
  table.attach(B, 1, true, START);
  EXPECT_EQ(table.holders(X), (Ids{A})) << "known from the state, not heard of yet";
  uint64_t link = table.attach(A, 1, false, START);
  EXPECT_EQ(table.holders(X), (Ids{A})) << "attached, but it hasn't said what it holds";
  EXPECT_TRUE(table.settle(A, {Y}));
  table.take(A, Y);
  EXPECT_TRUE(table.holders(X).empty());
  EXPECT_EQ(table.holders(Y), (Ids{A}));
  EXPECT_FALSE(table.settle(A, {})) << "once per link";
  table.detach(A, link);
  EXPECT_EQ(table.holders(X), (Ids{A})) << "what it sent last may be lost with the link";
}

TEST(SessionTable, WhatASessionDoesntNameAgainItHoldsNoMore) {
  SessionTable table(START);
  table.add(A, "a", START);
  table.attach(A, 1, true, START);
  table.take(A, X);
  table.take(A, Y);
  table.attach(A, 1, false, START);
  table.settle(A, {Y});
  EXPECT_FALSE(table.holds(A, X));
  EXPECT_TRUE(table.holds(A, Y));
  table.attach(A, 1, false, START);
  table.settle(A, {});
  EXPECT_FALSE(table.holds(A, Y));
}

TEST(SessionTable, ANewLinkTakesOver) {
  SessionTable table(START);
  table.add(A, "a", START);
  uint64_t first = table.attach(A, 1, true, START);
  uint64_t second = table.attach(A, 3, false, START);
  EXPECT_FALSE(table.isCurrent(A, first));
  EXPECT_TRUE(table.isCurrent(A, second));
  table.detach(A, first);
  EXPECT_TRUE(table.isCurrent(A, second)) << "the end of the old link doesn't matter";
  EXPECT_EQ(table.attach(A, 2, false, START), 0) << "came late";
  EXPECT_TRUE(table.isCurrent(A, second));
  EXPECT_EQ(table.attach(C, 1, false, START), 0);
}

TEST(SessionTable, NobodyExpiresBeforeWhatTheClientWasPromised) {
  SessionTable table(START);
  table.add(A, "a", START);
  Nanos now = START;
  auto passTo = [&](Nanos to) {
    Ids expired;
    while (now < to && expired.empty()) {
      now += 100 * MILLISECOND;
      expired = table.passTime(now);
    }
    return expired;
  };
  EXPECT_TRUE(passTo(START + SESSION_LEASE).empty());
  table.renew(A, now);
  EXPECT_TRUE(passTo(START + 2 * SESSION_LEASE).empty());
  EXPECT_EQ(passTo(START + 3 * SESSION_LEASE), (Ids{A}));
  EXPECT_GT(now, START + 2 * SESSION_LEASE);
}

TEST(SessionTable, AMasterThatStoodStillEvictsNobodyAtOnce) {
  SessionTable table(START);
  table.add(A, "a", START);
  table.attach(A, 1, true, START);
  Nanos now = START + 60 * SECOND;
  EXPECT_TRUE(table.passTime(now).empty()) << "its renewals may be waiting unread";
  table.renew(A, now);
  for (int i = 0; i < 40; ++i) {
    EXPECT_TRUE(table.passTime(now += 100 * MILLISECOND).empty());
  }
}

// The index by inode against a plain model.
class HoldersModel {
 public:
  explicit HoldersModel(uint64_t seed) : random_(seed), table_(START) {}

  void step() {
    SessionId session{1 + random_.below(5)};
    InodeId inode{1 + random_.below(8)};
    act(session, inode);
    Ids expected;
    for (auto& [id, holds] : holds_) {
      if (holds.contains(inode) || uncertain_.contains(id)) {
        expected.push_back(id);
      }
    }
    EXPECT_EQ(table_.holders(inode), expected);
  }

 private:
  void act(SessionId session, InodeId inode) {
    bool known = holds_.contains(session);
    switch (random_.below(7)) {
      case 0:
        table_.add(session, "s", START);
        if (!known) {
          holds_[session] = {};
          uncertain_.insert(session);
        }
        break;
      case 1:
        table_.end(session);
        holds_.erase(session);
        uncertain_.erase(session);
        break;
      case 2:
        EXPECT_EQ(table_.attach(session, 1, false, START) != 0, known);
        if (known) {
          uncertain_.insert(session);
        }
        break;
      case 3:
        EXPECT_EQ(table_.settle(session, {inode}), uncertain_.erase(session) == 1 && settled(session, inode));
        break;
      case 4:
        EXPECT_EQ(table_.drop(session, inode), known && holds_[session].erase(inode) == 1);
        break;
      default:
        EXPECT_EQ(table_.take(session, inode), known);
        if (known) {
          holds_[session].insert(inode);
        }
    }
  }

  bool settled(SessionId session, InodeId inode) {
    std::erase_if(holds_[session], [inode](InodeId held) { return held != inode; });
    return true;
  }

  SeededRandom random_;
  SessionTable table_;
  std::map<SessionId, std::set<InodeId>> holds_;
  std::set<SessionId> uncertain_;
};

TEST(SessionTable, HoldersAgreeWithAModel) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    HoldersModel model(seed);
    for (int step = 0; step < 2000 && !HasFailure(); ++step) {
      model.step();
    }
  }
}

}  // namespace
}  // namespace cairn
