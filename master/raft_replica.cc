#include "master/raft_replica.h"

#include <capnp/serialize.h>

#include <algorithm>
#include <cerrno>

#include "common/log.h"
#include "master/joining.h"
#include "master/log_repair.h"
#include "master/namespace/snapshot.h"
#include "master/raft_entries.h"

namespace cairn {

namespace {

// An election begins when no leader has been heard of for 10 to 20 ticks.
constexpr Nanos RAFT_TICK = 20 * MILLISECOND;
// After so many their replies leave, so that their callers go on while the next are applied.
constexpr size_t APPLIED_AT_ONCE = 32;
// Long enough that a reader now and then finds a lease, short enough that no fail-over waits for it: when the leader
// has died, it was answered some 20 ms ago.
constexpr Nanos RAFT_PROMISE = 40 * MILLISECOND;

}  // namespace

RaftReplica::RaftReplica(ReplicaOptions options, const ClusterFile& cluster, ReplicaSeams seams,
                         OwnedDirectory directory, kj::Own<Log> log)
    : options_(kj::mv(options)),
      seams_(seams),
      directory_(kj::mv(directory)),
      self_(memberId(directory_.identity)),
      log_(kj::mv(log)),
      store_(seams.clock, seams.disk, *log_, *this),
      links_({seams.clock, seams.random, seams.network, seams.disk}, cluster, options_.member, self_, *this),
      state_({options_.snapshotLogBytes, options_.cacheBytes, options_.reserveBytes}, seams.clock, seams.disk,
             seams.workers, seams.env, *log_, *this),
      time_(seams.clock),
      fatal_(kj::newPromiseAndFulfiller<Error>()),
      tasks_(*this) {}

// ---- starting ----

Status RaftReplica::start() {
  (void)SpaceReserve(seams_.disk, options_.reserveBytes).hasRoom();  // so that LevelDB opens on a full disk
  auto state = recoverState(seams_.disk, seams_.env, *log_, options_.cacheBytes);
  if (!state.ok()) {
    return state.error();
  }
  state_.start(kj::mv(state.value()));
  auto known = checkLevel();
  if (!known.ok()) {
    return known;
  }
  auto restart = findRestart();
  if (!restart.ok()) {
    return restart.error();
  }
  raft::RaftOptions options;
  options.self = self_;
  options.termStart = termStartPayload(seams_.random.next());
  options.promise = RAFT_PROMISE;
  raft_ = kj::heap<raft::Raft>(options, seams_.random, kj::mv(restart.value()), seams_.clock.monotonic());
  auto placed = acceptPlace();
  if (!placed.ok()) {
    return placed;
  }
  tasks_.add(watchLog());
  tasks_.add(clockwork());
  if (raft_->membership().members().size() == 1 && raft_->membership().isVoter(self_)) {
    raft_->campaign();  // nobody else could win
  }
  pumpSoon();
  return {};
}

// What a newer program wrote isn't guessed at.
Status RaftReplica::checkLevel() const {
  uint32_t level = reader().featureLevel();
  if (level > options_.program.level) {
    return Error{ESTALE, tooOld("master " + options_.member, options_.program, level)};
  }
  return {};
}

// A copy may lack what the original has voted and acknowledged since, so in a group it is nobody. Alone it goes on.
Status RaftReplica::acceptPlace() {
  if (!directory_.isCopy) {
    return {};
  }
  const auto& membership = raft_->membership();
  bool hasOthers = membership.voterCount() > (membership.isVoter(self_) ? 1 : 0);
  if (hasOthers) {
    return Error{ESTALE, seams_.disk.hostPath("") + " is a copy of master " + options_.member +
                             "'s data directory, and what the original has promised since isn't in it: run `dfsadmin "
                             "raft remove " + options_.member +
                             "`, then start this master with --join in an empty directory"};
  }
  return saveIdentity(seams_.disk, directory_.identity);
}

Result<raft::Restart> RaftReplica::findRestart() {
  auto hard = RaftStore::readHardState(seams_.disk);
  if (!hard.ok()) {
    return hard.error();
  }
  raft::Restart restart;
  restart.hard = hard.value();
  restart.hard.term = std::max(restart.hard.term, log_->lastTerm());
  restart.applied = state_.machine().appliedIndex();
  for (LogIndex index : state_.snapshots()) {  // one that the state isn't made from was received and never installed
    restart.snapshot = index <= restart.applied ? index : restart.snapshot;
  }
  if (next(restart.snapshot) < log_->firstIndex()) {
    return Error{EIO, "the log begins after the newest snapshot"};
  }
  // Entries before the newest snapshot could still be sent, but a member that needs them is as well off with it.
  restart.base = {log_->term(restart.snapshot), restart.snapshot};
  restart.membership = membershipAt(restart.snapshot);
  restart.last = log_->lastIndex();
  for (const auto& run : log_->terms()) {
    restart.runs.push_back({run.term, run.first});
  }
  std::erase_if(restart.runs, [&](const raft::TermRun& run) { return run.first > restart.applied; });
  for (const auto& [index, bytes] : reader().memberships()) {
    if (index > restart.snapshot) {
      restart.memberships.push_back({index, membershipOf(bytes)});
    }
  }
  auto damage = readDamage(seams_.disk);
  if (!damage.ok()) {
    return damage.error();
  }
  restart.damage = damage.value();
  auto read = readTail(restart);
  if (!read.ok()) {
    return read.error();
  }
  return kj::mv(restart);
}

Status RaftReplica::readTail(raft::Restart& restart) {
  LogIndex from = next(restart.applied);
  if (from > log_->lastIndex()) {
    return {};
  }
  return log_->read(from, [&restart](const LogEntry& record) {
    restart.tail.push_back(entryOf(record));
    return true;
  });
}

raft::Membership RaftReplica::membershipAt(LogIndex index) const {
  raft::Membership membership;
  if (!directory_.identity.joined) {
    membership.set({self_, true, options_.member});
  }
  for (const auto& [at, bytes] : reader().memberships()) {
    if (at <= index) {
      membership = membershipOf(bytes);
    }
  }
  return membership;
}

// ---- Replica ----

Task<Result<Applied>> RaftReplica::propose(capnp::MessageBuilder& message) {
  using Promise = kj::Promise<Result<Applied>>;
  if (stopping_ || failed_) {
    return Promise(Error{EIO, "this master is stopping"});
  }
  if (waiting_.size() >= PROPOSALS_MAX) {
    return Promise(Error{EBUSY, "too many changes wait for the log"});
  }
  time_.stamp(message.getRoot<wire::Command>().initTime());
  auto words = capnp::messageToFlatArray(message);
  if (words.asBytes().size() > log_->entryBytesMax()) {
    return Promise(Error{E2BIG, "the change is larger than a segment of the log"});
  }
  auto room = checkRoom(words.asBytes().size());
  if (!room.ok()) {
    return Promise(room.error());
  }
  auto proposed = raft_->propose(payloadOf(kj::mv(words)));
  if (proposed.refusal != raft::Refusal::NONE) {
    return Promise(refusal(proposed.refusal));
  }
  auto waiting = kj::newPromiseAndFulfiller<Result<Applied>>();
  waiting_[proposed.at.index] = {proposed.at.term, kj::mv(waiting.fulfiller)};
  pumpSoon();
  return kj::mv(waiting.promise);
}

// What is proposed without room for it would wait for some, and its caller with it.
Status RaftReplica::checkRoom(size_t bytes) {
  if (!log_->hasRoomFor(raft_->uncommittedBytes() + bytes)) {
    return Error{ENOSPC, "the disk of master " + options_.member + " has no room for its log"};
  }
  if (!state_.isFull()) {
    return {};
  }
  return state_.lacksRoom() ? Error{ENOSPC, "the disk of master " + options_.member + " is full"}
                            : Error{EBUSY, "too many changes wait to be written out"};
}

Error RaftReplica::refusal(raft::Refusal refusal) const {
  switch (refusal) {
    case raft::Refusal::TOO_MUCH:
      return {EBUSY, "too many changes wait for the other masters"};
    case raft::Refusal::TRANSFERRING:
      return {EBUSY, "this master is handing over to another"};
    default:
      return {EIO, "master " + options_.member + " is not the leader"};
  }
}

Task<Result<LogIndex>> RaftReplica::readBarrier() {
  using Promise = kj::Promise<Result<LogIndex>>;
  auto id = failed_ ? std::nullopt : raft_->requestRead();
  if (!id) {
    return Promise(Error{EIO, "master " + options_.member + " is not the leader"});
  }
  auto waiting = kj::newPromiseAndFulfiller<Result<LogIndex>>();
  reads_[*id] = kj::mv(waiting.fulfiller);
  pumpSoon();
  return kj::mv(waiting.promise);
}

// A member in office has applied what its predecessors committed; and of what it committed itself and hasn't applied
// yet nobody has been told.
bool RaftReplica::isCurrent() {
  Nanos now = seams_.clock.monotonic();
  if (!isLeader() || !raft_->leaseHolds(now)) {
    return false;
  }
  raft_->timeIs(now);
  if (raft_->renewLease()) {
    pumpSoon();
  }
  return true;
}

std::string RaftReplica::leaderAddress() const {
  const auto* leader = raft_->membership().find(raft_->leader());
  return leader == nullptr ? "" : memberAbout(leader->about).address;
}

std::string RaftReplica::leaderName() const {
  const auto* leader = raft_->membership().find(raft_->leader());
  return leader == nullptr ? "" : memberAbout(leader->about).name;
}

Task<void> RaftReplica::stop() {
  stopping_ = true;
  pump();
  if (handOver()) {
    co_await seams_.clock.after(2 * RAFT_TICK);
  }
  while (!store_.idle() && !failed_) {
    co_await seams_.clock.after(RAFT_TICK);
  }
  pump();
  if (failed_) {
    co_return;
  }
  co_await state_.stop();
  auto closed = co_await log_->close();
  if (!closed.ok()) {
    spdlog::error("{}", closed.error().why);
  }
}

// So that the others needn't wait for this one's silence.
bool RaftReplica::handOver() {
  raft::MemberId heir = raft_->heir();
  if (heir == raft::NOBODY || raft_->transfer(heir) != raft::Refusal::NONE) {
    return false;
  }
  pump();
  return true;
}

// ---- driving the core ----

Task<void> RaftReplica::clockwork() {
  while (!failed_) {
    co_await seams_.clock.after(RAFT_TICK);
    sendReceipts();
    raft_->timeIs(seams_.clock.monotonic());
    raft_->tick();
    pump();
    if (leads_) {
      promoteNewcomers();
      compareSoon();
    }
  }
}

Task<void> RaftReplica::watchLog() {
  auto failure = log_->onFailure();
  auto error = co_await failure;
  fail(kj::mv(error));
}

// Everything that came in one turn is one append, one message a member, one round of reads.
void RaftReplica::pumpSoon() {
  if (!pumpDue_) {
    pumpDue_ = true;
    tasks_.add(kj::evalLast([this] { pump(); }));
  }
}

void RaftReplica::pump() {
  pumpDue_ = false;
  if (failed_ || pumping_) {
    return;
  }
  pumping_ = true;
  KJ_DEFER(pumping_ = false);
  for (auto output = raft_->ready(); !output.empty() && !failed_; output = raft_->ready()) {
    handle(kj::mv(output));
  }
  if (raft_->membership() != linked_) {
    linked_ = raft_->membership();
    links_.setMembers(linked_);
  }
  applyDurable();
  lookAtOffice();
}

void RaftReplica::handle(raft::Output output) {
  for (auto& message : output.messages) {
    links_.send(kj::mv(message));
  }
  for (auto& stored : output.stored) {
    readStored(kj::mv(stored));
  }
  for (auto& order : output.snapshots) {
    links_.sendSnapshot(kj::mv(order.message));
  }
  if (output.persist) {
    if (output.persist->snapshot) {
      installing_ = true;
      committed_.clear();
    }
    store_.submit(kj::mv(*output.persist));
  }
  for (auto& entry : output.apply) {
    committed_.push_back(kj::mv(entry));
  }
  if (output.healed) {
    noteHealed();
  }
  answerReads(output);
}

// When it can't be noted, the next start still knows of the damage, and finds it mended.
void RaftReplica::noteHealed() {
  auto cleared = clearDamage(seams_.disk);
  spdlog::info("what the log had lost is back{}", cleared.ok() ? "" : "; " + cleared.error().why);
}

void RaftReplica::readStored(raft::StoredAppend stored) {
  std::vector<raft::Entry> entries;
  size_t bytes = 0;
  auto read = log_->read(stored.first, [&](const LogEntry& record) {
    bytes += record.payload.size();
    bool fits = record.index <= stored.last && (entries.empty() || bytes <= stored.bytesMax);
    if (fits) {
      entries.push_back(entryOf(record));
    }
    return fits;
  });
  if (!read.ok()) {
    fail(read.error());
    return;
  }
  auto message = raft_->complete(kj::mv(stored), kj::mv(entries));
  if (message) {
    links_.send(kj::mv(*message));
  }
}

// LevelDB must never be ahead of the log, so what others have committed waits for this member's own disk. The core says
// how far that is: the log's own number counts entries that are about to be truncated, too. Heartbeats don't wait for a
// long backlog, and LevelDB gets the time to take it.
void RaftReplica::applyDurable() {
  auto isDue = [this] {
    return !committed_.empty() && !installing_ && !failed_ && committed_.front().index <= raft_->durable();
  };
  for (size_t i = 0; i < APPLIED_AT_ONCE && isDue() && !state_.isFull(); ++i) {
    auto entry = kj::mv(committed_.front());
    committed_.pop_front();
    applyOne(entry);
  }
  if (isDue() && !state_.isFull() && !resuming_) {
    resuming_ = true;
    tasks_.add(resumeApplying());
  }
}

Task<void> RaftReplica::resumeApplying() {
  co_await seams_.clock.after(0);
  resuming_ = false;
  pump();
}

void RaftReplica::applyOne(const raft::Entry& entry) {
  CommandEntry command(recordOf(entry).bytes());
  auto applied = state_.apply(entry.index, entry.term, command);
  digests_.applied(entry.index, reader().digest());
  auto known = applied.changes.level ? checkLevel() : Status();
  if (!known.ok()) {
    fail(known.error());
  }
  if (observer_ != nullptr) {
    observer_->onApplied(command.reader(), applied);
  }
  auto waiting = waiting_.find(entry.index);
  if (waiting == waiting_.end()) {
    return;
  }
  auto done = kj::mv(waiting->second);
  waiting_.erase(waiting);
  if (done.term == entry.term) {
    done.done->fulfill(Result<Applied>(kj::mv(applied)));
  } else {
    done.done->fulfill(Result<Applied>(Error{EIO, "another master led when this was proposed"}));
  }
}

void RaftReplica::answerReads(const raft::Output& output) {
  for (const auto& ready : output.reads) {
    confirmed_.push_back(ready);
  }
  for (const auto& id : output.failedReads) {
    auto read = reads_.extract(id);
    if (!read.empty()) {
      read.mapped()->fulfill(Result<LogIndex>(Error{EIO, "this master leads no longer"}));
    }
  }
}

void RaftReplica::finishReads() {
  while (!confirmed_.empty() && confirmed_.front().index <= state_.machine().appliedIndex()) {
    auto read = reads_.extract(confirmed_.front().id);
    confirmed_.pop_front();
    if (!read.empty()) {
      read.mapped()->fulfill(Result<LogIndex>(state_.machine().appliedIndex()));
    }
  }
}

// A leader is in office when its state holds all that its predecessors committed.
void RaftReplica::lookAtOffice() {
  finishReads();
  bool leads = raft_->isLeader() && raft_->committedInTerm() && !installing_ && !failed_ &&
               reader().appliedTerm() == raft_->term();
  bool lost = leads_ && (!leads || officeTerm_ != raft_->term());
  if (lost) {
    leads_ = false;
    spdlog::warn("master {} leads no longer", options_.member);
    failWaiting();
    if (office_ != nullptr) {
      office_->onOffice(false);
    }
  }
  if (!raft_->isLeader() && !waiting_.empty()) {
    failWaiting();
  }
  if (leads && !leads_) {
    leads_ = true;
    officeTerm_ = raft_->term();
    time_.passed(state_.machine().time());
    spdlog::info("master {} leads in term {}", options_.member, raw(raft_->term()));
    if (office_ != nullptr) {
      office_->onOffice(true);
    }
    nameFounder();
  }
}

// They may be committed by the next leader, or not: nobody knows.
void RaftReplica::failWaiting() {
  for (auto& [index, waiting] : std::exchange(waiting_, {})) {
    waiting.done->fulfill(Result<Applied>(Error{EIO, "this master leads no longer"}));
  }
}

void RaftReplica::fail(Error error) {
  if (failed_) {
    return;
  }
  failed_ = true;
  failWaiting();
  for (auto& [id, read] : std::exchange(reads_, {})) {
    read->fulfill(Result<LogIndex>(Error{EIO, "this master has failed"}));
  }
  fatal_.fulfiller->fulfill(kj::mv(error));
}

void RaftReplica::taskFailed(kj::Exception&& exception) {
  fail({EIO, exception.getDescription().cStr()});
}

// ---- what the parts report ----

void RaftReplica::onDurable(raft::Persist& persist) {
  if (persist.snapshot) {
    installing_ = false;
  }
  raft_->persisted(persist.id);
  for (auto& message : persist.messages) {
    links_.send(kj::mv(message));
  }
  pumpSoon();
}

Task<Status> RaftReplica::installState(const raft::InstallSnapshot& snapshot) {
  spdlog::info("the state is made anew from the snapshot at entry {}", raw(snapshot.last.index));
  digests_.clear();
  auto rebuilt = co_await state_.rebuild();
  co_return rebuilt.ok() ? checkLevel() : rebuilt;
}

void RaftReplica::onUnreachable(raft::MemberId member) {
  raft_->linkLost(member);
  pumpSoon();
}

void RaftReplica::onSnapshotSent(raft::MemberId member, bool arrived) {
  raft_->snapshotSent(member, arrived);
  pumpSoon();
}

void RaftReplica::onSnapshot(LogIndex index, LogIndex oldest) {
  if (installing_ || !raft_->log().term(index) || index > raft_->durable()) {
    return;  // a snapshot from elsewhere came in between
  }
  raft_->snapshotMade(index);
  if (raw(oldest) > 0) {
    log_->truncatePrefix(oldest);
    raft_->compact(oldest);
  }
}

Task<Result<kj::Own<Replica>>> openReplica(ReplicaOptions options, const ClusterFile& cluster, bool joins,
                                           ReplicaSeams seams) {
  auto directory = openDirectory(seams.disk, options.cluster, options.member, seams.random, joins);
  if (!directory.ok()) {
    co_return directory.error();
  }
  LogOptions logOptions;
  logOptions.cluster = options.cluster;
  logOptions.segmentBytes = options.segmentBytes;
  auto log = Log::open(seams.disk, logOptions);
  if (log.code() == EIO) {
    bool joined = directory.value().identity.joined;
    auto repaired = co_await repairLog(seams, logOptions, options.cacheBytes, joined, log.error());
    log = kj::mv(repaired);
  }
  if (!log.ok()) {
    co_return log.error();
  }
  const auto& identity = directory.value().identity;
  if (cluster.epoch > identity.epoch && raw(log.value()->lastIndex()) > 0) {
    co_return replacedGroup(identity.member, identity.epoch, cluster.epoch);
  }
  auto replica = kj::heap<RaftReplica>(kj::mv(options), cluster, seams, kj::mv(directory.value()), kj::mv(log.value()));
  auto started = replica->start();
  if (!started.ok()) {
    co_return started.error();
  }
  kj::Own<Replica> result = kj::mv(replica);
  co_return kj::mv(result);
}

}  // namespace cairn
