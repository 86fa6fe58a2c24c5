#include "master/member.h"

#include "common/log.h"
#include "master/door_service.h"
#include "master/joining.h"
#include "master/observe/leaders_page.h"
#include "master/office.h"
#include "master/propose.h"
#include "rpc/connection.h"

namespace cairn {
namespace {

// How often leases and deadlines are looked at. Below STALL / 2, so that a pause of this process is noticed.
constexpr Nanos TICK = 100 * MILLISECOND;
constexpr Nanos SPACE_LOOK = 2 * SECOND;
constexpr Nanos PROBE_LIMIT = SECOND;
constexpr Nanos FORMAT_RETRY = SECOND;

// An error that somebody may wait for.
struct Failure {
  Failure() : Failure(kj::newPromiseAndFulfiller<Error>()) {}
  explicit Failure(kj::PromiseFulfillerPair<Error> pair)
      : promise(pair.promise.fork()), fulfiller(kj::mv(pair.fulfiller)) {}
  kj::ForkedPromise<Error> promise;
  kj::Own<kj::PromiseFulfiller<Error>> fulfiller;
};

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

// The first entry of a group that was begun anew.
Task<Status> leapAhead(Replica& replica, GroupEpoch epoch) {
  auto fill = [&](wire::Command::Builder command) { command.setRecovered(raw(epoch)); };
  auto applied = co_await propose(replica, fill);
  co_return outcomeOf(applied);
}

class MemberImpl final : public Member, private OfficeObserver, private kj::TaskSet::ErrorHandler {
 public:
  MemberImpl(MemberOptions options, ReplicaSeams seams, kj::Own<Replica> replica)
      : options_(std::move(options)),
        seams_(seams),
        replica_(kj::mv(replica)),
        ownSpace_(seams.disk),
        observation_(seams.clock, options_.slow),
        doorway_(kj::refcounted<Doorway>(*replica_, options_.cluster.cluster, options_.name, options_.authority)),
        tasks_(*this) {
    replica_->setOfficeObserver(this);
  }

  ~MemberImpl() noexcept(false) {
    replica_->setOfficeObserver(nullptr);
    close();
  }

  void serve(std::vector<kj::Own<Listener>> listeners) {
    for (auto& listener : listeners) {
      auto door = [this](const PeerIdentity& peer) -> capnp::Capability::Client {
        return newMasterDoor(*doorway_, peer);
      };
      servers_.push_back(serveRpc(kj::mv(listener), door));
    }
    tasks_.add(tick().promise());
    JoiningParts parts{seams_.clock, seams_.random, seams_.network, options_.cluster, options_.name};
    tasks_.add(joinGroup(parts, replica_->group()).promise());
    tasks_.add(announceEpoch(parts, replica_->group()).promise());
  }

  std::vector<Address> addresses() const override {
    std::vector<Address> out;
    for (auto& server : servers_) {
      out.push_back(server->address());
    }
    return out;
  }
  Replica& replica() override { return *replica_; }
  void measure(MetricsSheet& sheet) override {
    observation_.metrics.measure(sheet);
    measureMaster(*replica_, office_.get() == nullptr ? nullptr : &office_->core(), sheet);
  }

  Task<std::string> page() override {
    if (office_.get() != nullptr && replica_->isLeader()) {
      co_return pageOf(office_->core());
    }
    PageSearch search{seams_.clock, seams_.network, options_.cluster, options_.name, replica_->group().epoch()};
    co_return co_await leadersPage(search);
  }

  kj::Promise<Error> onFatal() override { return replica_->onFatal().exclusiveJoin(failed_.promise.addBranch()); }

  Task<void> stop() override {
    stopping_ = true;
    office_ = nullptr;
    doorway_->setOffice({});
    co_await replica_->stop();
    close();
  }

 private:
  void close() {
    servers_.clear();
    office_ = nullptr;
    doorway_->close();
  }

  void openOffice() {
    office_ = kj::heap<Office>(seams_.clock, seams_.random, seams_.workers, *replica_, options_.cluster, options_.name,
                               options_.program.version, ownSpace_, options_.trashSeconds, observation_,
                               options_.authority);
    observation_.onOffice(true, options_.name);
    doorway_->setOffice(kj::addRef(office_->lifeline()));
  }

  void onOffice(bool leads) override {
    if (!leads) {
      doorway_->setOffice({});
      office_ = nullptr;
      observation_.onOffice(false, options_.name);
    } else if (!isPrepared()) {
      tasks_.add(prepareFirst().promise());
    } else if (!stopping_) {
      openOffice();
    }
  }

  // The state is that of a cluster, and of this master's group.
  bool isPrepared() {
    return replica_->reader().formatted() && replica_->reader().groupEpoch() >= replica_->group().epoch();
  }

  Task<Status> prepare() {
    if (!replica_->reader().formatted()) {
      return formatCluster(*replica_, options_);
    }
    return leapAhead(*replica_, replica_->group().epoch());
  }

  Task<void> prepareFirst() {
    while (!isPrepared() && replica_->isLeader() && !stopping_) {
      auto prepared = co_await prepare();
      if (!prepared.ok()) {
        spdlog::warn("the cluster isn't begun yet: {}", prepared.error().why);
        co_await seams_.clock.after(FORMAT_RETRY);
      }
    }
    if (replica_->isLeader() && office_.get() == nullptr && !stopping_) {
      openOffice();
    }
  }

  Task<void> tick() {
    for (Nanos spaceLooked = 0; !stopping_;) {
      co_await seams_.clock.after(TICK);
      if (stopping_) {
        break;
      }
      if (office_.get() != nullptr) {
        office_->tick();
      }
      seams_.network.setRevoked(replica_->reader().map().revoked);
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
  ReplicaSeams seams_;
  kj::Own<Replica> replica_;
  OwnSpace ownSpace_;
  Observation observation_;
  kj::Own<Office> office_;
  kj::Own<Doorway> doorway_;
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
  bool makes = options.initialize || options.joins;
  if (makes && !names.empty()) {
    std::string flag = options.joins ? "--join" : "--init";
    return Error{ENOTEMPTY, path + " is not empty (it has \"" + names.front() + "\"): start without " + flag +
                                " to go on with what is there, or name an empty directory"};
  }
  if (!makes && names.empty()) {
    std::string others = options.cluster.masters.size() > 1 ? ", with --join to join the other masters" : "";
    return Error{ENOENT, path + " is empty: this master has no data there; start with --init to make a new cluster's" +
                             others + ", or mount the disk that has it"};
  }
  return {};
}

bool isUnix(const Address& address) {
  return address.compare(0, 5, "unix:") == 0;
}

Task<bool> answers(const ReplicaSeams& seams, Address address) {
  try {
    auto connecting = seams.network.connect(address, std::nullopt);
    auto stream = co_await withDeadline(seams.clock, PROBE_LIMIT, kj::mv(connecting), "probe");
  } catch (const kj::Exception&) {
    co_return false;  // nobody there, as it should be
  }
  co_return true;
}

// Binds what can be bound before the data is touched, so that a wrong address leaves nothing behind. A Unix socket
// comes last: others take it for the sign that the master is ready.
Task<Status> listenBefore(const MemberOptions& options, const ReplicaSeams& seams,
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

Status listenAfter(const MemberOptions& options, const ReplicaSeams& seams, std::vector<kj::Own<Listener>>& listeners) {
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

Task<Result<kj::Own<Replica>>> openData(const MemberOptions& options, ReplicaSeams seams) {
  ReplicaOptions out;
  out.cluster = options.cluster.cluster;
  out.member = options.name;
  out.segmentBytes = options.segmentBytes;
  out.snapshotLogBytes = options.snapshotLogBytes;
  out.cacheBytes = options.cacheBytes;
  out.program = options.program;
  return openReplica(kj::mv(out), options.cluster, options.joins, seams);
}

}  // namespace

Task<Result<kj::Own<Member>>> startMember(MemberOptions options, ReplicaSeams seams) {
  std::vector<kj::Own<Listener>> listeners;
  auto bound = co_await listenBefore(options, seams, listeners);
  Status usable = bound.ok() ? checkDirectory(options, seams.disk) : bound;
  if (!usable.ok()) {
    co_return usable.error();
  }
  if (options.initialize) {
    JoiningParts parts{seams.clock, seams.random, seams.network, options.cluster, options.name};
    auto rivals = co_await findGroup(parts);
    if (!rivals.ok()) {
      co_return rivals.error();
    }
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
