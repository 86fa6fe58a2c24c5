#include "chunkserver/daemon.h"
#include "common/system/leveldb_env.h"
#include "tests/sim/cluster/sim_process.h"

namespace cairn {
namespace {

class SimServer final : public SimProcess, private kj::TaskSet::ErrorHandler {
 public:
  SimServer(World& world, const SimProcessSetup& setup)
      : homeDisk_(world.volume(setup.host + ".home").open()),
        disk_(world.volume(setup.host).open()),
        env_(world.newEnv()),
        syncingEnv_(newLogSyncingEnv(*env_)),
        workers_(world.newWorkers(setup.host + "#" + std::to_string(setup.life))),
        random_(world.random(setup.host + "#" + std::to_string(setup.life))),
        tasks_(*this) {
    auto home = ServerHome::open(*homeDisk_, *random_, setup.cluster.cluster);
    if (!home.ok()) {
      died_ = "doesn't start: " + home.error().why;
      return;
    }
    home_ = kj::mv(home.value());
    DaemonSeams seams{world.clock(), *random_, world.network().host(setup.host), *workers_};
    DaemonOptions options;
    options.cluster = setup.cluster;
    options.name = setup.host;
    options.listen = setup.address;
    options.hostId = setup.host;
    options.rack = setup.rack;
    options.program = {"level " + std::to_string(setup.level), setup.level};
    std::vector<VolumePlace> places;
    places.push_back({setup.host, disk_.get(), syncingEnv_.get(), {}});
    auto started = startDaemon(seams, kj::mv(options), *home_, kj::mv(places));
    if (!started.ok()) {
      died_ = "doesn't start: " + started.error().why;
      return;
    }
    daemon_ = kj::mv(started.value());
    tasks_.add(daemon_->onFatal().then([this](Error&& error) { died_ = error.why; }));
  }

  bool serving() override { return daemon_.get() != nullptr && daemon_->registered(); }
  std::string died() const override { return died_; }
  Task<void> stop() override {
    if (daemon_.get() != nullptr) {
      co_await daemon_->stop();
    }
  }

 private:
  void taskFailed(kj::Exception&& e) override { died_ = kj::str(e).cStr(); }

  kj::Own<Disk> homeDisk_;
  kj::Own<Disk> disk_;
  std::unique_ptr<leveldb::Env> env_;
  std::unique_ptr<leveldb::Env> syncingEnv_;
  kj::Own<SimWorkers> workers_;
  kj::Own<SimRandom> random_;
  kj::Own<ServerHome> home_;
  std::string died_;
  kj::Own<Daemon> daemon_;
  kj::TaskSet tasks_;
};

}  // namespace

kj::Own<SimProcess> startSimServer(World& world, SimProcessSetup setup) { return kj::heap<SimServer>(world, setup); }

}  // namespace cairn
