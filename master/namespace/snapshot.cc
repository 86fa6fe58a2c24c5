#include "master/namespace/snapshot.h"

#include <kj/debug.h>
#include <kj/refcount.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "common/checksum.h"

namespace cairn {

namespace {

constexpr uint64_t MAGIC = 0x50414e534e524943;  // "CIRNSNAP"
constexpr uint32_t VERSION = 1;
constexpr size_t CHUNK_BYTES = 1 << 20;
constexpr uint32_t CHUNK_BYTES_MAX = 64 << 20;
constexpr size_t CHUNKS_PER_SYNC = 8;
constexpr size_t INDEX_DIGITS = 16;
constexpr char SUFFIX[] = ".snapshot";
constexpr char UNFINISHED[] = ".new";

struct FileHeader {
  uint64_t magic = MAGIC;
  uint32_t version = VERSION;
  uint32_t headBytes = 0;
  uint64_t sum = 0;  // of the fields above and the head
};
// A chunk without records is the end; its sum is that of all chunks' sums.
struct ChunkHeader {
  uint32_t bytes = 0;
  uint32_t records = 0;
  uint64_t sum = 0;
};

using Records = std::vector<std::pair<std::string, std::string>>;

std::string pathOf(LogIndex index) {
  char text[INDEX_DIGITS + 1];
  snprintf(text, sizeof(text), "%016lx", raw(index));
  return std::string(SNAPSHOT_DIRECTORY) + "/" + text + SUFFIX;
}

kj::ArrayPtr<const kj::byte> bytesOf(std::string_view text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

template <typename T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

uint64_t sumOf(const FileHeader& header, std::string_view head) {
  auto fields = kj::arrayPtr(reinterpret_cast<const kj::byte*>(&header), offsetof(FileHeader, sum));
  return hash64(bytesOf(head), hash64(fields));
}

std::string startOf(const Head& head) {
  std::string encoded = encode(head);
  FileHeader header;
  header.headBytes = static_cast<uint32_t>(encoded.size());
  header.sum = sumOf(header, encoded);
  std::string out;
  append(out, header);
  return out + encoded;
}

// What a worker does to the file, step by step. The task may be dropped while a step runs, so a step owns all it uses.
class Writer : public kj::AtomicRefcounted {
 public:
  Writer(kj::Own<File> file, kj::Own<Store::Image> image) : file_(kj::mv(file)), image_(kj::mv(image)) {}

  bool finished() const { return finished_; }
  const Status& status() const { return status_; }

  void step() {
    if (offset_ == 0) {
      put(startOf(image_->head()));
    }
    Records records;
    bool more = image_->read(records, CHUNK_BYTES);
    if (!records.empty()) {
      put(chunkOf(records));
    }
    if (!more) {
      ChunkHeader end;
      end.sum = sums_;
      std::string out;
      append(out, end);
      put(out);
    }
    if ((!more || ++chunks_ % CHUNKS_PER_SYNC == 0) && status_.ok()) {
      status_ = file_->syncNow();
    }
    finished_ = !more || !status_.ok();
  }

 private:
  std::string chunkOf(const Records& records) {
    std::string body;
    for (const auto& [key, value] : records) {
      append(body, static_cast<uint32_t>(key.size()));
      append(body, static_cast<uint32_t>(value.size()));
      body += key;
      body += value;
    }
    ChunkHeader header;
    header.bytes = static_cast<uint32_t>(body.size());
    header.records = static_cast<uint32_t>(records.size());
    header.sum = hash64(body, header.records);
    sums_ = hash64(kj::arrayPtr(reinterpret_cast<const kj::byte*>(&header.sum), sizeof(header.sum)), sums_);
    std::string out;
    append(out, header);
    return out + body;
  }

  void put(const std::string& bytes) {
    if (status_.ok()) {
      status_ = file_->write(offset_, bytesOf(bytes));
      offset_ += bytes.size();
    }
  }

  kj::Own<File> file_;
  kj::Own<Store::Image> image_;
  uint64_t offset_ = 0;
  uint64_t sums_ = 0;
  size_t chunks_ = 0;
  bool finished_ = false;
  Status status_;
};

// Reads a snapshot file from start to end.
class Loader {
 public:
  Loader(File& file, std::string path) : file_(file), path_(kj::mv(path)) {}

  Result<Head> readHead() {
    FileHeader header;
    auto got = take(&header, sizeof(header));
    if (!got.ok()) {
      return got.error();
    }
    if (header.magic != MAGIC || header.headBytes > CHUNK_BYTES) {
      return damaged();
    }
    if (header.version > VERSION) {
      return Error{EPROTO, path_ + ": written by a newer version of this program"};
    }
    std::string encoded(header.headBytes, '\0');
    got = take(encoded.data(), encoded.size());
    if (!got.ok()) {
      return got.error();
    }
    if (header.sum != sumOf(header, encoded)) {
      return damaged();
    }
    Head head;
    decode(encoded, head);
    return head;
  }

  // False at the end.
  Result<bool> readChunk(Records& records) {
    ChunkHeader header;
    auto got = take(&header, sizeof(header));
    if (!got.ok()) {
      return got.error();
    }
    if (header.records == 0) {
      return header.bytes == 0 && header.sum == sums_ ? Result<bool>(false) : Result<bool>(damaged());
    }
    if (header.bytes > CHUNK_BYTES_MAX) {
      return damaged();
    }
    std::string body(header.bytes, '\0');
    got = take(body.data(), body.size());
    if (!got.ok()) {
      return got.error();
    }
    sums_ = hash64(kj::arrayPtr(reinterpret_cast<const kj::byte*>(&header.sum), sizeof(header.sum)), sums_);
    bool whole = header.sum == hash64(body, header.records) && parse(body, header.records, records);
    return whole ? Result<bool>(true) : Result<bool>(damaged());
  }

 private:
  Error damaged() const { return Error{EIO, path_ + ": offset " + std::to_string(offset_) + ": damaged"}; }

  Status take(void* out, size_t size) {
    auto got = file_.readNow(offset_, kj::arrayPtr(static_cast<kj::byte*>(out), size));
    if (!got.ok()) {
      return got.error();
    }
    if (got.value() != size) {
      return damaged();
    }
    offset_ += size;
    return {};
  }

  static bool parse(std::string_view body, uint32_t count, Records& records) {
    while (count-- > 0) {
      uint32_t sizes[2];
      if (body.size() < sizeof(sizes)) {
        return false;
      }
      memcpy(sizes, body.data(), sizeof(sizes));
      body.remove_prefix(sizeof(sizes));
      if (body.size() < uint64_t{sizes[0]} + sizes[1]) {
        return false;
      }
      records.emplace_back(body.substr(0, sizes[0]), body.substr(sizes[0], sizes[1]));
      body.remove_prefix(uint64_t{sizes[0]} + sizes[1]);
    }
    return body.empty();
  }

  File& file_;
  std::string path_;
  uint64_t offset_ = 0;
  uint64_t sums_ = 0;
};

}  // namespace

Result<std::vector<LogIndex>> findSnapshots(Disk& disk) {
  auto made = disk.makeDirectory(SNAPSHOT_DIRECTORY);
  if (!made.ok()) {
    return made.error();
  }
  auto names = disk.list(SNAPSHOT_DIRECTORY);
  if (!names.ok()) {
    return names.error();
  }
  std::vector<LogIndex> found;
  for (const auto& name : names.value()) {
    if (name.ends_with(UNFINISHED)) {
      auto removed = disk.remove(std::string(SNAPSHOT_DIRECTORY) + "/" + name);
      if (!removed.ok()) {
        return removed.error();
      }
    } else if (name.size() == INDEX_DIGITS + sizeof(SUFFIX) - 1 && name.ends_with(SUFFIX)) {
      found.push_back(LogIndex{strtoull(name.c_str(), nullptr, 16)});
    }
  }
  return found;
}

Task<Status> writeSnapshot(Disk& disk, Workers& workers, kj::Own<Store::Image> image) {
  std::string path = pathOf(image->head().index);
  std::string unfinished = path + UNFINISHED;
  auto opened = disk.open(unfinished, Disk::Mode::CREATE);
  if (!opened.ok()) {
    co_return opened.error();
  }
  auto writer = kj::atomicRefcounted<Writer>(kj::mv(opened.value()), kj::mv(image));
  while (!writer->finished()) {
    kj::Function<void()> job = [writer = kj::atomicAddRef(*writer)]() mutable { writer->step(); };
    co_await workers.run(kj::mv(job));
  }
  Status status = writer->status();
  if (status.ok()) {
    status = disk.rename(unfinished, path);
  }
  if (!status.ok()) {
    // Best effort: a leftover goes at the next start, and the first error is the one to tell.
    (void)disk.remove(unfinished);
    co_return status;
  }
  co_return co_await disk.syncDirectory(SNAPSHOT_DIRECTORY);
}

Status loadSnapshot(Disk& disk, LogIndex index, Store& store) {
  auto opened = disk.open(pathOf(index), Disk::Mode::READ);
  if (!opened.ok()) {
    return opened.error();
  }
  Loader loader(*opened.value(), disk.hostPath(pathOf(index)));
  auto head = loader.readHead();
  if (!head.ok()) {
    return head.error();
  }
  for (;;) {
    Records records;
    auto more = loader.readChunk(records);
    if (!more.ok()) {
      return more.error();
    }
    if (!more.value()) {
      return store.finishLoad(head.value());
    }
    auto loaded = store.load(records);
    if (!loaded.ok()) {
      return loaded;
    }
  }
}

std::string snapshotPath(LogIndex index) {
  return pathOf(index);
}

std::string unfinishedSnapshotPath(LogIndex index) {
  return pathOf(index) + UNFINISHED;
}

Task<Status> keepSnapshot(Disk& disk, File& file, LogIndex index) {
  auto synced = co_await file.sync();
  if (synced.ok()) {
    synced = disk.rename(unfinishedSnapshotPath(index), pathOf(index));
  }
  if (!synced.ok()) {
    co_return synced;
  }
  co_return co_await disk.syncDirectory(SNAPSHOT_DIRECTORY);
}

Status removeSnapshot(Disk& disk, LogIndex index) {
  return disk.remove(pathOf(index));
}

}  // namespace cairn
