#include "master/observe/leaders_page.h"

#include "rpc/connection.h"
#include "rpc/find_leader.h"
#include "rpc/hello.h"
#include "schema/master.capnp.h"

namespace cairn {
namespace {

constexpr Nanos ANSWER_LIMIT = 2 * SECOND;

Task<kj::Own<Link>> dialAny(PageSearch search, MasterAddress master) {
  auto addresses = master.addresses();
  for (auto& address : addresses) {
    try {
      co_return co_await dial(search.network, search.clock, address, ANSWER_LIMIT);
    } catch (const kj::Exception& e) {
      if (address == addresses.back()) {
        throw;
      }
    }
  }
  kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the leading master has no address"));
}

}  // namespace

Task<std::string> leadersPage(PageSearch search) {
  LeaderSearch leaders{search.network, search.clock, search.cluster, wire::Role::MASTER, search.name, search.epoch};
  auto found = co_await findLeader(leaders, 0);
  if (!found.leader && found.unnamed.name.empty()) {
    kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "no master leads at the moment"));
  }
  MasterAddress leader = found.leader ? search.cluster.masters[*found.leader] : found.unnamed;
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

}  // namespace cairn
