// Index: the volume's LevelDB, written in groups. Everything put in one turn of the loop, and while the last
// group is on its way, becomes one batch on a worker, so the loop never waits for LevelDB to write and many
// commits share one sync. Reads see what was put at once.
//
// LevelDB alone can't be believed after a power cut: it may drop a batch in the middle of its log and keep
// later ones, and a torn tail looks like rot. So each batch carries a numbered mark that names the last
// synced batch before it, and the file index.synced holds the number of the last synced one (written, not
// synced: exact after a kill, a lower bound after a power cut). An index that lacks a synced batch is thrown
// away. Batches that were never synced may be missing one by one: the store keeps no rule across batches.
//
// index.synced also says whether the last user stopped in good order: then nothing at all may be missing.
// index.damaged asks the next open to make the index again.
#pragma once
#include <kj/async.h>
#include <leveldb/db.h>

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/disk.h"
#include "common/result.h"
#include "common/task.h"
#include "common/workers.h"

namespace cairn {

// LevelDB and what it was opened with; jobs on workers share it.
class Database;

class Index final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr size_t WRITE_BUFFER_BYTES = 4 << 20;
  static constexpr size_t BLOCK_CACHE_BYTES = 8 << 20;
  // What may wait for the worker before writers have to wait, and what goes into one batch.
  static constexpr size_t WAITING_BYTES_MAX = 16 << 20;
  static constexpr uint64_t MARKS_MAX = 4096;
  // What nobody waits for is written after this time, or when it is so much: a trip to a worker costs as much as
  // hundreds of entries.
  static constexpr Nanos GATHER_DELAY = 5 * MILLISECOND;
  static constexpr size_t GATHER_BYTES = 512 << 10;

  struct Opened {
    kj::Own<Index> index;
    bool unclean = false;  // the last user didn't close()
    bool fresh = false;    // empty: new, or the old one was not to be trusted. Call clearDamaged() when filled.
    std::string why;       // why the old one was not
  };
  static Result<Opened> open(Disk& disk, leveldb::Env& env, Clock& clock, Workers& workers);
  // Use open().
  Index(Disk& disk, Clock& clock, Workers& workers, kj::Own<Database> database, kj::Own<File> synced,
        uint64_t firstBatch);
  ~Index() noexcept(false);

  Result<std::optional<std::string>> get(const std::string& key);
  // Calls `each` for the keys in [from, to), in order, until it returns false.
  Status scan(const std::string& from, const std::string& to,
              const std::function<bool(std::string_view key, std::string_view value)>& each);

  void put(std::string key, std::string value);
  void erase(std::string key);
  // Resolves when everything put before the call is durable.
  kj::Promise<Status> commit();
  // The number of the batch that what is put now goes into, and of the last one that is durable: so are all
  // before it.
  uint64_t pendingBatch() const { return nextBatch_; }
  uint64_t lastSynced() const { return lastSynced_; }
  // The same at once, waiting inline. For start-up. REQUIRES: nothing is on its way.
  Status commitNow();
  // Resolves when there is room for more puts.
  bool hasRoom() const { return waitingBytes() < WAITING_BYTES_MAX; }
  kj::Promise<void> room();

  // Reads about VERIFY_BYTES from key `from` on, checking every checksum on the way. The key to go on with; empty: that
  // was all.
  static constexpr size_t VERIFY_BYTES = 4 << 20;
  Task<Result<std::string>> verify(std::string from);

  // Commits and notes a clean stop.
  Task<Status> close();
  // An error of LevelDB is final. `damaged`: what was read is wrong, so the next open makes it again.
  const Status& health() const { return health_; }
  void onFailure(std::function<void(const Error&)> callback) { failed_ = std::move(callback); }
  static void markDamaged(Disk& disk);
  static bool isMarkedDamaged(Disk& disk);
  // Nothing is on its way to the database.
  bool idle() const { return !writing_ && verifying_ == 0; }
  // Closes the database for good; every call gets an error from now on.
  void release();
  // After a rebuild is durable: the next open may trust the index again.
  Status clearDamaged();

  uint64_t syncs() const { return syncs_; }

 private:
  using Entries = std::map<std::string, std::optional<std::string>>;
  struct Batch {
    Entries entries;
    size_t bytes = 0;
    std::vector<kj::Own<kj::PromiseFulfiller<Status>>> waiters;  // any: the batch is synced
  };

  size_t waitingBytes() const { return pending_.bytes + inFlight_.bytes; }
  void change(std::string key, std::optional<std::string> value);
  void kick();
  void write();
  bool isUrgent() const { return !pending_.waiters.empty() || pending_.bytes >= GATHER_BYTES; }
  Task<void> writeAll();
  uint64_t takePending();
  void finishInFlight(uint64_t number, bool synced, const leveldb::Status& status);
  void pruneMarks();
  void noteSynced(uint64_t number, bool closed);
  void fail(const leveldb::Status& status);
  const std::optional<std::string>* overlaid(const std::string& key) const;
  void taskFailed(kj::Exception&& exception) override;

  Disk& disk_;
  Clock& clock_;
  Workers& workers_;
  kj::Own<Database> database_;
  kj::Own<File> synced_;
  Batch pending_;
  Batch inFlight_;
  bool writing_ = false;
  unsigned verifying_ = 0;  // jobs that read it
  bool gathering_ = false;
  uint64_t nextBatch_;
  uint64_t lastSynced_ = 0;
  uint64_t oldestMark_;
  uint64_t syncs_ = 0;
  Status health_;
  std::function<void(const Error&)> failed_;
  std::deque<kj::Own<kj::PromiseFulfiller<void>>> wantRoom_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
