// A master that has come back from earlier is told from those that went on, whatever it does afterwards.
#include "master/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

using testing::HasSubstr;

// A history of the terms given: each with what its leader drew and how many entries it has.
struct Past {
  struct Reign {
    uint64_t term;
    uint64_t drawn;
    unsigned entries;
  };
  explicit Past(const std::vector<Reign>& reigns) {
    for (auto& reign : reigns) {
      add(reign);
    }
  }
  void add(const Reign& reign) {
    for (unsigned i = 0; i < reign.entries; ++i) {
      capnp::MallocMessageBuilder message;
      auto command = message.initRoot<wire::Command>();
      command.setNoop();
      command.setDrawn(reign.drawn);
      auto& machine = state.machine();
      machine.apply(next(machine.appliedIndex()), Term{reign.term}, command.asReader());
    }
  }
  HistoryPoint now() { return historyOf(state.reader(), GroupEpoch{}); }
  int takes(const HistoryPoint& obeyed) { return check(obeyed).code(); }
  Status check(const HistoryPoint& obeyed) { return checkHistory(state.reader(), GroupEpoch{}, obeyed, "m1", "c1"); }

  TestNamespace state{TestNamespace::Bare{}};
};

TEST(History, GoesOnUnderNewLeaders) {
  Past past({{2, 1, 5}, {3, 2, 5}});
  auto obeyed = past.now();
  EXPECT_EQ(past.takes(HistoryPoint()), 0);
  EXPECT_EQ(past.takes(obeyed), 0);
  past.add({3, 2, 1});
  past.add({7, 3, 4});
  EXPECT_EQ(past.takes(obeyed), 0);
  EXPECT_TRUE(follows(past.now(), obeyed));
}

TEST(History, OfADirectoryFromEarlierIsShorterAndStaysSo) {
  std::vector<Past::Reign> backup{{2, 1, 5}};
  Past original(backup);
  original.add({3, 20, 50});
  Past restored(backup);
  EXPECT_EQ(restored.takes(original.now()), ENOTRECOVERABLE);
  // It begins the same term at the same entry, and outgrows the other.
  restored.add({3, 30, 10});
  auto refused = restored.check(original.now());
  EXPECT_EQ(refused.code(), ENOTRECOVERABLE);
  EXPECT_THAT(refused.error().why, HasSubstr("c1 has obeyed entry 55 of term 3"));
  EXPECT_THAT(refused.error().why, HasSubstr("m1 has come to entry 15 of term 3"));
  restored.add({3, 30, 90});
  EXPECT_EQ(restored.takes(original.now()), ENOTRECOVERABLE);
  restored.add({9, 31, 10});
  EXPECT_EQ(restored.takes(original.now()), ENOTRECOVERABLE);
  EXPECT_EQ(restored.takes({GroupEpoch{}, Term{2}, 1, LogIndex{4}}), 0) << "what both have in common";
}

TEST(History, OfAGroupBegunAnewIsObeyed) {
  Past past({{2, 1, 5}, {3, 2, 5}});
  Past anew({{2, 1, 3}});
  EXPECT_TRUE(checkHistory(anew.state.reader(), GroupEpoch{1}, past.now(), "m1", "c1").ok());
  HistoryPoint later = past.now();
  later.epoch = GroupEpoch{2};
  EXPECT_EQ(checkHistory(anew.state.reader(), GroupEpoch{1}, later, "m1", "c1").code(), ENOTRECOVERABLE);
}

TEST(History, RemembersTheNewestTermsOnly) {
  Past past({{1, 1, 1}});
  for (uint64_t term = 2; term < 400; ++term) {
    past.add({term, term, 1});
  }
  auto terms = past.state.reader().terms();
  EXPECT_LE(terms.size(), 256u);
  EXPECT_EQ(raw(terms.back().term), 399u);
  EXPECT_EQ(past.takes({GroupEpoch{}, Term{1}, 1, LogIndex{1}}), 0) << "older than what is remembered";
  EXPECT_EQ(past.takes({GroupEpoch{}, Term{398}, 397, LogIndex{398}}), ENOTRECOVERABLE);
}

}  // namespace
}  // namespace cairn
