#include "chunkserver/store/index.h"

#include <leveldb/write_batch.h>

#include <cerrno>

#include "chunkserver/store/codec.h"
#include "chunkserver/store/database.h"
#include "chunkserver/store/record.h"
#include "common/log.h"

namespace cairn {

namespace {

const char* const DAMAGED_FILE = "index.damaged";

// What a worker leaves behind; the loop may have let go of it.
struct WriteJob final : kj::AtomicRefcounted {
  WriteJob(kj::Own<Database> database, leveldb::WriteBatch batch, bool sync)
      : database(kj::mv(database)), batch(std::move(batch)), sync(sync) {}
  void run() {
    leveldb::WriteOptions options;
    options.sync = sync;
    status = database->db().Write(options, &batch);
  }
  kj::Own<Database> database;
  leveldb::WriteBatch batch;
  bool sync;
  leveldb::Status status;
};

struct VerifyJob final : kj::AtomicRefcounted {
  VerifyJob(kj::Own<Database> database, std::string from) : database(kj::mv(database)), from(std::move(from)) {}
  void run() {
    std::unique_ptr<leveldb::Iterator> it(database->db().NewIterator(Database::reading(false)));
    size_t bytes = 0;
    for (it->Seek(from); it->Valid() && bytes < Index::VERIFY_BYTES; it->Next()) {
      bytes += it->key().size() + it->value().size();
    }
    next = it->Valid() ? it->key().ToString() : "";
    status = it->status();
  }
  kj::Own<Database> database;
  std::string from;
  std::string next;
  leveldb::Status status;
};

leveldb::WriteBatch encode(const std::map<std::string, std::optional<std::string>>& entries) {
  leveldb::WriteBatch batch;
  for (auto& [key, value] : entries) {
    if (value) {
      batch.Put(key, *value);
    } else {
      batch.Delete(key);
    }
  }
  return batch;
}

std::string batchKey(uint64_t number) {
  std::string key(1, static_cast<char>(KeySpace::BATCH));
  FieldWriter(key).putSorted(number);
  return key;
}

}  // namespace

Index::Index(Disk& disk, Clock& clock, Workers& workers, kj::Own<Database> database, kj::Own<File> synced,
             uint64_t firstBatch)
    : disk_(disk),
      clock_(clock),
      workers_(workers),
      database_(kj::mv(database)),
      synced_(kj::mv(synced)),
      nextBatch_(firstBatch),
      oldestMark_(firstBatch),
      tasks_(*this) {}

Index::~Index() noexcept(false) {}

const std::optional<std::string>* Index::overlaid(const std::string& key) const {
  for (const Entries* entries : {&pending_.entries, &inFlight_.entries}) {
    auto found = entries->find(key);
    if (found != entries->end()) {
      return &found->second;
    }
  }
  return nullptr;
}

Result<std::optional<std::string>> Index::get(const std::string& key) {
  if (!health_.ok()) {
    return health_.error();
  }
  if (auto* waiting = overlaid(key)) {
    return *waiting;
  }
  std::string value;
  auto status = database_->db().Get(Database::reading(true), key, &value);
  if (status.IsNotFound()) {
    return std::optional<std::string>();
  }
  if (!status.ok()) {
    fail(status);
    return health_.error();
  }
  return std::optional<std::string>(std::move(value));
}

Status Index::scan(const std::string& from, const std::string& to,
                   const std::function<bool(std::string_view, std::string_view)>& each) {
  if (!health_.ok()) {
    return health_;
  }
  // The two batches not in the database yet, the younger one's word counting.
  Entries waiting(pending_.entries.lower_bound(from), pending_.entries.lower_bound(to));
  waiting.insert(inFlight_.entries.lower_bound(from), inFlight_.entries.lower_bound(to));
  auto next = waiting.begin();
  std::unique_ptr<leveldb::Iterator> it(database_->db().NewIterator(Database::reading(false)));
  it->Seek(from);
  for (;;) {
    bool stored = it->Valid() && it->key().compare(to) < 0;
    if (!stored && next == waiting.end()) {
      break;
    }
    int order = !stored ? 1 : next == waiting.end() ? -1 : it->key().compare(next->first);
    bool goOn = true;
    if (order < 0) {
      goOn = each({it->key().data(), it->key().size()}, {it->value().data(), it->value().size()});
    } else if (next->second) {
      goOn = each(next->first, *next->second);
    }
    if (!goOn) {
      return {};
    }
    if (order <= 0) {
      it->Next();
    }
    if (order >= 0) {
      ++next;
    }
  }
  if (!it->status().ok()) {
    fail(it->status());
  }
  return health_;
}

void Index::put(std::string key, std::string value) {
  change(std::move(key), std::move(value));
}

void Index::erase(std::string key) {
  change(std::move(key), std::nullopt);
}

void Index::change(std::string key, std::optional<std::string> value) {
  size_t size = key.size() + (value ? value->size() : 0);
  auto [place, added] = pending_.entries.try_emplace(std::move(key));
  if (!added) {
    pending_.bytes -= place->first.size() + (place->second ? place->second->size() : 0);
  }
  place->second = std::move(value);
  pending_.bytes += size;
  kick();
}

kj::Promise<Status> Index::commit() {
  if (!health_.ok()) {
    return Status(health_);
  }
  auto pair = kj::newPromiseAndFulfiller<Status>();
  pending_.waiters.push_back(kj::mv(pair.fulfiller));
  kick();
  return kj::mv(pair.promise);
}

kj::Promise<void> Index::room() {
  if (hasRoom() || !health_.ok()) {
    return kj::READY_NOW;
  }
  auto pair = kj::newPromiseAndFulfiller<void>();
  wantRoom_.push_back(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

void Index::kick() {
  if (writing_ || !health_.ok() || (pending_.entries.empty() && pending_.waiters.empty())) {
    return;
  }
  if (isUrgent()) {
    write();
  } else if (!gathering_) {
    gathering_ = true;
    tasks_.add(clock_.after(GATHER_DELAY).then([this] {
      gathering_ = false;
      if (!pending_.entries.empty()) {
        write();
      }
    }));
  }
}

void Index::write() {
  if (!writing_) {
    writing_ = true;
    // Last in the turn, so that all that is ready now goes into one batch.
    tasks_.add(kj::evalLast([this]() -> kj::Promise<void> { return writeAll(); }));
  }
}

// Moves what is pending on its way, as the batch whose number it returns.
uint64_t Index::takePending() {
  pruneMarks();
  uint64_t number = nextBatch_++;
  pending_.entries[batchKey(number)] = encodeIndexNumber(lastSynced_);
  inFlight_ = std::move(pending_);
  pending_ = Batch();
  return number;
}

void Index::finishInFlight(uint64_t number, bool synced, const leveldb::Status& status) {
  if (!status.ok()) {
    fail(status);
  } else if (synced) {
    noteSynced(number, false);
  }
  auto waiters = std::move(inFlight_.waiters);
  inFlight_ = Batch();
  for (auto& waiter : waiters) {
    waiter->fulfill(Status(health_));
  }
  while (!wantRoom_.empty() && hasRoom()) {
    wantRoom_.front()->fulfill();
    wantRoom_.pop_front();
  }
}

Task<void> Index::writeAll() {
  for (bool more = true; more && health_.ok(); more = isUrgent()) {
    bool sync = !pending_.waiters.empty();
    uint64_t number = takePending();
    auto job = kj::atomicRefcounted<WriteJob>(kj::atomicAddRef(*database_), encode(inFlight_.entries), sync);
    kj::Function<void()> run = [job = kj::atomicAddRef(*job)]() mutable { job->run(); };
    co_await workers_.run(kj::mv(run));
    finishInFlight(number, sync, job->status);
  }
  writing_ = false;
  kick();
}

Status Index::commitNow() {
  KJ_REQUIRE(inFlight_.entries.empty());
  uint64_t number = takePending();
  WriteJob job(kj::atomicAddRef(*database_), encode(inFlight_.entries), true);
  job.run();
  finishInFlight(number, true, job.status);
  return health_;
}

Task<Result<std::string>> Index::verify(std::string from) {
  if (!health_.ok()) {
    co_return health_.error();
  }
  verifying_++;
  KJ_DEFER(verifying_--);
  auto job = kj::atomicRefcounted<VerifyJob>(kj::atomicAddRef(*database_), kj::mv(from));
  kj::Function<void()> run = [job = kj::atomicAddRef(*job)]() mutable { job->run(); };
  co_await workers_.run(kj::mv(run));
  if (!job->status.ok()) {
    fail(job->status);
    co_return health_.error();
  }
  co_return std::string(job->next);
}

// Marks below the last synced one prove nothing any more once a synced batch says where they begin.
void Index::pruneMarks() {
  if (nextBatch_ - oldestMark_ < MARKS_MAX || lastSynced_ <= oldestMark_) {
    return;
  }
  for (; oldestMark_ < lastSynced_; oldestMark_++) {
    pending_.entries[batchKey(oldestMark_)] = std::nullopt;
  }
  pending_.entries[metaKey("base")] = encodeIndexNumber(oldestMark_);
}

void Index::fail(const leveldb::Status& status) {
  if (!health_.ok()) {
    return;
  }
  health_ = Error{EIO, disk_.hostPath("index") + ": " + status.ToString()};
  if (!status.IsIOError()) {
    markDamaged(disk_);
  }
  for (Batch* batch : {&pending_, &inFlight_}) {
    for (auto& waiter : batch->waiters) {
      waiter->fulfill(Status(health_));
    }
    batch->waiters.clear();
  }
  for (auto& waiter : wantRoom_) {
    waiter->fulfill();
  }
  wantRoom_.clear();
  if (failed_) {
    failed_(health_.error());
  }
}

void Index::markDamaged(Disk& disk) {
  auto file = disk.open(DAMAGED_FILE, Disk::Mode::CREATE);
  Status status = file.ok() ? file.value()->syncNow() : Status(file.error());
  if (status.ok()) {
    status = disk.syncDirectoryNow(".");
  }
  if (!status.ok()) {
    spdlog::error("can't note that the index is damaged, so the next start may trust it: {}", status.error().why);
  }
}

bool Index::isMarkedDamaged(Disk& disk) {
  return disk.exists(DAMAGED_FILE);
}

void Index::release() {
  KJ_REQUIRE(idle());
  if (health_.ok()) {
    health_ = Error{EIO, disk_.hostPath("index") + ": closed"};
  }
  database_ = nullptr;
}

Status Index::clearDamaged() {
  if (!disk_.exists(DAMAGED_FILE)) {
    return {};
  }
  auto removed = disk_.remove(DAMAGED_FILE);
  return removed.ok() ? disk_.syncDirectoryNow(".") : removed;
}

void Index::taskFailed(kj::Exception&& exception) {
  // The only way here is a worker that went away.
  fail(leveldb::Status::IOError(exception.getDescription().cStr()));
}

}  // namespace cairn
