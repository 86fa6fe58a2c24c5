// Raft: one member of a Raft group as a pure state machine. It reads no clock and no disk and sends nothing: the shell
// feeds it messages, ticks and proposals, and does what ready() says.
//
//   raft.step(message) | tick() | propose(...) | persisted(id)
//   Output output = raft.ready();       // after any of them, once for all that came in a turn
//
// Beyond the paper: pre-votes and a leader that steps down without a majority (together, else a half cut-off member
// deposes leader after leader); votes refused while a leader is heard of; reads by heartbeat rounds; learners;
// membership changes of one member at a time, in force as soon as they are in the log; transfer of leadership; a member
// with damage in what it had synced votes only for those who have at least as much as it once had.
//
// The impossible (two leaders in a term, a conflict below the commit index) throws: the process must end.
#pragma once
#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "common/result.h"
#include "master/raft/entry.h"
#include "master/raft/log_view.h"
#include "master/raft/membership.h"
#include "master/raft/message.h"
#include "master/raft/output.h"
#include "master/raft/progress.h"
#include "master/raft/rare.h"

namespace cairn::raft {

// By which a leader is less patient than its followers. One that is only deaf then resigns before its TCP connections
// resend for the first time (200 ms, Linux's least): its last word would wait behind that as long as its silence takes.
constexpr unsigned RESIGNS_EARLIER_TICKS = 2;

struct RaftOptions {
  MemberId self = NOBODY;
  unsigned electionTicks = 10;  // without a leader; an election begins after 1 to 2 times as much, by chance
  unsigned heartbeatTicks = 2;
  size_t appendEntriesMax = 4096;  // of one append
  size_t appendBytesMax = 1 << 20;
  FlightLimits flight;
  size_t uncommittedBytesMax = 64 << 20;  // proposals are refused beyond it
  size_t memoryBytesMax = 64 << 20;       // of entries kept in memory for others
  uint64_t promotionLagMax = 1024;        // entries that a learner may lack when it becomes a voter
  unsigned stallTicks = 50;  // for which a leader's own write may wait while the others go on without it
  unsigned restTicks = 500;  // for which it stands later than the others after that
  Payload termStart;  // of the first entry of a term
  Nanos promise = 0;  // of a voter to a leader (lease.cc), the same for all members; 0: no reads under a lease
  RareCounts* rare = nullptr;
};

// What was synced once and is no longer there: the last position that this member may have acknowledged.
struct Damage {
  Position last;  // its term at most; the current term when unknown
  Term since{};   // the current term when the damage was found
};

// What the disk holds when a member starts.
struct Restart {
  HardState hard;
  Position base;                                   // the log begins after it
  Membership membership;                           // in force at `base`
  std::vector<TermRun> runs;                       // of the entries after `base`
  std::vector<LogView::MembershipAt> memberships;  // among them
  LogIndex last{};
  LogIndex snapshot{};      // the newest that can be sent; at least `base`
  LogIndex applied{};       // in the state; known to be committed
  std::vector<Entry> tail;  // all entries after `applied`
  std::optional<Damage> damage;
};

enum class Role { FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER };

enum class Refusal {
  NONE,
  NOT_LEADER,
  TRANSFERRING,        // leadership is being handed over
  TOO_MUCH,            // uncommitted
  TERM_NOT_COMMITTED,  // no entry of this term is committed yet
  CHANGE_PENDING,      // the last change of membership isn't committed yet
  BEHIND,              // the member hasn't caught up
  NOT_ALLOWED,         // no such member, or Membership::objectionTo()
};

struct Proposed {
  Refusal refusal = Refusal::NONE;
  Position at;  // applied there with the same term: done. Another term there: it never happened
};

class Raft {
 public:
  // `random` draws the election timeouts.
  // `now`: as for timeIs().
  Raft(RaftOptions options, Random& random, Restart restart, Nanos now = 0);
  KJ_DISALLOW_COPY(Raft);

  // ---- input ----
  // By a clock that counts through a suspend and never goes back. To be told before every step() and tick(), when the
  // message has arrived: a time that was read too early would make promises end too early.
  void timeIs(Nanos now) { now_ = std::max(now_, now); }
  void step(Message message);
  void tick();
  Proposed propose(Payload command);
  Proposed proposeMembership(const Membership& membership);
  // Of the other voters the one whose log reaches farthest; NOBODY: there is none.
  MemberId heir() const;
  // Hands leadership to a voter; given up after electionTicks.
  Refusal transfer(MemberId to);
  // Nothing when this member isn't the leader. Answered by Output::reads or failedReads.
  std::optional<ReadId> requestRead();
  // A read was answered under the lease: makes it last, in time and without waiting, while there are readers.
  // Whether it had to send something for that.
  bool renewLease();
  void persisted(PersistId id);
  // A stored append's entries, read from the disk: the message to send, if it may still be sent.
  std::optional<Message> complete(StoredAppend append, std::vector<Entry> entries);
  // A snapshot of the state at `index` exists and can be sent. REQUIRES: index is applied and in the log.
  void snapshotMade(LogIndex index);
  // Entries up to `upTo` are gone from the disk. REQUIRES: a snapshot at or after it.
  void compact(LogIndex upTo);
  void snapshotSent(MemberId to, bool arrived);
  // What was in flight to that member may be lost.
  void unreachable(MemberId member);
  // The same, for the connection broke. When it was the leader's an election begins soon.
  void linkLost(MemberId member);
  // Begins an election at once, as if the timeout had passed.
  void campaign();

  Output ready();

  // ---- state ----
  MemberId self() const { return options_.self; }
  Role role() const { return role_; }
  bool isLeader() const { return role_ == Role::LEADER; }
  // Of the leader's proposals.
  size_t uncommittedBytes() const { return uncommittedBytes_; }
  MemberId leader() const { return leader_; }
  Term term() const { return hard_.term; }
  const HardState& hardState() const { return hard_; }
  LogIndex commit() const { return commit_; }
  LogIndex durable() const { return durable_; }
  LogIndex handedOut() const { return handedOut_; }  // to be applied
  const LogView& log() const { return log_; }
  const Membership& membership() const { return log_.newest().membership; }
  bool membershipCommitted() const { return log_.newest().index <= commit_; }
  bool committedInTerm() const { return log_.term(commit_) == hard_.term; }
  MemberId transferringTo() const { return transferTo_; }
  // Nobody else leads at this moment: a state that holds commit() is current. To be asked, with the time of that
  // moment, *after* the state was read: between a question before it and the reading the process may have stood still.
  bool leaseHolds(Nanos now) const;
  bool isDamaged() const { return damage_.has_value(); }
  const std::map<MemberId, Progress>& progress() const { return progress_; }

 private:
  enum class Election { PRE_VOTE, VOTE, TRANSFER };
  struct InFlight {
    PersistId id{};
    std::optional<HardState> hard;
    LogIndex last{};  // durable when it ends, unless truncated since
    bool isInstall = false;
  };
  struct Read {
    ReadId id;
    uint64_t round = 0;
    LogIndex index{};
  };
  struct Round {
    uint64_t number = 0;
    Nanos sent = 0;
  };

  // raft.cc
  void dispatch(Message& message);
  bool acceptLaterTerm(const Message& message);
  void answerEarlierTerm(const Message& message);
  void becomeFollower(Term term, MemberId leader);
  void resetTimers();
  void send(MemberId to, Body body);
  void sendWithTerm(MemberId to, Term term, Body body);
  void commitTo(LogIndex index);
  void reached(Rare state) const;
  bool hearsLeader() const;
  void hearLeader(MemberId leader);

  // election.cc
  bool mayStand() const;
  void hup(Election election);
  void begin(Election election);
  void becomeLeader();
  void countVotes();
  bool upToDate(Position candidate) const;
  void askForVotes(Term term, Body request);
  void onVoteRequest(const Message& message, const VoteRequest& request);
  void onVoteResponse(const Message& message, const VoteResponse& response);
  void onPreVoteRequest(const Message& message, const PreVoteRequest& request);
  void onPreVoteResponse(const Message& message, const PreVoteResponse& response);
  bool mayVoteFor(MemberId candidate, Term term) const;

  // lease.cc
  void promise(const Message& message, const Heartbeat& heartbeat);
  // Promises that a leader gave back: those of its rounds up to this one, and of earlier terms.
  struct Released {
    Term term{};
    uint64_t round = 0;
  };
  bool withholdsVote(Released released) const;
  bool isWithheld(const Message& message) const;
  void onTimeoutNow(const TimeoutNow& order);
  bool asksForPromises() const { return options_.promise > 0 && transferTo_ == NOBODY; }
  bool needsNoLease() const;
  void noteRound();
  void extendLease(uint64_t confirmed);
  void dropLease();

  // follower.cc
  void onAppend(const Message& message, AppendRequest& request);
  void takeEntries(std::vector<Entry>& entries);
  void truncate(LogIndex from);
  void onHeartbeat(const Message& message, const Heartbeat& heartbeat);
  void onSnapshot(const Message& message, const InstallSnapshot& snapshot);
  void checkDamage();

  // leader.cc
  Proposed appendOwn(EntryType type, Payload payload);
  void onAppendResponse(const Message& message, const AppendResponse& response);
  void onHeartbeatResponse(const Message& message, const HeartbeatResponse& response);
  void advanceCommit();
  void sendAppends();
  bool sendAppend(MemberId to, Progress& progress, bool evenEmpty);
  void sendSnapshot(MemberId to, Progress& progress);
  void sendHeartbeats();
  void tickLeader();
  void checkQuorum();
  LogIndex matchOf(MemberId member) const;

  // changes.cc: membership, transfer
  void adoptMembership(LogIndex first);
  void leaveOffice();
  void sendTimeoutNow(MemberId to);
  void tickTransfer();
  void tickStall();

  // reads.cc
  void startReads();
  void confirmReads();
  void failReads();

  // disk.cc
  void collectPersist(Output& output);
  void collectApply(Output& output);
  void collectMessages(Output& output);
  void install(const InstallSnapshot& snapshot);

  const RaftOptions options_;
  Random& random_;

  HardState hard_;
  Role role_ = Role::FOLLOWER;
  MemberId leader_ = NOBODY;
  LogView log_;
  LogIndex commit_{};
  LogIndex handedOut_{};
  LogIndex snapshot_{};
  std::optional<Damage> damage_;
  LogIndex leaderMatch_{};  // follower: known to equal the leader's log of this term

  unsigned electionElapsed_ = 0;  // ticks since the leader was heard of; leader: since it counted who is there
  unsigned electionTimeout_ = 0;
  unsigned leaderless_ = 0;         // election timeouts that passed since
  std::map<MemberId, bool> votes_;  // candidates
  bool asked_ = false;              // candidate: by the leader, to take over
  uint64_t released_ = 0;           // ... which gave back these promises

  // what this member promised (lease.cc)
  Nanos now_;
  Nanos promisedUntil_ = 0;
  Term promisedTerm_{};
  uint64_t promisedRound_ = 0;
  Nanos forgottenUntil_ = 0;  // what an earlier life of this process may have promised

  // leader
  unsigned heartbeatElapsed_ = 0;
  std::map<MemberId, Progress> progress_;  // of the others
  size_t uncommittedBytes_ = 0;
  MemberId transferTo_ = NOBODY;
  unsigned transferElapsed_ = 0;
  PersistId stalledWrite_{};  // the oldest under way when last looked at
  unsigned stalledTicks_ = 0;
  unsigned restLeft_ = 0;
  uint64_t round_ = 0;
  uint64_t readCounter_ = 0;
  std::vector<ReadId> newReads_;  // not in a round yet
  std::deque<Read> reads_;        // by round
  std::deque<Round> asking_;      // rounds that asked for promises, not answered by a majority yet
  Nanos leaseEnd_ = 0;

  // the disk
  HardState durableHard_;
  LogIndex durable_{};
  LogIndex issued_{};  // given out to be written; entries after it are in memory only
  HardState issuedHard_;
  std::optional<LogIndex> truncateFrom_;
  std::optional<InstallSnapshot> install_;
  PersistId lastPersist_{};
  std::deque<InFlight> inFlight_;
  std::vector<Message> afterAll_;   // messages that wait for everything that is to be written
  std::vector<Message> afterHard_;  // ... for the hard state only

  Output output_;
};

}  // namespace cairn::raft
