// A group of masters in a simulated world, each on a host and a volume of its own.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "master/group.h"
#include "master/member.h"
#include "master/recovering.h"
#include "tests/sim/world/world.h"

namespace cairn {

class GroupWorld {
 public:
  static constexpr ClusterId CLUSTER{5, 6};
  static constexpr Nanos LIMIT = 30 * SECOND;

  explicit GroupWorld(uint64_t seed, size_t masters = 3);
  ~GroupWorld() noexcept(false);

  // Begins the group with m1, takes the others in, and waits until all vote.
  void form();
  // The error of the start, if it fails.
  Status start(const std::string& name, bool initialize = false, bool joins = false);
  void crash(const std::string& name);
  void powerCut(const std::string& name);
  void stop(const std::string& name);
  // Flips a bit of the synced entries in its log, while it is down.
  void rotLog(const std::string& name);
  // Adds something to its state that no entry has put there, while it is down.
  void twistState(const std::string& name);
  // Why it ended by itself; empty: it didn't.
  std::string fatal(const std::string& name);
  // Its directory is a copy of itself from now on; while it is down.
  void copyDirectory(const std::string& name);
  // The plan, or the new epoch, for a master that is down.
  Result<RecoveryPlan> planRecovery(const std::string& name);
  Result<GroupEpoch> recover(const std::string& name, const std::string& plan);
  // What every master's cluster.toml says from its next start on.
  void noteEpoch(GroupEpoch epoch) { cluster_.epoch = epoch; }
  // The master gets an empty disk.
  void replaceDisk(const std::string& name) { volumes_[name] += "-new"; }

  bool running(const std::string& name) const { return processes_.contains(name); }
  Replica& replica(const std::string& name);
  Group& group(const std::string& name) { return replica(name).group(); }
  const std::vector<std::string>& names() const { return names_; }
  // The name of the one that leads with a current state; waits for it.
  std::string leader(Nanos limit = 5 * SECOND);
  // Whoever leads; empty when nobody does.
  std::string leaderNow();
  // Waits until all that run have applied the same, and compares their digests.
  void expectEqual();

  // Opens a session named so: an acknowledged change that leaves a trace. The outcome's errno.
  int write(const std::string& name, const std::string& session);
  // Through whoever leads, until it is acknowledged.
  void writeSomehow(const std::string& session);
  bool has(const std::string& name, const std::string& session);

  World world;
  uint64_t segmentBytes = 256 << 10;
  uint64_t snapshotLogBytes = 8 << 20;

 private:
  struct Process;
  MemberOptions optionsFor(const std::string& name) const;

  std::vector<std::string> names_;
  ClusterFile cluster_;
  std::map<std::string, std::string> volumes_;
  uint64_t nonce_ = 0;
  std::map<std::string, std::unique_ptr<Process>> processes_;
};

}  // namespace cairn
