// A Hello is believed as far as its certificate goes.
#include "rpc/claims.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

namespace cairn {
namespace {

Status claim(const PeerIdentity& peer, wire::Role role, const char* name) {
  capnp::MallocMessageBuilder message;
  auto hello = message.initRoot<wire::Hello>();
  hello.setRole(role);
  hello.setName(name);
  return checkClaim(peer, hello.asReader());
}

PeerIdentity certified(PeerRole role, const std::string& name) {
  PeerIdentity peer;
  peer.trust = PeerIdentity::Trust::CERTIFIED;
  peer.name = {role, name, ClusterId{1, 2}};
  return peer;
}

TEST(Claims, OfRolesMustBeTheCertificates) {
  for (auto role : {PeerRole::CLIENT, PeerRole::CHUNKSERVER, PeerRole::MASTER, PeerRole::ADMIN}) {
    for (auto said : {wire::Role::CLIENT, wire::Role::CHUNKSERVER, wire::Role::MASTER, wire::Role::ADMIN}) {
      bool same = static_cast<int>(role) == static_cast<int>(said);
      EXPECT_EQ(claim(certified(role, "x"), said, "x").ok(), same) << roleText(role) << " " << static_cast<int>(said);
    }
  }
}

TEST(Claims, OfADaemonsNameToo) {
  EXPECT_FALSE(claim(certified(PeerRole::CHUNKSERVER, "c1"), wire::Role::CHUNKSERVER, "c2").ok());
  EXPECT_FALSE(claim(certified(PeerRole::MASTER, "m1"), wire::Role::MASTER, "m2").ok());
  EXPECT_TRUE(claim(certified(PeerRole::CLIENT, "laptop"), wire::Role::CLIENT, "laptop:/mnt").ok());
}

TEST(Claims, OfStrangersAreWorthless) {
  PeerIdentity stranger;
  stranger.trust = PeerIdentity::Trust::STRANGER;
  EXPECT_FALSE(claim(stranger, wire::Role::CLIENT, "x").ok());
  EXPECT_TRUE(claim(PeerIdentity(), wire::Role::ADMIN, "x").ok()) << "the operating system vouches for it";
}

}  // namespace
}  // namespace cairn
