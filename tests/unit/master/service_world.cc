#include "tests/unit/master/service_world.h"

#include <capnp/message.h>

namespace cairn {
namespace {

class WatcherServer final : public wire::MapWatcher::Server {
 public:
  explicit WatcherServer(TestWatcher& watcher) : watcher_(watcher) {}
  kj::Promise<void> push(PushContext context) override {
    if (watcher_.silent) {
      return kj::NEVER_DONE;
    }
    auto map = context.getParams().getMap();
    watcher_.map.apply(map);
    ++watcher_.pushes;
    watcher_.completePushes += map.getFrom() == 0;
    context.getResults().setHave(raw(watcher_.map.version));
    return kj::READY_NOW;
  }

 private:
  TestWatcher& watcher_;
};

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

}  // namespace

wire::MapWatcher::Client TestWatcher::client() {
  return kj::heap<WatcherServer>(*this);
}

TestLink::TestLink(World& world, std::string host, const std::string& address)
    : world(world),
      link(world.await(dial(world.network().host(host), world.clock(), address, SECOND, PeerRole::MASTER), LIMIT)) {}

wire::Master::Client TestLink::master(ClusterId cluster, wire::Role role) {
  auto request = door().enterRequest();
  auto hello = request.initHello();
  toWire(cluster, hello.initCluster());
  hello.setRole(role);
  hello.setProtocol(wire::PROTOCOL);
  hello.setName("test");
  return request.send().getMaster();
}

wire::Admin::Client TestLink::admin(ClusterId cluster) {
  return master(cluster, wire::Role::ADMIN).adminRequest().send().getAdmin();
}

// ---- the master ---------------------------------------------------------------------------------

struct MasterWorld::Process {
  explicit Process(MasterWorld& cluster)
      : disk(cluster.world.volume("m1").open()),
        workers(cluster.world.newWorkers("m1")),
        env(cluster.world.newEnv()),
        random(cluster.world.random("m1")) {}
  kj::Own<Disk> disk;
  kj::Own<SimWorkers> workers;
  std::unique_ptr<leveldb::Env> env;
  kj::Own<SimRandom> random;
  kj::Own<Member> member;
};

MasterWorld::MasterWorld(uint64_t seed, uint32_t servers) : world(seed) {
  options.cluster.cluster = CLUSTER;
  options.cluster.masters = {{"m1", address, ""}};
  options.cluster.servers = servers;
  options.name = "m1";
  options.listen = {address};
  options.initialize = true;
  options.shardBits = 4;
  options.segmentBytes = 256 << 10;
  options.cacheBytes = 1 << 20;
  options.program.version = "test";
  start();
}

MasterWorld::~MasterWorld() noexcept(false) {
  process = nullptr;
}

Member& MasterWorld::member() {
  return *process->member;
}

void MasterWorld::start() {
  process = std::make_unique<Process>(*this);
  ReplicaSeams seams{world.clock(),  *process->random,  world.network().host("m1"),
                    *process->disk, *process->workers, *process->env};
  auto started = world.await(startMember(options, seams), LIMIT);
  KJ_ASSERT(started.ok(), started.error().why);
  process->member = kj::mv(started.value());
  auto& replica = process->member->replica();
  KJ_ASSERT(world.runUntil([&] { return replica.isLeader() && replica.reader().formatted(); }, LIMIT));
  options.initialize = false;
}

void MasterWorld::stop() {
  world.await(process->member->stop(), LIMIT);
  process = nullptr;
}

void MasterWorld::crash() {
  world.volume("m1").processDied();
  process = nullptr;
}

void MasterWorld::powerCut() {
  world.volume("m1").powerCut();
  process = nullptr;
}

// ---- clients ------------------------------------------------------------------------------------

namespace {

// Drops whatever is recalled.
class TestHolder final : public wire::LeaseHolder::Server {
 public:
  explicit TestHolder(TestClient& client) : client_(client) {}

  kj::Promise<void> recall(RecallContext context) override {
    auto changes = context.getParams().getChanges();
    auto dropped = context.getResults().initDropped(changes.size());
    for (unsigned i = 0; i < changes.size(); ++i) {
      client_.recalled.push_back(InodeId{changes[i].getInode()});
      dropped.set(i, changes[i].getInode());
    }
    if (client_.recalls == TestClient::Recalls::REFUSED) {
      return KJ_EXCEPTION(FAILED, "a client with a bug");
    }
    return client_.recalls == TestClient::Recalls::IGNORED ? kj::Promise<void>(kj::NEVER_DONE) : kj::READY_NOW;
  }

 private:
  TestClient& client_;
};

}  // namespace

TestClient::TestClient(MasterWorld& cluster, std::string host, Recalls recalls)
    : cluster(cluster), host(std::move(host)), recalls(recalls) {}

int TestClient::attach(uint64_t attempt) {
  auto fresh = std::make_unique<TestLink>(cluster.world, host, cluster.address);
  auto request = fresh->master(MasterWorld::CLUSTER, wire::Role::CLIENT).attachRequest();
  request.setSession(id);
  request.setAttempt(attempt > 0 ? attempt : ++attempts);
  request.setName(host);
  request.setWatcher(watcher->client());
  if (recalls != Recalls::NONE) {
    request.setLeases(kj::heap<TestHolder>(*this));
  }
  kj::Promise<capnp::Response<wire::Master::AttachResults>> sent = request.send();
  auto reply = cluster.world.await(kj::mv(sent), LIMIT);
  link = std::move(fresh);
  session = nullptr;
  renewedAt = cluster.world.clock().monotonic();
  if (reply.getOutcome().getErrno() == 0) {
    id = reply.getSession();
    session = reply.getClient();
    EXPECT_EQ(reply.getLeaseNanos(), 5 * SECOND);
  }
  return reply.getOutcome().getErrno();
}

kj::Promise<int> TestClient::start(const std::function<void(wire::Op::Builder)>& fill) {
  last_ = fill;
  ++sequence;
  auto request = KJ_ASSERT_NONNULL(session).executeRequest();
  request.setSlot(sequence % 64);
  request.setSequence(sequence);
  fill(request.initOp());
  return request.send().then(
      [this](capnp::Response<wire::ClientSession::ExecuteResults>&& response) -> int {
        auto reply = response.getReply();
        index = reply.getIndex();
        leased = response.getLeased();
        inode = InodeId{reply.getAttributes().getInode()};
        object = reply.getAttributes().getLayout().getObject();
        return reply.getOutcome().getErrno();
      },
      [](kj::Exception&&) -> int { return -1; });
}

int TestClient::execute(const std::function<void(wire::Op::Builder)>& fill) {
  return cluster.world.await(start(fill), LIMIT);
}

int TestClient::repeat() {
  --sequence;
  return execute(std::function<void(wire::Op::Builder)>(last_));
}

int TestClient::make(const std::string& name, bool hold, uint32_t mode) {
  return execute([=](wire::Op::Builder op) {
    op.initCaller();
    auto make = op.initMake();
    make.setParent(raw(ROOT_INODE));
    make.setName(bytesOf(name));
    make.setMode(mode);
    make.setHold(hold);
  });
}

int TestClient::unlink(const std::string& name) {
  return execute([=](wire::Op::Builder op) {
    op.initCaller();
    auto unlink = op.initUnlink();
    unlink.setParent(raw(ROOT_INODE));
    unlink.setName(bytesOf(name));
  });
}

int TestClient::rename(const std::string& from, const std::string& to) {
  return execute([=](wire::Op::Builder op) {
    op.initCaller();
    auto rename = op.initRename();
    rename.setParent(raw(ROOT_INODE));
    rename.setName(bytesOf(from));
    rename.setNewParent(raw(ROOT_INODE));
    rename.setNewName(bytesOf(to));
  });
}

int TestClient::written(InodeId file, uint64_t toObject, uint64_t size) {
  return execute([=](wire::Op::Builder op) {
    op.initCaller();
    auto item = op.initWritten(1)[0];
    item.setInode(raw(file));
    item.setObject(toObject);
    item.setSize(size);
  });
}

int TestClient::truncate(InodeId file, uint64_t size) {
  return execute([=](wire::Op::Builder op) {
    op.initCaller();
    auto set = op.initSetAttributes();
    set.setInode(raw(file));
    set.setWhich(8);
    set.setSize(size);
  });
}

int TestClient::exists(InodeId file) {
  auto request = KJ_ASSERT_NONNULL(session).readRequest();
  auto query = request.initQuery();
  query.initCaller();
  query.setAttributes(raw(file));
  kj::Promise<capnp::Response<wire::ClientSession::ReadResults>> sent = request.send();
  auto answer = cluster.world.await(kj::mv(sent), LIMIT);
  int code = answer.getAnswer().getOutcome().getErrno();
  return code == 0 ? static_cast<int>(answer.getAnswer().getAttributes().getLinks()) : -code;
}

namespace {

bool succeeds(World& world, kj::Promise<void> promise) {
  return world.await(promise.then([] { return true; }, [](kj::Exception&&) { return false; }), LIMIT);
}

}  // namespace

bool TestClient::hold(std::vector<InodeId> taken, std::vector<InodeId> dropped) {
  auto request = KJ_ASSERT_NONNULL(session).holdRequest();
  auto takenList = request.initTaken(taken.size());
  for (unsigned i = 0; i < taken.size(); ++i) {
    takenList.set(i, raw(taken[i]));
  }
  auto droppedList = request.initDropped(dropped.size());
  for (unsigned i = 0; i < dropped.size(); ++i) {
    droppedList.set(i, raw(dropped[i]));
  }
  return succeeds(cluster.world, request.send().ignoreResult());
}

bool TestClient::renew() {
  renewedAt = cluster.world.clock().monotonic();
  return succeeds(cluster.world, KJ_ASSERT_NONNULL(session).renewRequest().send().ignoreResult());
}

bool TestClient::detach() {
  return succeeds(cluster.world, KJ_ASSERT_NONNULL(session).detachRequest().send().ignoreResult());
}

// ---- chunkservers -------------------------------------------------------------------------------

TestServer::TestServer(MasterWorld& cluster, std::string name, uint32_t count) : cluster(cluster), name(name) {
  auto random = cluster.world.random(name);
  id = random->uuid<ServerId>();
  incarnation = random->uuid<Incarnation>();
  for (uint32_t i = 0; i < count; ++i) {
    volumes.push_back(random->uuid<VolumeId>());
  }
}

int TestServer::start() {
  auto fresh = std::make_unique<TestLink>(cluster.world, name, cluster.address);
  auto request = fresh->master(MasterWorld::CLUSTER, wire::Role::CHUNKSERVER).registerRequest();
  auto hello = request.initServer();
  writeProgram({"test"}, hello.initProgram());
  toWire(id, hello.initId());
  toWire(incarnation, hello.initIncarnation());
  hello.setName(name);
  hello.setAddress(name + ":7001");
  auto list = hello.initVolumes(volumes.size());
  for (unsigned i = 0; i < volumes.size(); ++i) {
    toWire(volumes[i], list[i].initId());
    list[i].setTotalBytes(TOTAL_BYTES);
    list[i].setUsedBytes(usedBytes);
    list[i].setUsable(true);
  }
  request.setWatcher(watcher->client());
  kj::Promise<capnp::Response<wire::Master::RegisterResults>> sent = request.send();
  auto reply = cluster.world.await(kj::mv(sent), LIMIT);
  if (reply.getOutcome().getErrno() == 0) {
    link = std::move(fresh);
    registration = reply.getRegistration();
    work.clear();
    done.clear();
    auto tasks = kj::heap<kj::TaskSet>(static_cast<kj::TaskSet::ErrorHandler&>(*this));
    tasks->add(beats().promise());
    tasks_ = kj::mv(tasks);
  }
  return reply.getOutcome().getErrno();
}

void TestServer::kill() {
  tasks_ = nullptr;
  registration = nullptr;
  link = nullptr;
  watcher = std::make_unique<TestWatcher>();
}

bool TestServer::leave() {
  return succeeds(cluster.world, KJ_ASSERT_NONNULL(registration).leaveRequest().send().ignoreResult());
}

VolumeNumber TestServer::number(size_t volume) const {
  for (auto& [number, record] : watcher->map.volumes) {
    if (record.id == volumes[volume]) {
      return number;
    }
  }
  return VolumeNumber{};
}

void TestServer::report(wire::Heartbeat::Builder beat) {
  beat.setMapVersion(raw(watcher->map.version));
  beat.setFencesDrained(drains ? raw(watcher->map.version) : 0);
  auto list = beat.initVolumes(volumes.size());
  for (unsigned i = 0; i < volumes.size(); ++i) {
    toWire(volumes[i], list[i].initId());
    list[i].setTotalBytes(TOTAL_BYTES);
    list[i].setUsedBytes(usedBytes);
    list[i].setBadBlocks(badBlocks);
  }
  std::vector<std::pair<const ShardRecord*, VolumeNumber>> ready;
  for (auto& [id, shard] : watcher->map.shards) {
    for (unsigned i = 0; catchesUp && i < volumes.size(); ++i) {
      if (shard.isJoining(number(i))) {
        ready.push_back({&shard, number(i)});
      }
    }
  }
  auto claims = beat.initCaughtUp(ready.size());
  for (unsigned i = 0; i < ready.size(); ++i) {
    claims[i].setShard(raw(ready[i].first->id));
    claims[i].setEpoch(raw(ready[i].first->epoch));
    claims[i].setVolume(raw(ready[i].second));
  }
  auto suspected = beat.initSuspects(suspects.size());
  for (unsigned i = 0; i < suspects.size(); ++i) {
    toWire(suspects[i], suspected[i]);
  }
  auto finished = beat.initDone(done.size());
  for (unsigned i = 0; i < done.size(); ++i) {
    finished.set(i, done[i]);
  }
  done.clear();
}

void TestServer::takeWork(wire::Work::Reader given) {
  reclaims += given.getReclaim().size();
  cuts += given.getCuts().size();
  for (auto item : given.getReclaim()) {
    work.push_back(item.getId());
  }
  for (auto item : given.getCuts()) {
    work.push_back(item.getId());
  }
  if (doesWork) {
    done.insert(done.end(), work.begin(), work.end());
    work.clear();
  }
}

Task<void> TestServer::beats() {
  for (;;) {
    auto request = KJ_ASSERT_NONNULL(registration).heartbeatRequest();
    report(request.initBeat());
    kj::Promise<capnp::Response<wire::Registration::HeartbeatResults>> sent = request.send();
    auto reply = co_await sent;
    refused = reply.getOutcome().getErrno();
    lease = reply.getLeaseNanos();
    takeWork(reply.getWork());
    co_await cluster.world.clock().after(150 * MILLISECOND);
  }
}

}  // namespace cairn
