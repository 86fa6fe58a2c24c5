// The log's end taken away and written anew, and the whole log replaced, with the power failing at any moment: what was
// acknowledged is there, what was truncated never comes back.
#include <gtest/gtest.h>

#include "master/log/log.h"
#include "tests/sim/world/world.h"

namespace cairn {
namespace {

constexpr Nanos LIMIT = 60 * SECOND;

class Process {
 public:
  explicit Process(World& world) : world_(world), disk_(world.volume("m").open()) {
    LogOptions options;
    options.cluster = ClusterId{3, 4};
    options.segmentBytes = Log::SEGMENT_BYTES_MIN;
    auto opened = Log::open(*disk_, options);
    EXPECT_TRUE(opened.ok()) << opened.error().why;
    log_ = kj::mv(opened.value());
  }

  Log& log() { return *log_; }
  Task<Status> append(uint64_t count, Term term, size_t size) {
    std::string payload(size, static_cast<char>('a' + raw(term) % 26));
    auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(payload.data()), payload.size());
    std::vector<LogEntry> entries;
    for (uint64_t i = 1; i <= count; i++) {
      entries.push_back({LogIndex{raw(log_->lastIndex()) + i}, term, bytes});
    }
    return log_->append(kj::arrayPtr(entries.data(), entries.size()));
  }
  Status appendNow(uint64_t count, Term term, size_t size = 100) {
    return world_.await(append(count, term, size), LIMIT);
  }
  Status truncateNow(uint64_t from) { return world_.await(log_->truncate(LogIndex{from}), LIMIT); }

  // Terms of the entries that can be read.
  std::vector<uint64_t> terms() {
    std::vector<uint64_t> found;
    auto status = log_->read(log_->firstIndex(), [&](const LogEntry& entry) {
      EXPECT_EQ(raw(entry.index), raw(log_->firstIndex()) + found.size());
      EXPECT_EQ(log_->term(entry.index), entry.term);
      found.push_back(raw(entry.term));
      return true;
    });
    EXPECT_TRUE(status.ok()) << status.error().why;
    return found;
  }

 private:
  World& world_;
  kj::Own<Disk> disk_;
  kj::Own<Log> log_;
};

TEST(LogTruncate, WhatIsTruncatedIsGoneForGood) {
  World world(1);
  {
    Process process(world);
    ASSERT_TRUE(process.appendNow(5, Term{1}).ok());
    ASSERT_TRUE(process.truncateNow(3).ok());
    EXPECT_EQ(process.log().lastIndex(), LogIndex{2});
    EXPECT_EQ(process.terms(), (std::vector<uint64_t>{1, 1}));
  }
  {
    Process process(world);
    EXPECT_EQ(process.terms(), (std::vector<uint64_t>{1, 1}));
    ASSERT_TRUE(process.appendNow(2, Term{3}).ok());
    ASSERT_TRUE(process.truncateNow(4).ok());
    ASSERT_TRUE(process.appendNow(1, Term{4}).ok());
  }
  Process process(world);
  EXPECT_EQ(process.terms(), (std::vector<uint64_t>{1, 1, 3, 4}));
}

TEST(LogTruncate, ReachesBackOverManySegments) {
  World world(2);
  {
    Process process(world);
    ASSERT_TRUE(process.appendNow(40, Term{1}, 10000).ok());
    ASSERT_TRUE(process.truncateNow(2).ok());
    ASSERT_TRUE(process.appendNow(30, Term{2}, 10000).ok());
    ASSERT_TRUE(process.truncateNow(10).ok());
    ASSERT_TRUE(process.truncateNow(1).ok());
    ASSERT_TRUE(process.appendNow(20, Term{5}, 10000).ok());
    EXPECT_EQ(process.terms(), std::vector<uint64_t>(20, 5));
  }
  Process process(world);
  EXPECT_EQ(process.terms(), std::vector<uint64_t>(20, 5));
}

TEST(LogTruncate, AResetLogBeginsAfterTheSnapshot) {
  World world(3);
  {
    Process process(world);
    ASSERT_TRUE(process.appendNow(30, Term{1}, 10000).ok());
    ASSERT_TRUE(world.await(process.log().reset(LogIndex{100}, Term{7}), LIMIT).ok());
    EXPECT_EQ(process.log().firstIndex(), LogIndex{101});
    EXPECT_EQ(process.log().lastTerm(), Term{7});
    ASSERT_TRUE(process.appendNow(3, Term{8}).ok());
  }
  Process process(world);
  EXPECT_EQ(process.log().firstIndex(), LogIndex{101});
  EXPECT_EQ(process.log().term(LogIndex{100}), Term{7});
  EXPECT_EQ(process.terms(), std::vector<uint64_t>(3, 8));
}

// What may be found: the model before or after the step under way, or part of an append.
void expectOneOf(const std::vector<uint64_t>& found, LogIndex base, const std::vector<uint64_t>& before,
                 LogIndex baseBefore, const std::vector<uint64_t>& after, LogIndex baseAfter, uint64_t seed) {
  bool isBefore = found == before && base == baseBefore;
  bool isBetween = found.size() >= before.size() && found.size() <= after.size() && base == baseAfter &&
                   std::equal(found.begin(), found.end(), after.begin());
  bool isAfter = found == after && base == baseAfter;
  EXPECT_TRUE(isBefore || isBetween || isAfter)
      << "seed " << seed << ": " << found.size() << " entries after " << raw(base);
}

TEST(LogTruncate, PowerCutsAtAnyMoment) {
  for (uint64_t seed = 1; seed <= 40; seed++) {
    World world(seed);
    auto random = world.random("test");
    std::vector<uint64_t> model;
    LogIndex base{};
    uint64_t term = 1;
    for (int life = 0; life < 6 && !testing::Test::HasFailure(); life++) {
      auto process = std::make_unique<Process>(world);
      model = process->terms();
      base = LogIndex{raw(process->log().firstIndex()) - 1};
      std::vector<uint64_t> before = model;
      LogIndex baseBefore = base;
      kj::Promise<Status> last = Status();
      for (uint64_t steps = 1 + random->below(8); steps > 0; steps--) {
        before = model;
        baseBefore = base;
        auto choice = random->below(10);
        term++;
        if (choice < 6 || model.empty()) {
          uint64_t count = 1 + random->below(12);
          last = process->append(count, Term{term}, 10 + random->below(6000)).promise();
          model.insert(model.end(), count, term);
        } else if (choice < 9) {
          uint64_t kept = random->below(model.size());
          last = process->log().truncate(LogIndex{raw(base) + kept + 1}).promise();
          model.resize(kept);
        } else {
          base = LogIndex{raw(base) + model.size() + 5};
          last = process->log().reset(base, Term{term}).promise();
          model.clear();
        }
        if (steps > 1) {
          ASSERT_TRUE(world.await(kj::mv(last), LIMIT).ok());
        }
      }
      world.runFor(static_cast<Nanos>(random->below(3 * MILLISECOND)));
      world.volume("m").powerCut();
      last = Status();
      process = nullptr;
      Process found(world);
      expectOneOf(found.terms(), LogIndex{raw(found.log().firstIndex()) - 1}, before, baseBefore, model, base, seed);
      world.volume("m").processDied();
    }
  }
}

}  // namespace
}  // namespace cairn
