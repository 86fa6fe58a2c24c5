#include "master/state_recovery.h"

#include <algorithm>
#include <cerrno>

#include "common/log.h"
#include "master/namespace/snapshot.h"

namespace cairn {

namespace {

constexpr char STATE_DIRECTORY[] = "state";
constexpr char DISTRUST_FILE[] = "state.distrust";

class Recovery {
 public:
  Recovery(Disk& disk, leveldb::Env& env, Log& log, uint64_t cacheBytes)
      : disk_(disk),
        env_(env),
        log_(log),
        cacheBytes_(cacheBytes),
        path_(disk.hostPath(STATE_DIRECTORY)) {}

  Result<RecoveredState> run() {
    auto snapshots = findSnapshots(disk_);
    if (!snapshots.ok()) {
      return snapshots.error();
    }
    snapshots_ = kj::mv(snapshots.value());
    auto store = openTrusted();
    if (!store.ok()) {
      if (store.code() == EBADE) {
        return store.error();
      }
      spdlog::warn("{}; the state is made again from snapshot and log", store.error().why);
      store = rebuild();
    }
    if (!store.ok()) {
      return store.error();
    }
    auto machine = kj::heap<StateMachine>(kj::mv(store.value()));
    return RecoveredState{kj::mv(machine), kj::mv(snapshots_)};
  }

 private:
  Result<kj::Own<Store>> openTrusted() {
    auto store = openTrustedState(disk_, env_, cacheBytes_);
    if (!store.ok()) {
      return store;
    }
    const auto& head = store.value()->writtenHead();
    if (head.index > log_.lastIndex()) {
      return Error{EBADE, path_ + ": holds entry " + std::to_string(raw(head.index)) +
                              ", but the log ends with entry " + std::to_string(raw(log_.lastIndex())) +
                              ": acknowledged entries are gone from the log. Restore the data directory from a copy"};
    }
    if (next(head.index) < log_.firstIndex()) {
      return Error{EIO, path_ + ": ends with entry " + std::to_string(raw(head.index)) + ", before the log begins"};
    }
    if (log_.term(head.index) != head.term) {
      return Error{EIO, path_ + ": entry " + std::to_string(raw(head.index)) + " is another one than in the log"};
    }
    auto isUsable = [&](LogIndex snapshot) { return next(snapshot) >= log_.firstIndex() && snapshot <= head.index; };
    if (raw(log_.firstIndex()) != 1 && std::none_of(snapshots_.begin(), snapshots_.end(), isUsable)) {
      // Its own, no later than the state, is what a member sends to others that need entries which are gone.
      return Error{EIO, path_ + ": ends with entry " + std::to_string(raw(head.index)) + ", before any snapshot"};
    }
    return store;
  }

  Result<kj::Own<Store>> fresh() {
    auto removed = Store::remove(env_, path_);
    if (!removed.ok()) {
      return removed.error();
    }
    return Store::open(env_, path_, cacheBytes_);
  }

  Result<kj::Own<Store>> rebuild() {
    for (auto index = snapshots_.rbegin(); index != snapshots_.rend(); ++index) {
      if (next(*index) < log_.firstIndex() || *index > log_.lastIndex()) {
        continue;
      }
      auto store = fresh();
      if (!store.ok()) {
        return store;
      }
      auto loaded = loadSnapshot(disk_, *index, *store.value());
      if (loaded.ok() && store.value()->writtenHead().term != log_.term(*index)) {
        // It came from another member, and the log here was never replaced by it.
        loaded = Error{EIO, disk_.hostPath(snapshotPath(*index)) + ": of another entry than the log has there"};
      }
      if (loaded.ok()) {
        spdlog::info("{}: made again from the snapshot at entry {}", path_, raw(*index));
        return trusted(kj::mv(store));
      }
      spdlog::warn("{}; an older snapshot is tried", loaded.error().why);
    }
    if (raw(log_.firstIndex()) != 1) {
      return Error{EIO, disk_.hostPath(SNAPSHOT_DIRECTORY) + ": no whole snapshot from entry " +
                            std::to_string(raw(log_.firstIndex()) - 1) +
                            " on, and the log begins there. Restore the data directory from a copy"};
    }
    return trusted(fresh());
  }

  Result<kj::Own<Store>> trusted(Result<kj::Own<Store>> store) {
    if (store.ok() && disk_.exists(DISTRUST_FILE)) {
      auto removed = disk_.remove(DISTRUST_FILE);
      if (!removed.ok()) {
        return removed.error();
      }
    }
    return store;
  }

  Disk& disk_;
  leveldb::Env& env_;
  Log& log_;
  uint64_t cacheBytes_;
  std::string path_;
  std::vector<LogIndex> snapshots_;
};

}  // namespace

Result<kj::Own<Store>> openTrustedState(Disk& disk, leveldb::Env& env, uint64_t cacheBytes) {
  std::string path = disk.hostPath(STATE_DIRECTORY);
  if (disk.exists(DISTRUST_FILE)) {
    return Error{EIO, path + ": found damaged by the last run"};
  }
  return Store::open(env, path, cacheBytes);
}

Result<RecoveredState> recoverState(Disk& disk, leveldb::Env& env, Log& log, uint64_t cacheBytes) {
  Result<RecoveredState> result = Error{EIO, "unknown"};
  KJ_IF_MAYBE (e, kj::runCatchingExceptions([&] { result = Recovery(disk, env, log, cacheBytes).run(); })) {
    return Error{EIO, disk.hostPath(STATE_DIRECTORY) + ": " + e->getDescription().cStr()};
  }
  return result;
}

Status distrustState(Disk& disk) {
  const char* reason = "LevelDB was found damaged: it is made again at the next start\n";
  return replaceFile(disk, DISTRUST_FILE, kj::StringPtr(reason).asBytes());
}

}  // namespace cairn
