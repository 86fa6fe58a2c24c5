// Names in certificates, certificates themselves, join tokens.
#include <gtest/gtest.h>

#include "common/security/certificates.h"
#include "common/security/identity.h"
#include "common/security/join_token.h"
#include "common/security/secrets.h"

namespace cairn {
namespace {

constexpr int64_t NOW = 1'700'000'000;
const ClusterId CLUSTER{0x0123456789abcdef, 0xfedcba9876543210};

TEST(CommonName, SaysRoleNameAndCluster) {
  CertifiedName name{PeerRole::CHUNKSERVER, "c1", CLUSTER};
  EXPECT_EQ(commonName(name), "chunkserver.c1.0123456789abcdeffedcba9876543210");
  EXPECT_EQ(parseCommonName(commonName(name)).value(), name);
  name.name = std::string(CERTIFIED_NAME_CHARS_MAX, 'x');
  EXPECT_LE(commonName(name).size(), 64u);
}

TEST(CommonName, NothingElseIsTakenForOne) {
  const std::string cluster = toText(CLUSTER);
  const std::vector<std::string> others{std::string(),
                                        "master",
                                        "master." + cluster,
                                        "root.m1." + cluster,
                                        "master..." + cluster,
                                        "master.m.1." + cluster,
                                        "Master.m1." + cluster,
                                        "master.m1." + cluster + " ",
                                        "master.m1.01",
                                        "master.m\n1." + cluster,
                                        "master." + std::string(20, 'x') + "." + cluster,
                                        std::string("master.m1\0.", 11) + cluster,
                                        "master.m1.0123456789ABCDEFfedcba9876543210"};
  for (const auto& text : others) {
    EXPECT_FALSE(parseCommonName(text).ok()) << text;
  }
}

TEST(Revocations, ConcernWhatBeganBefore) {
  std::vector<Revocation> revoked{{PeerRole::CLIENT, "old", 100}};
  EXPECT_TRUE(isRevoked(revoked, {PeerRole::CLIENT, "old", CLUSTER}, 100));
  EXPECT_FALSE(isRevoked(revoked, {PeerRole::CLIENT, "old", CLUSTER}, 101));
  EXPECT_FALSE(isRevoked(revoked, {PeerRole::ADMIN, "old", CLUSTER}, 100));
  EXPECT_FALSE(isRevoked(revoked, {PeerRole::CLIENT, "new", CLUSTER}, 100));
}

struct Signed {
  Authority authority = makeAuthority(CLUSTER, NOW);
  std::string key = makeKey();
  std::string request = makeRequest(key).value();
};

TEST(Certificates, AreIssuedForAKey) {
  Signed made;
  CertifiedName name{PeerRole::MASTER, "m1", CLUSTER};
  auto certificate = issueCertificate(made.authority, made.request, name, validityFrom(NOW, DAY_SECONDS)).value();
  auto info = readCertificate(certificate).value();
  EXPECT_EQ(info.name, name);
  EXPECT_EQ(info.validity.from, NOW - CLOCK_SKEW_SECONDS);
  EXPECT_EQ(info.validity.until, NOW + DAY_SECONDS);
  EXPECT_EQ(info.serial.size(), 32u);
  EXPECT_TRUE(checkPair(made.key, certificate).ok());
  EXPECT_FALSE(checkPair(makeKey(), certificate).ok());
  auto again = issueCertificate(made.authority, made.request, name, validityFrom(NOW, DAY_SECONDS)).value();
  EXPECT_NE(readCertificate(again).value().serial, info.serial);
}

TEST(Certificates, OfARevokedNameBeginLater) {
  EXPECT_EQ(validityFrom(NOW, DAY_SECONDS, NOW).from, NOW + 1);
  Validity validity = validityFrom(NOW, 3 * DAY_SECONDS);
  EXPECT_EQ(renewalTime(validity), NOW + 2 * DAY_SECONDS);
}

TEST(Certificates, AreRefusedForWhatIsNoRequest) {
  Signed made;
  CertifiedName name{PeerRole::CLIENT, "x", CLUSTER};
  Validity validity = validityFrom(NOW, DAY_SECONDS);
  std::string damaged = made.request;
  damaged[damaged.size() / 2] = damaged[damaged.size() / 2] == 'A' ? 'B' : 'A';
  for (const std::string& request : {std::string(), std::string("x"), damaged, made.key, made.authority.certificatePem,
                                     std::string(PEM_BYTES_MAX + 1, 'x')}) {
    EXPECT_EQ(issueCertificate(made.authority, request, name, validity).code(), EINVAL);
  }
  name.name = "a.b";
  EXPECT_EQ(issueCertificate(made.authority, made.request, name, validity).code(), EINVAL);
}

TEST(JoinTokens, ComeBackAsTheyWere) {
  JoinToken token{{PeerRole::CHUNKSERVER, "c4", CLUSTER},
                  sha256("ca"),
                  secretBytes(JOIN_SECRET_BYTES),
                  {"10.0.0.1:7000", "10.0.0.2:7000"}};
  std::string text = writeJoinToken(token);
  auto read = readJoinToken(text).value();
  EXPECT_EQ(read.name, token.name);
  EXPECT_EQ(read.authority, token.authority);
  EXPECT_EQ(read.secret, token.secret);
  EXPECT_EQ(read.masters, token.masters);
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(readJoinToken(text.substr(0, size)).ok()) << size;
  }
  for (size_t at = 0; at < text.size(); ++at) {
    std::string other = text;
    other[at] = other[at] == 'x' ? 'y' : 'x';
    EXPECT_FALSE(readJoinToken(other).ok()) << at;
  }
}

TEST(Secrets, AreText) {
  EXPECT_EQ(hexText(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  for (size_t size = 0; size < 20; ++size) {
    std::string bytes = secretBytes(size), read;
    ASSERT_TRUE(parseBase64Url(base64Url(bytes), read));
    EXPECT_EQ(read, bytes);
  }
  std::string read;
  EXPECT_FALSE(parseBase64Url("a+b/", read));
  EXPECT_FALSE(parseBase64Url("ab\n", read));
  EXPECT_TRUE(equalSecrets("ab", "ab"));
  EXPECT_FALSE(equalSecrets("ab", "abc"));
}

}  // namespace
}  // namespace cairn
