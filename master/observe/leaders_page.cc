#include "master/observe/leaders_page.h"

#include "common/log.h"
#include "rpc/connection.h"
#include "rpc/find_leader.h"
#include "rpc/hello.h"
#include "schema/master.capnp.h"

namespace cairn {
namespace {

constexpr Nanos ANSWER_LIMIT = 2 * SECOND;
constexpr Nanos ELECTION_PATIENCE = 2 * SECOND;
constexpr Nanos PAUSE = 50 * MILLISECOND;

Task<kj::Own<Link>> dialAny(PageSearch search, MasterAddress master) {
  auto addresses = master.addresses();
  for (auto& address : addresses) {
    try {
      co_return co_await dial(search.network, search.clock, address, ANSWER_LIMIT, PeerRole::MASTER);
    } catch (const kj::Exception& e) {
      if (address == addresses.back()) {
        throw;
      }
    }
  }
  kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the leading master has no address"));
}

// Any moment may be one of an election.
Task<MasterAddress> untilLed(PageSearch search) {
  const Nanos end = search.clock.monotonic() + ELECTION_PATIENCE;
  for (unsigned tries = 0;; ++tries) {
    LeaderSearch leaders{search.network, search.clock, search.cluster, wire::Role::MASTER, search.name, search.epoch};
    auto found = co_await findLeader(leaders, tries);
    if (found.leader) {
      co_return search.cluster.masters[*found.leader];
    }
    if (!found.unnamed.name.empty()) {
      co_return found.unnamed;
    }
    if (search.clock.monotonic() >= end) {
      kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "no master leads at the moment"));
    }
    co_await search.clock.after(PAUSE);
  }
}

Task<std::string> askLeader(PageSearch search) {
  auto leader = co_await untilLed(search);
  auto link = co_await dialAny(search, leader);
  auto request = link->bootstrap().castAs<wire::MasterDoor>().enterRequest();
  writeHello(request.initHello(), search.cluster.cluster, wire::Role::MASTER, search.name, search.epoch);
  kj::Promise<capnp::Response<wire::MasterDoor::EnterResults>> sent = request.send();
  auto entered = co_await withDeadline(search.clock, ANSWER_LIMIT, kj::mv(sent), "entering the leading master");
  if (entered.getOutcome().getErrno() != 0) {
    kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "the leading master refuses", entered.getOutcome().getWhy()));
  }
  auto observe = entered.getMaster().observeRequest().send().getObserve();
  kj::Promise<capnp::Response<wire::Observe::PageResults>> asked = observe.pageRequest().send();
  auto answered = co_await withDeadline(search.clock, ANSWER_LIMIT, kj::mv(asked), "asking the leading master");
  co_return std::string(answered.getJson().cStr(), answered.getJson().size());
}

}  // namespace

Task<std::string> leadersPage(PageSearch search) {
  try {
    co_return co_await askLeader(search);
  } catch (const kj::Exception& e) {
    spdlog::debug("the leading master's page, first try: {}", e.getDescription().cStr());
  }
  co_return co_await askLeader(search);  // it may have lost its place meanwhile
}

}  // namespace cairn
