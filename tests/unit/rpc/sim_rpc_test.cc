// The real RPC stack over the simulated network: calls, silence, breaks, restarts, and the same trace for the same
// seed.
#include <gtest/gtest.h>

#include "rpc/connection.h"
#include "schema/master.capnp.h"
#include "tests/sim/world/world.h"

namespace cairn {
namespace {

class Door final : public wire::MasterDoor::Server {
 public:
  explicit Door(unsigned& calls) : calls_(calls) {}
  kj::Promise<void> enter(EnterContext context) override {
    calls_++;
    context.getResults().setLeader(context.getParams().getHello().getName());
    return kj::READY_NOW;
  }

 private:
  unsigned& calls_;
};

struct Cluster {
  explicit Cluster(uint64_t seed) : world(seed) { start(); }

  void start() {
    auto door = [this](const PeerIdentity&) { return capnp::Capability::Client(kj::heap<Door>(calls)); };
    server = serveRpc(world.network().host("s").listen("s:1").value(), kj::mv(door));
  }
  kj::Own<Link> dialServer() {
    return world.await(dial(world.network().host("c"), world.clock(), "s:1", SECOND, PeerRole::MASTER), 2 * SECOND);
  }
  kj::Promise<std::string> greet(Link& link, const std::string& name, Nanos limit = SECOND) {
    auto request = link.bootstrap().castAs<wire::MasterDoor>().enterRequest();
    request.initHello().setName(name);
    auto answer = withDeadline(world.clock(), limit, request.send().dropPipeline(), "enter");
    return answer.then([](auto&& reply) { return std::string(reply.getLeader().cStr()); });
  }

  World world;
  unsigned calls = 0;
  kj::Own<RpcServer> server;
};

kj::Exception::Type failureOf(World& world, kj::Promise<std::string> promise) {
  auto failure = kj::runCatchingExceptions([&] { world.await(kj::mv(promise), 60 * SECOND); });
  KJ_IF_MAYBE (e, failure) {
    return e->getType();
  }
  ADD_FAILURE() << "it succeeded";
  return kj::Exception::Type::FAILED;
}

uint64_t traceOfManyCalls(uint64_t seed) {
  Cluster cluster(seed);
  auto link = cluster.dialServer();
  for (int round = 0; round < 100; round++) {
    auto calls = kj::heapArrayBuilder<kj::Promise<std::string>>(20);
    for (int i = 0; i < 20; i++) {
      calls.add(cluster.greet(*link, std::to_string(round * 20 + i)));
    }
    auto answers = cluster.world.await(kj::joinPromises(calls.finish()), SECOND);
    for (int i = 0; i < 20; i++) {
      EXPECT_EQ(answers[i], std::to_string(round * 20 + i));
    }
  }
  EXPECT_EQ(cluster.calls, 2000u);
  return cluster.world.traceHash();
}

TEST(SimRpc, SameSeedSameTrace) {
  EXPECT_EQ(traceOfManyCalls(3), traceOfManyCalls(3));
  EXPECT_NE(traceOfManyCalls(3), traceOfManyCalls(4));
}

TEST(SimRpc, SilenceRunsIntoTheDeadlineAndHeals) {
  Cluster cluster(1);
  auto link = cluster.dialServer();
  EXPECT_EQ(cluster.world.await(cluster.greet(*link, "before"), SECOND), "before");
  cluster.world.network().partition("c", "s");
  EXPECT_EQ(failureOf(cluster.world, cluster.greet(*link, "lost")), kj::Exception::Type::OVERLOADED);
  cluster.world.network().heal("c", "s");
  EXPECT_EQ(cluster.world.await(cluster.greet(*link, "after"), SECOND), "after");
  EXPECT_EQ(cluster.calls, 3u) << "the call sent into the silence arrives when it ends";
}

TEST(SimRpc, AResetEndsTheLink) {
  Cluster cluster(1);
  auto link = cluster.dialServer();
  cluster.world.await(cluster.greet(*link, "a"), SECOND);
  auto pending = cluster.greet(*link, "b");
  cluster.world.network().reset("c");
  EXPECT_EQ(failureOf(cluster.world, kj::mv(pending)), kj::Exception::Type::DISCONNECTED);
  cluster.world.await(link->onBroken(), SECOND);
  link = cluster.dialServer();
  EXPECT_EQ(cluster.world.await(cluster.greet(*link, "c"), SECOND), "c");
}

TEST(SimRpc, AServerThatEndsIsNoticedOneWithoutPowerIsNot) {
  for (bool power : {true, false}) {
    Cluster cluster(1);
    auto link = cluster.dialServer();
    cluster.world.await(cluster.greet(*link, "a"), SECOND);
    if (!power) {
      cluster.world.network().powerOff("s");
    }
    cluster.server = nullptr;
    auto broken = link->onBroken();
    cluster.world.runFor(60 * SECOND);
    EXPECT_EQ(broken.poll(cluster.world.waitScope()), power);
    cluster.world.network().powerOn("s");
    cluster.start();
    cluster.world.await(kj::mv(broken), SECOND);
    link = cluster.dialServer();
    EXPECT_EQ(cluster.world.await(cluster.greet(*link, "again"), SECOND), "again");
  }
}

TEST(SimRpc, DiallingNobodyIsRetryable) {
  Cluster cluster(1);
  cluster.server = nullptr;
  auto failure = kj::runCatchingExceptions([&] { cluster.dialServer(); });
  KJ_IF_MAYBE (e, failure) {
    EXPECT_TRUE(isRetryable(*e));
  } else {
    FAIL() << "somebody answered";
  }
}

}  // namespace
}  // namespace cairn
