#include "master/raft/membership.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace cairn::raft {

namespace {

// Encoded: per member its id (8 bytes), 1 or 0 for voter or learner (1), the length of `about` (4), `about`.
constexpr size_t ABOUT_BYTES_MAX = 64 << 10;
constexpr size_t MEMBER_HEADER_BYTES = 13;

bool idBelow(const MemberRecord& member, MemberId id) {
  return member.id < id;
}

}  // namespace

Membership::Membership(const std::vector<MemberId>& voters) {
  for (auto id : voters) {
    set({id, true, {}});
  }
}

const MemberRecord* Membership::find(MemberId id) const {
  auto at = std::lower_bound(members_.begin(), members_.end(), id, idBelow);
  return at != members_.end() && at->id == id ? &*at : nullptr;
}

bool Membership::isVoter(MemberId id) const {
  const auto* member = find(id);
  return member != nullptr && member->voter;
}

size_t Membership::voterCount() const {
  return std::count_if(members_.begin(), members_.end(), [](const MemberRecord& m) { return m.voter; });
}

void Membership::set(MemberRecord member) {
  auto at = std::lower_bound(members_.begin(), members_.end(), member.id, idBelow);
  if (at != members_.end() && at->id == member.id) {
    *at = std::move(member);
  } else {
    members_.insert(at, std::move(member));
  }
}

void Membership::remove(MemberId id) {
  std::erase_if(members_, [id](const MemberRecord& m) { return m.id == id; });
}

bool Membership::majorityOf(const std::function<bool(MemberId)>& holds) const {
  size_t count = 0;
  for (const auto& member : members_) {
    count += member.voter && holds(member.id) ? 1 : 0;
  }
  return voterCount() > 0 && count >= majority();
}

uint64_t Membership::reachedByMajority(const std::function<uint64_t(MemberId)>& value) const {
  std::vector<uint64_t> values;
  for (const auto& member : members_) {
    if (member.voter) {
      values.push_back(value(member.id));
    }
  }
  if (values.empty()) {
    return 0;
  }
  std::sort(values.begin(), values.end(), std::greater<>());
  return values[majority() - 1];
}

std::string Membership::objectionTo(const Membership& next) const {
  if (next.voterCount() == 0) {
    return "nobody would be left to vote";
  }
  if (next.members_.size() > MEMBERS_MAX) {
    return "more than " + std::to_string(MEMBERS_MAX) + " members";
  }
  size_t changed = 0;
  for (const auto& member : next.members_) {
    const auto* was = find(member.id);
    changed += was == nullptr || was->voter != member.voter ? 1 : 0;
    if (was == nullptr && member.voter) {
      return "a new member must be a learner until it has caught up";
    }
  }
  for (const auto& member : members_) {
    changed += next.contains(member.id) ? 0 : 1;
  }
  return changed > 1 ? "one member at a time: two majorities might have nobody in common" : "";
}

Payload Membership::encode() const {
  size_t size = 0;
  for (const auto& member : members_) {
    size += MEMBER_HEADER_BYTES + member.about.size();
  }
  auto bytes = kj::heapArray<kj::byte>(size);
  kj::byte* at = bytes.begin();
  for (const auto& member : members_) {
    uint32_t length = member.about.size();
    memcpy(at, &member.id, 8);
    at[8] = member.voter ? 1 : 0;
    memcpy(at + 9, &length, 4);
    at = std::copy(member.about.begin(), member.about.end(), at + MEMBER_HEADER_BYTES);
  }
  return Payload(kj::mv(bytes));
}

Result<Membership> Membership::decode(kj::ArrayPtr<const kj::byte> bytes) {
  Membership membership;
  while (bytes.size() >= MEMBER_HEADER_BYTES && membership.members_.size() < MEMBERS_MAX) {
    MemberRecord member;
    uint32_t length;
    memcpy(&member.id, bytes.begin(), 8);
    memcpy(&length, bytes.begin() + 9, 4);
    bool known = bytes[8] <= 1 && length <= ABOUT_BYTES_MAX && length <= bytes.size() - MEMBER_HEADER_BYTES;
    if (!known || member.id == NOBODY || membership.contains(member.id)) {
      break;
    }
    member.voter = bytes[8] == 1;
    const auto* about = reinterpret_cast<const char*>(bytes.begin()) + MEMBER_HEADER_BYTES;
    member.about.assign(about, length);
    membership.set(std::move(member));
    bytes = bytes.slice(MEMBER_HEADER_BYTES + length, bytes.size());
  }
  if (bytes.size() > 0) {
    return Error{EPROTO, "a membership entry can't be read"};
  }
  return membership;
}

}  // namespace cairn::raft
