// RaftCluster: members in virtual time over a network that delays, drops, doubles and cuts, and disks that stall, fill
// up, tear and rot. Everything is drawn from one seed; the trace hash says whether two runs were the same.
//
// Who breaks things is Nemesis, who uses the group is Load; this only moves time, and looks at RaftChecks at each step.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "tests/sim/raft/world/event_queue.h"
#include "tests/sim/raft/world/raft_checks.h"
#include "tests/sim/raft/world/raft_member.h"
#include "tests/sim/world/sim_random.h"

namespace cairn::raft {

constexpr Nanos RAFT_TICK = 25 * MILLISECOND;
constexpr Nanos LATE_MAX = 5 * 60 * SECOND;  // that a message is on its way, in weather that delays some for long
constexpr Nanos DRIFT_PERCENT = 12;  // by which a clock may be fast or slow: just within what a lease allows

struct Weather {
  Nanos delayMin = 100 * MICROSECOND;
  Nanos delayMax = 2 * MILLISECOND;
  uint64_t lossPerMillion = 0;
  uint64_t doublePerMillion = 0;
  uint64_t latePerMillion = 0;  // delayed by seconds to minutes
  bool inOrder = true;          // otherwise, as a connection keeps it
};

class RaftCluster {
 public:
  RaftCluster(uint64_t seed, unsigned voters, RareCounts& rare);
  KJ_DISALLOW_COPY(RaftCluster);

  Nanos now() const { return now_; }
  SimRandom& random() { return random_; }
  RaftChecks& checks() { return checks_; }
  uint64_t traceHash() const { return trace_; }
  uint64_t messages() const { return messages_; }

  // Runs what happens up to that time.
  void runUntil(Nanos time);

  // ---- members ----
  struct Node {
    std::unique_ptr<RaftMember> member;
    uint64_t life = 0;
    Nanos tick = RAFT_TICK;  // by its own clock
    Nanos clockPercent = 100;
    Nanos pausedUntil = 0;
    Nanos diskUntil = 0;  // no write ends before
    unsigned diskSlowness = 1;
    size_t writing = 0;  // writes that the sync under way will make durable
  };
  std::map<MemberId, Node>& nodes() { return nodes_; }
  RaftMember& member(MemberId id) { return *nodes_.at(id).member; }
  bool running(MemberId id) const { return nodes_.contains(id) && nodes_.at(id).member->running(); }
  std::vector<MemberId> runningMembers() const;
  // One that thinks it leads; nobody when none does.
  MemberId someLeader();
  // A new directory under a new id, started; it belongs to nobody yet.
  MemberId addMember();
  void start(MemberId id);
  void crash(MemberId id);
  // For good, disk and all.
  void destroy(MemberId id);
  void pause(MemberId id, Nanos time) { raise(nodes_.at(id).pausedUntil, now_ + time); }
  void stallDisk(MemberId id, Nanos time) { raise(nodes_.at(id).diskUntil, now_ + time); }
  // What its clock shows, which counts through pauses.
  Nanos timeOf(const Node& node) const { return now_ / 100 * node.clockPercent; }
  // A client asks the leader for its state. It is read at once if the leader has its lease, and answered a moment
  // later, during which the process may stand still, if it then still has it.
  void readUnderLease(MemberId leader, Nanos pause);
  // After a call on the member's core from outside.
  void touched(MemberId id);

  // ---- network ----
  Weather& weather() { return weather_; }
  void cut(MemberId from, MemberId to) { cut_.insert({from, to}); }
  void delay(MemberId from, MemberId to, Nanos by) { delays_[{from, to}] = by; }
  void healNetwork() {
    cut_.clear();
    delays_.clear();
  }

  // Where each member stands, a line each.
  std::string describe() const;
  // Goes into the trace hash.
  void note(uint64_t what, uint64_t who) { trace_ = mix(trace_ ^ mix(what * 1000003 + who) ^ mix(now_)); }

 private:
  enum class Kind : uint8_t { TICK, DELIVER, DISK, SNAPSHOT_REPORT, LEASE_ANSWER };
  struct Event {
    Kind kind = Kind::TICK;
    MemberId who = NOBODY;
    uint64_t life = 0;
    Message message;
    std::shared_ptr<const RaftSnapshot> state;
    bool arrived = false;
    // of a read under a lease
    Term term{};
    LogIndex acknowledged{};
    LogIndex read{};
  };

  static void raise(Nanos& until, Nanos time) { until = std::max(until, time); }
  static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15ull;
    return x ^ (x >> 29);
  }
  void makeNode(MemberId id, const Membership& membership);
  void send(Message message, std::shared_ptr<const RaftSnapshot> state);
  void loseLink(MemberId a, MemberId b);
  void post(Message message, std::shared_ptr<const RaftSnapshot> state, Nanos at);
  void reportSnapshot(const Message& message, bool arrived, Nanos delay);
  void handle(Event event);
  void answerUnderLease(const Node& node, const Event& event);
  void writeSoon(Node& node, MemberId id);

  Nanos now_ = 0;
  SimRandom random_;
  RareCounts& rare_;
  RaftOptions options_;
  RaftChecks checks_;
  EventQueue<Event> queue_;
  Weather weather_;
  std::set<std::pair<MemberId, MemberId>> cut_;
  std::map<std::pair<MemberId, MemberId>, Nanos> delays_;  // beside the weather's
  std::map<std::pair<MemberId, MemberId>, Nanos> lastArrival_;
  uint64_t trace_ = 0;
  uint64_t messages_ = 0;
  uint64_t lastId_ = 0;
  std::map<MemberId, Node> nodes_;
};

}  // namespace cairn::raft
