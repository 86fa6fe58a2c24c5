// Opening the index: is it whole, torn only where nothing was promised, or to be thrown away?
#include <leveldb/write_batch.h>

#include <cerrno>

#include "chunkserver/store/codec.h"
#include "chunkserver/store/database.h"
#include "chunkserver/store/index.h"
#include "chunkserver/store/record.h"
#include "common/checksum.h"
#include "common/log.h"

namespace cairn {

namespace {

const char* const INDEX_DIRECTORY = "index";
const char* const ASIDE_DIRECTORY = "quarantine/index-damaged";
const char* const SYNCED_FILE = "index.synced";
const char* const DAMAGED_FILE = "index.damaged";
constexpr size_t SYNCED_FILE_BYTES = 24;

struct SyncedNote {
  uint64_t number = 0;  // of the last batch known to be synced; 0: the file doesn't say
  bool closed = false;
};

SyncedNote readSynced(File& file) {
  kj::byte bytes[SYNCED_FILE_BYTES] = {};
  auto got = file.readNow(0, kj::arrayPtr(bytes, sizeof(bytes)));
  if (!got.ok() || got.value() != sizeof(bytes)) {
    return {};
  }
  std::string_view text = asText(kj::arrayPtr(bytes, sizeof(bytes)));
  bool whole = decodeIndexNumber(text.substr(16)).value() == hash64(asBytes(text.substr(0, 16)));
  if (!whole) {
    return {};
  }
  return {decodeIndexNumber(text.substr(0, 8)).value(), decodeIndexNumber(text.substr(8, 8)).value() != 0};
}

Status writeSynced(File& file, SyncedNote note) {
  std::string text = encodeIndexNumber(note.number) + encodeIndexNumber(note.closed ? 1 : 0);
  text += encodeIndexNumber(hash64(text));
  return file.write(0, asBytes(text));
}

struct Marks {
  uint64_t base = 0;  // 0: a new database
  std::map<uint64_t, uint64_t> previousSynced;
};

leveldb::Status readMarks(leveldb::DB& db, Marks& marks) {
  std::string text;
  auto status = db.Get(Database::reading(false), metaKey("base"), &text);
  if (status.ok()) {
    auto base = decodeIndexNumber(text);
    if (!base.ok()) {
      return leveldb::Status::Corruption(base.error().why);
    }
    marks.base = base.value();
  } else if (!status.IsNotFound()) {
    return status;
  }
  std::unique_ptr<leveldb::Iterator> it(db.NewIterator(Database::reading(false)));
  for (it->Seek(std::string(1, static_cast<char>(KeySpace::BATCH))); it->Valid(); it->Next()) {
    FieldReader key(std::string_view(it->key().data(), it->key().size()));
    if (key.get<uint8_t>() != static_cast<uint8_t>(KeySpace::BATCH)) {
      break;
    }
    auto previous = decodeIndexNumber({it->value().data(), it->value().size()});
    if (!previous.ok()) {
      return leveldb::Status::Corruption(previous.error().why);
    }
    marks.previousSynced[key.getSorted<uint64_t>()] = previous.value();
  }
  return it->status();
}

// Empty when every synced batch is there; else what is missing.
std::string missingBatch(const Marks& marks, uint64_t lastSynced) {
  auto present = [&marks](uint64_t number) { return number < marks.base || marks.previousSynced.count(number) > 0; };
  if (marks.base == 0) {
    bool empty = marks.previousSynced.empty() && lastSynced == 0;
    return empty ? "" : "its beginning is missing";
  }
  if (!present(marks.base)) {
    return "its first batch is missing";
  }
  if (!present(lastSynced)) {
    return "synced batch " + std::to_string(lastSynced) + " is missing";
  }
  for (auto& [number, previous] : marks.previousSynced) {
    if (number >= marks.base && !present(previous)) {
      return "synced batch " + std::to_string(previous) + " is missing";
    }
  }
  return "";
}

bool untrusted(const leveldb::Status& status) {
  return !status.ok() && !status.IsIOError();
}

// Erases the old marks and begins a new run. Returns the number of the batch that says so.
leveldb::Status beginRun(leveldb::DB& db, const Marks& marks, uint64_t lastSynced, uint64_t& first) {
  first = std::max(marks.base, lastSynced) + 1;
  leveldb::WriteBatch batch;
  for (auto& entry : marks.previousSynced) {
    first = std::max(first, entry.first + 1);
    std::string key(1, static_cast<char>(KeySpace::BATCH));
    FieldWriter(key).putSorted(entry.first);
    batch.Delete(key);
  }
  std::string key(1, static_cast<char>(KeySpace::BATCH));
  FieldWriter(key).putSorted(first);
  batch.Put(key, encodeIndexNumber(0));
  batch.Put(metaKey("base"), encodeIndexNumber(first));
  leveldb::WriteOptions options;
  options.sync = true;
  return db.Write(options, &batch);
}

struct Trusted {
  kj::Own<Database> database;
  Marks marks;
  std::string why;  // not empty: thrown away and empty now
};

class Opener {
 public:
  Opener(Disk& disk, leveldb::Env& env) : disk_(disk), path_(disk.hostPath(INDEX_DIRECTORY)), env_(env) {}

  // Opens what is there, or an empty index when that is not to be trusted.
  Result<Trusted> open(bool damaged, bool unclean, uint64_t lastSynced) {
    Trusted result;
    result.why = damaged ? "it was found to be damaged" : "";
    while (true) {
      result.database = kj::atomicRefcounted<Database>(env_, Index::BLOCK_CACHE_BYTES, Index::WRITE_BUFFER_BYTES);
      if (!result.why.empty()) {
        setAside(*result.database);
        damaged = true;
      }
      auto status = openTrying(*result.database, !damaged && unclean);
      result.marks = Marks();
      if (status.ok()) {
        status = readMarks(result.database->db(), result.marks);
      }
      if (status.ok() && !damaged) {
        std::string missing = missingBatch(result.marks, lastSynced);
        if (!missing.empty()) {
          status = leveldb::Status::Corruption(missing);
        }
      }
      if (status.ok()) {
        return kj::mv(result);
      }
      if (!untrusted(status) || damaged) {
        return Error{EIO, path_ + ": " + status.ToString()};
      }
      result.why = status.ToString();
      result.database->close();
    }
  }

 private:
  leveldb::Status openTrying(Database& database, bool mayBeTorn) {
    auto status = database.open(path_, true);
    if (untrusted(status) && mayBeTorn) {
      // A power cut may leave garbage at a log's end. Read past it; the marks will tell what was lost.
      spdlog::warn("{}: {}; reading past it", path_, status.ToString());
      status = database.open(path_, false);
      if (status.ok()) {
        database.close();
        status = database.open(path_, true);
      }
    }
    return status;
  }

  // The last one is kept for people to look at.
  void setAside(Database& database) {
    auto old = disk_.list(ASIDE_DIRECTORY);
    for (auto& name : old.ok() ? old.value() : std::vector<std::string>()) {
      (void)disk_.remove(std::string(ASIDE_DIRECTORY) + "/" + name);
    }
    (void)disk_.removeDirectory(ASIDE_DIRECTORY);
    auto moved = disk_.rename(INDEX_DIRECTORY, ASIDE_DIRECTORY);
    if (!moved.ok()) {
      // A directory that LevelDB doesn't know yet is none of its concern.
      (void)database.destroy(path_);
    }
    (void)disk_.makeDirectory(INDEX_DIRECTORY);
  }

  Disk& disk_;
  std::string path_;
  leveldb::Env& env_;
};

}  // namespace

Result<Index::Opened> Index::open(Disk& disk, leveldb::Env& env, Clock& clock, Workers& workers) {
  Opened opened;
  auto synced = disk.open(SYNCED_FILE, Disk::Mode::CREATE);
  if (!synced.ok()) {
    return synced.error();
  }
  SyncedNote note = readSynced(*synced.value());
  opened.unclean = !note.closed;
  // From here on LevelDB writes, so a cut may tear what it writes.
  note.closed = false;
  auto noted = writeSynced(*synced.value(), note);
  noted = noted.ok() ? synced.value()->syncNow() : noted;
  if (!noted.ok()) {
    return noted.error();
  }
  uint64_t lastSynced = note.number;
  auto made = disk.makeDirectory(INDEX_DIRECTORY);
  if (!made.ok()) {
    return made.error();
  }
  Opener opener(disk, env);
  auto trusted = opener.open(disk.exists(DAMAGED_FILE), opened.unclean, lastSynced);
  if (!trusted.ok()) {
    return trusted.error();
  }
  opened.why = trusted.value().why;
  opened.fresh = trusted.value().marks.base == 0;
  if (opened.fresh) {
    // From here on it looks like a good one, and it lacks what the caller has yet to put in.
    markDamaged(disk);
  }
  auto& database = trusted.value().database;
  uint64_t first = 0;
  auto begun = beginRun(database->db(), trusted.value().marks, lastSynced, first);
  if (!begun.ok()) {
    return Error{EIO, disk.hostPath(INDEX_DIRECTORY) + ": " + begun.ToString()};
  }
  opened.index = kj::heap<Index>(disk, clock, workers, kj::mv(database), kj::mv(synced.value()), first + 1);
  opened.index->noteSynced(first, false);
  auto status = opened.index->synced_->syncNow();
  if (status.ok()) {
    status = disk.syncDirectoryNow(".");
  }
  if (!status.ok()) {
    return status.error();
  }
  return kj::mv(opened);
}

// Written only: after a kill the page cache has it, after a power cut it is a lower bound.
void Index::noteSynced(uint64_t number, bool closed) {
  syncs_++;
  lastSynced_ = number;
  auto written = writeSynced(*synced_, SyncedNote{number, closed});
  if (!written.ok()) {
    fail(leveldb::Status::IOError(written.error().why));
  }
}

Task<Status> Index::close() {
  auto status = co_await commit();
  if (!status.ok()) {
    co_return status;
  }
  noteSynced(lastSynced_, true);
  if (health_.ok()) {
    co_return synced_->syncNow();
  }
  co_return Status(health_);
}

}  // namespace cairn
