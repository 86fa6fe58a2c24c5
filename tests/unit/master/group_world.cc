#include "tests/unit/master/group_world.h"

#include <gtest/gtest.h>

#include "master/namespace/store.h"
#include "master/propose.h"

namespace cairn {

struct GroupWorld::Process {
  Process(World& world, const std::string& name, const std::string& volume)
      : disk(world.volume(volume).open()),
        env(world.newEnv()),
        workers(world.newWorkers(name)),
        random(world.random(name + std::to_string(world.clock().monotonic()))) {}
  kj::Own<Disk> disk;
  std::unique_ptr<leveldb::Env> env;
  kj::Own<SimWorkers> workers;  // its jobs may hold a LevelDB, which needs the env
  kj::Own<SimRandom> random;
  kj::Own<Member> member;
  std::string fatal;
  kj::Promise<void> ended = nullptr;
};

GroupWorld::GroupWorld(uint64_t seed, size_t masters) : world(seed) {
  cluster_.cluster = CLUSTER;
  for (size_t i = 1; i <= masters; i++) {
    std::string name = "m" + std::to_string(i);
    names_.push_back(name);
    cluster_.masters.push_back({name, name + ":7000", ""});
    volumes_[name] = name;
  }
}

GroupWorld::~GroupWorld() noexcept(false) {
  processes_.clear();
}

MemberOptions GroupWorld::optionsFor(const std::string& name) const {
  MemberOptions options;
  options.cluster = cluster_;
  options.name = name;
  options.listen = {name + ":7000"};
  options.shardBits = 2;
  options.segmentBytes = segmentBytes;
  options.snapshotLogBytes = snapshotLogBytes;
  options.cacheBytes = 1 << 20;
  options.program.version = "test";
  return options;
}

Status GroupWorld::start(const std::string& name, bool initialize, bool joins) {
  auto process = std::make_unique<Process>(world, name, volumes_[name]);
  ReplicaSeams seams{world.clock(),  *process->random,  world.network().host(name),
                    *process->disk, *process->workers, *process->env};
  auto options = optionsFor(name);
  options.initialize = initialize;
  options.joins = joins;
  auto started = world.await(startMember(options, seams), LIMIT);
  if (!started.ok()) {
    return started.error();
  }
  process->member = kj::mv(started.value());
  auto note = [process = process.get()](Error error) { process->fatal = error.why; };
  process->ended = process->member->onFatal().then(kj::mv(note)).eagerlyEvaluate(nullptr);
  processes_[name] = std::move(process);
  return {};
}

void GroupWorld::form() {
  for (const auto& name : names_) {
    auto started = start(name, name == names_.front(), name != names_.front());
    ASSERT_TRUE(started.ok()) << started.error().why;
  }
  auto allVote = [this] {
    for (const auto& name : names_) {
      auto members = group(name).status().members;
      auto votes = [](const GroupMember& member) { return member.voter; };
      bool complete = members.size() == names_.size() && std::all_of(members.begin(), members.end(), votes);
      if (!complete || !replica(name).reader().formatted()) {
        return false;
      }
    }
    return !leaderNow().empty();
  };
  ASSERT_TRUE(world.runUntil(allVote, LIMIT)) << "the group doesn't form";
}

void GroupWorld::crash(const std::string& name) {
  world.volume(volumes_[name]).processDied();
  processes_.erase(name);
}

void GroupWorld::rotLog(const std::string& name) {
  auto& volume = world.volume(volumes_[name]);
  auto names = volume.open()->list("log").value();
  std::erase_if(names, [](const std::string& file) { return !file.ends_with(".segment"); });
  ASSERT_FALSE(names.empty());
  // In the first record, which lies behind the header's block.
  ASSERT_TRUE(volume.rotAt("log/" + names.front(), 4096 + 60));
}

void GroupWorld::twistState(const std::string& name) {
  auto disk = world.volume(volumes_[name]).open();
  auto env = world.newEnv();
  auto store = Store::open(*env, disk->hostPath("state"), 1 << 20);
  ASSERT_TRUE(store.ok()) << store.error().why;
  store.value()->put("xattr", "nobody's");
  Head head = store.value()->writtenHead();
  head.digest = store.value()->digest();
  auto write = store.value()->beginWrite(head);
  write();
  store.value()->endWrite();
}

std::string GroupWorld::fatal(const std::string& name) {
  return processes_.at(name)->fatal;
}

void GroupWorld::copyDirectory(const std::string& name) {
  ASSERT_TRUE(world.volume(volumes_[name]).open()->remove("lock").ok());  // made anew at the start, as another file
}

Result<RecoveryPlan> GroupWorld::planRecovery(const std::string& name) {
  Process tool(world, name, volumes_[name]);
  return cairn::planRecovery({*tool.disk, *tool.env, *tool.random, cluster_, name, segmentBytes});
}

Result<GroupEpoch> GroupWorld::recover(const std::string& name, const std::string& plan) {
  Process tool(world, name, volumes_[name]);
  RecoveryParts parts{*tool.disk, *tool.env, *tool.random, cluster_, name, segmentBytes};
  return world.await(cairn::recover(parts, plan), LIMIT);
}

void GroupWorld::powerCut(const std::string& name) {
  world.volume(volumes_[name]).powerCut();
  world.network().powerOff(name);
  processes_.erase(name);
  world.network().powerOn(name);
}

void GroupWorld::stop(const std::string& name) {
  world.await(processes_.at(name)->member->stop(), LIMIT);
  processes_.erase(name);
}

Replica& GroupWorld::replica(const std::string& name) {
  return processes_.at(name)->member->replica();
}

std::string GroupWorld::leaderNow() {
  std::string found;
  Term newest{};
  for (auto& [name, process] : processes_) {
    auto& replica = process->member->replica();
    if (replica.isLeader() && replica.term() > newest) {
      found = name;
      newest = replica.term();
    }
  }
  return found;
}

std::string GroupWorld::leader(Nanos limit) {
  EXPECT_TRUE(world.runUntil([this] { return !leaderNow().empty(); }, limit)) << "nobody leads";
  return leaderNow();
}

void GroupWorld::expectEqual() {
  auto equal = [this] {
    std::set<std::pair<LogIndex, uint64_t>> states;
    for (auto& [name, process] : processes_) {
      auto status = group(name).status();
      states.insert({status.applied, status.digest});
    }
    return states.size() == 1;
  };
  EXPECT_TRUE(world.runUntil(equal, LIMIT)) << "the members' states differ";
}

int GroupWorld::write(const std::string& name, const std::string& session) {
  nonce_++;
  auto fill = [&](wire::Command::Builder command) {
    auto open = command.initOpenSession();
    open.setName(session);
    open.initNonce().setLow(nonce_);
  };
  auto applied = world.await(propose(replica(name), fill), LIMIT);
  return outcomeOf(applied).code();
}

void GroupWorld::writeSomehow(const std::string& session) {
  for (;;) {
    std::string name = leader();
    if (name.empty() || write(name, session) == 0) {
      return;
    }
  }
}

bool GroupWorld::has(const std::string& name, const std::string& session) {
  for (const auto& known : replica(name).reader().sessions()) {
    if (known.name == session) {
      return true;
    }
  }
  return false;
}

}  // namespace cairn
