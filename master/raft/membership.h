// Membership: who votes, who only listens, and what a majority of them is. Changed by one member at a time, so that
// any majority of the old set and any of the new one have a member in common (thesis, section 4.1).
#pragma once
#include <kj/array.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "master/raft/entry.h"

namespace cairn::raft {

struct MemberRecord {
  MemberId id = NOBODY;
  bool voter = false;  // a learner receives everything and decides nothing
  std::string about;   // name, addresses: for the shell; the core only carries it
  bool operator==(const MemberRecord&) const = default;
};

class Membership {
 public:
  static constexpr size_t MEMBERS_MAX = 64;

  Membership() = default;
  // Of voters only, as the tests make it.
  explicit Membership(const std::vector<MemberId>& voters);

  const std::vector<MemberRecord>& members() const { return members_; }  // by id
  const MemberRecord* find(MemberId id) const;
  bool contains(MemberId id) const { return find(id) != nullptr; }
  bool isVoter(MemberId id) const;
  bool isLearner(MemberId id) const { return contains(id) && !isVoter(id); }
  size_t voterCount() const;
  size_t majority() const { return voterCount() / 2 + 1; }
  bool operator==(const Membership&) const = default;

  // Adds the member, or replaces its record.
  void set(MemberRecord member);
  void remove(MemberId id);

  // Whether more than half of the voters satisfy it.
  bool majorityOf(const std::function<bool(MemberId)>& holds) const;
  // The greatest value that a majority of the voters has reached.
  uint64_t reachedByMajority(const std::function<uint64_t(MemberId)>& value) const;

  // Why `next` can't follow on this membership in one step; empty when it can. A new voter must have been a learner.
  std::string objectionTo(const Membership& next) const;

  Payload encode() const;
  static Result<Membership> decode(kj::ArrayPtr<const kj::byte> bytes);

 private:
  std::vector<MemberRecord> members_;
};

}  // namespace cairn::raft
