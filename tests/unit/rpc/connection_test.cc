// Real sockets: dialling, refusals, deadlines, a door that survives garbage.
#include "rpc/connection.h"

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <unistd.h>

#include "common/system/clock.h"
#include "rpc/system_network.h"
#include "schema/master.capnp.h"

namespace cairn {
namespace {

class Door final : public wire::MasterDoor::Server {
 public:
  kj::Promise<void> enter(EnterContext context) override {
    context.getResults().setLeader(context.getParams().getHello().getName());
    return kj::READY_NOW;
  }
};

struct Host {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Clock> clock = newSystemClock(io.provider->getTimer());
  kj::Own<Network> network = newPlainNetwork(io);

  kj::Own<RpcServer> serve(const Address& address) {
    auto listener = network->listen(address);
    return serveRpc(kj::mv(listener).value(),
                    [](const PeerIdentity&) { return capnp::Capability::Client(kj::heap<Door>()); });
  }
  std::string greet(const Address& address, const char* name) {
    auto link = dial(*network, *clock, address, SECOND, PeerRole::MASTER).wait(io.waitScope);
    auto request = link->bootstrap().castAs<wire::MasterDoor>().enterRequest();
    request.initHello().setName(name);
    auto answer = withDeadline(*clock, SECOND, request.send().dropPipeline(), "enter").wait(io.waitScope);
    return answer.getLeader().cStr();
  }
};

std::string socketPath() { return "/tmp/cairn-connection-test-" + std::to_string(getpid()) + ".sock"; }

TEST(Connection, TcpAndUnixAnswer) {
  Host host;
  auto tcp = host.serve("127.0.0.1:0");
  EXPECT_EQ(host.greet(tcp->address(), "over tcp"), "over tcp");
  auto local = host.serve("unix:" + socketPath());
  EXPECT_EQ(host.greet(local->address(), "over unix"), "over unix");
  unlink(socketPath().c_str());
}

TEST(Connection, AnAddressInUseIsRefusedWithTheCure) {
  Host host;
  auto tcp = host.serve("127.0.0.1:0");
  auto again = host.network->listen(tcp->address());
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.code(), EADDRINUSE);
  EXPECT_NE(again.error().why.find("--listen"), std::string::npos);
  auto local = host.serve("unix:" + socketPath());
  EXPECT_EQ(host.network->listen("unix:" + socketPath()).code(), EADDRINUSE);
  unlink(socketPath().c_str());
}

TEST(Connection, ASocketFileLeftByADeadProcessIsTakenOver) {
  Host host;
  { auto gone = host.serve("unix:" + socketPath()); }
  ASSERT_EQ(access(socketPath().c_str(), F_OK), 0) << "the file should stay behind";
  auto local = host.serve("unix:" + socketPath());
  EXPECT_EQ(host.greet(local->address(), "second life"), "second life");
  unlink(socketPath().c_str());
}

TEST(Connection, NonsenseAddressesAreNamed) {
  Host host;
  EXPECT_NE(host.network->listen("nonsense").error().why.find("host:port"), std::string::npos);
  EXPECT_NE(host.network->listen("127.0.0.1:http!").error().why.find("host:port"), std::string::npos);
  EXPECT_EQ(host.network->listen("unix:/tmp/" + std::string(200, 'x')).code(), ENAMETOOLONG);
}

TEST(Connection, NobodyThereIsRetryable) {
  Host host;
  const Address address = "unix:" + socketPath() + ".absent";
  kj::Maybe<kj::Exception> failure = kj::runCatchingExceptions(
      [&]() { dial(*host.network, *host.clock, address, SECOND, PeerRole::MASTER).wait(host.io.waitScope); });
  KJ_IF_MAYBE(e, failure) {
    EXPECT_TRUE(isRetryable(*e)) << e->getDescription().cStr();
  } else {
    ADD_FAILURE() << "dialled nobody";
  }
}

TEST(Connection, ADeadlineEndsTheWait) {
  Host host;
  kj::Promise<int> never = kj::NEVER_DONE;
  EXPECT_THROW(withDeadline(*host.clock, MILLISECOND, kj::mv(never), "nothing").wait(host.io.waitScope), kj::Exception);
}

TEST(Connection, ADoorSurvivesGarbage) {
  Host host;
  auto server = host.serve("127.0.0.1:0");
  const kj::byte ones[] = {0xff, 0xff, 0xff, 0xff};
  const char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  for (kj::ArrayPtr<const kj::byte> garbage : {kj::arrayPtr(ones, 4), kj::StringPtr(text).asBytes()}) {
    auto stream = host.network->connect(server->address(), std::nullopt).wait(host.io.waitScope);
    stream->write(garbage.begin(), garbage.size()).wait(host.io.waitScope);
    char byte;
    auto closed = stream->tryRead(&byte, 1, 1)
                      .then([](size_t n) { return n; }, [](kj::Exception&&) { return size_t{0}; });
    // It may send an abort message first; then the stream ends or fails.
    withDeadline(*host.clock, 5 * SECOND, kj::mv(closed), "close").wait(host.io.waitScope);
  }
  EXPECT_EQ(host.greet(server->address(), "still here"), "still here");
}

}  // namespace
}  // namespace cairn
