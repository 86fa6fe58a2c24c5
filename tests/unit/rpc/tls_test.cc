// Mutual TLS over real sockets: who is let in, who isn't and why, and that bytes arrive.
#include <gtest/gtest.h>
#include <kj/async-io.h>

#include <ctime>

#include "common/security/certificates.h"
#include "common/system/clock.h"
#include "rpc/connection.h"
#include "rpc/system_network.h"

namespace cairn {
namespace {

const ClusterId CLUSTER{1, 2};

int64_t wallSeconds() {
  return std::time(nullptr);
}

struct Issuer {
  Authority authority = makeAuthority(CLUSTER, wallSeconds());

  TlsMaterial material(PeerRole role, const std::string& name, ClusterId cluster = CLUSTER) const {
    return material({role, name, cluster}, validityFrom(wallSeconds(), DAY_SECONDS));
  }
  TlsMaterial material(const CertifiedName& name, Validity validity) const {
    std::string key = makeKey();
    auto certificate = issueCertificate(authority, makeRequest(key).value(), name, validity).value();
    return {authority.certificatePem, certificate + key};
  }
};

struct Host {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  Issuer issuer;

  kj::Own<SystemNetwork> network(TlsMaterial material, bool strangers = false) {
    TcpSecurity security;
    security.mode = TcpSecurity::Mode::TLS;
    security.material = std::move(material);
    security.strangers = strangers;
    return newSystemNetwork(io, std::move(security)).value();
  }
};

// A chunkserver, and somebody who calls it.
struct Call : Host {
  kj::Own<SystemNetwork> server = network(issuer.material(PeerRole::CHUNKSERVER, "c1"));
  kj::Own<Listener> listener = server->listen("127.0.0.1:0").value();
  kj::Maybe<Accepted> accepted;

  // The words in which it is refused, empty when it isn't. Of TLS 1.3's two sides the caller is done first, and finds
  // out when it reads.
  std::string refusal(Network& caller, ExpectedPeer expected = PeerRole::CHUNKSERVER) {
    auto accepting = listener->accept().then([this](Accepted&& one) { accepted = kj::mv(one); });
    auto task = accepting.eagerlyEvaluate(nullptr);
    std::string why;
    KJ_IF_MAYBE (e, kj::runCatchingExceptions([&] {
                   auto stream = caller.connect(listener->address(), expected).wait(io.waitScope);
                   char byte = 0;
                   auto read =
                       stream->tryRead(&byte, 1, 1).then([](size_t) { return std::string("the connection ended"); });
                   auto done = task.then([] { return std::string(); });
                   why = done.exclusiveJoin(kj::mv(read)).wait(io.waitScope);
                 })) {
      why = e->getDescription().cStr();
    }
    return why;
  }
};

TEST(Tls, LetsInWhoHasACertificate) {
  Call call;
  auto client = call.network(call.issuer.material(PeerRole::CLIENT, "laptop"));
  EXPECT_EQ(call.refusal(*client), "");
  const auto& peer = KJ_ASSERT_NONNULL(call.accepted).peer;
  EXPECT_EQ(peer.trust, PeerIdentity::Trust::CERTIFIED);
  EXPECT_EQ(toText(peer.name), "client laptop");
}

TEST(Tls, RefusesOtherAuthorities) {
  Call call;
  Issuer other;
  auto client = call.network(other.material(PeerRole::CLIENT, "laptop"));
  EXPECT_NE(call.refusal(*client).find("certificate"), std::string::npos) << "the caller doesn't trust the server";
  TlsMaterial mixed = other.material(PeerRole::CLIENT, "laptop");
  mixed.authorityPem = call.issuer.authority.certificatePem;
  auto believer = call.network(mixed);
  EXPECT_NE(call.refusal(*believer), "");
  EXPECT_TRUE(call.accepted == nullptr);
}

TEST(Tls, RefusesWhoShowsNone) {
  Call call;
  auto stranger = newJoiningNetwork(call.io, fingerprintOf(call.issuer.authority.certificatePem).value());
  EXPECT_NE(call.refusal(*stranger).find("certificate required"), std::string::npos);
  EXPECT_TRUE(call.accepted == nullptr);
}

TEST(Tls, LetsStrangersInWhereTheyMayAsk) {
  Host host;
  auto server = host.network(host.issuer.material(PeerRole::MASTER, "m1"), true);
  auto listener = server->listen("127.0.0.1:0").value();
  auto stranger = newJoiningNetwork(host.io, fingerprintOf(host.issuer.authority.certificatePem).value());
  auto connecting = stranger->connect(listener->address(), PeerRole::MASTER);
  auto accepted = listener->accept().wait(host.io.waitScope);
  auto stream = connecting.wait(host.io.waitScope);
  EXPECT_EQ(accepted.peer.trust, PeerIdentity::Trust::STRANGER);
  Issuer other;
  auto misled = newJoiningNetwork(host.io, fingerprintOf(other.authority.certificatePem).value());
  EXPECT_ANY_THROW(misled->connect(listener->address(), PeerRole::MASTER).wait(host.io.waitScope));
}

TEST(Tls, RefusesExpiredOnes) {
  Call call;
  int64_t now = wallSeconds();
  for (Validity validity : {Validity{now - 100, now - 10}, Validity{now + 1000, now + 2000}}) {
    auto client = call.network(call.issuer.material({PeerRole::CLIENT, "laptop", CLUSTER}, validity));
    EXPECT_NE(call.refusal(*client), "");
    EXPECT_TRUE(call.accepted == nullptr);
  }
}

TEST(Tls, RefusesOtherClusters) {
  Call call;
  auto client = call.network(call.issuer.material(PeerRole::CLIENT, "laptop", ClusterId{3, 4}));
  EXPECT_NE(call.refusal(*client), "");
  EXPECT_TRUE(call.accepted == nullptr);
}

TEST(Tls, RefusesAndCutsOffTheRevoked) {
  Call call;
  auto client = call.network(call.issuer.material(PeerRole::CLIENT, "laptop"));
  ASSERT_EQ(call.refusal(*client), "");
  auto& live = *KJ_ASSERT_NONNULL(call.accepted).stream;
  call.server->setRevoked({{PeerRole::CLIENT, "laptop", wallSeconds()}});
  char byte = 0;
  EXPECT_EQ(live.tryRead(&byte, 1, 1).wait(call.io.waitScope), 0u);
  call.accepted = nullptr;
  EXPECT_NE(call.refusal(*client).find("revoked"), std::string::npos);
  auto other = call.network(call.issuer.material(PeerRole::CLIENT, "desk"));
  EXPECT_EQ(call.refusal(*other), "");
}

TEST(Tls, HangsUpOnAnotherRole) {
  Call call;
  auto client = call.network(call.issuer.material(PeerRole::CLIENT, "laptop"));
  EXPECT_NE(call.refusal(*client, PeerRole::MASTER).find("somebody else"), std::string::npos);
}

TEST(Tls, AClientsCertificateServesNobody) {
  Host host;
  auto impostor = host.network(host.issuer.material(PeerRole::CLIENT, "laptop"));
  auto listener = impostor->listen("127.0.0.1:0").value();
  auto accepting = listener->accept().ignoreResult().eagerlyEvaluate([](kj::Exception&&) { return; });
  auto client = host.network(host.issuer.material(PeerRole::CLIENT, "desk"));
  EXPECT_ANY_THROW(client->connect(listener->address(), std::nullopt).wait(host.io.waitScope));
}

TEST(Tls, ARenewedCertificateIsUsedAtOnce) {
  Call call;
  int64_t now = wallSeconds();
  auto client = call.network(call.issuer.material({PeerRole::CLIENT, "laptop", CLUSTER}, {now - 100, now - 10}));
  ASSERT_NE(call.refusal(*client), "");
  ASSERT_TRUE(client->renew(call.issuer.material(PeerRole::CLIENT, "laptop")).ok());
  EXPECT_EQ(call.refusal(*client), "");
}

TEST(Tls, BytesArriveAsTheyWere) {
  Call call;
  auto client = call.network(call.issuer.material(PeerRole::CLIENT, "laptop"));
  auto connecting = client->connect(call.listener->address(), PeerRole::CHUNKSERVER);
  auto accepted = call.listener->accept().wait(call.io.waitScope);
  auto stream = connecting.wait(call.io.waitScope);
  auto sent = kj::heapArray<kj::byte>(5'000'001);
  for (size_t i = 0; i < sent.size(); ++i) {
    sent[i] = static_cast<kj::byte>(i * 2654435761u >> 13);
  }
  for (size_t size : {size_t{1}, size_t{16384}, size_t{16385}, size_t{300'000}, sent.size()}) {
    size_t half = size / 2 + 1;
    kj::ArrayPtr<const kj::byte> pieces[] = {sent.slice(0, 1), sent.slice(1, half), sent.slice(half, size)};
    auto writing = size == 1 ? stream->write(sent.begin(), 1) : stream->write(kj::arrayPtr(pieces, 3));
    auto got = kj::heapArray<kj::byte>(size);
    auto done = accepted.stream->tryRead(got.begin(), size, size).eagerlyEvaluate(nullptr);
    writing.wait(call.io.waitScope);
    ASSERT_EQ(done.wait(call.io.waitScope), size);
    EXPECT_TRUE(got.asPtr() == sent.slice(0, size));
  }
  stream->shutdownWrite();
  char byte = 0;
  EXPECT_EQ(accepted.stream->tryRead(&byte, 1, 1).wait(call.io.waitScope), 0u);
}

TEST(PlainTcp, IsForLoopbackAlone) {
  auto io = kj::setupAsyncIo();
  auto network = newPlainNetwork(io);
  EXPECT_TRUE(network->listen("127.0.0.1:0").ok());
  EXPECT_EQ(network->listen("0.0.0.0:0").code(), EPERM);
  EXPECT_EQ(network->listen("*:0").code(), EPERM);
  EXPECT_ANY_THROW(network->connect("192.0.2.1:7000", std::nullopt).wait(io.waitScope));
}

}  // namespace
}  // namespace cairn
