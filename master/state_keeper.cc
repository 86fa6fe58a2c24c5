#include "master/state_keeper.h"

#include <cerrno>

#include "common/log.h"
#include "master/namespace/snapshot.h"

namespace cairn {

namespace {

// Applied entries are written to LevelDB after this time, or when they are so many.
constexpr Nanos WRITE_DELAY = 20 * MILLISECOND;
constexpr size_t WRITE_BYTES = 1 << 20;
// On a full disk: how often to look whether there is room again, and how often to try to keep some back.
constexpr Nanos ROOM_DELAY = 200 * MILLISECOND;
constexpr Nanos RESTORE_DELAY = 30 * SECOND;
constexpr Nanos FIRST_RESTORE_DELAY = 2 * SECOND;  // when those who wait for the start have been served

}  // namespace

StateKeeper::StateKeeper(StateOptions options, Clock& clock, Disk& disk, Workers& workers, leveldb::Env& env, Log& log,
                         Owner& owner)
    : options_(options),
      clock_(clock),
      disk_(disk),
      workers_(workers),
      env_(env),
      log_(log),
      owner_(owner),
      reserve_(disk, options.reserveBytes),
      writing_(kj::Promise<void>(kj::READY_NOW).fork()),
      tasks_(*this) {}

void StateKeeper::start(RecoveredState state) {
  machine_ = kj::mv(state.machine);
  snapshots_ = kj::mv(state.snapshots);
  loggedBytes_ = log_.bytesAfter(snapshots_.empty() ? LogIndex{} : snapshots_.back());
  machine_->store().setDamageHandler([this](const std::string& what) { distrust(what); });
  tasks_.add(keepReserve());
}

Task<Status> StateKeeper::rebuild() {
  auto written = writing_.addBranch();
  co_await written;
  while (snapshotRunning_) {
    co_await clock_.after(ROOM_DELAY);
  }
  auto distrusted = distrustState(disk_);
  if (!distrusted.ok()) {
    co_return distrusted;
  }
  machine_ = nullptr;
  auto state = recoverState(disk_, env_, log_, options_.cacheBytes);
  if (!state.ok()) {
    co_return Error{EIO, state.error().why};  // not to be tried again: there is no state now
  }
  machine_ = kj::mv(state.value().machine);
  snapshots_ = kj::mv(state.value().snapshots);
  loggedBytes_ = 0;
  dropOldSnapshots();
  machine_->store().setDamageHandler([this](const std::string& what) { distrust(what); });
  co_return Status();
}

Applied StateKeeper::apply(LogIndex index, Term term, CommandEntry& command) {
  loggedBytes_ += recordBytes(command.payload().size());
  auto applied = machine_->apply(index, term, command.reader());
  writeSoon();
  return applied;
}

void StateKeeper::snapshotSoon() {
  snapshotWanted_ = true;
  if (!writeRunning_ && !snapshotRunning_) {
    snapshotRunning_ = true;
    tasks_.add(makeSnapshot(machine_->store().image()));
  }
}

Task<void> StateKeeper::stop() {
  stopping_ = true;
  writeSoon();
  auto written = writing_.addBranch();
  co_await written;
}

void StateKeeper::writeSoon() {
  if (!writeRunning_ && machine_->store().hasUnwritten() && !failed_) {
    writeRunning_ = true;
    kj::Promise<void> writing = writeOut();
    writing_ = writing.fork();
    tasks_.add(writing_.addBranch());
  }
}

Task<void> StateKeeper::writeOut() {
  auto& store = machine_->store();
  while (store.hasUnwritten() && !failed_) {
    if (store.unwrittenBytes() < WRITE_BYTES && !stopping_) {
      co_await clock_.after(WRITE_DELAY);
    }
    bool room = co_await roomForWrite();
    if (!room) {
      break;
    }
    auto job = machine_->beginWrite();
    co_await workers_.run(kj::mv(job));
    store.endWrite();
    owner_.onStateWritten();
    bool due = snapshotWanted_ || loggedBytes_ >= options_.snapshotLogBytes;
    if (due && !snapshotRunning_ && !stopping_) {
      snapshotRunning_ = true;
      tasks_.add(makeSnapshot(store.image()));
    }
  }
  writeRunning_ = false;
}

Task<bool> StateKeeper::roomForWrite() {
  lacksRoom_ = !reserve_.hasRoom();
  while (lacksRoom_ && !stopping_ && !failed_) {
    co_await clock_.after(ROOM_DELAY);
    lacksRoom_ = !reserve_.hasRoom();
  }
  co_return !lacksRoom_ && !failed_;
}

Task<void> StateKeeper::keepReserve() {
  co_await clock_.after(FIRST_RESTORE_DELAY);
  for (;;) {
    co_await reserve_.restore();
    co_await clock_.after(RESTORE_DELAY);
  }
}

Task<void> StateKeeper::makeSnapshot(kj::Own<Store::Image> image) {
  LogIndex index = image->head().index;
  uint64_t logged = loggedBytes_;
  snapshotWanted_ = false;
  auto written = co_await writeSnapshot(disk_, workers_, kj::mv(image));
  bool isNewest = snapshots_.empty() || snapshots_.back() < index;
  if (written.ok() && isNewest) {
    spdlog::info("snapshot at entry {} after {} MiB of log", raw(index), logged >> 20);
    loggedBytes_ -= std::min(loggedBytes_, logged);
    snapshots_.push_back(index);
    dropOldSnapshots();
    owner_.onSnapshot(index, snapshots_.size() == SNAPSHOTS_KEPT ? snapshots_.front() : LogIndex{});
  } else if (!written.ok()) {
    spdlog::warn("no snapshot was made: {}; it is tried again when the log has grown", written.error().why);
    loggedBytes_ -= std::min(loggedBytes_, options_.snapshotLogBytes / 4);
  }
  snapshotRunning_ = false;
}

void StateKeeper::dropOldSnapshots() {
  while (snapshots_.size() > SNAPSHOTS_KEPT) {
    auto removed = removeSnapshot(disk_, snapshots_.front());
    if (!removed.ok()) {
      spdlog::warn("{}", removed.error().why);
    }
    snapshots_.erase(snapshots_.begin());
  }
}

void StateKeeper::distrust(const std::string& why) {
  failed_ = true;
  auto distrusted = distrustState(disk_);
  std::string then = distrusted.ok() ? "; it is made again from snapshot and log at the next start"
                                     : "; and that can't be noted down: " + distrusted.error().why;
  owner_.onStateFailed({EIO, why + then});
}

void StateKeeper::taskFailed(kj::Exception&& exception) {
  distrust(exception.getDescription().cStr());
}

}  // namespace cairn
