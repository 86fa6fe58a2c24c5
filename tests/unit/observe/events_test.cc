// What the leading master remembers for people: events, loads, slow calls.
#include <capnp/message.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fuse-client/client/slow_trace.h"
#include "master/observe/events.h"
#include "master/observe/loads.h"
#include "master/observe/timeline.h"

namespace cairn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Status {
  capnp::MallocMessageBuilder message;
  wire::ClusterStatus::Builder status = message.initRoot<wire::ClusterStatus>();

  explicit Status(const std::vector<bool>& online, const std::vector<std::string>& reasons = {}) {
    status.setHealth(reasons.empty() ? "healthy" : "degraded");
    auto servers = status.initServers(static_cast<unsigned>(online.size()));
    for (unsigned i = 0; i < online.size(); ++i) {
      servers[i].setName("c" + std::to_string(i + 1));
      servers[i].setOnline(online[i]);
    }
    auto list = status.initReasons(static_cast<unsigned>(reasons.size()));
    for (unsigned i = 0; i < reasons.size(); ++i) {
      list[i].setCode(reasons[i]);
      list[i].setText("about " + reasons[i]);
    }
  }
};

std::vector<std::string> textsOf(const Events& events) {
  std::vector<std::string> out;
  for (auto& event : events.list()) {
    out.push_back(event.text);
  }
  return out;
}

TEST(Events, TellsWhoGoesAndComesAndWhy) {
  Events events;
  Status calm({true, true});
  Status gone({true, false}, {"server-down"});
  events.watch(1, calm.status);
  EXPECT_TRUE(events.list().empty());
  events.watch(2, gone.status);
  events.watch(3, gone.status);
  events.watch(4, calm.status);
  EXPECT_THAT(textsOf(events), ElementsAre("chunkserver c2 is gone", "about server-down", "the cluster is degraded",
                                           "chunkserver c2 is back", "the cluster is healthy"));
  EXPECT_EQ(events.list().front().at, 2);
}

TEST(Events, ANewLeaderDoesntTakeWhatItFindsForNews) {
  Events events;
  Status calm({true});
  Status more({true, true});
  events.watch(1, calm.status);
  events.forgetLast();
  events.watch(2, more.status);
  EXPECT_TRUE(events.list().empty());
  Status third({true, true, true});
  events.watch(3, third.status);
  EXPECT_THAT(textsOf(events), ElementsAre("chunkserver c3 is new in the cluster"));
}

TEST(Events, RepairBeginsAndEnds) {
  Events events;
  Status calm({true});
  events.watch(1, calm.status);
  calm.status.setRepairBytesLeft(100);
  events.watch(2, calm.status);  // nothing moves yet
  calm.status.setRepairBytesPerSecond(10);
  events.watch(3, calm.status);
  calm.status.setRepairBytesPerSecond(0);  // a pause
  events.watch(4, calm.status);
  calm.status.setRepairBytesLeft(0);
  events.watch(5, calm.status);
  EXPECT_THAT(textsOf(events), ElementsAre("copies are being made again", "all copies are where they belong"));
}

TEST(Events, AreBounded) {
  Events events;
  for (size_t i = 0; i < Events::EVENTS_MAX + 10; ++i) {
    events.add(static_cast<int64_t>(i), Event::Level::NOTE, "x");
  }
  EXPECT_EQ(events.list().size(), Events::EVENTS_MAX);
  EXPECT_EQ(events.list().front().at, 10);
}

struct ServerSays {
  capnp::MallocMessageBuilder message;
  wire::ServerLoad::Builder load = message.initRoot<wire::ServerLoad>();
  ServerSays(uint64_t read, uint64_t calls, uint64_t p99 = 0) {
    load.setBytesRead(read);
    auto operations = load.initOperations(1);
    operations[0].setKind("read");
    operations[0].setCount(calls);
    operations[0].setP99Nanos(p99);
  }
};

TEST(Loads, CountsWhatWasAddedEvenWhenAServerBeginsAnew) {
  Loads loads;
  ServerId server{1, 2};
  auto say = [&](uint64_t read, uint64_t calls, Nanos now) {
    ServerSays said(read, calls, 7 * MILLISECOND);
    loads.report(server, said.load, now);
  };
  say(1000, 10, 1 * SECOND);  // before this master led
  EXPECT_EQ(loads.bytesRead(), 0u);
  say(3000, 30, 2 * SECOND);
  EXPECT_EQ(loads.bytesRead(), 2000u);
  EXPECT_NEAR(loads.servers().at(server).readRate.perSecond(2 * SECOND), 2000, 1);
  EXPECT_NEAR(loads.servers().at(server).operationRate.perSecond(2 * SECOND), 20, 0.1);
  EXPECT_EQ(loads.worstP99("read"), 7 * MILLISECOND);
  say(500, 5, 3 * SECOND);  // it has restarted
  EXPECT_EQ(loads.bytesRead(), 2500u);
  EXPECT_GE(loads.servers().at(server).readRate.perSecond(3 * SECOND), 0);
  loads.forgetOld(3 * SECOND + Loads::FORGOTTEN_AFTER + 1);
  EXPECT_TRUE(loads.servers().empty());
}

TEST(Loads, ARateFallsToNothingWhenNobodySpeaks) {
  Rate rate;
  rate.report(0, SECOND);
  rate.report(100, 2 * SECOND);
  EXPECT_NEAR(rate.perSecond(2 * SECOND), 100, 1);
  EXPECT_NEAR(rate.perSecond(3 * SECOND), 50, 1);
  EXPECT_EQ(rate.perSecond(60 * SECOND), 0);
}

TEST(Loads, SlowCallsAreBoundedAndSoAreTheirTexts) {
  Loads loads;
  for (size_t i = 0; i < Loads::SLOW_MAX + 5; ++i) {
    capnp::MallocMessageBuilder message;
    auto load = message.initRoot<wire::ClientLoad>();
    auto slow = load.initSlow(1);
    slow[0].setKind("write");
    slow[0].setPath(std::string(100000, 'x'));
    loads.report(SessionId{3}, load, SECOND, static_cast<int64_t>(i));
  }
  EXPECT_EQ(loads.slow().size(), Loads::SLOW_MAX);
  EXPECT_EQ(loads.slow().front().at, 5);
  EXPECT_EQ(loads.slow().front().path.size(), Loads::TEXT_BYTES_MAX);
}

TEST(Timeline, KeepsAnHour) {
  Timeline timeline;
  for (size_t i = 1; i <= Timeline::POINTS_MAX + 3; ++i) {
    Nanos now = static_cast<Nanos>(i) * Timeline::STEP;
    EXPECT_TRUE(timeline.isDue(now));
    TimePoint point;
    point.metadataPerSecond = static_cast<double>(i);
    timeline.add(point, now, now / SECOND);
    EXPECT_FALSE(timeline.isDue(now + Timeline::STEP - 1));
  }
  EXPECT_EQ(timeline.points().size(), Timeline::POINTS_MAX);
  EXPECT_EQ(timeline.points().front().metadataPerSecond, 4);
}

TEST(SlowTrace, ACallTakesTheNotesAboutItsInodeFromItsTime) {
  SlowTrace trace(SECOND);
  EXPECT_FALSE(trace.isSlow(SECOND - 1));
  EXPECT_TRUE(trace.isSlow(SECOND));
  EXPECT_TRUE(trace.isSlowPart(SECOND / 2));
  trace.part(InodeId{5}, 1 * SECOND, 2 * SECOND, "c1 1000 ms");
  trace.part(InodeId{6}, 10 * SECOND, 12 * SECOND, "c2 2000 ms");
  trace.part(InodeId{5}, 10 * SECOND, 13 * SECOND, "c3 3000 ms");
  trace.part(InodeId{}, 12 * SECOND, 13 * SECOND, "master m1 900 ms");
  EXPECT_EQ(trace.call("fsync", InodeId{5}, 9 * SECOND, 14 * SECOND), "c3 3000 ms; master m1 900 ms");
  EXPECT_THAT(trace.call("read", InodeId{9}, 20 * SECOND, 22 * SECOND), HasSubstr("in this mount"));
  auto calls = trace.takeCalls();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].kind, "fsync");  // the slowest first
  EXPECT_TRUE(trace.takeCalls().empty());
  EXPECT_EQ(trace.count(), 2u);
  EXPECT_FALSE(SlowTrace(0).isSlow(100 * SECOND));
}

}  // namespace
}  // namespace cairn
