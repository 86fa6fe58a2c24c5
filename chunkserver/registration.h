// Registration: this server's standing with the master. Finds the master that leads, registers, sends heartbeats, takes
// the shard map and work from it, and does so again whenever the master is gone and back.
#pragma once
#include <kj/async.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chunkserver/capsule/capsule_keeper.h"
#include "chunkserver/replication/replicator.h"
#include "chunkserver/server_home.h"
#include "chunkserver/server_metrics.h"
#include "chunkserver/service_gate.h"
#include "chunkserver/copier.h"
#include "chunkserver/work.h"
#include "common/cluster_file.h"
#include "common/settings.h"
#include "rpc/connection.h"
#include "rpc/find_leader.h"
#include "rpc/held_removal.h"
#include "schema/master.capnp.h"

namespace cairn {

// A volume as the master is told of it; `local` is nullptr when it couldn't be opened.
struct VolumeStanding {
  VolumeId id;
  LocalVolume* local = nullptr;
  std::string failed;  // why it isn't used; empty: it is
  HeldRemoval held = {};  // what the census has found (census.h)
};

class Registration final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr Nanos HEARTBEAT_EVERY = 150 * MILLISECOND;
  static constexpr Nanos HEARTBEAT_LIMIT = SECOND;
  static constexpr Nanos CONNECT_LIMIT = SECOND;
  static constexpr Nanos REGISTER_LIMIT = 5 * SECOND;
  static constexpr Nanos LEAVE_LIMIT = SECOND;
  static constexpr Nanos UNKNOWN_LIMIT = 600 * SECOND;
  // Without any order to carry out.
  static constexpr Nanos HISTORY_NOTED_EVERY = 10 * SECOND;
  // A killed process's registration may still look alive for as long as the master needs to notice.
  static constexpr Nanos RIVAL_PATIENCE = 10 * SECOND;

  Registration(Network& network, Clock& clock, Random& random, ClusterFile cluster, ServerHome& home,
               Membership& membership, Peers& peers, Replicator& replicator, WorkRunner& work, Copier& copier,
               CapsuleKeeper& capsules, std::vector<VolumeStanding>& volumes, ServerMetrics& metrics);
  ~Registration() noexcept(false);
  KJ_DISALLOW_COPY(Registration);

  // Resolves when the master will never take this server: final, for people.
  kj::Promise<Error> refused();
  // Sends a heartbeat at once.
  void hurry() { hurry_.raise(); }
  bool registered() const { return registered_; }
  // Which of these objects no file has, in order.
  Task<Result<std::vector<ObjectId>>> unknown(std::vector<ObjectId> objects);
  // Whether people have agreed to this HeldRemoval. Raised when they have agreed to something.
  bool hasAgreed(uint64_t plan) const { return agreed_.contains(plan); }
  Wakeup agreement;
  // Called with cluster.toml as it counts now: with the first heartbeat that is answered, and when it has changed.
  void setOnSettings(kj::Function<void(const ClusterFile& file)> told) { told_ = kj::mv(told); }
  // Gives the lease up. Nothing is sent afterwards.
  Task<void> leave();

  // From the master, through the watcher.
  MapVersion takeMap(wire::ShardMap::Reader map);

 private:
  // LOST: try again, perhaps elsewhere.
  enum class End { LOST, REFUSED };
  Task<void> run();
  Task<End> session(MasterAddress master);
  bool isGroup() const { return cluster_.masters.size() > 1; }
  GroupEpoch epoch() const;  // the least that a master must be of
  LeaderSearch search() const;
  Task<End> attempt(unsigned tries);
  void learn(const LeaderFound& found);
  Task<void> untilSucceeded();
  Task<bool> connect(MasterAddress master);
  Task<End> registerWith(wire::Master::Client master);
  Task<void> heartbeats(wire::Registration::Client registration);
  Task<bool> beat(wire::Registration::Client registration);
  Task<bool> obey(HistoryPoint master, bool ordered);
  Task<void> hurriedBy(Wakeup& signal);
  End judge(int errnum, const std::string& why);
  bool wasRemoved() const;
  void fillHello(wire::ServerHello::Builder out);
  void fillBeat(wire::Heartbeat::Builder out, const std::vector<uint64_t>& done);
  void takeAgreed(capnp::List<uint64_t>::Reader plans);
  void takeSettings(capnp::List<wire::Setting>::Reader list);
  void fillVolume(const VolumeStanding& volume, wire::VolumeReport::Builder out);
  void fillCaughtUp(wire::Heartbeat::Builder out);
  void taskFailed(kj::Exception&& e) override;

  Network& network_;
  Clock& clock_;
  Random& random_;
  ClusterFile cluster_;
  ServerHome& home_;
  Membership& membership_;
  Peers& peers_;
  Replicator& replicator_;
  WorkRunner& work_;
  Copier& copier_;
  CapsuleKeeper& capsules_;
  std::vector<VolumeStanding>& volumes_;
  ServerMetrics& metrics_;
  kj::Own<ServiceGate> gate_;  // of the map watcher
  kj::Own<Link> link_;
  kj::Maybe<wire::Registration::Client> registration_;
  kj::PromiseFulfillerPair<Error> refusal_;
  Wakeup hurry_;
  size_t master_ = 0;        // that it speaks to
  bool registered_ = false;  // now
  bool everRegistered_ = false;
  bool leaving_ = false;
  Nanos rivalSince_ = 0;
  Nanos historyNoted_ = 0;
  std::set<uint64_t> agreed_;
  std::optional<Settings> settings_;  // as last heard
  kj::Function<void(const ClusterFile&)> told_ = [](const ClusterFile&) {};
  kj::TaskSet tasks_;
};

}  // namespace cairn
