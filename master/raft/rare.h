// States that the rules provide for and that rarely come about. Tests hand a RareCounts to the core and see whether
// what they did has led there; without one nothing is counted.
#pragma once
#include <array>
#include <cstdint>

namespace cairn::raft {

#define CAIRN_RAFT_RARE_STATES(STATE)                                                                         \
  STATE(VOTE_SHIELDED)            /* a vote was refused unread: a leader was heard of just now */             \
  STATE(VOTE_REFUSED_OLD_LOG)     /* the candidate's log was behind */                                        \
  STATE(VOTE_REFUSED_GIVEN)       /* the vote of this term was somebody else's */                             \
  STATE(ELECTION_REPEATED)        /* an election ended without a winner */                                    \
  STATE(CANDIDATE_YIELDED)        /* a candidate heard of its term's leader */                                \
  STATE(LEARNER_GAVE_WAY)         /* a learner led, for none of the voters could win */                       \
  STATE(LEADER_DEPOSED)           /* a leader heard of a later term */                                        \
  STATE(LEADER_LOST_MAJORITY)     /* a leader stepped down by itself */                                       \
  STATE(STALE_LEADER_TOLD)        /* an earlier term's leader was told so */                                  \
  STATE(PREVOTE_REFUSED_OLD_TERM) /* a pre-vote for a term that is past */                                    \
  STATE(ENTRIES_TRUNCATED)        /* entries of a lost leader went away */                                    \
  STATE(TRUNCATED_IN_FLIGHT)      /* ... while they were being written */                                     \
  STATE(MEMBERSHIP_TRUNCATED)     /* ... and a change of membership with them */                              \
  STATE(APPEND_REPEATED)          /* an append brought nothing new */                                         \
  STATE(APPEND_BEFORE_COMMIT)     /* an append began before what is committed */                              \
  STATE(ENTRIES_SKIPPED)          /* the search for where logs part jumped over entries */                    \
  STATE(REFUSAL_OUTDATED)         /* a refusal arrived that a later answer had overtaken */                   \
  STATE(OLD_TERM_HELD_BACK)       /* a majority has an entry of an earlier term: not committed by counting */ \
  STATE(COMMIT_BEFORE_OWN_DISK)   /* the others made a majority before the leader's own disk */               \
  STATE(FLOW_LIMITED)             /* a follower had as much in flight as it may */                            \
  STATE(APPEND_FROM_DISK)         /* entries for a follower had left memory */                                \
  STATE(STORED_APPEND_VOID)       /* ... and when they were read, the leader wasn't one any more */           \
  STATE(PROPOSAL_LIMITED)         /* too much was uncommitted */                                              \
  STATE(LOST_ENTRIES_REFETCHED)   /* a follower no longer had what it had acknowledged */                     \
  STATE(READ_AWAITED_TERM_START)  /* a read came before the leader had committed in its term */               \
  STATE(READ_FAILED)              /* the leader lost its office before a read was confirmed */                \
  STATE(READ_UNDER_LEASE)         /* a read was answered without asking the others */                         \
  STATE(LEASE_ENDED_BEFORE_ANSWER) /* ... or would have been, but its answer came too late */                 \
  STATE(VOTE_PROMISED)            /* a vote was withheld because the leader was promised so */                \
  STATE(VOTE_FORGOTTEN)           /* ... or may have been, in an earlier life */                              \
  STATE(PROMISE_RELEASED)         /* ... but the leader had given the promise back */                         \
  STATE(TIMEOUT_NOW_OUTDATED)     /* a leader's order to take over came late: it leads on, under a lease */   \
  STATE(STANDING_WITHHELD)        /* a member whose own vote is promised didn't stand yet */                  \
  STATE(PREVOTE_IN_ORDER)         /* of two that asked for pre-votes at the same time one yielded */          \
  STATE(SNAPSHOT_SENT)            /* a follower needed entries that were gone */                              \
  STATE(SNAPSHOT_INSTALLED)       /* a snapshot took the place of a log */                                    \
  STATE(SNAPSHOT_NOT_NEEDED)      /* the log had all of a snapshot when it arrived */                         \
  STATE(SNAPSHOT_OUTDATED)        /* a snapshot older than what is committed arrived */                       \
  STATE(SNAPSHOT_FAILED)          /* a snapshot didn't arrive */                                              \
  STATE(OWN_DISK_STALLED)         /* a leader whose own disk holds everybody up handed over */                \
  STATE(TRANSFER_SUCCEEDED)       /* a member took office because the leader asked it to */                   \
  STATE(TRANSFER_TIMED_OUT)       /* a transfer was given up */                                               \
  STATE(TRANSFER_HELD_PROPOSAL)   /* a proposal came during a transfer */                                     \
  STATE(CHANGE_REFUSED_PENDING)   /* a change of membership while the last wasn't committed */                \
  STATE(CHANGE_REFUSED_NEW_TERM)  /* ... before the leader had committed in its term */                       \
  STATE(PROMOTION_REFUSED_BEHIND) /* a learner was to vote before it had caught up */                         \
  STATE(LEARNER_PROMOTED)         /* a learner became a voter */                                              \
  STATE(LEADER_REMOVED)           /* a leader committed its own removal */                                    \
  STATE(DAMAGE_WITHHELD_VOTE)     /* a member with damage refused a vote that its whole log might refuse */   \
  STATE(DAMAGE_KEPT_FROM_OFFICE)  /* ... or didn't stand for election */                                      \
  STATE(DAMAGE_HEALED)            /* ... and got back what it had lost */

enum class Rare : uint8_t {
#define CAIRN_RAFT_STATE(name) name,
  CAIRN_RAFT_RARE_STATES(CAIRN_RAFT_STATE)
#undef CAIRN_RAFT_STATE
};

constexpr const char* RARE_NAMES[] = {
#define CAIRN_RAFT_STATE(name) #name,
    CAIRN_RAFT_RARE_STATES(CAIRN_RAFT_STATE)
#undef CAIRN_RAFT_STATE
};
constexpr size_t RARE_COUNT = sizeof(RARE_NAMES) / sizeof(RARE_NAMES[0]);

struct RareCounts {
  std::array<uint64_t, RARE_COUNT> counts{};
  void add(Rare state) { counts[static_cast<size_t>(state)]++; }
  uint64_t of(Rare state) const { return counts[static_cast<size_t>(state)]; }
};

}  // namespace cairn::raft
