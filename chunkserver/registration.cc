#include "chunkserver/registration.h"

#include <algorithm>
#include <cerrno>

#include "common/log.h"
#include "rpc/hello.h"

namespace cairn {
namespace {

class Watcher final : public wire::MapWatcher::Server {
 public:
  Watcher(kj::Own<ServiceGate> gate, Registration& registration) : gate_(kj::mv(gate)), registration_(registration) {}
  kj::Promise<void> push(PushContext context) override {
    if (gate_->closed()) {
      return KJ_EXCEPTION(DISCONNECTED, "the chunkserver has stopped");
    }
    context.getResults().setHave(raw(registration_.takeMap(context.getParams().getMap())));
    return kj::READY_NOW;
  }

 private:
  kj::Own<ServiceGate> gate_;
  Registration& registration_;
};

}  // namespace

Registration::Registration(Network& network, Clock& clock, Random& random, ClusterFile cluster, ServerHome& home,
                           Membership& membership, Peers& peers, Replicator& replicator, WorkRunner& work,
                           Copier& copier, std::vector<VolumeStanding>& volumes)
    : network_(network),
      clock_(clock),
      random_(random),
      cluster_(std::move(cluster)),
      home_(home),
      membership_(membership),
      peers_(peers),
      replicator_(replicator),
      work_(work),
      copier_(copier),
      volumes_(volumes),
      gate_(kj::refcounted<ServiceGate>()),
      refusal_(kj::newPromiseAndFulfiller<Error>()),
      tasks_(*this) {
  tasks_.add(run().promise());
  tasks_.add(hurriedBy(membership_.suspects.raised).promise());
  tasks_.add(hurriedBy(replicator_.caughtUp).promise());
  tasks_.add(hurriedBy(work_.finished).promise());
  tasks_.add(hurriedBy(copier_.finished).promise());
}

Registration::~Registration() noexcept(false) {
  gate_->close();
}

void Registration::taskFailed(kj::Exception&& e) {
  spdlog::error("registration ended: {}", kj::str(e).cStr());
}

kj::Promise<Error> Registration::refused() {
  return kj::mv(refusal_.promise);
}

Task<void> Registration::hurriedBy(Wakeup& signal) {
  for (;;) {
    co_await signal.next();
    hurry_.raise();
  }
}

// While this process ran where nobody heard it: its volumes have come back as new ones.
bool Registration::wasRemoved() const {
  for (auto& volume : volumes_) {
    bool known = volume.local != nullptr && volume.local->number;
    for (auto& [number, record] : membership_.map.volumes) {
      if (known && record.id == volume.id && number != *volume.local->number) {
        return true;
      }
    }
  }
  return false;
}

MapVersion Registration::takeMap(wire::ShardMap::Reader map) {
  bool applied = membership_.map.apply(map);
  if (applied && wasRemoved()) {
    membership_.lease.end();
    refusal_.fulfiller->fulfill(
        Error{ESTALE,
              "this chunkserver was removed from the cluster (dfsadmin node remove) while it ran unheard. Nothing "
              "counts on what it has: start it again to let it in as a new one, or leave it stopped"});
    return membership_.map.version;
  }
  if (applied) {
    peers_.mapChanged();
    replicator_.mapChanged();
    if (!membership_.lease.valid()) {
      hurry_.raise();  // the master may have waited for this server to know the map
    }
  }
  return membership_.map.version;
}

Task<void> Registration::run() {
  unsigned tries = 0;
  while (!leaving_) {
    co_await clock_.after(searchDelay(cluster_, random_, tries));
    auto ended = co_await attempt(tries);
    if (leaving_) {
      co_return;  // leave() still needs the link
    }
    bool wasRegistered = registered_;
    registered_ = false;
    co_await nextTurn();  // never take a link down from inside its own event
    registration_ = nullptr;
    link_ = nullptr;
    if (ended == End::REFUSED) {
      co_return;
    }
    tries = wasRegistered ? 1 : tries + 1;
  }
}

GroupEpoch Registration::epoch() const {
  return std::max(home_.epoch(), cluster_.epoch);
}

LeaderSearch Registration::search() const {
  return {network_, clock_, cluster_, wire::Role::CHUNKSERVER, membership_.self().name, epoch()};
}

Task<Registration::End> Registration::attempt(unsigned tries) {
  if (isGroup()) {
    auto found = co_await findLeader(search(), tries);
    learn(found);
    if (!found.leader) {
      co_return found.refusal.ok() ? End::LOST : judge(found.refusal.code(), found.refusal.error().why);
    }
    master_ = *found.leader;
  }
  co_return co_await session(cluster_.masters[master_]);
}

// A master that was added since the cluster file was read.
void Registration::learn(const LeaderFound& found) {
  if (!found.unnamed.name.empty()) {
    spdlog::info("master {} at {} was added to the group", found.unnamed.name, found.unnamed.address);
    cluster_.masters.push_back(found.unnamed);
  }
}

// Resolves when another master says that it leads, after this one has been silent for a while.
Task<void> Registration::untilSucceeded() {
  co_await clock_.after(MASTER_SILENCE);
  for (unsigned tries = 0;; ++tries) {
    auto found = co_await findLeader(search(), tries, master_);
    if (found.leader) {
      break;
    }
    co_await clock_.after(SILENCE_LOOK);
  }
}

Task<bool> Registration::connect(MasterAddress master) {
  auto addresses = master.addresses();
  for (auto& address : addresses) {
    try {
      auto link = co_await dial(network_, clock_, address, CONNECT_LIMIT);
      link_ = kj::mv(link);
      co_return true;
    } catch (const kj::Exception& e) {
      spdlog::debug("master {} at {}: {}", master.name, address, e.getDescription().cStr());
    }
  }
  co_return false;
}

Task<Registration::End> Registration::session(MasterAddress master) {
  bool connected = co_await connect(master);
  if (!connected) {
    co_return End::LOST;
  }
  try {
    auto request = link_->bootstrap().castAs<wire::MasterDoor>().enterRequest();
    writeHello(request.initHello(), cluster_.cluster, wire::Role::CHUNKSERVER, membership_.self().name, epoch());
    kj::Promise<capnp::Response<wire::MasterDoor::EnterResults>> sent = request.send();
    auto response = co_await withDeadline(clock_, REGISTER_LIMIT, kj::mv(sent), "greeting the master");
    if (response.getOutcome().getErrno() != 0) {
      co_return judge(response.getOutcome().getErrno(), response.getOutcome().getWhy().cStr());
    }
    // Before it is served: this server must never again take an older group for the masters.
    auto kept = home_.rememberEpoch(GroupEpoch{response.getEpoch()});
    if (!kept.ok()) {
      spdlog::error("the masters' epoch can't be noted down: {}", kept.error().why);
      co_return End::LOST;
    }
    co_return co_await registerWith(response.getMaster());
  } catch (const kj::Exception& e) {
    spdlog::debug("master {}: {}", master.name, e.getDescription().cStr());
  }
  co_return End::LOST;
}

Registration::End Registration::judge(int errnum, const std::string& why) {
  if (errnum == EAGAIN) {  // it doesn't lead
    return End::LOST;
  }
  if (errnum == ENOTRECOVERABLE) {  // its history is too short: the right one may come
    spdlog::error("{}: {}", why, HISTORY_ADVICE);
    return End::LOST;
  }
  Nanos now = clock_.monotonic();
  rivalSince_ = rivalSince_ == 0 ? now : rivalSince_;
  bool patient = errnum == EEXIST && now - rivalSince_ < RIVAL_PATIENCE;
  if (everRegistered_ || patient) {
    spdlog::error("the master refuses this chunkserver for now: {}", why);
    return End::LOST;
  }
  refusal_.fulfiller->fulfill(Error{errnum, why});
  return End::REFUSED;
}

void Registration::fillHello(wire::ServerHello::Builder out) {
  const SelfIdentity& self = membership_.self();
  toWire(self.server, out.initId());
  out.setName(self.name);
  toWire(self.incarnation, out.initIncarnation());
  out.setAddress(self.address);
  out.setSocket(self.socket);
  out.setHostId(self.hostId);
  writeHistory(home_.history().obeyed(), out.initHistory());
  out.setRack(self.rack);
  out.setZone(self.zone);
  writeProgram(self.program, out.initProgram());
  auto list = out.initVolumes(static_cast<unsigned>(volumes_.size()));
  for (uint32_t i = 0; i < volumes_.size(); ++i) {
    toWire(volumes_[i].id, list[i].initId());
    list[i].setUsable(volumes_[i].failed.empty());
    list[i].setWhy(volumes_[i].failed);
    if (volumes_[i].local != nullptr) {
      auto space = volumes_[i].local->store->space();
      list[i].setTotalBytes(space.totalBytes);
      list[i].setUsedBytes(space.takenBytes);
    }
  }
}

Task<Registration::End> Registration::registerWith(wire::Master::Client master) {
  auto request = master.registerRequest();
  fillHello(request.initServer());
  request.setWatcher(kj::heap<Watcher>(kj::addRef(*gate_), *this));
  kj::Promise<capnp::Response<wire::Master::RegisterResults>> sent = request.send();
  auto response = co_await withDeadline(clock_, REGISTER_LIMIT, kj::mv(sent), "registering with the master");
  int errnum = response.getOutcome().getErrno();
  if (errnum != 0) {
    co_return judge(errnum, response.getOutcome().getWhy().cStr());
  }
  bool obeyed = co_await obey(readHistory(response.getHistory()), true);
  if (!obeyed) {
    co_return End::LOST;
  }
  spdlog::info("registered with the master");
  registered_ = true;
  everRegistered_ = true;
  rivalSince_ = 0;
  registration_ = response.getRegistration();
  co_await heartbeats(response.getRegistration());
  co_return End::LOST;
}

// Before an order is carried out it is durable that this master was obeyed. False: it isn't to be obeyed.
Task<bool> Registration::obey(HistoryPoint master, bool ordered) {
  auto& history = home_.history();
  if (!history.obeys(master)) {
    spdlog::error("the master has come to {}, and this chunkserver has obeyed {}: its history is another, so nothing "
                  "that it says is done: {}",
                  toText(master), toText(history.obeyed()), HISTORY_ADVICE);
    co_return false;
  }
  if (!ordered && clock_.monotonic() - historyNoted_ < HISTORY_NOTED_EVERY) {
    co_return true;
  }
  auto noted = co_await history.note();
  historyNoted_ = clock_.monotonic();
  if (!noted.ok()) {
    spdlog::error("how far the masters have come can't be noted down: {}", noted.error().why);
  }
  co_return noted.ok();
}

Task<void> Registration::heartbeats(wire::Registration::Client registration) {
  while (!leaving_) {
    Nanos next = clock_.monotonic() + HEARTBEAT_EVERY;
    auto hurried = hurry_.nextOr(clock_, next);
    bool standing = co_await beat(registration);
    if (!standing) {
      spdlog::warn("the master doesn't take this server's heartbeats: registering again");
      co_return;
    }
    co_await kj::mv(hurried);
  }
}

Task<bool> Registration::beat(wire::Registration::Client registration) {
  Nanos sentAt = clock_.monotonic();
  auto done = work_.done();
  auto copied = copier_.done();
  done.insert(done.end(), copied.begin(), copied.end());
  const MapVersion told = membership_.map.version;
  auto request = registration.heartbeatRequest();
  fillBeat(request.initBeat(), done);
  using Response = capnp::Response<wire::Registration::HeartbeatResults>;
  kj::Promise<Response> sent = request.send();
  if (isGroup()) {
    auto elsewhere = untilSucceeded().promise().then([]() -> kj::Promise<Response> {
      return KJ_EXCEPTION(DISCONNECTED, "another master leads");
    });
    sent = sent.exclusiveJoin(kj::mv(elsewhere));
  }
  auto response = co_await withDeadline(clock_, HEARTBEAT_LIMIT, kj::mv(sent), "a heartbeat");
  if (response.getOutcome().getErrno() != 0) {
    co_return false;
  }
  bool hadLease = membership_.lease.valid();
  membership_.lease.extend(sentAt, response.getLeaseNanos());
  if (!hadLease && membership_.lease.valid()) {
    membership_.changed.raise();
  }
  if (response.getLeaseNanos() == 0 && membership_.map.version > told) {
    hurry_.raise();
  }
  work_.reported(done);
  copier_.reported(copied);
  auto work = response.getWork();
  bool asked = work.hasReclaim() || work.hasCuts() || work.hasCopies();
  bool obeyed = co_await obey(readHistory(response.getHistory()), asked);
  if (obeyed) {
    work_.take(work);
    for (auto reclaim : work.getReclaim()) {
      copier_.abandon(ObjectId{reclaim.getObject()});
    }
    copier_.take(work.getCopies());
    takeAgreed(work.getAgreed());
    takeSettings(work.getSettings());
  }
  co_return obeyed;
}

void Registration::takeAgreed(capnp::List<uint64_t>::Reader plans) {
  bool isNew = false;
  for (uint64_t plan : plans) {
    isNew = isNew || !agreed_.contains(plan);
  }
  agreed_ = std::set<uint64_t>(plans.begin(), plans.end());
  if (isNew) {
    agreement.raise();
  }
}

void Registration::takeSettings(capnp::List<wire::Setting>::Reader list) {
  Settings settings;
  for (auto setting : list) {
    settings[setting.getName().cStr()] = setting.getValue();
  }
  if (settings_ != settings) {
    settings_ = settings;
    told_(inForce(cluster_, settings));
  }
}

Task<Result<std::vector<ObjectId>>> Registration::unknown(std::vector<ObjectId> objects) {
  KJ_IF_MAYBE (registration, registration_) {
    try {
      auto request = registration->unknownRequest();
      auto list = request.initObjects(static_cast<unsigned>(objects.size()));
      for (uint32_t i = 0; i < objects.size(); ++i) {
        list.set(i, raw(objects[i]));
      }
      kj::Promise<capnp::Response<wire::Registration::UnknownResults>> sent = request.send();
      auto response = co_await withDeadline(clock_, UNKNOWN_LIMIT, kj::mv(sent), "the master's look at all files");
      auto outcome = response.getOutcome();
      if (outcome.getErrno() != 0) {
        co_return Error{outcome.getErrno(), outcome.getWhy().cStr()};
      }
      std::vector<ObjectId> unknown;
      for (uint64_t object : response.getUnknown()) {
        unknown.push_back(ObjectId{object});
      }
      co_return kj::mv(unknown);
    } catch (const kj::Exception& e) {
      co_return Error{EIO, e.getDescription().cStr()};
    }
  }
  co_return Error{EAGAIN, "not registered with a master"};
}

void Registration::fillVolume(const VolumeStanding& volume, wire::VolumeReport::Builder out) {
  toWire(volume.id, out.initId());
  out.setFailed(volume.failed);
  writeHeld(volume.held, out.initHeld());
  if (volume.local == nullptr) {
    return;
  }
  auto space = volume.local->store->space();
  auto counters = volume.local->store->counters();
  out.setTotalBytes(space.totalBytes);
  out.setUsedBytes(space.takenBytes);
  out.setOwnBytes(space.usedBytes);
  out.setRetiredBytes(space.retiredBytes);
  out.setNoRoom(replicator_.lacksRoom(*volume.local));
  // Also those replaced from another copy since: a disk that has lied is worth a look.
  out.setBadBlocks(std::max(counters.badBlocks, counters.badBlocksFound));
  out.setUnmendedBlocks(counters.badBlocks);
  out.setDifferingChunks(volume.local->differingChunks);
  out.setSlow(volume.local->store->slow());
  out.setAdoptedBlocks(counters.adoptedBlocks + volume.local->adoptedElsewhere);
}

void Registration::fillCaughtUp(wire::Heartbeat::Builder out) {
  std::vector<const ShardReplica*> caughtUp;
  for (auto& [key, unit] : replicator_.units()) {
    if (unit->state.role == Role::JOINING && unit->state.caughtUp) {
      caughtUp.push_back(&unit->state);
    }
  }
  auto list = out.initCaughtUp(static_cast<unsigned>(caughtUp.size()));
  for (uint32_t i = 0; i < caughtUp.size(); ++i) {
    list[i].setShard(raw(caughtUp[i]->shard));
    list[i].setEpoch(raw(caughtUp[i]->epoch()));
    list[i].setVolume(raw(caughtUp[i]->number()));
  }
}

void Registration::fillBeat(wire::Heartbeat::Builder out, const std::vector<uint64_t>& done) {
  out.setMapVersion(raw(membership_.map.version));
  out.setFencesDrained(raw(replicator_.fences().drained()));
  out.setTakenOverBytes(replicator_.around().takenOverBytes);
  auto volumes = out.initVolumes(static_cast<unsigned>(volumes_.size()));
  for (uint32_t i = 0; i < volumes_.size(); ++i) {
    fillVolume(volumes_[i], volumes[i]);
  }
  fillCaughtUp(out);
  auto suspects = membership_.suspects.current();
  auto suspectList = out.initSuspects(static_cast<unsigned>(suspects.size()));
  for (uint32_t i = 0; i < suspects.size(); ++i) {
    toWire(suspects[i], suspectList[i]);
  }
  auto doneList = out.initDone(static_cast<unsigned>(done.size()));
  for (uint32_t i = 0; i < done.size(); ++i) {
    doneList.set(i, done[i]);
  }
}

Task<void> Registration::leave() {
  leaving_ = true;
  membership_.lease.end();
  KJ_IF_MAYBE (registration, registration_) {
    try {
      kj::Promise<capnp::Response<wire::Registration::LeaveResults>> sent = registration->leaveRequest().send();
      co_await withDeadline(clock_, LEAVE_LIMIT, kj::mv(sent), "leaving");
    } catch (const kj::Exception& e) {
      spdlog::warn("the master wasn't told that this server leaves: {}", e.getDescription().cStr());
    }
  }
}

}  // namespace cairn
