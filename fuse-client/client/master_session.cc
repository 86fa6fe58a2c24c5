#include "fuse-client/client/master_session.h"

#include <algorithm>

#include "common/log.h"
#include "fuse-client/client/wire.h"
#include "rpc/hello.h"
#include "rpc/shard_map.h"

namespace cairn {

// Whom the master asks for leases.
class MasterSession::Holder final : public wire::LeaseHolder::Server {
 public:
  explicit Holder(MasterSession& session) : session_(session) {}

  kj::Promise<void> recall(RecallContext context) override {
    auto params = context.getParams();
    session_.leases_.recalled(params.getIndex());
    ++session_.context_.stats.recalls;
    session_.flushHolds();
    auto obeyed = kj::heapArrayBuilder<kj::Promise<void>>(params.getChanges().size());
    for (auto change : params.getChanges()) {
      obeyed.add(session_.listener_.recalled(change, params.getOrder()));
    }
    auto busy = session_.context_.clock.after(BUSY_ANSWER).then([]() -> kj::Promise<void> {
      return KJ_EXCEPTION(OVERLOADED, "still writing out");
    });
    auto done = kj::joinPromises(obeyed.finish()).exclusiveJoin(kj::mv(busy)).then([this, context]() mutable {
      std::vector<uint64_t> dropped;
      for (auto change : context.getParams().getChanges()) {
        if (!change.getShare() && !session_.listener_.believes(InodeId{change.getInode()})) {
          dropped.push_back(change.getInode());
        }
      }
      auto out = context.getResults().initDropped(static_cast<unsigned>(dropped.size()));
      for (unsigned i = 0; i < out.size(); ++i) {
        out.set(i, dropped[i]);
      }
    });
    return session_.asked_.wrap(kj::mv(done));
  }

  // A lease that was granted just before may not have been taken in yet.
  kj::Promise<void> report(ReportContext context) override {
    auto inodes = context.getParams().getInodes();
    auto settled = kj::heapArrayBuilder<kj::Promise<void>>(inodes.size());
    for (uint64_t inode : inodes) {
      settled.add(session_.listener_.whenNotAsking(InodeId{inode}));
    }
    auto told = kj::joinPromises(settled.finish()).then([this, context]() mutable { tell(context); });
    return session_.asked_.wrap(kj::mv(told));
  }

  kj::Promise<void> giveBack(GiveBackContext context) override {
    return session_.asked_.wrap(session_.listener_.giveBackGrant(InodeId{context.getParams().getRoot()}));
  }

 private:
  // Then the master asks again. Well below the time after which it gives a silent session up.
  static constexpr Nanos BUSY_ANSWER = SECOND;

  void tell(ReportContext& context) {
    capnp::MallocMessageBuilder scratch;
    std::vector<capnp::Orphan<wire::Written>> told;
    for (uint64_t inode : context.getParams().getInodes()) {
      auto one = scratch.getOrphanage().newOrphan<wire::Written>();
      if (session_.listener_.report(InodeId{inode}, one.get())) {
        told.push_back(kj::mv(one));
      }
    }
    auto out = context.getResults().initFiles(static_cast<unsigned>(told.size()));
    for (unsigned i = 0; i < out.size(); ++i) {
      out.setWithCaveats(i, told[i].getReader());
    }
  }

  MasterSession& session_;
};

MasterSession::MasterSession(Context& context, const ClusterFile& cluster, MapHolder& map, LeaseBook& leases,
                             Listener& listener)
    : context_(context),
      cluster_(cluster),
      epoch_(cluster.epoch),
      map_(map),
      leases_(leases),
      listener_(listener),
      tasks_(*this) {
  for (unsigned slot = REPORT_SLOT; slot > 0; --slot) {
    freeSlots_.push_back(static_cast<uint8_t>(slot - 1));
  }
  tasks_.add(run().promise());
}

MasterSession::~MasterSession() noexcept(false) = default;

void MasterSession::taskFailed(kj::Exception&& e) {
  spdlog::error("master session: background work failed: {}", kj::str(e).cStr());
}

Task<Status> MasterSession::start() {
  while (!attached_) {
    KJ_IF_MAYBE(error, refused_) {
      co_return *error;
    }
    co_await changed_.wait();
  }
  co_return Status();
}

Task<void> MasterSession::stop() {
  stopping_ = true;
  KJ_IF_MAYBE(client, client_) {
    try {
      flushUnwanted(true);
      auto done = client->detachRequest().send().ignoreResult();
      co_await withDeadline(context_.clock, DETACH_LIMIT, kj::mv(done), "detach");
    } catch (kj::Exception& e) {
      spdlog::info("master session: no answer to detach ({}); the lease will end it", e.getDescription().cStr());
    }
  }
  client_ = nullptr;
  attached_ = false;
}

Task<void> MasterSession::run() {
  unsigned tries = 0;
  while (!stopping_) {
    auto delay = searchDelay(cluster_, context_.random, tries);
    co_await context_.clock.after(delay);
    if (isGroup()) {
      bool found = co_await seekLeader(tries);
      if (!found) {
        ++tries;
        continue;
      }
    }
    bool done = co_await connect();
    if (!done) {
      ++tries;
      continue;
    }
    tries = 0;
    co_await keep();
  }
}

LeaderSearch MasterSession::search() const {
  return {context_.network, context_.clock, cluster_, wire::Role::CLIENT, context_.options.name, epoch_};
}

Task<bool> MasterSession::seekLeader(unsigned tries) {
  auto found = co_await findLeader(search(), tries);
  learn(found);
  if (found.leader) {
    nextMaster_ = *found.leader;
    co_return true;
  }
  if (!found.refusal.ok()) {
    spdlog::error("the masters refuse this client: {}", found.refusal.error().why);
    refused_ = found.refusal.error();
    changed_.raise();
  }
  co_return false;
}

// Of an epoch, and of a master that was added since the cluster file was read.
void MasterSession::learn(const LeaderFound& found) {
  learn(found.epoch);
  if (!found.unnamed.name.empty()) {
    spdlog::info("master {} at {} was added to the group", found.unnamed.name, found.unnamed.address);
    cluster_.masters.push_back(found.unnamed);
  }
}

void MasterSession::learn(GroupEpoch epoch) {
  if (epoch > epoch_) {
    spdlog::info("the masters are of epoch {}", toText(epoch));
    epoch_ = epoch;
    listener_.historyChanged();
  }
}

Task<bool> MasterSession::connect() {
  if (cluster_.masters.empty()) {
    refused_ = Error{EINVAL, "the cluster file names no master"};
    changed_.raise();
    co_return false;
  }
  // A copy: the hint of another master's reply may change nextMaster_ meanwhile.
  master_ = nextMaster_ % cluster_.masters.size();
  const MasterAddress master = cluster_.masters[master_];
  nextMaster_ = (nextMaster_ + 1) % cluster_.masters.size();
  if (!master.socket.empty()) {
    bool done = co_await connectTo(master, "unix:" + master.socket);
    if (done) {
      betterSocket_.clear();
      co_return true;
    }
  }
  if (master.address.empty()) {
    co_return false;
  }
  bool done = co_await connectTo(master, master.address);
  betterSocket_ = master.socket;
  co_return done;
}

// A master that was only starting may have its socket a moment later than its port.
Task<void> MasterSession::lookForSocket() {
  if (betterSocket_.empty() || socketTries_ >= SOCKET_TRIES) {
    co_return;
  }
  ++socketTries_;
  try {
    const Address socket = "unix:" + betterSocket_;
    auto probe = co_await dial(context_.network, context_.clock, socket, CONNECT_LIMIT, PeerRole::MASTER);
    spdlog::info("session {}: the master's socket is there; changing over to it", raw(id_));
    nextMaster_ = (nextMaster_ + cluster_.masters.size() - 1) % cluster_.masters.size();
    linkFailed(generation_);
  } catch (kj::Exception& e) {
    spdlog::debug("{}: {}", betterSocket_, e.getDescription().cStr());
  }
}

Task<bool> MasterSession::connectTo(const MasterAddress& master, Address address) {
  try {
    link_ = co_await dial(context_.network, context_.clock, address, CONNECT_LIMIT, PeerRole::MASTER);
    auto request = link_->bootstrap().castAs<wire::MasterDoor>().enterRequest();
    writeHello(request.initHello(), cluster_.cluster, wire::Role::CLIENT, context_.options.name, epoch_);
    kj::Promise<capnp::Response<wire::MasterDoor::EnterResults>> sent = request.send();
    auto reply = co_await withDeadline(context_.clock, CONNECT_LIMIT, kj::mv(sent), "enter");
    Status outcome = readOutcome(reply.getOutcome());
    learn(GroupEpoch{reply.getEpoch()});
    if (outcome.ok()) {
      bool done = co_await attach(reply.getMaster());
      co_return done;
    }
    if (outcome.code() == ESTALE) {
      spdlog::error("master {} refuses this client: {}", master.name, outcome.error().why);
      refused_ = outcome.error();
      changed_.raise();
    }
    std::string leader = reply.getLeader();
    for (size_t i = 0; i < cluster_.masters.size(); ++i) {
      if (!leader.empty() && cluster_.masters[i].name == leader) {
        nextMaster_ = i;
      }
    }
  } catch (kj::Exception& e) {
    spdlog::debug("master {} at {}: {}", master.name, address, e.getDescription().cStr());
  }
  co_return false;
}

Task<bool> MasterSession::attach(wire::Master::Client master) {
  for (;;) {
    // Who attaches has given up all leases.
    co_await listener_.whenForgotten();
    auto request = master.attachRequest();
    request.setSession(raw(id_));
    request.setAttempt(++attempts_);
    context_.ledger->attaching(id_, attempts_);
    request.setName(context_.options.name);
    request.setWatcher(map_.watcher());
    request.setLeases(kj::heap<Holder>(*this));
    auto writing = listener_.writing();
    auto list = request.initWriting(static_cast<unsigned>(writing.size()));
    for (unsigned i = 0; i < list.size(); ++i) {
      list.set(i, raw(writing[i]));
    }
    Nanos sent = context_.clock.monotonic();
    kj::Promise<capnp::Response<wire::Master::AttachResults>> promise = request.send();
    auto reply = co_await withDeadline(context_.clock, CONNECT_LIMIT, kj::mv(promise), "attach");
    Status outcome = readOutcome(reply.getOutcome());
    if (outcome.ok()) {
      id_ = SessionId{reply.getSession()};
      context_.ledger->attaching(id_, attempts_);
      if (!uncertain_.empty()) {
        bool done = co_await overtake(reply.getClient());
        if (!done) {
          co_return false;
        }
      }
      attached(reply.getClient(), sent, reply.getLeaseNanos());
      co_return true;
    }
    if (outcome.code() != ESTALE || raw(id_) == 0) {
      spdlog::warn("master doesn't attach this client: {}", outcome.error().why);
      co_return false;
    }
    evicted();
  }
}

void MasterSession::attached(wire::ClientSession::Client client, Nanos sent, Nanos lease) {
  spdlog::info("session {} attached", raw(id_));
  client_ = kj::mv(client);
  setLease(sent, lease);
  attached_ = true;
  broken_ = false;
  refused_ = nullptr;
  uint64_t generation = ++generation_;
  tasks_.add(link_->onBroken().then([this, generation] { linkFailed(generation); },
                                    [this, generation](kj::Exception&&) { linkFailed(generation); }));
  resendHolds();
  changed_.raise();
}

// The session's time is also that of all that is leased to it.
void MasterSession::setLease(Nanos sent, Nanos length) {
  lease_ = length - (context_.clock.monotonic() - sent);
  leases_.renewed(sent + length);
}

void MasterSession::evicted() {
  SessionId old = id_;
  spdlog::error("session {} was evicted by the master: buffered data is lost and reported to its writers", raw(old));
  id_ = SessionId{};
  sequences_.fill(0);
  uncertain_.clear();
  for (auto& [inode, hold] : holds_) {
    hold.known = false;
  }
  dropsUnderWay_.clear();
  listener_.sessionLost(old);
}

Task<void> MasterSession::keep() {
  ++context_.stats.sessions;
  while (!broken_) {
    Nanos pause = std::max<Nanos>(std::min(lease_ / 3, isGroup() ? LEADER_LOOK : lease_), MILLISECOND);
    auto woken = context_.clock.after(pause).exclusiveJoin(changed_.wait());
    co_await kj::mv(woken);
    if (broken_ || stopping_) {
      break;
    }
    auto renewing = renew().promise().exclusiveJoin(untilBroken().promise().then([] { return false; }));
    bool renewed = co_await kj::mv(renewing);
    if (!renewed) {
      linkFailed(generation_);
    } else {
      co_await lookForSocket();
    }
  }
}

Task<void> MasterSession::untilBroken() {
  while (!broken_) {
    co_await changed_.wait();
  }
}

Task<bool> MasterSession::renew() {
  KJ_IF_MAYBE(client, client_) {
    try {
      Nanos sent = context_.clock.monotonic();
      Nanos limit = std::max<Nanos>(lease_ / 2, RENEW_LIMIT_MIN);
      Call call(*this);
      auto request = client->renewRequest();
      fillLoad(request.initLoad());
      kj::Promise<capnp::Response<wire::ClientSession::RenewResults>> promise = request.send();
      auto reply = co_await withDeadline(context_.clock, limit, kj::mv(promise), "renew");
      heard();
      setLease(sent, reply.getLeaseNanos());
      co_return true;
    } catch (kj::Exception& e) {
      spdlog::info("session {}: not renewed: {}", raw(id_), e.getDescription().cStr());
    }
  }
  co_return false;
}

// What this mount has done, for people who look at the cluster.
void MasterSession::fillLoad(wire::ClientLoad::Builder out) {
  auto& stats = context_.stats;
  out.setOperations(stats.operations);
  out.setErrors(stats.operationErrors);
  out.setBytesRead(stats.bytesRead);
  out.setBytesWritten(stats.bytesWritten);
  out.setSlowCount(stats.slowOperations);
  auto calls = context_.slow.takeCalls();
  auto list = out.initSlow(static_cast<unsigned>(calls.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    list[i].setKind(calls[i].kind);
    list[i].setInode(raw(calls[i].inode));
    list[i].setNanos(static_cast<uint64_t>(calls[i].took));
    list[i].setPath(calls[i].path);
  }
}

void MasterSession::callBegins() {
  if (calls_++ == 0) {
    heard();
  }
  if (!watching_ && isGroup()) {
    watching_ = true;
    tasks_.add(watchSilence().promise());
  }
}

// Only when another says that it leads is the link given up: a master that is merely slow keeps its clients.
Task<void> MasterSession::watchSilence() {
  unsigned tries = 0;
  while (calls_ > 0 && !stopping_) {
    co_await context_.clock.after(SILENCE_LOOK);
    if (calls_ == 0 || broken_ || context_.clock.monotonic() - heardAt_ < MASTER_SILENCE) {
      tries = 0;
      continue;
    }
    uint64_t generation = generation_;
    auto found = co_await findLeader(search(), tries++, master_);
    if (found.leader && calls_ > 0 && context_.clock.monotonic() - heardAt_ >= MASTER_SILENCE) {
      linkFailed(generation);
    }
  }
  watching_ = false;
}

void MasterSession::linkFailed(uint64_t generation) {
  if (generation != generation_ || broken_) {
    return;
  }
  if (!stopping_) {
    spdlog::warn("session {}: the link to the master is broken; attaching again", raw(id_));
  }
  broken_ = true;
  attached_ = false;
  lostAt_ = context_.clock.monotonic();
  client_ = nullptr;
  leases_.linkLost();
  listener_.linkLost();
  changed_.raise();
}

Task<void> MasterSession::untilAttached() {
  while (!attached_) {
    co_await changed_.wait();
  }
}

LeaderStanding MasterSession::standing() const {
  LeaderStanding out;
  if (generation_ > 0) {
    out.name = cluster_.masters[master_].name;
    out.address = cluster_.masters[master_].address;
  }
  out.attached = attached_;
  out.session = raw(id_);
  Nanos now = context_.clock.monotonic();
  Nanos asked = calls_ > 0 ? now - heardAt_ : 0;
  out.silentNanos = attached_ ? asked : now - lostAt_;
  return out;
}

void MasterSession::describe(Wait& out) const {
  auto now = standing();
  out.what = "master";
  double seconds = static_cast<double>(now.silentNanos) / SECOND;
  if (attached_) {
    out.server = now.name;
    out.text = fmt::format("an answer of master {}, of which nothing has been heard for {:.1f} s", now.name, seconds);
    out.end = "its answer, or that another master leads";
    return;
  }
  std::string all;
  for (auto& master : cluster_.masters) {
    all += (all.empty() ? "" : ", ") + master.name + " at " + master.address;
  }
  out.text = fmt::format("a master that leads; none has answered for {:.1f} s ({})", seconds, all);
  out.end = "a majority of the masters being back";
}

}  // namespace cairn
