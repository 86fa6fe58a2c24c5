// Join tokens are good once, and revocations concern what was issued before them.
#include <gtest/gtest.h>

#include "common/security/certificates.h"
#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

constexpr int64_t TOKEN_SECONDS = 600;

class SecurityWorld {
 public:
  int addToken(const std::string& digest, const std::string& name) {
    return change([&](wire::SecurityChange::Builder change) {
      auto token = change.initAddToken();
      token.setDigest(bytes(digest));
      token.setRole(wire::Role::CHUNKSERVER);
      token.setName(name);
      token.setExpires(ns.now() + TOKEN_SECONDS);
    });
  }
  int redeem(const std::string& digest, const std::string& key, const std::string& name, int64_t begins = 0) {
    return change([&](wire::SecurityChange::Builder change) {
      auto redeem = change.initRedeem();
      redeem.setDigest(bytes(digest));
      redeem.setKey(bytes(key));
      fill(redeem.initCertificate(), name, begins);
    });
  }
  int issue(const std::string& name, int64_t begins = 0) {
    return change([&](wire::SecurityChange::Builder change) { fill(change.initIssued(), name, begins); });
  }
  int revoke(const std::string& name) {
    return change([&](wire::SecurityChange::Builder change) {
      auto revocation = change.initRevoke();
      revocation.setRole(wire::Role::CHUNKSERVER);
      revocation.setName(name);
      revocation.setUntil(ns.now());
    });
  }
  MapVersion map() { return ns.reader().map().version; }

  TestNamespace ns;

 private:
  static kj::ArrayPtr<const kj::byte> bytes(const std::string& text) {
    return kj::StringPtr(text.c_str(), text.size()).asBytes();
  }
  void fill(wire::CertificateRecord::Builder out, const std::string& name, int64_t begins) {
    out.setRole(wire::Role::CHUNKSERVER);
    out.setName(name);
    out.setSerial(std::to_string(++serial_));
    out.setBegins(begins == 0 ? ns.now() : begins);
    out.setExpires(ns.now() + DAY_SECONDS);
  }
  int change(const std::function<void(wire::SecurityChange::Builder)>& fill) {
    return ns.outcome(ns.apply([&](wire::Command::Builder command) { fill(command.initSecurity()); }));
  }

  int serial_ = 0;
};

TEST(Security, ATokenIsGoodOnce) {
  SecurityWorld world;
  EXPECT_EQ(world.redeem("secret", "key", "c4"), EACCES);
  ASSERT_EQ(world.addToken("secret", "c4"), 0);
  EXPECT_EQ(world.redeem("other", "key", "c4"), EACCES);
  EXPECT_EQ(world.redeem("secret", "key", "c4"), 0);
  EXPECT_EQ(world.redeem("secret", "key", "c4"), 0) << "the first answer was lost";
  EXPECT_EQ(world.redeem("secret", "another key", "c4"), EACCES);
  world.ns.reopen();
  EXPECT_EQ(world.redeem("secret", "another key", "c4"), EACCES);
  EXPECT_EQ(world.ns.reader().certificates().size(), 2u);
}

TEST(Security, ATokenExpires) {
  SecurityWorld world;
  ASSERT_EQ(world.addToken("secret", "c4"), 0);
  world.ns.tick(TOKEN_SECONDS + 1);
  EXPECT_EQ(world.redeem("secret", "key", "c4"), EACCES);
  EXPECT_TRUE(world.ns.reader().joinSecrets().empty()) << "and is forgotten";
}

TEST(Security, RevocationsTravelWithTheMap) {
  SecurityWorld world;
  ASSERT_EQ(world.issue("c1"), 0);
  ASSERT_EQ(world.addToken("secret", "c1"), 0);
  MapVersion before = world.map();
  ASSERT_EQ(world.revoke("c1"), 0);
  EXPECT_GT(world.map(), before);
  EXPECT_EQ(world.redeem("secret", "key", "c1"), EACCES) << "its tokens are void, too";
  EXPECT_EQ(world.issue("c1"), EAGAIN) << "signed before the revocation was known";
  EXPECT_EQ(world.issue("c1", world.ns.now() + 1), 0);
  EXPECT_EQ(world.issue("c2"), 0);
  world.ns.reopen();
  auto revoked = world.ns.reader().map().revoked;
  ASSERT_EQ(revoked.size(), 1u);
  EXPECT_EQ(revoked[0], (Revocation{PeerRole::CHUNKSERVER, "c1", world.ns.now()}));
  capnp::MallocMessageBuilder message;
  world.ns.reader().map().encode(message.initRoot<wire::ShardMap>(), MapVersion{});
  ShardMap copy;
  ASSERT_TRUE(copy.apply(message.getRoot<wire::ShardMap>().asReader()));
  EXPECT_EQ(copy.revoked, revoked);
}

TEST(Security, WhatHasExpiredIsForgotten) {
  SecurityWorld world;
  ASSERT_EQ(world.issue("c1"), 0);
  ASSERT_EQ(world.revoke("c1"), 0);
  world.ns.tick(CERTIFICATE_SECONDS_MAX + 2);
  MapVersion before = world.map();
  ASSERT_EQ(world.issue("c2"), 0);
  EXPECT_GT(world.map(), before);
  EXPECT_TRUE(world.ns.reader().map().revoked.empty());
  EXPECT_EQ(world.ns.reader().certificates().size(), 1u);
}

}  // namespace
}  // namespace cairn
