#include "rpc/renewal.h"

#include <algorithm>
#include <cerrno>

#include "common/log.h"
#include "rpc/connection.h"
#include "rpc/hello.h"
#include "rpc/shard_map.h"
#include "schema/master.capnp.h"
#include "schema/security.capnp.h"

namespace cairn {

namespace {

constexpr Nanos CONNECT_LIMIT = 2 * SECOND;
constexpr Nanos ANSWER_LIMIT = 5 * SECOND;
constexpr Nanos LOOK = 60 * SECOND;  // wall clocks may be set at any time
constexpr Nanos RETRY_MIN = 2 * SECOND;
constexpr Nanos RETRY_MAX = 300 * SECOND;
constexpr Nanos JOIN_PAUSE = 200 * MILLISECOND;
constexpr int64_t COMPLAINT_AFTER_TRIES = 3;

std::vector<Address> addressesOf(const ClusterFile& cluster) {
  std::vector<Address> all;
  for (const auto& master : cluster.masters) {
    auto some = master.addresses();
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

Status readStatus(wire::Outcome::Reader outcome) {
  return outcome.getErrno() == 0 ? Status() : Status(Error{outcome.getErrno(), outcome.getWhy().cStr()});
}

Task<Result<std::string>> renewAt(const RenewalParts& parts, Address address, std::string requestPem) {
  try {
    auto link = co_await dial(parts.network, parts.clock, address, CONNECT_LIMIT, PeerRole::MASTER);
    auto request = link->bootstrap().castAs<wire::MasterDoor>().renewRequest();
    writeHello(request.initHello(), parts.cluster.cluster, toWire(parts.self.role), parts.self.name);
    request.setRequest(requestPem);
    kj::Promise<capnp::Response<wire::MasterDoor::RenewResults>> sent = request.send();
    auto reply = co_await withDeadline(parts.clock, ANSWER_LIMIT, kj::mv(sent), "renewing the certificate");
    auto outcome = readStatus(reply.getOutcome());
    if (!outcome.ok()) {
      co_return outcome.error();
    }
    co_return std::string(reply.getCertificate().cStr());
  } catch (const kj::Exception& e) {
    co_return Error{EIO, std::string(address) + ": " + e.getDescription().cStr()};
  }
}

Task<Result<std::string>> authorityKeyAt(const RenewalParts& parts, Address address) {
  try {
    auto link = co_await dial(parts.network, parts.clock, address, CONNECT_LIMIT, PeerRole::MASTER);
    auto request = link->bootstrap().castAs<wire::MasterDoor>().authorityRequest();
    writeHello(request.initHello(), parts.cluster.cluster, wire::Role::MASTER, parts.self.name);
    kj::Promise<capnp::Response<wire::MasterDoor::AuthorityResults>> sent = request.send();
    auto reply = co_await withDeadline(parts.clock, ANSWER_LIMIT, kj::mv(sent), "asking for the authority's key");
    auto outcome = readStatus(reply.getOutcome());
    if (!outcome.ok()) {
      co_return outcome.error();
    }
    co_return std::string(reply.getKey().cStr());
  } catch (const kj::Exception& e) {
    co_return Error{EIO, std::string(address) + ": " + e.getDescription().cStr()};
  }
}

// What is refused for good isn't asked of another master.
bool isFinal(int code) {
  return code != EIO && code != EAGAIN && code != EBUSY;
}

Task<Result<Enrolled>> enrollAt(Network& network, Clock& clock, Address address, const JoinToken& token,
                                const std::string& key) {
  try {
    auto link = co_await dial(network, clock, address, CONNECT_LIMIT, std::nullopt);
    auto request = link->bootstrap().castAs<wire::Enrollment>().redeemRequest();
    request.setSecret(kj::StringPtr(token.secret.c_str(), token.secret.size()).asBytes());
    request.setRequest(makeRequest(key).value());
    kj::Promise<capnp::Response<wire::Enrollment::RedeemResults>> sent = request.send();
    auto reply = co_await withDeadline(clock, ANSWER_LIMIT, kj::mv(sent), "asking for a certificate");
    auto outcome = readStatus(reply.getOutcome());
    if (!outcome.ok()) {
      co_return outcome.error();
    }
    Enrolled enrolled{std::string(reply.getCertificate().cStr()) + key, reply.getAuthority().cStr(),
                      reply.getClusterFile().cStr()};
    co_return kj::mv(enrolled);
  } catch (const kj::Exception& e) {
    co_return Error{EIO, e.getDescription().cStr()};
  }
}

Status checkEnrolled(const Enrolled& enrolled, const JoinToken& token) {
  auto authority = fingerprintOf(enrolled.authorityPem);
  auto info = readCertificate(enrolled.identityPem);
  auto paired = checkPair(enrolled.identityPem, enrolled.identityPem);
  if (!authority.ok() || authority.value() != token.authority || !info.ok() || info.value().name != token.name ||
      !paired.ok()) {
    return Error{EPROTO, "the answer isn't what the token stands for; make another token"};
  }
  return {};
}

}  // namespace

Task<Result<std::string>> renewCertificate(RenewalParts parts) {
  std::string key = makeKey();
  std::string request = makeRequest(key).value();
  auto addresses = addressesOf(parts.cluster);
  Error last{EIO, "there is no master"};
  for (auto& address : addresses) {
    auto got = co_await renewAt(parts, address, request);
    if (got.ok()) {
      co_return got.value() + key;
    }
    if (last.code == EIO || got.code() != EIO) {
      last = got.error();
    }
  }
  co_return last;
}

Task<void> keepCertificate(RenewalParts parts, kj::Function<std::optional<Validity>()> validity,
                           kj::Function<Status(const std::string& identityPem)> take) {
  for (int64_t failures = 0;;) {
    auto current = validity();
    if (!current) {
      co_return;
    }
    Nanos left = renewalTime(*current) * SECOND - parts.clock.wall();
    if (left > 0) {
      co_await parts.clock.after(std::min(left, LOOK));
      continue;
    }
    auto renewed = co_await renewCertificate(parts);
    Status taken = renewed.ok() ? take(renewed.value()) : Status(renewed.error());
    if (taken.ok()) {
      spdlog::info("the certificate of {} has been renewed", toText(parts.self));
      failures = 0;
      continue;
    }
    if (++failures >= COMPLAINT_AFTER_TRIES) {
      spdlog::warn("the certificate of {} can't be renewed: {}", toText(parts.self), taken.error().why);
    }
    Nanos most = std::min(RETRY_MIN * failures, RETRY_MAX);
    co_await parts.clock.after(most / 2 + static_cast<Nanos>(parts.random.below(static_cast<uint64_t>(most))));
  }
}

Task<Result<std::string>> fetchAuthorityKey(RenewalParts parts) {
  auto addresses = addressesOf(parts.cluster);
  Error last{EIO, "there is no other master"};
  for (auto& address : addresses) {
    auto got = co_await authorityKeyAt(parts, address);
    if (got.ok()) {
      co_return kj::mv(got);
    }
    last = got.error();
  }
  co_return last;
}

Task<Result<Enrolled>> enroll(Network& network, Clock& clock, JoinToken token, Nanos limit) {
  const std::string key = makeKey();
  const Nanos end = clock.monotonic() + limit;
  std::string reasons;
  do {
    reasons.clear();
    for (auto& address : token.masters) {
      auto got = co_await enrollAt(network, clock, address, token, key);
      Status usable = got.ok() ? checkEnrolled(got.value(), token) : Status(got.error());
      if (usable.ok()) {
        co_return kj::mv(got);
      }
      if (isFinal(usable.code())) {
        co_return Error{usable.code(), "the master at " + address + " refuses: " + usable.error().why};
      }
      reasons += "\n  " + address + ": " + usable.error().why;
    }
    co_await clock.after(JOIN_PAUSE);
  } while (clock.monotonic() < end);
  co_return Error{ETIMEDOUT, "no master takes the token:" + reasons};
}

}  // namespace cairn
