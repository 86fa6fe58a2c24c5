#include "master/joining.h"

#include <cerrno>
#include <set>

#include "common/log.h"
#include "rpc/connection.h"
#include "rpc/hello.h"
#include "rpc/shard_map.h"
#include "schema/master.capnp.h"

namespace cairn {

namespace {

constexpr Nanos CONNECT_LIMIT = SECOND;
constexpr Nanos JOIN_LIMIT = 5 * SECOND;
constexpr Nanos ANNOUNCE_PERIOD = 2 * SECOND;

// What one of the other masters said.
struct Said {
  bool answered = false;
  int code = 0;
  std::string why;
};

void fillHello(const JoiningParts& parts, wire::Hello::Builder hello) {
  writeHello(hello, parts.cluster.cluster, wire::Role::MASTER, parts.name, parts.cluster.epoch);
}

Address addressOfSelf(const JoiningParts& parts) {
  for (const auto& master : parts.cluster.masters) {
    if (master.name == parts.name) {
      return master.address;
    }
  }
  return {};
}

Task<Said> ask(const JoiningParts& parts, Address address, raft::MemberId self) {
  Said said;
  try {
    auto link = co_await dial(parts.network, parts.clock, address, CONNECT_LIMIT, PeerRole::MASTER);
    auto request = link->bootstrap().castAs<wire::MasterDoor>().joinRequest();
    fillHello(parts, request.initHello());
    request.setMember(raw(self));
    request.setAddress(addressOfSelf(parts));
    kj::Promise<capnp::Response<wire::MasterDoor::JoinResults>> sent = request.send();
    auto reply = co_await withDeadline(parts.clock, JOIN_LIMIT, kj::mv(sent), "another master");
    said = {true, reply.getOutcome().getErrno(), reply.getOutcome().getWhy().cStr()};
  } catch (const kj::Exception& e) {
    spdlog::debug("{}: {}", address, e.getDescription().cStr());
  }
  co_return said;
}

// The epoch of the master there.
Task<GroupEpoch> meet(const JoiningParts& parts, Address address, GroupEpoch own) {
  GroupEpoch epoch{};
  try {
    auto link = co_await dial(parts.network, parts.clock, address, CONNECT_LIMIT, PeerRole::MASTER);
    auto request = link->bootstrap().castAs<wire::MasterDoor>().raftRequest();
    fillHello(parts, request.initHello());
    request.getHello().setEpoch(raw(own));
    kj::Promise<capnp::Response<wire::MasterDoor::RaftResults>> sent = request.send();
    auto reply = co_await withDeadline(parts.clock, CONNECT_LIMIT, kj::mv(sent), "another master");
    epoch = GroupEpoch{reply.getEpoch()};
  } catch (const kj::Exception& e) {
    spdlog::debug("{}: {}", address, e.getDescription().cStr());
  }
  co_return epoch;
}

Task<bool> hasGroup(const JoiningParts& parts, Address address) {
  bool found = false;
  try {
    auto link = co_await dial(parts.network, parts.clock, address, CONNECT_LIMIT, PeerRole::MASTER);
    auto request = link->bootstrap().castAs<wire::MasterDoor>().enterRequest();
    fillHello(parts, request.initHello());
    kj::Promise<capnp::Response<wire::MasterDoor::EnterResults>> sent = request.send();
    auto reply = co_await withDeadline(parts.clock, CONNECT_LIMIT, kj::mv(sent), "another master");
    int code = reply.getOutcome().getErrno();
    found = (code == 0 || code == EAGAIN) && reply.getGrouped();
  } catch (const kj::Exception& e) {
    spdlog::debug("{}: {}", address, e.getDescription().cStr());
  }
  co_return found;
}

std::vector<Address> addressesOfOthers(const JoiningParts& parts, const std::set<std::string>& but = {}) {
  std::vector<Address> addresses;
  for (const auto& master : parts.cluster.masters) {
    if (but.contains(master.name)) {
      continue;
    }
    if (master.name != parts.name && !master.address.empty()) {
      addresses.push_back(master.address);
    }
    if (master.name != parts.name && !master.socket.empty()) {
      addresses.push_back("unix:" + master.socket);
    }
  }
  return addresses;
}

}  // namespace

Task<void> joinGroup(JoiningParts parts, Group& group) {
  std::string complained;
  for (unsigned tries = 0; !group.hasJoined(); ++tries) {
    auto addresses = addressesOfOthers(parts);
    for (auto& address : addresses) {
      auto said = co_await ask(parts, address, group.self());
      bool isFinal = said.answered && said.code != 0 && said.code != EAGAIN && said.code != EBUSY;
      if (isFinal && said.why != complained) {
        complained = said.why;
        spdlog::error("the group doesn't take this master in: {}", said.why);
      }
    }
    auto delay = backoffDelay(parts.random, tries + 4);
    co_await parts.clock.after(delay);
  }
}

Task<Status> findGroup(JoiningParts parts) {
  auto addresses = addressesOfOthers(parts);
  for (auto& address : addresses) {
    bool found = co_await hasGroup(parts, address);
    if (found) {
      co_return Error{EEXIST, "this cluster exists already: a master at " + address +
                                  " answers for it. Start with --join to join it"};
    }
  }
  co_return Status();
}

Task<void> announceEpoch(JoiningParts parts, Group& group) {
  for (;;) {
    co_await parts.clock.after(ANNOUNCE_PERIOD);
    if (group.epoch() == GroupEpoch{}) {
      continue;
    }
    std::set<std::string> members;
    for (const auto& member : group.status().members) {
      members.insert(member.name);
    }
    auto addresses = addressesOfOthers(parts, members);
    for (auto& address : addresses) {
      auto epoch = co_await meet(parts, address, group.epoch());
      if (epoch > group.epoch()) {
        (void)group.meetEpoch(epoch);
        co_return;
      }
    }
  }
}

Error replacedGroup(const std::string& name, GroupEpoch own, GroupEpoch later) {
  return {ESTALE, "master " + name + " is of the group as it was before `dfsadmin raft recover` (epoch " + toText(own) +
                      ", now epoch " + toText(later) +
                      "): what it has beyond the new group's state is void. Move its data directory away, then start "
                      "it with --join in an empty one"};
}

}  // namespace cairn
