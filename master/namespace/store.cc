#include "master/namespace/store.h"

#include <kj/debug.h>
#include <kj/refcount.h>
#include <leveldb/cache.h>
#include <leveldb/filter_policy.h>
#include <leveldb/write_batch.h>

#include <cerrno>
#include <vector>

#include "common/checksum.h"
#include "master/namespace/keys.h"

namespace cairn {

namespace {

constexpr size_t WRITE_BUFFER_BYTES = 16 << 20;
constexpr int BLOOM_BITS_PER_KEY = 10;
// What an unwritten record costs in memory beside its bytes.
constexpr size_t UNWRITTEN_OVERHEAD_BYTES = 128;

leveldb::Slice slice(std::string_view text) {
  return {text.data(), text.size()};
}
std::string_view view(leveldb::Slice text) {
  return {text.data(), text.size()};
}

kj::ArrayPtr<const kj::byte> bytesOf(std::string_view text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

leveldb::ReadOptions checkedReads() {
  leveldb::ReadOptions options;
  options.verify_checksums = true;
  return options;
}

void require(const leveldb::Status& status, const char* doing) {
  if (!status.ok()) {
    kj::throwFatalException(
        KJ_EXCEPTION(FAILED, "the state in LevelDB is damaged or can't be reached", doing, status.ToString()));
  }
}

}  // namespace

// What jobs on workers share with the store.
class StoreFiles : public kj::AtomicRefcounted {
 public:
  std::string path;
  std::unique_ptr<leveldb::Cache> cache;
  std::unique_ptr<const leveldb::FilterPolicy> filter;
  std::unique_ptr<leveldb::DB> db;  // after what it refers to

  // Being written: touched by nobody but the job, and read by the loop.
  UnwrittenMap leaving;
  // Only for jobs.
  std::vector<LogIndex> marks;  // last indexes, since the checkpoint

  void write(const Head& head, LogIndex before);
  void checkpoint(LogIndex upTo);
  void flush();
};

void StoreFiles::write(const Head& head, LogIndex before) {
  leveldb::WriteBatch batch;
  for (const auto& [key, unwritten] : leaving) {
    if (unwritten.present) {
      batch.Put(key, unwritten.value);
    } else {
      batch.Delete(key);
    }
  }
  batch.Put(slice(keys::HEAD), encode(head));
  if (head.index > before) {
    batch.Put(keys::mark(head.index), encodeNumber(raw(before) + 1));
    marks.push_back(head.index);
  }
  require(db->Write({}, &batch), "write");
  if (marks.size() >= Store::MARKS_MAX) {
    checkpoint(head.index);
  }
}

// LevelDB says only of its tables that they are synced, so the memtable is made into one; asking to compact an empty
// range does that and no more.
void StoreFiles::flush() {
  std::string past = std::string(keys::END) + "~";
  leveldb::Slice begin = slice(keys::END);
  leveldb::Slice end = past;
  db->CompactRange(&begin, &end);
}

// The checkpoint goes into a table of its own, after that of what it vouches for: should LevelDB's list of tables lose
// its end, the checkpoint is lost first, and the marks it replaced are there again.
void StoreFiles::checkpoint(LogIndex upTo) {
  flush();
  leveldb::WriteBatch batch;
  batch.Put(slice(keys::CHECKPOINT), encodeNumber(raw(upTo)));
  for (LogIndex mark : marks) {
    batch.Delete(keys::mark(mark));
  }
  require(db->Write({}, &batch), "write a checkpoint");
  flush();
  marks.clear();
}

namespace {

leveldb::Options storeOptions(leveldb::Env& env) {
  leveldb::Options options;
  options.env = &env;
  options.create_if_missing = true;
  options.paranoid_checks = true;
  options.write_buffer_size = WRITE_BUFFER_BYTES;
  return options;
}

bool getNumber(leveldb::DB& db, std::string_view key, uint64_t& out) {
  std::string value;
  auto status = db.Get(checkedReads(), slice(key), &value);
  if (status.IsNotFound()) {
    return false;
  }
  require(status, "read");
  out = decodeNumber(value);
  return true;
}

// Reads the head and follows the marks from the checkpoint to it.
Result<Head> trustedHead(StoreFiles& files) {
  std::string value;
  auto status = files.db->Get(checkedReads(), slice(keys::HEAD), &value);
  std::unique_ptr<leveldb::Iterator> marks(files.db->NewIterator(checkedReads()));
  if (status.IsNotFound()) {
    marks->SeekToFirst();
    require(marks->status(), "read");
    return marks->Valid() ? Result<Head>(Error{EIO, files.path + ": has records but no head"}) : Result<Head>(Head{});
  }
  require(status, "read the head");
  Head head;
  decode(value, head);
  uint64_t covered = 0;
  getNumber(*files.db, keys::CHECKPOINT, covered);
  for (marks->Seek(slice(keys::MARKS)); marks->Valid() && view(marks->key()).starts_with(keys::MARKS); marks->Next()) {
    LogIndex last{keys::numberAt(view(marks->key()), keys::FIRST_ID)};
    uint64_t first = decodeNumber(view(marks->value()));
    if (first != covered + 1) {
      return Error{EIO, files.path + ": the writes between entries " + std::to_string(covered) + " and " +
                            std::to_string(first) + " are gone"};
    }
    covered = raw(last);
    files.marks.push_back(last);
  }
  require(marks->status(), "read the marks");
  if (covered != raw(head.index)) {
    return Error{EIO, files.path + ": is said to hold entry " + std::to_string(raw(head.index)) +
                          ", but its writes end with " + std::to_string(covered)};
  }
  return head;
}

}  // namespace

Result<kj::Own<Store>> Store::open(leveldb::Env& env, const std::string& path, uint64_t cacheBytes) {
  auto files = kj::atomicRefcounted<StoreFiles>();
  files->path = path;
  files->cache.reset(leveldb::NewLRUCache(cacheBytes));
  files->filter.reset(leveldb::NewBloomFilterPolicy(BLOOM_BITS_PER_KEY));
  auto options = storeOptions(env);
  options.block_cache = files->cache.get();
  options.filter_policy = files->filter.get();
  leveldb::DB* db = nullptr;
  auto status = leveldb::DB::Open(options, path, &db);
  if (!status.ok()) {
    return Error{EIO, path + ": " + status.ToString()};
  }
  files->db.reset(db);
  Result<Head> head = Head{};
  KJ_IF_MAYBE (e, kj::runCatchingExceptions([&] { head = trustedHead(*files); })) {
    return Error{EIO, path + ": " + e->getDescription().cStr()};
  }
  if (!head.ok()) {
    return head.error();
  }
  auto store = kj::heap<Store>(kj::mv(files));
  store->written_ = head.value();
  store->digest_ = store->written_.digest;
  return kj::mv(store);
}

Status Store::remove(leveldb::Env& env, const std::string& path) {
  auto status = leveldb::DestroyDB(path, storeOptions(env));
  return status.ok() ? Status() : Status(Error{EIO, path + ": can't be removed: " + status.ToString()});
}

Store::Store(kj::Own<StoreFiles> files) : files_(kj::mv(files)) {}
Store::~Store() noexcept(false) = default;

bool Store::get(std::string_view key, std::string& value) const {
  for (const UnwrittenMap* map : {&fresh_, &static_cast<const UnwrittenMap&>(files_->leaving)}) {
    auto found = map->find(key);
    if (found != map->end()) {
      value = found->second.value;
      return found->second.present;
    }
  }
  auto status = files_->db->Get(checkedReads(), slice(key), &value);
  if (status.IsNotFound()) {
    return false;
  }
  check(status, "read");
  return true;
}

void Store::check(const leveldb::Status& status, const char* doing) const {
  if (!status.ok()) {
    damaged_(files_->path + ": " + status.ToString());
  }
  require(status, doing);
}

bool Store::has(std::string_view key) const {
  std::string value;
  return get(key, value);
}

void Store::mix(uint64_t word) {
  digest_ = hash64(kj::arrayPtr(reinterpret_cast<const kj::byte*>(&word), sizeof(word)), digest_);
}

void Store::put(std::string key, std::string value) {
  digest_ = hash64(bytesOf(value), hash64(bytesOf(key), digest_));
  auto [place, added] = fresh_.try_emplace(kj::mv(key));
  if (added) {
    freshBytes_ += place->first.size() + UNWRITTEN_OVERHEAD_BYTES;
  }
  freshBytes_ += value.size();
  freshBytes_ -= place->second.value.size();
  place->second = {kj::mv(value), true};
}

void Store::erase(std::string key) {
  digest_ = hash64(bytesOf(key), ~digest_);
  auto [place, added] = fresh_.try_emplace(kj::mv(key));
  if (added) {
    freshBytes_ += place->first.size() + UNWRITTEN_OVERHEAD_BYTES;
  }
  freshBytes_ -= place->second.value.size();
  place->second = {};
}

kj::Function<void()> Store::beginWrite(const Head& head) {
  KJ_REQUIRE(!writing_, "one write of the state at a time");
  writing_ = true;
  files_->leaving.swap(fresh_);
  freshBytes_ = 0;
  leavingHead_ = head;
  return [files = kj::atomicAddRef(*files_), head, before = written_.index]() mutable { files->write(head, before); };
}

void Store::endWrite() {
  KJ_REQUIRE(writing_, "no write of the state is under way");
  writing_ = false;
  files_->leaving.clear();
  written_ = leavingHead_;
}

Status Store::load(const std::vector<std::pair<std::string, std::string>>& records) {
  leveldb::WriteBatch batch;
  for (const auto& [key, value] : records) {
    batch.Put(key, value);
  }
  auto status = files_->db->Write({}, &batch);
  return status.ok() ? Status() : Status(Error{EIO, files_->path + ": " + status.ToString()});
}

// Without a head, so that a store whose loading was cut off is known by "records but no head"; then the tables are
// made and synced, for there are no marks.
Status Store::finishLoad(const Head& head) {
  KJ_IF_MAYBE (e, kj::runCatchingExceptions([&] {
                 files_->checkpoint(head.index);
                 leveldb::WriteBatch batch;
                 batch.Put(slice(keys::HEAD), encode(head));
                 leveldb::WriteOptions synced;
                 synced.sync = true;
                 require(files_->db->Write(synced, &batch), "write the head");
               })) {
    return Error{EIO, files_->path + ": " + e->getDescription().cStr()};
  }
  written_ = head;
  digest_ = head.digest;
  return {};
}

// ---- cursor ----

Store::Cursor Store::scan(std::string_view prefix) const {
  return Cursor(*this, std::string(prefix));
}

Store::Cursor::Cursor(const Store& store, std::string prefix)
    : store_(store), prefix_(kj::mv(prefix)), files_(store.files_->db->NewIterator(checkedReads())) {
  seek(prefix_);
}

void Store::Cursor::seek(std::string_view key) {
  fresh_ = store_.fresh_.lower_bound(key);
  leaving_ = store_.files_->leaving.lower_bound(key);
  files_->Seek(slice(key));
  settle();
}

std::string_view Store::Cursor::key() const {
  switch (source_) {
    case Source::FRESH:
      return fresh_->first;
    case Source::LEAVING:
      return leaving_->first;
    case Source::FILES:
      return view(files_->key());
    case Source::NONE:
      break;
  }
  KJ_FAIL_REQUIRE("a cursor past its end has no key");
}

std::string_view Store::Cursor::value() const {
  switch (source_) {
    case Source::FRESH:
      return fresh_->second.value;
    case Source::LEAVING:
      return leaving_->second.value;
    case Source::FILES:
      return view(files_->value());
    case Source::NONE:
      break;
  }
  KJ_FAIL_REQUIRE("a cursor past its end has no value");
}

void Store::Cursor::next() {
  std::string passed(key());
  skip(passed);
  settle();
}

// Moves every source that stands on `key` past it.
void Store::Cursor::skip(std::string_view key) {
  if (fresh_ != store_.fresh_.end() && fresh_->first == key) {
    ++fresh_;
  }
  if (leaving_ != store_.files_->leaving.end() && leaving_->first == key) {
    ++leaving_;
  }
  if (files_->Valid() && view(files_->key()) == key) {
    files_->Next();
  }
}

// Finds the source with the smallest key, the newest of equals, passing over what is erased.
void Store::Cursor::settle() {
  const auto& leaving = store_.files_->leaving;
  for (;;) {
    source_ = Source::NONE;
    std::string_view least;
    auto consider = [&](Source source, std::string_view key) {
      if (key.starts_with(prefix_) && (source_ == Source::NONE || key < least)) {
        source_ = source;
        least = key;
      }
    };
    if (fresh_ != store_.fresh_.end()) {
      consider(Source::FRESH, fresh_->first);
    }
    if (leaving_ != leaving.end()) {
      consider(Source::LEAVING, leaving_->first);
    }
    if (files_->Valid()) {
      consider(Source::FILES, view(files_->key()));
    } else {
      store_.check(files_->status(), "scan");
    }
    bool erased = (source_ == Source::FRESH && !fresh_->second.present) ||
                  (source_ == Source::LEAVING && !leaving_->second.present);
    if (!erased) {
      return;
    }
    std::string passed(least);
    skip(passed);
  }
}

// ---- image ----

namespace {

class StoreImage final : public Store::Image {
 public:
  StoreImage(kj::Own<StoreFiles> files, const Head& head)
      : files_(kj::mv(files)), head_(head), snapshot_(files_->db->GetSnapshot()) {}
  ~StoreImage() noexcept(false) {
    records_.reset();
    files_->db->ReleaseSnapshot(snapshot_);
  }
  KJ_DISALLOW_COPY(StoreImage);

  const Head& head() const override { return head_; }

  bool read(std::vector<std::pair<std::string, std::string>>& records, size_t bytesMax) override {
    if (records_ == nullptr) {
      auto options = checkedReads();
      options.snapshot = snapshot_;
      options.fill_cache = false;
      records_.reset(files_->db->NewIterator(options));
      records_->SeekToFirst();
    }
    size_t bytes = 0;
    for (; records_->Valid() && bytes < bytesMax; records_->Next()) {
      auto key = view(records_->key());
      if (!keys::isLocal(key)) {
        records.emplace_back(key, view(records_->value()));
        bytes += key.size() + records_->value().size();
      }
    }
    require(records_->status(), "read for a snapshot");
    return records_->Valid();
  }

 private:
  kj::Own<StoreFiles> files_;
  Head head_;
  const leveldb::Snapshot* snapshot_;
  std::unique_ptr<leveldb::Iterator> records_;
};

}  // namespace

kj::Own<Store::Image> Store::image() {
  KJ_REQUIRE(!writing_, "an image can't be taken while the state is written");
  return kj::heap<StoreImage>(kj::atomicAddRef(*files_), written_);
}

}  // namespace cairn
