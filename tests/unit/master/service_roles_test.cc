// Each call of a master belongs to a role: whoever came in as another is refused.
#include <gtest/gtest.h>

#include "master/authority.h"
#include "tests/unit/master/service_world.h"

namespace cairn {
namespace {

constexpr Nanos LIMIT = 5 * SECOND;

class Doors : public testing::Test {
 public:
  ~Doors() noexcept override {}  // gtest's own may not throw

  template <typename Results>
  bool isRefused(capnp::RemotePromise<Results> sent) {
    kj::Promise<capnp::Response<Results>> promise = kj::mv(sent);
    auto failure = kj::runCatchingExceptions([&] { cluster.world.await(kj::mv(promise), LIMIT); });
    KJ_IF_MAYBE (e, failure) {
      EXPECT_NE(std::string(e->getDescription().cStr()).find("role"), std::string::npos) << e->getDescription().cStr();
      return true;
    }
    return false;
  }

  MasterWorld cluster{1, 1};
};

TEST_F(Doors, LeadToWhatTheRoleMayAsk) {
  TestServer server(cluster, "c1");
  ASSERT_EQ(server.start(), 0);
  TestLink link(cluster.world, "h1", cluster.address);
  for (auto role : {wire::Role::CLIENT, wire::Role::CHUNKSERVER, wire::Role::MASTER, wire::Role::ADMIN}) {
    auto master = link.master(MasterWorld::CLUSTER, role);
    EXPECT_EQ(isRefused(master.adminRequest().send()), role != wire::Role::ADMIN);
    if (role != wire::Role::CLIENT) {
      EXPECT_TRUE(isRefused(master.attachRequest().send()));
    }
    if (role != wire::Role::CHUNKSERVER) {
      EXPECT_TRUE(isRefused(master.registerRequest().send()));
    }
  }
}

TEST_F(Doors, OfRaftAreForMasters) {
  TestLink link(cluster.world, "h1", cluster.address);
  for (auto role : {wire::Role::CLIENT, wire::Role::CHUNKSERVER, wire::Role::ADMIN}) {
    auto request = link.door().raftRequest();
    auto hello = request.initHello();
    toWire(MasterWorld::CLUSTER, hello.initCluster());
    hello.setRole(role);
    hello.setProtocol(wire::PROTOCOL);
    kj::Promise<capnp::Response<wire::MasterDoor::RaftResults>> sent = request.send();
    auto reply = cluster.world.await(kj::mv(sent), LIMIT);
    EXPECT_EQ(reply.getOutcome().getErrno(), ESTALE);
    EXPECT_FALSE(reply.hasPeer());
  }
}

}  // namespace
}  // namespace cairn
