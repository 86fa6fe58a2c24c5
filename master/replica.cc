#include "master/replica.h"

#include <capnp/serialize.h>

#include <algorithm>
#include <cerrno>
#include <deque>

#include "common/log.h"
#include "master/entry.h"
#include "master/log/identity.h"
#include "master/log/log.h"
#include "master/log/term_record.h"
#include "master/namespace/snapshot.h"
#include "master/reserve.h"
#include "master/state_recovery.h"

namespace cairn {

namespace {

constexpr char TERM_FILE[] = "term";
// Applied entries are written to LevelDB after this time, or when they are so many.
constexpr Nanos WRITE_DELAY = 20 * MILLISECOND;
constexpr size_t WRITE_BYTES = 1 << 20;
// Beyond it no more entries are taken in until LevelDB has caught up.
constexpr size_t UNWRITTEN_BYTES_MAX = 64 << 20;
// On a full disk: how often to look whether there is room again, and how often to try to keep some back.
constexpr Nanos ROOM_DELAY = 200 * MILLISECOND;
constexpr Nanos RESTORE_DELAY = 30 * SECOND;
constexpr Nanos FIRST_RESTORE_DELAY = 2 * SECOND;  // when those who wait for the start have been served
// The log is kept from the older of so many snapshots on, in case the newer one is found damaged.
constexpr size_t SNAPSHOTS_KEPT = 2;

class SingleReplica final : public Replica, private kj::TaskSet::ErrorHandler {
 public:
  SingleReplica(ReplicaOptions options, Clock& clock, Disk& disk, Workers& workers, OwnedDirectory directory,
                kj::Own<Log> log)
      : options_(kj::mv(options)),
        clock_(clock),
        disk_(disk),
        workers_(workers),
        directory_(kj::mv(directory)),
        log_(kj::mv(log)),
        reserve_(disk, options_.reserveBytes),
        fatal_(kj::newPromiseAndFulfiller<Error>()),
        writing_(kj::Promise<void>(kj::READY_NOW).fork()),
        tasks_(*this) {}

  // Begins a term; afterwards the replica leads.
  Task<Status> start(RecoveredState state) {
    machine_ = kj::mv(state.machine);
    snapshots_ = kj::mv(state.snapshots);
    lastTime_ = machine_->time();
    loggedBytes_ = log_->bytesAfter(snapshots_.empty() ? LogIndex{} : snapshots_.back());
    machine_->store().setDamageHandler([this](const std::string& what) { onDamage(what); });
    tasks_.add(watchLog());
    tasks_.add(keepReserve());
    auto begun = beginTerm();
    if (!begun.ok()) {
      co_return begun;
    }
    capnp::MallocMessageBuilder noop;
    noop.initRoot<wire::Command>().setNoop();
    auto applied = co_await propose(noop);
    if (!applied.ok()) {
      co_return applied.error();
    }
    co_return Status();
  }

  Task<Result<Applied>> propose(capnp::MessageBuilder& message) override {
    if (stopping_ || failed_) {
      return refusal({EIO, "this master is stopping"});
    }
    if (gathered_.size() + inFlight_ >= PROPOSALS_MAX) {
      return refusal({EBUSY, "too many changes wait for the log"});
    }
    stamp(message.getRoot<wire::Command>().initTime());
    auto words = capnp::messageToFlatArray(message);
    if (words.asBytes().size() > log_->entryBytesMax()) {
      return refusal({E2BIG, "the change is larger than a segment of the log"});
    }
    auto waiting = kj::newPromiseAndFulfiller<Result<Applied>>();
    gathered_.push_back({kj::mv(words), kj::mv(waiting.fulfiller)});
    if (!gathering_) {
      gathering_ = true;
      tasks_.add(kj::evalLast([this] { appendGathered(); }));
    }
    return kj::mv(waiting.promise);
  }

  Task<Result<LogIndex>> readBarrier() override {
    if (failed_) {
      return kj::Promise<Result<LogIndex>>(Error{EIO, "this master has failed"});
    }
    return kj::Promise<Result<LogIndex>>(machine_->appliedIndex());
  }

  const NamespaceReader& reader() const override { return machine_->reader(); }
  bool isLeader() const override { return !failed_; }
  std::string leaderName() const override { return options_.member; }
  Term term() const override { return term_; }
  void setObserver(ReplicaObserver* observer) override { observer_ = observer; }
  kj::Promise<Error> onFatal() override { return kj::mv(fatal_.promise); }

  Task<void> stop() override {
    stopping_ = true;
    appendGathered();
    while (inFlight_ > 0 && !failed_) {
      auto settled = kj::newPromiseAndFulfiller<void>();
      settled_ = kj::mv(settled.fulfiller);
      co_await settled.promise;
    }
    if (failed_) {
      co_return;
    }
    writeSoon();
    auto written = writing_.addBranch();
    co_await written;
    auto closed = co_await log_->close();
    if (!closed.ok()) {
      spdlog::error("{}", closed.error().why);
    }
  }

 private:
  struct Proposal {
    kj::Array<capnp::word> words;
    kj::Own<kj::PromiseFulfiller<Result<Applied>>> done;
  };
  // What one append brought. Applied in the order of the appends.
  struct Batch {
    LogIndex first{};
    std::vector<Proposal> proposals;
  };

  static Task<Result<Applied>> refusal(Error error) { return kj::Promise<Result<Applied>>(kj::mv(error)); }

  Status beginTerm() {
    auto record = readTermRecord(disk_, TERM_FILE);
    if (!record.ok()) {
      return record.error();
    }
    term_ = next(std::max(record.value().term, log_->lastTerm()));
    return writeTermRecord(disk_, TERM_FILE, {term_, options_.member});
  }

  void stamp(wire::Time::Builder out) {
    Nanos now = clock_.wall();
    int64_t seconds = now / SECOND - (now % SECOND < 0 ? 1 : 0);
    Timestamp time{seconds, static_cast<uint32_t>(now - seconds * SECOND)};
    lastTime_ = std::max(lastTime_, time);
    out.setSeconds(lastTime_.seconds);
    out.setNanos(lastTime_.nanos);
  }

  // All that was proposed in a turn becomes one append.
  void appendGathered() {
    gathering_ = false;
    if (gathered_.empty() || failed_) {
      return;
    }
    if (machine_->store().unwrittenBytes() > UNWRITTEN_BYTES_MAX && !stopping_) {
      held_ = true;  // until the next write of the state
      return;
    }
    Batch batch;
    batch.first = next(log_->lastIndex());
    batch.proposals = kj::mv(gathered_);
    gathered_.clear();
    std::vector<LogEntry> entries;
    entries.reserve(batch.proposals.size());
    LogIndex index = batch.first;
    for (const auto& proposal : batch.proposals) {
      entries.push_back({index, term_, proposal.words.asBytes()});
      loggedBytes_ += recordBytes(proposal.words.asBytes().size());
      index = next(index);
    }
    inFlight_ += batch.proposals.size();
    auto appended = log_->append(kj::arrayPtr(entries.data(), entries.size()));
    tasks_.add(finish(kj::mv(batch), kj::mv(appended)));
  }

  Task<void> finish(Batch batch, Task<Status> appended) {
    auto promise = kj::mv(appended).promise();
    auto status = co_await promise;
    LogIndex index = batch.first;
    for (auto& proposal : batch.proposals) {
      if (status.ok() && !failed_) {
        apply(index, proposal);
      } else {
        Error error = status.ok() ? Error{EIO, "this master has failed"} : status.error();
        proposal.done->fulfill(Result<Applied>(kj::mv(error)));
      }
      index = next(index);
    }
    inFlight_ -= batch.proposals.size();
    writeSoon();
    if (inFlight_ == 0 && settled_.get() != nullptr) {
      settled_->fulfill();
    }
  }

  void apply(LogIndex index, Proposal& proposal) {
    CommandEntry command(kj::mv(proposal.words));
    auto applied = machine_->apply(index, term_, command.reader());
    if (observer_ != nullptr) {
      observer_->onApplied(command.reader(), applied);
    }
    proposal.done->fulfill(Result<Applied>(kj::mv(applied)));
  }

  // ---- writing the state out ----

  void writeSoon() {
    if (!writeRunning_ && machine_->store().hasUnwritten() && !failed_) {
      writeRunning_ = true;
      kj::Promise<void> writing = writeOut();
      writing_ = writing.fork();
      tasks_.add(writing_.addBranch());
    }
  }

  Task<void> writeOut() {
    auto& store = machine_->store();
    while (store.hasUnwritten() && !failed_) {
      if (store.unwrittenBytes() < WRITE_BYTES && !stopping_) {
        co_await clock_.after(WRITE_DELAY);
      }
      bool room = reserve_.hasRoom();
      while (!room && !stopping_) {
        refuseHeld();
        co_await clock_.after(ROOM_DELAY);
        room = reserve_.hasRoom();
      }
      if (failed_ || !room) {
        break;
      }
      auto job = machine_->beginWrite();
      co_await workers_.run(kj::mv(job));
      store.endWrite();
      if (held_) {
        held_ = false;
        appendGathered();
      }
      if (loggedBytes_ >= options_.snapshotLogBytes && !snapshotRunning_ && !stopping_) {
        snapshotRunning_ = true;
        tasks_.add(makeSnapshot(store.image()));
      }
    }
    writeRunning_ = false;
  }

  // While the disk is full the state can't be written, so what waits for that must not wait.
  void refuseHeld() {
    if (held_) {
      held_ = false;
      for (auto& proposal : gathered_) {
        proposal.done->fulfill(Result<Applied>(Error{ENOSPC, "this master's disk is full"}));
      }
      gathered_.clear();
    }
  }

  Task<void> keepReserve() {
    co_await clock_.after(FIRST_RESTORE_DELAY);
    for (;;) {
      co_await reserve_.restore();
      co_await clock_.after(RESTORE_DELAY);
    }
  }

  Task<void> makeSnapshot(kj::Own<Store::Image> image) {
    LogIndex index = image->head().index;
    uint64_t logged = loggedBytes_;
    auto written = co_await writeSnapshot(disk_, workers_, kj::mv(image));
    if (written.ok()) {
      spdlog::info("snapshot at entry {} after {} MiB of log", raw(index), logged >> 20);
      loggedBytes_ -= logged;
      snapshots_.push_back(index);
      dropOldSnapshots();
    } else {
      spdlog::warn("no snapshot was made: {}; it is tried again when the log has grown", written.error().why);
      loggedBytes_ -= std::min(loggedBytes_, options_.snapshotLogBytes / 4);
    }
    snapshotRunning_ = false;
  }

  void dropOldSnapshots() {
    while (snapshots_.size() > SNAPSHOTS_KEPT) {
      auto removed = removeSnapshot(disk_, snapshots_.front());
      if (!removed.ok()) {
        spdlog::warn("{}", removed.error().why);
      }
      snapshots_.erase(snapshots_.begin());
    }
    if (snapshots_.size() == SNAPSHOTS_KEPT) {
      log_->truncatePrefix(snapshots_.front());
    }
  }

  // ---- the end ----

  Task<void> watchLog() {
    auto failure = log_->onFailure();
    auto error = co_await failure;
    fail(kj::mv(error));
  }

  void onDamage(const std::string& what) {
    auto distrusted = distrustState(disk_);
    std::string then = distrusted.ok() ? "; it is made again from snapshot and log at the next start"
                                       : "; and that can't be noted down: " + distrusted.error().why;
    fail({EIO, what + then});
  }

  void taskFailed(kj::Exception&& exception) override { onDamage(exception.getDescription().cStr()); }

  void fail(Error error) {
    if (failed_) {
      return;
    }
    failed_ = true;
    for (auto& proposal : gathered_) {
      proposal.done->fulfill(Result<Applied>(Error{EIO, "this master has failed"}));
    }
    gathered_.clear();
    if (settled_.get() != nullptr) {
      settled_->fulfill();
    }
    fatal_.fulfiller->fulfill(kj::mv(error));
  }

  ReplicaOptions options_;
  Clock& clock_;
  Disk& disk_;
  Workers& workers_;
  OwnedDirectory directory_;
  kj::Own<Log> log_;
  SpaceReserve reserve_;
  kj::Own<StateMachine> machine_;
  ReplicaObserver* observer_ = nullptr;
  Term term_{};
  Timestamp lastTime_;

  std::vector<Proposal> gathered_;  // in this turn
  bool gathering_ = false;
  bool held_ = false;    // gathered_ waits for the state to be written
  size_t inFlight_ = 0;  // proposals given to the log
  kj::Own<kj::PromiseFulfiller<void>> settled_;

  std::vector<LogIndex> snapshots_;
  uint64_t loggedBytes_ = 0;  // since the last snapshot
  bool snapshotRunning_ = false;
  bool writeRunning_ = false;
  bool stopping_ = false;
  bool failed_ = false;
  kj::PromiseFulfillerPair<Error> fatal_;
  kj::ForkedPromise<void> writing_;
  kj::TaskSet tasks_;
};

}  // namespace

Task<Result<kj::Own<Replica>>> openReplica(ReplicaOptions options, Clock& clock, Random& random, Disk& disk,
                                           Workers& workers, leveldb::Env& env) {
  auto directory = openDirectory(disk, options.cluster, options.member, random);
  if (!directory.ok()) {
    co_return directory.error();
  }
  LogOptions logOptions;
  logOptions.cluster = options.cluster;
  logOptions.segmentBytes = options.segmentBytes;
  auto log = Log::open(disk, logOptions);
  if (!log.ok()) {
    co_return log.error();
  }
  (void)SpaceReserve(disk, options.reserveBytes).hasRoom();  // so that LevelDB opens on a full disk
  auto state = recoverState(disk, env, *log.value(), options.cacheBytes);
  if (!state.ok()) {
    co_return state.error();
  }
  auto replica =
      kj::heap<SingleReplica>(kj::mv(options), clock, disk, workers, kj::mv(directory.value()), kj::mv(log.value()));
  auto started = co_await replica->start(kj::mv(state.value()));
  if (!started.ok()) {
    co_return started.error();
  }
  kj::Own<Replica> result = kj::mv(replica);
  co_return kj::mv(result);
}

}  // namespace cairn
