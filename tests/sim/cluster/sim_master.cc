#include <algorithm>

#include "master/group.h"
#include "master/member.h"
#include "tests/sim/cluster/sim_process.h"

namespace cairn {
namespace {

class SimMaster final : public SimProcess, private kj::TaskSet::ErrorHandler {
 public:
  SimMaster(World& world, const SimProcessSetup& setup)
      : disk_(world.volume(setup.host).open()),
        env_(world.newEnv()),
        workers_(world.newWorkers(setup.host + "#" + std::to_string(setup.life))),
        random_(world.random(setup.host + "#" + std::to_string(setup.life))),
        tasks_(*this) {
    MemberOptions options;
    options.cluster = setup.cluster;
    options.name = setup.host;
    options.listen = {setup.address};
    options.initialize = setup.life == 1 && setup.founds;
    options.joins = setup.life == 1 && !setup.founds;
    options.cacheBytes = 1 << 20;
    // In a group a member that was away for some seconds needs a snapshot.
    bool group = setup.cluster.masters.size() > 1;
    options.segmentBytes = group ? 64 << 10 : 256 << 10;
    options.snapshotLogBytes = group ? 16 << 10 : 1 << 20;
    options.shardBits = setup.shardBits;
    options.trashSeconds = setup.trashSeconds;
    options.program = {"level " + std::to_string(setup.level), setup.level};
    ReplicaSeams seams{world.clock(), *random_, world.network().host(setup.host), *disk_, *workers_, *env_};
    tasks_.add(run(kj::mv(options), seams).promise());
  }

  bool serving() override {
    if (member_.get() == nullptr) {
      return false;
    }
    Group& group = member_->replica().group();
    auto members = group.status().members;
    return std::any_of(members.begin(), members.end(),
                       [&](const GroupMember& member) { return member.id == group.self() && member.voter; });
  }
  std::string died() const override { return died_; }
  Task<void> stop() override {
    if (member_.get() != nullptr) {
      co_await member_->stop();
    }
  }
  const ShardMap* map() override {
    return member_.get() == nullptr ? nullptr : &member_->replica().reader().map();
  }
  std::optional<Term> leads() override {
    bool leader = member_.get() != nullptr && member_->replica().isLeader();
    return leader ? std::optional(member_->replica().term()) : std::nullopt;
  }
  State state() override {
    if (member_.get() == nullptr) {
      return {};
    }
    const auto& reader = member_->replica().reader();
    return {reader.appliedIndex(), reader.digest()};
  }
  uint32_t featureLevel() override {
    return member_.get() == nullptr ? 0 : member_->replica().reader().featureLevel();
  }
  uint64_t trashItems() override { return member_.get() == nullptr ? 0 : member_->replica().reader().trashItems(); }

 private:
  Task<void> run(MemberOptions options, ReplicaSeams seams) {
    auto started = co_await startMember(kj::mv(options), seams);
    if (!started.ok()) {
      died_ = "doesn't start: " + started.error().why;
      co_return;
    }
    member_ = kj::mv(started.value());
    auto fatal = co_await member_->onFatal();
    died_ = fatal.why;
  }
  void taskFailed(kj::Exception&& e) override { died_ = kj::str(e).cStr(); }

  kj::Own<Disk> disk_;
  std::unique_ptr<leveldb::Env> env_;
  kj::Own<SimWorkers> workers_;
  kj::Own<SimRandom> random_;
  std::string died_;
  kj::Own<Member> member_;
  kj::TaskSet tasks_;
};

}  // namespace

kj::Own<SimProcess> startSimMaster(World& world, SimProcessSetup setup) { return kj::heap<SimMaster>(world, setup); }

}  // namespace cairn
