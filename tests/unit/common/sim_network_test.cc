#include "tests/sim/world/sim_network.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/sim/world/world.h"

namespace cairn {
namespace {

using Stream = kj::Own<kj::AsyncIoStream>;

// A world with a server "s" that listens on "s:1" and a client "c".
struct Bench {
  explicit Bench(uint64_t seed = 1)
      : world(seed), network(world.network()), listener(network.host("s").listen("s:1").value()) {}

  void join() {
    client = world.await(network.host("c").connect("s:1", std::nullopt), SECOND);
    Accepted accepted = world.await(listener->accept(), SECOND);
    server = kj::mv(accepted.stream);
    EXPECT_EQ(accepted.peer.text, "c");
  }
  static kj::Promise<void> send(Stream& stream, const std::string& text) {
    return stream->write(text.data(), text.size());
  }
  // What arrives within `limit`; "..." when nothing does.
  std::string receive(Stream& stream, size_t bytes, Nanos limit = SECOND) {
    std::string out(bytes, '?');
    std::string result = "...";
    auto got = stream->tryRead(out.data(), bytes, bytes)
                   .then([&](size_t n) { result = out.substr(0, n); }, [&](kj::Exception&&) { result = "broken: "; })
                   .eagerlyEvaluate(nullptr);
    world.runFor(limit);
    return result;
  }

  World world;
  SimNetwork& network;
  kj::Own<Listener> listener;
  Stream client, server;
};

TEST(SimNetwork, CarriesBytesInOrderAndInTime) {
  Bench bench;
  bench.join();
  Nanos before = bench.world.clock().monotonic();
  for (char c = 'a'; c <= 'z'; c++) {
    bench.world.await(bench.send(bench.client, std::string(1, c)), SECOND);
  }
  EXPECT_EQ(bench.receive(bench.server, 26, MILLISECOND), "abcdefghijklmnopqrstuvwxyz");
  EXPECT_GT(bench.world.clock().monotonic(), before);
  bench.world.await(bench.send(bench.server, "back"), SECOND);
  EXPECT_EQ(bench.receive(bench.client, 4), "back");
}

TEST(SimNetwork, RefusesWhereNobodyListens) {
  Bench bench;
  for (const char* address : {"s:2", "nowhere:1", "unix:/run/s"}) {
    auto connecting = bench.network.host("c").connect(address, std::nullopt);
    auto failure = kj::runCatchingExceptions([&] { bench.world.await(kj::mv(connecting), SECOND); });
    KJ_IF_MAYBE (e, failure) {
      EXPECT_EQ(e->getType(), kj::Exception::Type::DISCONNECTED) << address;
    } else {
      ADD_FAILURE() << address;
    }
  }
}

TEST(SimNetwork, UnixSocketsBelongToTheirHost) {
  Bench bench;
  auto listener = bench.network.host("s").listen("unix:/run/s");
  ASSERT_TRUE(listener.ok());
  EXPECT_EQ(bench.network.host("s").listen("unix:/run/s").code(), EADDRINUSE);
  EXPECT_TRUE(bench.network.host("c").listen("unix:/run/s").ok());
  bench.network.isolate("s");
  auto client = bench.world.await(bench.network.host("s").connect("unix:/run/s", std::nullopt), SECOND);
  auto accepted = bench.world.await(listener.value()->accept(), SECOND);
  EXPECT_EQ(accepted.peer.kind, PeerIdentity::Kind::LOCAL_PROCESS);
}

TEST(SimNetwork, ChoosesPorts) {
  Bench bench;
  auto one = bench.network.host("s").listen("s:0");
  auto other = bench.network.host("s").listen("s:0");
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_NE(one.value()->address(), other.value()->address());
  bench.world.await(bench.network.host("c").connect(other.value()->address(), std::nullopt), SECOND);
}

TEST(SimNetwork, AnAddressIsFreeAgainAfterItsListener) {
  Bench bench;
  EXPECT_EQ(bench.network.host("s").listen("s:1").code(), EADDRINUSE);
  bench.listener = nullptr;
  EXPECT_TRUE(bench.network.host("s").listen("s:1").ok());
}

TEST(SimNetwork, PartitionsHoldBytesBackUntilTheyHeal) {
  Bench bench;
  bench.join();
  bench.network.partition("c", "s");
  bench.world.await(bench.send(bench.client, "ping"), SECOND);
  bench.world.await(bench.send(bench.server, "pong"), SECOND);
  EXPECT_EQ(bench.receive(bench.server, 4, 60 * SECOND), "...");
  EXPECT_EQ(bench.receive(bench.client, 4, 60 * SECOND), "...");
  bench.network.heal("c", "s");
  EXPECT_EQ(bench.receive(bench.server, 4), "ping");
  EXPECT_EQ(bench.receive(bench.client, 4), "pong");
}

TEST(SimNetwork, OneWayPartition) {
  Bench bench;
  bench.join();
  bench.network.partitionOneWay("c", "s");
  bench.world.await(bench.send(bench.client, "ping"), SECOND);
  bench.world.await(bench.send(bench.server, "pong"), SECOND);
  EXPECT_EQ(bench.receive(bench.server, 4), "...");
  EXPECT_EQ(bench.receive(bench.client, 4), "pong");
}

TEST(SimNetwork, ConnectHangsInAPartition) {
  Bench bench;
  bench.network.isolate("s");
  auto connecting = bench.network.host("c").connect("s:1", std::nullopt);
  bench.world.runFor(60 * SECOND);
  EXPECT_FALSE(connecting.poll(bench.world.waitScope()));
  bench.network.rejoin("s");
  bench.world.await(kj::mv(connecting), SECOND);
}

TEST(SimNetwork, ResetBreaksBothEnds) {
  Bench bench;
  bench.join();
  auto broken = bench.client->whenWriteDisconnected();
  bench.network.reset("s", "c");
  EXPECT_EQ(bench.receive(bench.client, 1), "broken: ");
  EXPECT_EQ(bench.receive(bench.server, 1), "broken: ");
  bench.world.await(kj::mv(broken), SECOND);
  EXPECT_ANY_THROW(bench.world.await(bench.send(bench.client, "x"), SECOND));
}

TEST(SimNetwork, ClosingIsHeardAfterWhatWasSent) {
  Bench bench;
  bench.join();
  bench.world.await(bench.send(bench.server, "last words"), SECOND);
  bench.server = nullptr;
  EXPECT_EQ(bench.receive(bench.client, 100), "last words");
  EXPECT_ANY_THROW(bench.world.await(bench.send(bench.client, "x"), SECOND));
}

TEST(SimNetwork, HalfCloseLeavesTheOtherDirection) {
  Bench bench;
  bench.join();
  bench.client->shutdownWrite();
  EXPECT_EQ(bench.receive(bench.server, 1), "");
  bench.world.await(bench.send(bench.server, "still"), SECOND);
  EXPECT_EQ(bench.receive(bench.client, 5), "still");
}

TEST(SimNetwork, AHostWithoutPowerSaysNothing) {
  Bench bench;
  bench.join();
  bench.network.powerOff("s");
  bench.server = nullptr;
  bench.listener = nullptr;
  EXPECT_EQ(bench.receive(bench.client, 1, 60 * SECOND), "...");
  bench.network.powerOn("s");
  EXPECT_EQ(bench.receive(bench.client, 1), "broken: ");
  bench.listener = bench.network.host("s").listen("s:1").value();
  bench.join();
}

TEST(SimNetwork, AWriterWaitsForASlowReader) {
  Bench bench;
  bench.join();
  std::string megabyte(1 << 20, 'm');
  bench.world.await(bench.send(bench.client, megabyte), SECOND);
  auto second = bench.send(bench.client, megabyte);
  bench.world.runFor(SECOND);
  EXPECT_FALSE(second.poll(bench.world.waitScope()));
  EXPECT_EQ(bench.receive(bench.server, megabyte.size()), megabyte);
  bench.world.await(kj::mv(second), SECOND);
}

TEST(SimNetwork, SameSeedSameTrace) {
  auto run = [](uint64_t seed) {
    Bench bench(seed);
    bench.join();
    for (int i = 0; i < 50; i++) {
      bench.world.await(bench.send(bench.client, std::to_string(i)), SECOND);
      bench.world.runFor(100 * MICROSECOND);
    }
    return bench.world.traceHash();
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

}  // namespace
}  // namespace cairn
