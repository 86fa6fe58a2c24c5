// The pure cores of replication against simple models, by many seeded cases.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "chunkserver/replication/catch_up.h"
#include "chunkserver/replication/fences.h"
#include "chunkserver/replication/forward_order.h"
#include "chunkserver/replication/merge.h"
#include "chunkserver/replication/pending_set.h"
#include "chunkserver/replication/window.h"
#include "common/generator.h"

namespace cairn {
namespace {

constexpr uint64_t CASES = 2000;

class Dice {
 public:
  explicit Dice(uint64_t seed) : generator_(Generator::fromSeed(seed)) {}
  uint64_t below(uint64_t bound) { return generator_.next() % bound; }
  bool chance(unsigned percent) { return below(100) < percent; }

 private:
  Generator generator_;
};

ChunkId chunk(uint64_t n) {
  return {ObjectId{n / 4 + 1}, static_cast<uint32_t>(n % 4)};
}

// ---- PendingSet ---------------------------------------------------------------------------------

struct PendingModel {
  std::map<uint64_t, ChunkId> mutations;
  std::set<ChunkId> carried;
  uint64_t next = 1, below = 1;

  void step(Dice& dice, PendingSet& set) {
    if (dice.chance(70)) {
      ChunkId c = chunk(dice.below(8));
      mutations[next] = c;
      set.add(c, next++);
    } else if (dice.chance(80)) {
      below = std::max(below, 1 + dice.below(next));
      set.completeBelow(below);
      mutations.erase(mutations.begin(), mutations.lower_bound(below));
    } else if (dice.chance(50)) {
      carried = chunks();
      mutations.clear();
      next = below = 1;
      set.endEpoch();
    } else {
      carried.clear();
      set.settle();
    }
  }
  std::set<ChunkId> chunks() const {
    std::set<ChunkId> out = carried;
    for (auto& [s, c] : mutations) {
      out.insert(c);
    }
    return out;
  }
};

TEST(PendingSet, knowsWhatComesTooLate) {
  PendingSet set;
  set.add(chunk(1), 5);
  EXPECT_FALSE(set.isPast(chunk(1), 5)) << "its own place";
  set.add(chunk(2), 6);
  EXPECT_FALSE(set.isPast(chunk(1), 5)) << "another chunk's";
  set.add(chunk(1), 7);
  EXPECT_TRUE(set.isPast(chunk(1), 5)) << "something later was taken";
  EXPECT_FALSE(set.isPast(chunk(1), 7));
  set.completeBelow(8);
  EXPECT_TRUE(set.isPast(chunk(1), 7)) << "complete everywhere";
  set.endEpoch();
  EXPECT_FALSE(set.isPast(chunk(1), 1)) << "places begin anew";
}

TEST(PendingSet, holdsWhatIsNotKnownComplete) {
  for (uint64_t seed = 1; seed <= CASES; ++seed) {
    SCOPED_TRACE(seed);
    Dice dice(seed);
    PendingSet set;
    PendingModel model;
    for (int step = 0; step < 60; ++step) {
      model.step(dice, set);
      auto expected = model.chunks();
      auto chunks = set.chunks();
      ASSERT_EQ(std::vector<ChunkId>(expected.begin(), expected.end()), chunks);
      ASSERT_EQ(expected.empty(), set.empty());
      for (uint64_t n = 0; n < 8; ++n) {
        ASSERT_EQ(expected.count(chunk(n)) != 0, set.contains(chunk(n)));
      }
    }
  }
}

TEST(PendingSet, takesPlacesInAnyOrder) {
  PendingSet set;
  set.add(chunk(0), 5);
  set.add(chunk(0), 3);
  set.completeBelow(4);
  EXPECT_TRUE(set.contains(chunk(0)));
  set.completeBelow(6);
  EXPECT_TRUE(set.empty());
}

// ---- PrimaryWindow ------------------------------------------------------------------------------

struct WindowModel {
  struct Mutation {
    std::set<unsigned> missing;
    bool answered = false;
  };
  std::map<uint64_t, Mutation> mutations;
  std::set<unsigned> tracked{0}, required{0};
  uint64_t next = 1;

  void step(Dice& dice, PrimaryWindow& window) {
    std::vector<uint64_t> answered;
    unsigned slot = static_cast<unsigned>(dice.below(5));
    if (dice.chance(35)) {
      ASSERT_EQ(next, window.begin());
      mutations[next++].missing = tracked;
      return;
    }
    if (dice.chance(75) && next > 1) {
      uint64_t sequence = 1 + dice.below(next - 1);
      window.acknowledge(sequence, slot, answered);
      mutations[sequence].missing.erase(slot);
    } else if (dice.chance(60)) {
      bool isRequired = dice.chance(60);
      window.track(slot, isRequired);
      tracked.insert(slot);
      if (isRequired) {
        required.insert(slot);
      }
      return;
    } else if (slot != 0) {
      window.release(slot, answered);
      tracked.erase(slot);
      required.erase(slot);
      for (auto& [s, m] : mutations) {
        m.missing.erase(slot);
      }
    }
    ASSERT_EQ(look(), answered);
  }
  std::vector<uint64_t> look() {
    std::vector<uint64_t> out;
    for (auto& [sequence, m] : mutations) {
      bool open = std::any_of(m.missing.begin(), m.missing.end(), [&](unsigned s) { return required.count(s) != 0; });
      if (!open && !m.answered) {
        m.answered = true;
        out.push_back(sequence);
      }
    }
    return out;
  }
  uint64_t completeBelow() const {
    for (auto& [sequence, m] : mutations) {
      if (!m.missing.empty()) {
        return sequence;
      }
    }
    return next;
  }
};

TEST(PrimaryWindow, answersAndCompletesAsAModelDoes) {
  for (uint64_t seed = 1; seed <= CASES; ++seed) {
    SCOPED_TRACE(seed);
    Dice dice(seed);
    PrimaryWindow window;
    WindowModel model;
    window.reset();
    for (int step = 0; step < 80; ++step) {
      model.step(dice, window);
      ASSERT_EQ(model.completeBelow(), window.completeBelow());
      ASSERT_EQ(model.next, window.next());
      ASSERT_EQ(model.completeBelow() == model.next, window.idle());
    }
  }
}

TEST(PrimaryWindow, waitsForATakenMemberInEarlierMutationsToo) {
  PrimaryWindow window;
  window.reset();
  window.track(1, true);
  window.track(2, false);
  uint64_t first = window.begin();
  window.track(2, true);
  std::vector<uint64_t> answered;
  window.acknowledge(first, 0, answered);
  window.acknowledge(first, 1, answered);
  EXPECT_TRUE(answered.empty());
  EXPECT_FALSE(window.acknowledgedBelow(2, window.next()));
  window.acknowledge(first, 2, answered);
  EXPECT_EQ(std::vector<uint64_t>{first}, answered);
  EXPECT_TRUE(window.acknowledgedBelow(2, window.next()));
}

// ---- ForwardOrder -------------------------------------------------------------------------------

TEST(ForwardOrder, takesEachOnceInOrder) {
  using Order = ForwardOrder<int>;
  for (uint64_t seed = 1; seed <= CASES; ++seed) {
    SCOPED_TRACE(seed);
    Dice dice(seed);
    Order order;
    order.reset();
    uint64_t first = 1 + dice.below(5);
    EXPECT_EQ(Order::Place::EARLY, order.place(first));
    order.start(first);
    uint64_t expected = first, forgotten = first;
    for (int step = 0; step < 60; ++step) {
      uint64_t sequence = first + dice.below(20);
      switch (order.place(sequence)) {
        case Order::Place::TAKE:
          ASSERT_EQ(expected, sequence);
          order.take(sequence, static_cast<int>(sequence));
          ++expected;
          break;
        case Order::Place::EARLY:
          ASSERT_GT(sequence, expected);
          break;
        case Order::Place::REPEATED:
          ASSERT_LT(sequence, expected);
          ASSERT_EQ(sequence >= forgotten, order.result(sequence) != nullptr);
          break;
      }
      if (dice.chance(20)) {
        forgotten = std::max(forgotten, first + dice.below(expected - first + 1));
        order.forgetBelow(forgotten);
      }
      ASSERT_EQ(expected - std::min(forgotten, expected), order.kept());
    }
  }
}

// ---- Fences -------------------------------------------------------------------------------------

TEST(Fences, reportsDrainedOnlyWhenNothingOfAFencedSessionIsLeft) {
  Fences fences;
  SessionId a{1}, b{2};
  ObjectId x{7};
  fences.update(MapVersion{10}, {}, {});
  EXPECT_EQ(MapVersion{10}, fences.drained());
  fences.enter(a, x);
  fences.enter(a, x);
  fences.enter(b, x);
  fences.update(MapVersion{11}, {a}, {});
  EXPECT_TRUE(fences.isFenced(a));
  EXPECT_FALSE(fences.isFenced(b));
  EXPECT_EQ(MapVersion{10}, fences.drained());
  fences.leave(a, x);
  EXPECT_EQ(MapVersion{10}, fences.drained());
  fences.update(MapVersion{12}, {a, b}, {});
  EXPECT_EQ(MapVersion{10}, fences.drained());
  fences.leave(a, x);
  EXPECT_EQ(MapVersion{11}, fences.drained());
  fences.leave(b, x);
  EXPECT_EQ(MapVersion{12}, fences.drained());
}

TEST(Fences, reportsDrainedOnlyWhenNothingOfASealedObjectIsLeft) {
  Fences fences;
  SessionId a{1};
  ObjectId left{7}, filled{8};
  fences.update(MapVersion{10}, {}, {filled});
  fences.enter(a, left);
  fences.enter(SessionId{}, filled);
  fences.update(MapVersion{11}, {}, {filled, left});
  EXPECT_EQ(MapVersion{10}, fences.drained());
  fences.update(MapVersion{12}, {}, {filled, left});
  EXPECT_EQ(MapVersion{10}, fences.drained());
  fences.leave(a, left);
  EXPECT_EQ(MapVersion{12}, fences.drained()) << "what fills an object that is sealed doesn't count";
  fences.leave(SessionId{}, filled);
  EXPECT_EQ(MapVersion{12}, fences.drained());
}

// ---- merging copies -----------------------------------------------------------------------------

CopyState copy(std::vector<uint64_t> sums, std::vector<uint32_t> bad = {}, std::vector<uint32_t> torn = {}) {
  CopyState out;
  out.present = true;
  out.sums = std::move(sums);
  out.bad = std::move(bad);
  out.torn = std::move(torn);
  for (uint64_t sum : out.sums) {
    out.digest = out.digest * 1000003 + sum;
  }
  return out;
}

TEST(Merge, equalCopiesNeedNothing) {
  EXPECT_EQ(MergePlan::Kind::EQUAL, planMerge({copy({1, 2}), copy({1, 2})}, 0, false).kind);
  EXPECT_EQ(MergePlan::Kind::EQUAL, planMerge({CopyState(), CopyState()}, 0, true).kind);
}

TEST(Merge, theBaseWinsWhereItVerifies) {
  auto plan = planMerge({copy({1, 2, 3}), copy({1, 9, 3, 4})}, 0, true);
  EXPECT_EQ(MergePlan::Kind::INSTALL, plan.kind);
  EXPECT_EQ(0u, plan.base);
  EXPECT_TRUE(plan.patches.empty());
  EXPECT_TRUE(plan.adopted.empty());
}

TEST(Merge, aTornBlockComesFromAMemberWhereItVerifies) {
  auto plan = planMerge({copy({1, 2}, {}, {1}), copy({1, 7}, {}, {1}), copy({1, 5})}, 0, true);
  EXPECT_EQ((std::vector<BlockSource>{{1, 2}}), plan.patches);
  EXPECT_TRUE(plan.adopted.empty());
  // The very bytes are better than another version.
  plan = planMerge({copy({1, 2}, {}, {1}), copy({1, 7}), copy({1, 2})}, 0, true);
  EXPECT_EQ((std::vector<BlockSource>{{1, 2}}), plan.patches);
  // Another version is better than a hole, a hole better than torn bytes.
  plan = planMerge({copy({1, 2}, {}, {1}), copy({1, 0, 3}), copy({1, 5})}, 0, true);
  EXPECT_EQ((std::vector<BlockSource>{{1, 2}}), plan.patches);
  plan = planMerge({copy({1, 2}, {}, {1}), copy({1})}, 0, true);
  EXPECT_EQ((std::vector<BlockSource>{{1, 1}}), plan.patches);
}

TEST(Merge, tornEverywhereIsAdoptedOnlyWhenAllRestarted) {
  std::vector<CopyState> copies{copy({1, 2}, {}, {1}), copy({1, 2}, {}, {1}), copy({1, 3}, {}, {1})};
  auto plan = planMerge(copies, 0, true);
  EXPECT_EQ(MergePlan::Kind::INSTALL, plan.kind);
  EXPECT_EQ((std::vector<BlockSource>{{1, 0}}), plan.adopted);
  EXPECT_TRUE(plan.bad.empty());
  plan = planMerge(copies, 0, false);
  EXPECT_TRUE(plan.adopted.empty());
  EXPECT_EQ((std::vector<uint32_t>{1}), plan.bad);
}

TEST(Merge, rotIsNeverAdoptedNorReplacedByAnotherVersion) {
  auto plan = planMerge({copy({1, 2}, {1}), copy({1, 2}, {1})}, 0, true);
  EXPECT_TRUE(plan.adopted.empty());
  EXPECT_EQ(MergePlan::Kind::EQUAL, plan.kind);
  plan = planMerge({copy({1, 2}, {1}), copy({1, 3})}, 0, true);
  EXPECT_TRUE(plan.patches.empty());
  EXPECT_EQ((std::vector<uint32_t>{1}), plan.bad);
  plan = planMerge({copy({1, 2}, {1}), copy({1, 2})}, 0, false);
  EXPECT_EQ((std::vector<BlockSource>{{1, 1}}), plan.patches);
}

TEST(Merge, absenceAtTheBaseCountsUnlessAllRestarted) {
  EXPECT_EQ(MergePlan::Kind::REMOVE, planMerge({CopyState(), copy({1})}, 0, false).kind);
  auto plan = planMerge({CopyState(), copy({1})}, 0, true);
  EXPECT_EQ(MergePlan::Kind::INSTALL, plan.kind);
  EXPECT_EQ(1u, plan.base);
}

CopyState anyCopy(Dice& dice) {
  std::vector<uint64_t> sums;
  std::vector<uint32_t> bad, torn;
  for (uint32_t b = 0; b < 1 + dice.below(4); ++b) {
    sums.push_back(dice.chance(20) ? 0 : 10 + dice.below(3));
    if (sums.back() != 0 && dice.chance(30)) {
      (dice.chance(30) ? bad : torn).push_back(b);
    }
  }
  while (!sums.empty() && sums.back() == 0) {
    sums.pop_back();
  }
  return dice.chance(15) ? CopyState() : copy(sums, bad, torn);
}

TEST(Merge, handlesEachFailingBlockOnceAndTakesOnlyWhatVerifies) {
  for (uint64_t seed = 1; seed <= CASES; ++seed) {
    SCOPED_TRACE(seed);
    Dice dice(seed);
    std::vector<CopyState> copies{anyCopy(dice), anyCopy(dice), anyCopy(dice)};
    bool allRestarted = dice.chance(50);
    auto plan = planMerge(copies, 0, allRestarted);
    if (plan.kind != MergePlan::Kind::INSTALL) {
      continue;
    }
    auto& base = copies[plan.base];
    ASSERT_TRUE(base.present);
    std::set<uint32_t> failing(base.bad.begin(), base.bad.end());
    failing.insert(base.torn.begin(), base.torn.end());
    std::set<uint32_t> handled(plan.bad.begin(), plan.bad.end());
    for (auto& patch : plan.patches) {
      handled.insert(patch.block);
      auto& from = copies[patch.member];
      ASSERT_TRUE(from.present);
      ASSERT_FALSE(std::count(from.bad.begin(), from.bad.end(), patch.block));
      ASSERT_FALSE(std::count(from.torn.begin(), from.torn.end(), patch.block));
    }
    for (auto& adopted : plan.adopted) {
      ASSERT_TRUE(allRestarted);
      handled.insert(adopted.block);
      auto& torn = copies[adopted.member].torn;
      ASSERT_TRUE(std::count(torn.begin(), torn.end(), adopted.block));
    }
    ASSERT_EQ(failing, handled);
    ASSERT_EQ(failing.size(), plan.patches.size() + plan.adopted.size() + plan.bad.size());
  }
}

// ---- CatchUp ------------------------------------------------------------------------------------
// A primary and a joiner as maps from chunk to content; forwards and answers travel on different links, so that
// either may overtake the other, as long as each keeps its own order.

struct Content {
  uint64_t value = 0;  // of all mutations in order
  Epoch lastEpoch{};
};

class JoinModel {
 public:
  explicit JoinModel(uint64_t seed) : dice_(seed) {
    for (uint64_t n = 0; n < CHUNKS; ++n) {
      if (dice_.chance(60)) {
        primary_[chunk(n)] = {1 + dice_.below(100), Epoch{1 + dice_.below(5)}};
      }
    }
    // The joiner was in sync up to epoch 3. Since then it has missed some, and it has some that never came to be.
    for (auto& [c, content] : primary_) {
      if (content.lastEpoch < Epoch{3}) {
        joiner_[c] = content;
      } else if (dice_.chance(50)) {
        joiner_[c] = {1 + dice_.below(100), Epoch{1 + dice_.below(3)}};
      }
    }
    for (uint64_t n = 0; n < CHUNKS; ++n) {
      if (dice_.chance(15)) {
        joiner_[chunk(n)] = {1000 + dice_.below(100), Epoch{3}};
      }
      if (primary_.count(chunk(n)) == 0 && dice_.chance(20)) {
        joiner_[chunk(n)] = {1 + dice_.below(100), Epoch{1}};  // removed while it was away
      }
    }
  }

  void run() {
    catchUp_.start(Epoch{3});
    askPage();
    for (int step = 0; step < 400; ++step) {
      switch (dice_.below(5)) {
        case 0:
          mutate();
          break;
        case 1:
          deliverForward();
          break;
        case 2:
          answerArrives();
          break;
        case 3:
          fetch();
          break;
        default:
          fetchArrives();
      }
    }
    while (!forwards_.empty() || answer_ || !fetches_.empty() || !catchUp_.complete()) {
      deliverForward();
      answerArrives();
      fetch();
      fetchArrives();
    }
  }
  bool equal() const {
    auto values = [](const std::map<ChunkId, Content>& all) {
      std::map<ChunkId, uint64_t> out;
      for (auto& [c, content] : all) {
        out[c] = content.value;
      }
      return out;
    };
    return values(primary_) == values(joiner_);
  }

 private:
  static constexpr uint64_t CHUNKS = 16;
  struct Fetch {
    ChunkId chunk;
    std::optional<Content> image;
    std::vector<uint64_t> waiting;
  };

  static void apply(std::map<ChunkId, Content>& to, ChunkId c, uint64_t value) {
    if (value == 0) {
      to.erase(c);
    } else {
      to[c] = {value, Epoch{5}};
    }
  }
  void mutate() {
    ChunkId c = chunk(dice_.below(CHUNKS));
    uint64_t value = dice_.chance(10) ? 0 : 10000 + dice_.below(1000);
    apply(primary_, c, value);
    forwards_.push_back({c, value});
  }
  void deliverForward() {
    if (forwards_.empty()) {
      return;
    }
    auto [c, value] = forwards_.front();
    forwards_.erase(forwards_.begin());
    switch (catchUp_.forward(c)) {
      case CatchUp::Action::APPLY:
        apply(joiner_, c, value);
        break;
      case CatchUp::Action::WAIT:
        for (auto& fetch : fetches_) {
          if (fetch.chunk == c) {
            fetch.waiting.push_back(value);
          }
        }
        break;
      case CatchUp::Action::DROP:
        break;
    }
  }
  void askPage() {
    PrimaryPage page;
    size_t limit = 1 + dice_.below(4);
    auto it = catchUp_.cursor() ? primary_.upper_bound(*catchUp_.cursor()) : primary_.begin();
    for (; it != primary_.end() && page.changed.size() + page.unchanged.size() < limit; ++it) {
      if (it->second.lastEpoch >= Epoch{3}) {
        page.changed[it->first] = it->second.value;
      } else {
        page.unchanged.insert(it->first);
      }
      page.last = it->first;
    }
    page.end = it == primary_.end();
    answer_ = page;
  }
  void answerArrives() {
    if (!answer_) {
      return;
    }
    std::map<ChunkId, LocalChunk> local;
    for (auto& [c, content] : joiner_) {
      local[c] = {true, content.value, content.lastEpoch, false};
    }
    PrimaryPage page = *answer_;
    answer_.reset();
    for (ChunkId surplus : catchUp_.takePage(page, local)) {
      joiner_.erase(surplus);
    }
    if (!catchUp_.scanned()) {
      askPage();
    }
  }
  void fetch() {
    if (auto c = catchUp_.beginFetch()) {
      auto it = primary_.find(*c);
      fetches_.push_back({*c, it == primary_.end() ? std::optional<Content>() : it->second, {}});
    }
  }
  void fetchArrives() {
    if (fetches_.empty()) {
      return;
    }
    Fetch fetch = fetches_.front();
    fetches_.erase(fetches_.begin());
    if (dice_.chance(10)) {
      catchUp_.retryFetch(fetch.chunk);
      return;
    }
    if (fetch.image) {
      joiner_[fetch.chunk] = *fetch.image;
    } else {
      joiner_.erase(fetch.chunk);
    }
    for (uint64_t value : fetch.waiting) {
      apply(joiner_, fetch.chunk, value);
    }
    catchUp_.endFetch(fetch.chunk);
  }

  Dice dice_;
  std::map<ChunkId, Content> primary_, joiner_;
  std::vector<std::pair<ChunkId, uint64_t>> forwards_;
  std::optional<PrimaryPage> answer_;
  std::vector<Fetch> fetches_;
  CatchUp catchUp_;
};

TEST(CatchUp, aJoinerEndsEqualWhateverOvertakesWhat) {
  for (uint64_t seed = 1; seed <= CASES; ++seed) {
    SCOPED_TRACE(seed);
    JoinModel model(seed);
    model.run();
    ASSERT_TRUE(model.equal());
  }
}

}  // namespace
}  // namespace cairn
