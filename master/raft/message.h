// What members say to one another: one small struct a kind. `term` is the sender's current term, but for pre-votes: a
// request, and a vote granted to it, carry the term that the candidate would begin.
#pragma once
#include <variant>
#include <vector>

#include "master/raft/entry.h"
#include "master/raft/membership.h"

namespace cairn::raft {

struct VoteRequest {
  Position last;          // of the candidate's log
  bool transfer = false;  // the leader itself asked for this election: it needs no shield
  uint64_t released = 0;  // ... and gave back what it was promised with its rounds up to here, in the term before
};
struct VoteResponse {
  bool granted = false;
};

// Asks whether a vote would be given, and changes nothing: a member that can't win never raises its term.
struct PreVoteRequest {
  Position last;
};
struct PreVoteResponse {
  bool granted = false;
};

struct AppendRequest {
  Position previous;  // of the entry before `entries`
  std::vector<Entry> entries;
  LogIndex commit{};
};
struct AppendResponse {
  bool accepted = false;
  LogIndex match{};    // accepted: all entries up to here are the leader's, and durable
  LogIndex refused{};  // else: `previous` of the request, and where the logs may agree:
  Position hint;       // the last entry here, not after `refused`, whose term isn't beyond that of `previous`
  bool lost = false;   // refused, and entries that this member acknowledged may be gone: damage on its disk
};

// Carries no entries, so that nothing it does ever waits for a disk.
struct Heartbeat {
  LogIndex commit{};     // at most what the receiver is known to hold
  uint64_t round = 0;    // of the leader's term: rises, is never used again
  bool promise = false;  // who answers gives no vote for RaftOptions::promise, counted from when this arrives
};
struct HeartbeatResponse {
  uint64_t round = 0;
  Position last;      // of its log, perhaps not durable
  bool lost = false;  // entries after `last` that it acknowledged may be gone: damage on its disk
};

// The state up to `last`. The state itself travels beside the core; the receiver's core gets this when all of it has
// arrived.
struct InstallSnapshot {
  Position last;
  Membership membership;
};

// To a member with everything the leader has: begin an election now.
struct TimeoutNow {
  uint64_t released = 0;  // the leader gives back what it was promised with its rounds up to this one
};

// To a leader of an earlier term: your term is over. Frees a member that raised its term and was then ignored.
struct StaleTerm {};

using Body = std::variant<VoteRequest, VoteResponse, PreVoteRequest, PreVoteResponse, AppendRequest, AppendResponse,
                          Heartbeat, HeartbeatResponse, InstallSnapshot, TimeoutNow, StaleTerm>;

struct Message {
  MemberId from = NOBODY;
  MemberId to = NOBODY;
  Term term{};
  Body body;

  template <typename Kind>
  bool is() const {
    return std::holds_alternative<Kind>(body);
  }
};

const char* kindName(const Message& message);

}  // namespace cairn::raft
