// What mutual TLS costs, in processor time of both ends together: connecting, small calls and 1 MiB transfers over
// loopback, plain and with TLS.
// Run by hand: tls_bench
#include <kj/async-io.h>

#include <cstdio>
#include <ctime>

#include "common/security/certificates.h"
#include "common/system/clock.h"
#include "rpc/connection.h"
#include "rpc/system_network.h"
#include "schema/master.capnp.h"

namespace cairn {
namespace {

constexpr unsigned CALLS = 20000;
constexpr unsigned TRANSFERS = 500;
constexpr size_t TRANSFER_BYTES = 1 << 20;
constexpr unsigned HANDSHAKES = 500;

class Door final : public wire::MasterDoor::Server {
 public:
  kj::Promise<void> enter(EnterContext) override { return kj::READY_NOW; }
};

// Of both ends together: the time that the machine gives to others doesn't count.
double cpuMicros(std::clock_t since, unsigned times) {
  return 1e6 * static_cast<double>(std::clock() - since) / CLOCKS_PER_SEC / times;
}

TcpSecurity securityOf(const Authority& authority, const CertifiedName& name) {
  std::string key = makeKey();
  auto validity = validityFrom(std::time(nullptr), DAY_SECONDS);
  TcpSecurity security;
  security.mode = TcpSecurity::Mode::TLS;
  security.material = {authority.certificatePem,
                       issueCertificate(authority, makeRequest(key).value(), name, validity).value() + key};
  return security;
}

void measure(const char* what, kj::AsyncIoContext& io, Clock& clock, Network& serving, Network& calling) {
  auto door = [](const PeerIdentity&) -> capnp::Capability::Client { return kj::heap<Door>(); };
  auto server = serveRpc(serving.listen("127.0.0.1:0").value(), door);
  auto began = std::clock();
  for (unsigned i = 0; i < HANDSHAKES; ++i) {
    calling.connect(server->address(), std::nullopt).wait(io.waitScope);
  }
  double connecting = cpuMicros(began, HANDSHAKES);
  auto link = dial(calling, clock, server->address(), SECOND, PeerRole::MASTER).wait(io.waitScope);
  auto client = link->bootstrap().castAs<wire::MasterDoor>();
  client.enterRequest().send().wait(io.waitScope);
  began = std::clock();
  for (unsigned i = 0; i < CALLS; ++i) {
    client.enterRequest().send().wait(io.waitScope);
  }
  double call = cpuMicros(began, CALLS);

  auto listener = serving.listen("127.0.0.1:0").value();
  auto dialled = calling.connect(listener->address(), std::nullopt);
  auto accepted = listener->accept().wait(io.waitScope);
  auto stream = dialled.wait(io.waitScope);
  auto bytes = kj::heapArray<kj::byte>(TRANSFER_BYTES);
  auto got = kj::heapArray<kj::byte>(TRANSFER_BYTES);
  began = std::clock();
  for (unsigned i = 0; i < TRANSFERS; ++i) {
    auto reading = accepted.stream->tryRead(got.begin(), got.size(), got.size()).eagerlyEvaluate(nullptr);
    stream->write(bytes.begin(), bytes.size()).wait(io.waitScope);
    reading.wait(io.waitScope);
  }
  double transfer = cpuMicros(began, TRANSFERS);
  printf("%s: connect %.0f us, call %.1f us, 1 MiB %.0f us (%.0f MiB/s)\n", what, connecting, call, transfer,
         1e6 / transfer);
}

int bench() {
  auto io = kj::setupAsyncIo();
  auto clock = newSystemClock(io.provider->getTimer());
  auto plain = newPlainNetwork(io);
  const ClusterId cluster{1, 2};
  auto authority = makeAuthority(cluster, std::time(nullptr));
  auto serving = newSystemNetwork(io, securityOf(authority, {PeerRole::MASTER, "m1", cluster})).value();
  auto calling = newSystemNetwork(io, securityOf(authority, {PeerRole::CLIENT, "x", cluster})).value();
  for (int round = 0; round < 3; ++round) {
    measure("plain", io, *clock, *plain, *plain);
    measure("TLS  ", io, *clock, *serving, *calling);
  }
  return 0;
}

}  // namespace
}  // namespace cairn

int main() {
  return cairn::bench();
}
