#include "tests/sim/raft/world/load.h"

namespace cairn::raft {

namespace {

constexpr Nanos PAUSE_MAX = 2 * SECOND;
constexpr Nanos SHORT_PAUSE_MAX = 300 * MILLISECOND;

}  // namespace

void Load::request() {
  MemberId leader = cluster_.someLeader();
  if (leader == NOBODY) {
    return;
  }
  auto& raft = cluster_.member(leader).raft();
  auto choice = cluster_.random().below(4);
  if (choice == 1) {
    Nanos pause = cluster_.random().below(8) == 0 ? cluster_.random().between(0, PAUSE_MAX) : 0;
    cluster_.readUnderLease(leader, pause);
  } else if (choice == 0) {
    auto id = raft.requestRead();
    if (id) {
      cluster_.checks().onReadAsked(*id);
    }
  } else {
    write(leader);
  }
  cluster_.member(leader).settle();
  cluster_.touched(leader);
}

void Load::requestFrom(MemberId member) {
  const auto& node = cluster_.nodes().at(member);
  if (node.pausedUntil > cluster_.now() || !node.member->raft().isLeader()) {
    return;
  }
  if (cluster_.random().below(4) == 0) {
    write(member);
  } else {
    Nanos pause = cluster_.random().below(200) == 0 ? cluster_.random().between(0, SHORT_PAUSE_MAX) : 0;
    cluster_.readUnderLease(member, pause);
  }
  cluster_.member(member).settle();
  cluster_.touched(member);
}

void Load::write(MemberId leader) {
  for (uint64_t left = 1 + cluster_.random().below(8); left > 0; left--) {
    auto bytes = kj::heapArray<kj::byte>(8 + cluster_.random().below(64));
    memset(bytes.begin(), 0, bytes.size());
    writes_++;
    memcpy(bytes.begin(), &writes_, sizeof(writes_));
    cluster_.member(leader).raft().propose(Payload(kj::mv(bytes)));
  }
}

void Load::operate() {
  auto& random = cluster_.random();
  auto running = cluster_.runningMembers();
  if (running.empty()) {
    return;
  }
  MemberId any = running[random.below(running.size())];
  MemberId leader = cluster_.someLeader();
  auto choice = random.below(10);
  if (choice < 5) {
    cluster_.member(any).makeSnapshot(random.below(60));
  } else if (choice < 6 && leader != NOBODY) {
    cluster_.member(leader).raft().transfer(any);
    write(leader);
    cluster_.member(leader).settle();
    cluster_.touched(leader);
  } else if (leader != NOBODY) {
    changeMembership(leader);
    cluster_.member(leader).settle();
    cluster_.touched(leader);
  }
}

void Load::changeMembership(MemberId leader) {
  auto& random = cluster_.random();
  auto& raft = cluster_.member(leader).raft();
  auto membership = raft.membership();
  auto members = membership.members();
  auto chosen = members[random.below(members.size())];
  if (members.size() < MEMBERS_MAX && random.below(3) == 0) {
    membership.set({cluster_.nodes().size() < MEMBERS_MAX + 2 ? cluster_.addMember() : chosen.id, false, {}});
  } else if (!chosen.voter) {
    membership.set({chosen.id, true, {}});
  } else if (membership.voterCount() > 3 || (random.below(8) == 0 && !anyDamage())) {
    membership.remove(chosen.id);
  }
  if (membership != raft.membership()) {
    raft.proposeMembership(membership);
    if (random.below(4) == 0) {  // too early, most likely
      auto another = raft.membership();
      another.remove(members[random.below(members.size())].id);
      raft.proposeMembership(another);
    }
  }
}

bool Load::anyDamage() const {
  for (const auto& [id, node] : cluster_.nodes()) {
    if (node.member->disk().damaged()) {
      return true;
    }
  }
  return false;
}

// Gone is who isn't in the membership that the newest leader has committed, nor in any that is under way.
void Load::retire() {
  MemberId leader = cluster_.someLeader();
  if (leader == NOBODY) {
    return;
  }
  const auto& raft = cluster_.member(leader).raft();
  for (const auto& [id, node] : cluster_.nodes()) {
    if (node.member->running() && node.member->raft().term() > raft.term()) {
      return;
    }
  }
  if (!raft.committedInTerm() || !raft.membershipCommitted() || raft.commit() < cluster_.checks().committed()) {
    return;
  }
  for (const auto& [id, node] : cluster_.nodes()) {
    if (!raft.membership().contains(id) && cluster_.random().below(3) == 0) {
      cluster_.destroy(id);
      return;
    }
  }
}

}  // namespace cairn::raft
