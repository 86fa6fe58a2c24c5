#include "master/admin_group.h"

#include <algorithm>
#include <cerrno>

namespace cairn {

namespace {

std::string addressOf(const Core& core, const std::string& name) {
  for (auto& master : core.cluster.masters) {
    if (master.name == name) {
      return master.address;
    }
  }
  return "";
}

const char* roleOf(const GroupMember& member) {
  return member.leader ? "leader" : member.voter ? "follower" : "learner";
}

}  // namespace

void writeMasters(const Core& core, const GroupStatus& group, wire::ClusterStatus::Builder out) {
  auto list = out.initMasters(static_cast<unsigned>(group.members.size()));
  for (uint32_t i = 0; i < group.members.size(); ++i) {
    const auto& member = group.members[i];
    list[i].setName(member.name);
    list[i].setAddress(addressOf(core, member.name));
    list[i].setVersion(member.program.value_or(Program{}).version);
    list[i].setRole(member.reachable ? roleOf(member) : "unreachable");
    list[i].setTerm(raw(group.term));
    list[i].setCommitIndex(raw(std::min(group.commit, member.match)));
    list[i].setAppliedIndex(raw(member.leader ? group.applied : std::min(group.commit, member.match)));
  }
}

std::vector<MasterStanding> standingOf(const Core& core, const GroupStatus& group) {
  std::vector<MasterStanding> out;
  for (const auto& member : group.members) {
    out.push_back({member.name, addressOf(core, member.name), true, member.voter, member.reachable});
  }
  for (const auto& master : core.cluster.masters) {
    auto isIt = [&](const GroupMember& member) { return member.name == master.name; };
    if (std::none_of(group.members.begin(), group.members.end(), isIt)) {
      out.push_back({master.name, master.address, false, false, false});
    }
  }
  return out;
}

void writeGroup(const GroupStatus& group, wire::GroupInfo::Builder out) {
  out.setTerm(raw(group.term));
  out.setCommitIndex(raw(group.commit));
  out.setAppliedIndex(raw(group.applied));
  out.setDigest(group.digest);
  auto list = out.initMembers(static_cast<unsigned>(group.members.size()));
  for (uint32_t i = 0; i < group.members.size(); ++i) {
    const auto& member = group.members[i];
    list[i].setName(member.name);
    list[i].setId(raw(member.id));
    list[i].setRole(roleOf(member));
    list[i].setReachable(member.reachable);
    list[i].setMatchIndex(raw(member.match));
  }
}

void writeDigests(const DigestComparison& compared, wire::Admin::RaftDigestResults::Builder out) {
  out.setIndex(raw(compared.index));
  out.setEqual(compared.equal);
  auto list = out.initMembers(static_cast<unsigned>(compared.members.size()));
  for (uint32_t i = 0; i < compared.members.size(); ++i) {
    const auto& member = compared.members[i];
    list[i].setName(member.name);
    list[i].setKnown(member.digest.has_value());
    list[i].setDigest(member.digest.value_or(0));
    list[i].setOdd(member.odd);
  }
}

Task<Status> changeGroup(Group& group, wire::RaftChange change, std::string name) {
  using Promise = kj::Promise<Status>;
  switch (change) {
    case wire::RaftChange::PROMOTE:
      return group.promote(name);
    case wire::RaftChange::REMOVE:
      return group.remove(name);
    case wire::RaftChange::TRANSFER:
      return Promise(group.transfer(name));
    case wire::RaftChange::SNAPSHOT:
      group.snapshotSoon();
      return Promise(Status());
  }
  return Promise(Error{EINVAL, "this master knows no such change of the group: run the same version everywhere"});
}

}  // namespace cairn
