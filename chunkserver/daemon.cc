#include "chunkserver/daemon.h"

#include <cerrno>

#include "chunkserver/census.h"
#include "chunkserver/chunk_service.h"
#include "chunkserver/door_service.h"
#include "chunkserver/peer_service.h"
#include "chunkserver/registration.h"
#include "chunkserver/work.h"
#include "common/log.h"
#include "rpc/connection.h"

namespace cairn {
namespace {

constexpr Nanos MAINTAIN_EVERY = SECOND;
constexpr Nanos DAY = 24 * 3600 * SECOND;
// How long an orderly end waits for mutations under way, and for other members to say what is settled.
constexpr Nanos STOP_PATIENCE = 2 * SECOND;
constexpr Nanos STOP_LOOK = 10 * MILLISECOND;
// An index that is found damaged again and again is a dying disk.
constexpr unsigned REOPENS_MAX = 8;
const char* const INDEX_REMADE = "its index was lost and made again: every shard must be joined anew";
// While chunks of a volume are pending for longer than this its dirty marks stay.
constexpr Nanos PENDING_PATIENCE = 3 * SECOND;

struct OpenVolume {
  std::string path;
  kj::Own<VolumeStore> store;
  kj::Own<LocalVolume> local;
  Nanos quietAt = 0;  // when nothing was pending last
  VolumePlace place;
  unsigned reopened = 0;
};

class DaemonImpl final : public Daemon, private kj::TaskSet::ErrorHandler {
 public:
  DaemonImpl(DaemonSeams seams, DaemonOptions options, ServerId server)
      : seams_(seams),
        options_(std::move(options)),
        membership_(seams.clock, identity(server)),
        peers_(seams.network, seams.clock, seams.random, membership_),
        gate_(kj::refcounted<ServiceGate>()),
        fatal_(kj::newPromiseAndFulfiller<Error>()),
        tasks_(kj::heap<kj::TaskSet>(static_cast<kj::TaskSet::ErrorHandler&>(*this))) {}

  ~DaemonImpl() noexcept(false) { shut(); }

  Status openVolumes(ServerHome& home, std::vector<VolumePlace> places);
  Status openPorts();
  void run(ServerHome& home);

  std::vector<Address> addresses() const override;
  bool registered() const override { return registration_.get() != nullptr && registration_->registered(); }
  kj::Promise<Error> onFatal() override { return kj::mv(fatal_.promise); }
  Task<void> stop() override;

 private:
  SelfIdentity identity(ServerId server) const {
    SelfIdentity self;
    self.cluster = options_.cluster.cluster;
    self.server = server;
    self.incarnation = seams_.random.uuid<Incarnation>();
    self.name = options_.name;
    self.socket = options_.socket;
    self.hostId = options_.hostId;
    self.rack = options_.rack;
    self.zone = options_.zone;
    self.program = options_.program;
    return self;
  }
  Result<kj::Own<VolumeStore>> openStore(const VolumePlace& place, bool create, bool rebuildLater = false);
  Status openOne(ServerHome& home, VolumePlace& place);
  void serve();
  void takeSettings(const ClusterFile& file);
  Task<void> maintain(OpenVolume& volume);
  Task<void> sayWhatIsTakenOver();
  Task<void> recheck(OpenVolume& volume);
  void keepUp(OpenVolume& volume, VolumeStanding& standing);
  Task<void> watch(OpenVolume& volume, VolumeStanding& standing);
  Task<bool> reopen(OpenVolume& volume, VolumeStanding& standing);
  Task<void> readmit(OpenVolume& volume, VolumeStanding& standing);
  bool isMemberAnywhere(const LocalVolume& volume) const;
  Task<void> watchRegistration();
  Task<void> becomeQuiet();
  bool allIdle() const;
  bool allQuiet() const;
  void shut();
  void taskFailed(kj::Exception&& e) override { spdlog::error("a task ended: {}", kj::str(e).cStr()); }

  DaemonSeams seams_;
  const DaemonOptions options_;
  Membership membership_;
  Peers peers_;
  std::vector<kj::Own<VolumeStore>> retired_;  // failed ones that tasks may still hold
  std::vector<OpenVolume> volumes_;
  std::vector<VolumeStanding> standings_;
  kj::Own<Replicator> replicator_;
  kj::Own<WorkRunner> work_;
  kj::Own<Copier> copier_;
  kj::Own<Scrubs> scrubs_;
  kj::Own<ChunkHandlers> chunkHandlers_;
  kj::Own<PeerHandlers> peerHandlers_;
  kj::Own<ServiceGate> gate_;
  kj::Own<Registration> registration_;
  kj::Own<Census> census_;
  std::vector<kj::Own<Listener>> listeners_;
  std::vector<Address> addresses_;
  std::vector<kj::Own<RpcServer>> servers_;
  kj::PromiseFulfillerPair<Error> fatal_;
  int64_t retainSeconds_ = INT64_MAX;
  bool stopping_ = false;
  kj::Own<kj::TaskSet> tasks_;
};

Result<kj::Own<VolumeStore>> DaemonImpl::openStore(const VolumePlace& place, bool create, bool rebuildLater) {
  VolumeOptions options;
  options.cluster = options_.cluster.cluster;
  options.server = membership_.self().server;
  options.create = create;
  options.rebuildLater = rebuildLater;
  options.capacityLimit = options_.capacityLimit;
  // What it is by the cluster's settings is heard later: until then nothing that is kept goes for its age.
  options.retainSeconds = retainSeconds_;
  return openVolume(*place.disk, *place.env, seams_.clock, seams_.workers, seams_.random, options);
}

Status DaemonImpl::openOne(ServerHome& home, VolumePlace& place) {
  if (place.disk == nullptr) {
    return place.error;
  }
  // An empty directory where a volume is known to be is a disk that isn't mounted.
  auto opened = openStore(place, home.volumeAt(place.path).isNull());
  if (!opened.ok()) {
    return opened.error();
  }
  auto& store = opened.value();
  VolumeId known = home.volumeAt(place.path);
  if (!known.isNull() && known != store->identity().volume) {
    return Error{ESTALE, place.path + " holds volume " + toText(store->identity().volume) + ", but volume " +
                             toText(known) + " is expected there: have disks been swapped?"};
  }
  Status remembered = home.remember(place.path, store->identity().volume);
  if (!remembered.ok()) {
    return remembered.error();
  }
  auto local = kj::heap<LocalVolume>(*store);
  volumes_.push_back({place.path, kj::mv(store), kj::mv(local), seams_.clock.monotonic(), place});
  return {};
}

// A disk's own failure, as opposed to an operator's mistake.
bool isDiskFailure(int code) {
  switch (code) {
    case EIO:
    case ENOENT:
    case ENODEV:
    case ENOTCONN:
    case EROFS:
    case ENOSPC:
    case EUCLEAN:
      return true;
    default:
      return false;
  }
}

Status DaemonImpl::openVolumes(ServerHome& home, std::vector<VolumePlace> places) {
  std::vector<std::pair<VolumeId, Error>> failed;
  for (auto& place : places) {
    Status opened = openOne(home, place);
    VolumeId known = home.volumeAt(place.path);
    if (!opened.ok() && (known.isNull() || !isDiskFailure(opened.code()) || places.size() == 1)) {
      return opened.error();
    }
    if (!opened.ok()) {
      spdlog::error("volume {} isn't used: {}", place.path, opened.error().why);
      failed.push_back({known, opened.error()});
    }
  }
  if (volumes_.empty()) {
    return failed.empty() ? Error{EINVAL, "no volume given"} : failed[0].second;
  }
  for (auto& volume : volumes_) {
    VolumeStanding standing{volume.local->id, volume.local.get(), {}};
    if (volume.store->indexRebuilt()) {
      // Small chunks are missing, so it must not count as a member of any set before it has caught up.
      standing.failed = INDEX_REMADE;
      volume.local->failed = true;
    }
    standings_.push_back(standing);
  }
  for (auto& [id, error] : failed) {
    standings_.push_back({id, nullptr, error.why});
  }
  return {};
}

Status DaemonImpl::openPorts() {
  std::vector<Address> wanted{options_.listen};
  if (!options_.socket.empty()) {
    wanted.push_back("unix:" + options_.socket);
  }
  for (auto& address : wanted) {
    auto listener = seams_.network.listen(address);
    if (!listener.ok()) {
      return listener.error();
    }
    addresses_.push_back(listener.value()->address());
    listeners_.push_back(kj::mv(listener.value()));
  }
  membership_.setAddress(addresses_[0]);
  return {};
}

void DaemonImpl::run(ServerHome& home) {
  std::vector<LocalVolume*> locals;
  for (auto& volume : volumes_) {
    locals.push_back(volume.local.get());
  }
  replicator_ = kj::heap<Replicator>(seams_.clock, seams_.random, membership_, peers_, locals,
                                     uint64_t{options_.cluster.repairMibPerSecond} << 20);
  work_ = kj::heap<WorkRunner>(seams_.clock, membership_, *replicator_);
  copier_ = kj::heap<Copier>(seams_.clock, membership_, *replicator_);
  scrubs_ = kj::heap<Scrubs>(seams_.clock, *replicator_, locals, options_.cluster.scrubDays * DAY);
  chunkHandlers_ = kj::heap<ChunkHandlers>(*replicator_, membership_, seams_.clock, *scrubs_);
  peerHandlers_ = kj::heap<PeerHandlers>(*replicator_, membership_, seams_.clock);
  serve();
  registration_ = kj::heap<Registration>(seams_.network, seams_.clock, seams_.random, options_.cluster, home,
                                         membership_, peers_, *replicator_, *work_, *copier_, standings_);
  census_ = kj::heap<Census>(seams_.clock, membership_, *replicator_, *work_, *registration_, standings_,
                             int64_t{options_.cluster.orphanSeconds} * SECOND);
  registration_->setOnSettings([this](const ClusterFile& file) { takeSettings(file); });
  tasks_->add(watchRegistration().promise());
  tasks_->add(sayWhatIsTakenOver().promise());
  tasks_->add(census_->run().promise());
  for (size_t i = 0; i < volumes_.size(); ++i) {
    keepUp(volumes_[i], standings_[i]);
    tasks_->add(watch(volumes_[i], standings_[i]).promise());
  }
}

void DaemonImpl::takeSettings(const ClusterFile& file) {
  scrubs_->setPeriod(file.scrubDays * DAY);
  replicator_->setJoinRate(uint64_t{file.repairMibPerSecond} << 20);
  census_->setGrace(int64_t{file.orphanSeconds} * SECOND);
  retainSeconds_ = file.quarantineSeconds;
  for (auto& volume : volumes_) {
    volume.store->setRetainSeconds(retainSeconds_);
  }
}

void DaemonImpl::serve() {
  peers_.setSelf(newPeerService(*gate_, *peerHandlers_));
  auto door = [this](const PeerIdentity&) -> capnp::Capability::Client {
    auto chunks = newChunkService(*gate_, *chunkHandlers_);
    auto peer = newPeerService(*gate_, *peerHandlers_);
    return newChunkDoor(*gate_, membership_, kj::mv(chunks), kj::mv(peer), options_.program.version);
  };
  for (auto& listener : listeners_) {
    servers_.push_back(serveRpc(kj::mv(listener), door));
  }
  listeners_.clear();
}

std::vector<Address> DaemonImpl::addresses() const {
  return addresses_;
}

// ---- upkeep -------------------------------------------------------------------------------------

Task<void> DaemonImpl::maintain(OpenVolume& volume) {
  const VolumeStore* store = volume.store.get();
  for (;;) {
    co_await seams_.clock.after(MAINTAIN_EVERY);
    if (volume.store.get() != store || !volume.store->health().ok()) {
      co_return;  // the next one has a task of its own
    }
    Nanos now = seams_.clock.monotonic();
    if (replicator_->quiet(*volume.local)) {
      volume.quietAt = now;
    }
    if (now - volume.quietAt > PENDING_PATIENCE) {
      continue;  // what may differ from other members' copies must stay marked
    }
    auto kept = co_await volume.store->maintain();
    if (!kept.ok()) {
      spdlog::error("volume {}: {}", volume.path, kept.error().why);
    }
  }
}

// Once it has come to rest.
Task<void> DaemonImpl::sayWhatIsTakenOver() {
  for (uint64_t said = 0, before = 0;;) {
    co_await seams_.clock.after(MAINTAIN_EVERY);
    uint64_t taken = replicator_->around().takenOverBytes;
    if (taken == before && taken != said) {
      spdlog::info("{} bytes taken over from other chunkservers since the start", taken);
      said = taken;
    }
    before = taken;
  }
}

Task<void> DaemonImpl::recheck(OpenVolume& volume) {
  auto checked = co_await volume.store->recheck();
  if (!checked.ok()) {
    spdlog::error("volume {}: {}", volume.path, checked.error().why);
  }
}

void DaemonImpl::keepUp(OpenVolume& volume, VolumeStanding& standing) {
  tasks_->add(maintain(volume).promise());
  tasks_->add(recheck(volume).promise());
  if (volume.local->failed) {
    tasks_->add(readmit(volume, standing).promise());
  }
}

Task<void> DaemonImpl::watch(OpenVolume& volume, VolumeStanding& standing) {
  for (bool again = true; again;) {
    co_await volume.store->whenFailed();
    Status health = volume.store->health();
    standing.failed = health.ok() ? "the volume has failed" : health.error().why;
    spdlog::critical("volume {} is taken out of service: {}", volume.path, standing.failed);
    replicator_->volumeFailed(*volume.local);
    registration_->hurry();
    again = co_await reopen(volume, standing);
    if (again) {
      keepUp(volume, standing);
    }
  }
  bool anyLeft = false;
  for (auto& other : volumes_) {
    anyLeft = anyLeft || !other.local->failed;
  }
  if (!anyLeft) {
    co_await seams_.clock.after(STOP_PATIENCE);  // the master is told first
    fatal_.fulfiller->fulfill(Error{EIO, "every volume has failed; the last one: " + standing.failed});
  }
}

// A damaged index is made again from the chunk files, and what only it had comes back from the other members. False:
// the disk itself has failed.
Task<bool> DaemonImpl::reopen(OpenVolume& volume, VolumeStanding& standing) {
  if (!volume.store->indexDamaged() || volume.reopened >= REOPENS_MAX) {
    co_return false;
  }
  ++volume.reopened;
  // Nobody may count on what it had, nor on what it has taken over so far.
  while (isMemberAnywhere(*volume.local)) {
    co_await membership_.changed.next();
  }
  while (!volume.store->idle()) {
    co_await seams_.clock.after(STOP_LOOK);
  }
  volume.store->release();
  auto opened = openStore(volume.place, false, true);
  Status finished = opened.ok() ? Status() : Status(opened.error());
  if (opened.ok()) {
    auto made = co_await opened.value()->finishOpening();  // others are served meanwhile
    finished = made;
  }
  if (!finished.ok()) {
    standing.failed = finished.error().why;
    spdlog::critical("volume {} can't be opened anew: {}", volume.path, standing.failed);
    co_return false;
  }
  retired_.push_back(kj::mv(volume.store));
  volume.store = kj::mv(opened.value());
  volume.local->store = volume.store.get();
  volume.quietAt = seams_.clock.monotonic();
  standing.failed = INDEX_REMADE;
  replicator_->volumeReopened(*volume.local);
  registration_->hurry();
  co_return true;
}

bool DaemonImpl::isMemberAnywhere(const LocalVolume& volume) const {
  for (auto& [id, shard] : membership_.map.shards) {
    if (volume.number && (shard.isInSync(*volume.number) || shard.isJoining(*volume.number))) {
      return true;
    }
  }
  return raw(membership_.map.version) == 0;  // unknown
}

// A volume whose index was made again may join once no shard counts on what it had. Where it was joining it must have
// been taken out, too: the small chunks that it had taken over were in the index only.
Task<void> DaemonImpl::readmit(OpenVolume& volume, VolumeStanding& standing) {
  while (isMemberAnywhere(*volume.local)) {
    co_await membership_.changed.next();
  }
  if (volume.store->health().ok()) {
    spdlog::info("volume {} joins its shards anew", volume.path);
    volume.local->failed = false;
    standing.failed.clear();
    registration_->hurry();
  }
}

Task<void> DaemonImpl::watchRegistration() {
  auto refused = co_await registration_->refused();
  fatal_.fulfiller->fulfill(kj::mv(refused));
}

// ---- the end ------------------------------------------------------------------------------------

bool DaemonImpl::allIdle() const {
  for (auto& [key, unit] : replicator_->units()) {
    if (!unit->primary.idle() || !unit->state.applies.idle()) {
      return false;
    }
  }
  return true;
}

bool DaemonImpl::allQuiet() const {
  for (auto& volume : volumes_) {
    if (!replicator_->quiet(*volume.local)) {
      return false;
    }
  }
  return true;
}

// Lets mutations end and tells the other members, so that nothing is left that may differ.
Task<void> DaemonImpl::becomeQuiet() {
  Nanos deadline = seams_.clock.monotonic() + STOP_PATIENCE;
  while (!allIdle() && seams_.clock.monotonic() < deadline) {
    co_await seams_.clock.after(STOP_LOOK);
  }
  replicator_->announce();
  while (!allQuiet() && seams_.clock.monotonic() < deadline) {
    co_await seams_.clock.after(STOP_LOOK);
  }
}

Task<void> DaemonImpl::stop() {
  membership_.lease.end();
  co_await becomeQuiet();
  co_await registration_->leave();
  std::vector<bool> quiet;
  for (auto& volume : volumes_) {
    quiet.push_back(replicator_->quiet(*volume.local));
  }
  shut();
  for (size_t i = 0; i < volumes_.size(); ++i) {
    // Pending chunks must be looked at after the next start, as after a crash.
    if (!volumes_[i].local->failed && quiet[i]) {
      auto closed = co_await volumes_[i].store->close();
      if (!closed.ok()) {
        spdlog::error("volume {}: {}", volumes_[i].path, closed.error().why);
      }
    }
  }
}

void DaemonImpl::shut() {
  if (stopping_) {
    return;
  }
  stopping_ = true;
  tasks_ = nullptr;
  census_ = nullptr;
  registration_ = nullptr;
  gate_->close();
  servers_.clear();
  copier_ = nullptr;
  work_ = nullptr;
  chunkHandlers_ = nullptr;
  peerHandlers_ = nullptr;
  scrubs_ = nullptr;
  replicator_ = nullptr;
}

}  // namespace

Result<kj::Own<Daemon>> startDaemon(DaemonSeams seams, DaemonOptions options, ServerHome& home,
                                    std::vector<VolumePlace> volumes) {
  auto daemon = kj::heap<DaemonImpl>(seams, kj::mv(options), home.server());
  Status opened = daemon->openVolumes(home, kj::mv(volumes));
  if (!opened.ok()) {
    return opened.error();
  }
  Status listening = daemon->openPorts();
  if (!listening.ok()) {
    return listening.error();
  }
  daemon->run(home);
  return kj::Own<Daemon>(kj::mv(daemon));
}

}  // namespace cairn
