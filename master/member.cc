#include "master/member.h"

#include "common/log.h"
#include "master/core.h"
#include "master/door_service.h"
#include "master/propose.h"
#include "rpc/connection.h"

namespace cairn {
namespace {

// How often leases and deadlines are looked at. Below STALL / 2, so that a pause of this process is noticed.
constexpr Nanos TICK = 100 * MILLISECOND;
constexpr Nanos SPACE_LOOK = 2 * SECOND;
constexpr Nanos PROBE_LIMIT = SECOND;

// An error that somebody may wait for.
struct Failure {
  Failure() : Failure(kj::newPromiseAndFulfiller<Error>()) {}
  explicit Failure(kj::PromiseFulfillerPair<Error> pair)
      : promise(pair.promise.fork()), fulfiller(kj::mv(pair.fulfiller)) {}
  kj::ForkedPromise<Error> promise;
  kj::Own<kj::PromiseFulfiller<Error>> fulfiller;
};

// Tells the parts what an entry changed.
class Observer final : public ReplicaObserver {
 public:
  explicit Observer(Core& core) : core_(core) {}

  void onApplied(wire::Command::Reader command, const Applied& applied) override {
    core_.sessions.onApplied(command, applied);
    if (applied.changes.map) {
      core_.publisher.changed();
      core_.chunkservers.mapChanged();
      core_.sessions.mapChanged();
    }
    if (applied.changes.queued) {
      core_.cleanup.queued();
    }
  }

 private:
  Core& core_;
};

class MemberImpl final : public Member, private kj::TaskSet::ErrorHandler {
 public:
  MemberImpl(MemberOptions options, MemberSeams seams, kj::Own<Replica> replica)
      : options_(std::move(options)),
        seams_(seams),
        replica_(kj::mv(replica)),
        publisher_(seams.clock, replica_->reader().map()),
        chunkservers_(seams.clock, *replica_, PlacementRules{options_.cluster.servers}),
        cleanup_(seams.clock, *replica_),
        sessions_(seams.clock, seams.random, *replica_, chunkservers_),
        ownSpace_(seams.disk),
        core_{seams.clock,   *replica_, options_.cluster, options_.name, options_.version, publisher_,
              chunkservers_, cleanup_,  sessions_,        names_,        ownSpace_},
        lifeline_(kj::refcounted<Lifeline>(core_)),
        observer_(core_),
        tasks_(*this) {
    replica_->setObserver(&observer_);
  }

  ~MemberImpl() noexcept(false) {
    servers_.clear();
    lifeline_->cut();
  }

  void serve(std::vector<kj::Own<Listener>> listeners) {
    for (auto& listener : listeners) {
      auto door = [this](const PeerIdentity& peer) -> capnp::Capability::Client {
        return newMasterDoor(*lifeline_, peer);
      };
      servers_.push_back(serveRpc(kj::mv(listener), door));
    }
    tasks_.add(tick().promise());
  }

  std::vector<Address> addresses() const override {
    std::vector<Address> out;
    for (auto& server : servers_) {
      out.push_back(server->address());
    }
    return out;
  }
  Replica& replica() override { return *replica_; }
  kj::Promise<Error> onFatal() override { return replica_->onFatal().exclusiveJoin(failed_.promise.addBranch()); }

  Task<void> stop() override {
    servers_.clear();
    lifeline_->cut();
    stopping_ = true;
    co_await replica_->stop();
  }

 private:
  Task<void> tick() {
    for (Nanos spaceLooked = 0; !stopping_;) {
      co_await seams_.clock.after(TICK);
      if (stopping_) {
        break;
      }
      chunkservers_.tick();
      sessions_.tick();
      cleanup_.tick();
      if (seams_.clock.monotonic() - spaceLooked >= SPACE_LOOK) {
        spaceLooked = seams_.clock.monotonic();
        ownSpace_.refresh();
      }
    }
  }

  void taskFailed(kj::Exception&& e) override {
    // Without its clock a master would never replace a server or end a session.
    failed_.fulfiller->fulfill(Error{EIO, kj::str("the master's clockwork failed: ", e).cStr()});
  }

  const MemberOptions options_;
  MemberSeams seams_;
  kj::Own<Replica> replica_;
  MapPublisher publisher_;
  Chunkservers chunkservers_;
  Cleanup cleanup_;
  Sessions sessions_;
  NameGate names_;
  OwnSpace ownSpace_;
  Core core_;
  kj::Own<Lifeline> lifeline_;
  Observer observer_;
  std::vector<kj::Own<RpcServer>> servers_;
  bool stopping_ = false;
  Failure failed_;
  kj::TaskSet tasks_;
};

Status checkDirectory(const MemberOptions& options, Disk& disk) {
  auto listed = disk.list("");
  if (!listed.ok()) {
    return listed.error();
  }
  auto names = listed.value();
  std::erase(names, "lost+found");
  std::string path = disk.hostPath("");
  if (options.initialize && !names.empty()) {
    return Error{ENOTEMPTY, path + " is not empty (it has \"" + names.front() +
                                "\"): start without --init to go on with what is there, or name an empty directory"};
  }
  if (!options.initialize && names.empty()) {
    return Error{ENOENT, path +
                             " is empty: this master has no data there; start with --init to make a new cluster's, "
                             "or mount the disk that has it"};
  }
  return {};
}

Task<Status> formatCluster(Replica& replica, const MemberOptions& options) {
  auto fill = [&](wire::Command::Builder command) {
    auto out = command.initFormat();
    toWire(options.cluster.cluster, out.initCluster());
    auto cls = out.initClasses(1)[0];
    cls.setId(0);
    cls.setCopies(static_cast<uint8_t>(options.cluster.copies));
    cls.setMinCopies(static_cast<uint8_t>(options.cluster.minCopies));
    cls.setShardBits(options.shardBits);
    out.setUid(options.rootUid);
    out.setGid(options.rootGid);
  };
  auto applied = co_await propose(replica, fill);
  co_return outcomeOf(applied);
}

bool isUnix(const Address& address) {
  return address.compare(0, 5, "unix:") == 0;
}

Task<bool> answers(const MemberSeams& seams, Address address) {
  try {
    auto stream = co_await withDeadline(seams.clock, PROBE_LIMIT, seams.network.connect(address), "probe");
  } catch (const kj::Exception&) {
    co_return false;  // nobody there, as it should be
  }
  co_return true;
}

// Binds what can be bound before the data is touched, so that a wrong address leaves nothing behind. A Unix socket
// comes last: others take it for the sign that the master is ready.
Task<Status> listenBefore(const MemberOptions& options, const MemberSeams& seams,
                          std::vector<kj::Own<Listener>>& listeners) {
  for (auto& address : options.listen) {
    if (isUnix(address)) {
      bool taken = co_await answers(seams, address);
      if (!taken) {
        continue;
      }
    }
    auto listener = seams.network.listen(address);
    if (!listener.ok()) {
      co_return listener.error();
    }
    listeners.push_back(kj::mv(listener.value()));
  }
  co_return Status();
}

Status listenAfter(const MemberOptions& options, const MemberSeams& seams, std::vector<kj::Own<Listener>>& listeners) {
  for (auto& address : options.listen) {
    if (!isUnix(address)) {
      continue;
    }
    auto listener = seams.network.listen(address);
    if (!listener.ok()) {
      return listener.error();
    }
    listeners.push_back(kj::mv(listener.value()));
  }
  return {};
}

Task<Result<kj::Own<Replica>>> openData(const MemberOptions& options, MemberSeams seams) {
  ReplicaOptions out;
  out.cluster = options.cluster.cluster;
  out.member = options.name;
  out.segmentBytes = options.segmentBytes;
  out.snapshotLogBytes = options.snapshotLogBytes;
  out.cacheBytes = options.cacheBytes;
  auto opened = co_await openReplica(out, seams.clock, seams.random, seams.disk, seams.workers, seams.env);
  if (opened.ok() && !opened.value()->reader().formatted()) {
    auto formatted = co_await formatCluster(*opened.value(), options);
    if (!formatted.ok()) {
      co_return formatted.error();
    }
  }
  co_return kj::mv(opened);
}

}  // namespace

Task<Result<kj::Own<Member>>> startMember(MemberOptions options, MemberSeams seams) {
  std::vector<kj::Own<Listener>> listeners;
  auto bound = co_await listenBefore(options, seams, listeners);
  Status usable = bound.ok() ? checkDirectory(options, seams.disk) : bound;
  if (!usable.ok()) {
    co_return usable.error();
  }
  auto opened = co_await openData(options, seams);
  if (!opened.ok()) {
    co_return opened.error();
  }
  Status listening = listenAfter(options, seams, listeners);
  if (!listening.ok()) {
    co_return listening.error();
  }
  auto member = kj::heap<MemberImpl>(std::move(options), seams, kj::mv(opened.value()));
  member->serve(kj::mv(listeners));
  kj::Own<Member> result = kj::mv(member);
  co_return kj::mv(result);
}

}  // namespace cairn
