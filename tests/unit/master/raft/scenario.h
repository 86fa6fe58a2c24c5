// Scenario: a Raft group driven by lines of plain text, for cases that read like the paper's figures.
//
//   members 1 2 3            voters of a new group; `learner 4`: a directory that may join
//   log 1: 1 1 4             terms of the entries on member 1's disk; `term 1: 7`: its term, if later
//   option append-entries 2  also: memory-bytes, in-flight, uncommitted-bytes, promotion-lag, promise-ms
//   start                    all begin; `start 1`, `crash 1`: one
//
//   campaign 1 | tick 1 5 | propose 1 a b | read 1 r | transfer 1 2
//   learner 1 4 | promote 1 4 | remove 1 3         a change of membership proposed to member 1
//   link-lost 3 1                                  member 3 learns that its connection to 1 broke
//   clock 10                                       so many milliseconds pass for all
//   snapshot 1 2                                   of what is applied, with so many entries kept before it
//   snapshot-lost 1 3                              member 1 learns that the snapshot it sent didn't arrive
//   rot 2 5                                        entry 5 on the disk of a crashed member
//   ... -> TRANSFERRING                            what the call must return, if not NONE
//
//   deliver                  everything, disks too, until nothing moves; `deliver 1 > 2` only those messages
//   cut 1 2 | cut 1 > 2 | isolate 1 | heal         what is sent there is lost
//   hold 1 > 2 | release     what is sent there waits
//   disk 1 slow | disk 1 fast | write 1            its writes wait; one ends
//   drop                     all that is on its way
//
//   expect 1: leader, term 2, commit 3, log 1 1 2   each part must be as written; see describe() for the parts
//   expect queue: 1>2 AppendRequest, 2>1 ...
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/raft/world/raft_member.h"
#include "tests/sim/world/sim_random.h"

namespace cairn::raft {

class Scenario final : public RaftWatcher {
 public:
  Scenario() : random_(1, "scenario") {}

  // Runs one line. Empty, or what differs from what the line expects.
  std::string run(const std::string& line);

 private:
  using Words = std::vector<std::string>;
  struct OnTheWay {
    Message message;
    std::shared_ptr<const RaftSnapshot> state;
  };

  // RaftWatcher
  void onApplied(MemberId member, const Entry& entry, const RaftState& after) override;
  void onInstalled(MemberId member, const RaftSnapshot& snapshot) override;
  void onRead(MemberId member, const ReadReady& ready, const RaftState& state) override;
  void onReadFailed(MemberId member, const ReadId& id) override;

  std::string dispatch(const Words& words, const std::string& line);
  bool setUp(const Words& words);
  bool network(const Words& words);
  bool machine(const Words& words);
  // What a call on a member returned; nothing when the word isn't one.
  std::string call(const Words& words, bool& known);
  std::string change(const Words& words);
  void makeMember(MemberId id, const Membership& membership);
  void setLog(MemberId id, const Words& terms);
  void option(const std::string& name, size_t value);
  void deliver(const Words& words);
  bool deliverOne(MemberId from, MemberId to);
  std::string expect(const std::string& line);
  std::string describe(MemberId id, const std::string& part) const;
  std::string describeQueue() const;
  RaftMember& member(const std::string& name);
  void forPairs(const Words& words, size_t first, const std::function<void(MemberId, MemberId)>& act);

  SimRandom random_;
  RaftOptions options_;
  Membership initial_;
  std::map<MemberId, std::unique_ptr<RaftMember>> members_;
  std::deque<OnTheWay> queue_;
  std::deque<OnTheWay> held_;
  std::set<std::pair<MemberId, MemberId>> cut_;
  std::set<std::pair<MemberId, MemberId>> holding_;
  std::set<MemberId> slow_;
  std::map<ReadId, std::string> readNames_;
  std::map<MemberId, std::vector<std::string>> reads_;
  RareCounts rare_;
  Nanos now_ = 0;
};

}  // namespace cairn::raft
