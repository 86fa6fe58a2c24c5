#include "common/system/overlay_env.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>

namespace cairn {

namespace {

using leveldb::Slice;
using leveldb::Status;

// A file in memory. LevelDB reads from one thread what another has written before.
struct MemoryFile {
  std::mutex mutex;
  std::string bytes;
};
using Shared = std::shared_ptr<MemoryFile>;

class MemoryWriter final : public leveldb::WritableFile {
 public:
  explicit MemoryWriter(Shared file) : file_(std::move(file)) {}
  Status Append(const Slice& data) override {
    std::lock_guard lock(file_->mutex);
    file_->bytes.append(data.data(), data.size());
    return Status::OK();
  }
  Status Close() override { return Status::OK(); }
  Status Flush() override { return Status::OK(); }
  Status Sync() override { return Status::OK(); }

 private:
  Shared file_;
};

Slice copyOut(MemoryFile& file, uint64_t offset, size_t count, char* scratch) {
  std::lock_guard lock(file.mutex);
  size_t from = std::min<uint64_t>(offset, file.bytes.size());
  size_t size = std::min(count, file.bytes.size() - from);
  memcpy(scratch, file.bytes.data() + from, size);
  return Slice(scratch, size);
}

class MemorySequence final : public leveldb::SequentialFile {
 public:
  explicit MemorySequence(Shared file) : file_(std::move(file)) {}
  Status Read(size_t count, Slice* result, char* scratch) override {
    *result = copyOut(*file_, at_, count, scratch);
    at_ += result->size();
    return Status::OK();
  }
  Status Skip(uint64_t count) override {
    at_ += count;
    return Status::OK();
  }

 private:
  Shared file_;
  uint64_t at_ = 0;
};

class MemoryReader final : public leveldb::RandomAccessFile {
 public:
  explicit MemoryReader(Shared file) : file_(std::move(file)) {}
  Status Read(uint64_t offset, size_t count, Slice* result, char* scratch) const override {
    *result = copyOut(*file_, offset, count, scratch);
    return Status::OK();
  }

 private:
  Shared file_;
};

class NoLock final : public leveldb::FileLock {};

class NoLogger final : public leveldb::Logger {
 public:
  void Logv(const char*, va_list) override {}
};

class OverlayEnv final : public leveldb::EnvWrapper {
 public:
  explicit OverlayEnv(leveldb::Env& under) : EnvWrapper(&under) {}

  Status NewSequentialFile(const std::string& name, leveldb::SequentialFile** result) override {
    auto at = find(name);
    if (at.memory == nullptr) {
      return at.gone ? absent(name) : target()->NewSequentialFile(at.below, result);
    }
    *result = new MemorySequence(at.memory);
    return Status::OK();
  }
  Status NewRandomAccessFile(const std::string& name, leveldb::RandomAccessFile** result) override {
    auto at = find(name);
    if (at.memory == nullptr) {
      return at.gone ? absent(name) : target()->NewRandomAccessFile(at.below, result);
    }
    *result = new MemoryReader(at.memory);
    return Status::OK();
  }
  Status NewWritableFile(const std::string& name, leveldb::WritableFile** result) override {
    auto file = std::make_shared<MemoryFile>();
    put(name, {.memory = file});
    *result = new MemoryWriter(file);
    return Status::OK();
  }
  // LevelDB goes on with old logs only when it is told to, and it isn't.
  Status NewAppendableFile(const std::string& name, leveldb::WritableFile**) override {
    return Status::NotSupported(name, "files below an overlay aren't appended to");
  }
  bool FileExists(const std::string& name) override {
    auto at = find(name);
    return at.memory != nullptr || (!at.gone && target()->FileExists(at.below));
  }
  Status GetChildren(const std::string& directory, std::vector<std::string>* result) override {
    std::vector<std::string> below;
    Status listed = target()->GetChildren(directory, &below);
    std::set<std::string> names(below.begin(), below.end());
    std::string prefix = directory + "/";
    std::lock_guard lock(mutex_);
    for (auto& [path, node] : nodes_) {
      if (path.starts_with(prefix) && path.find('/', prefix.size()) == std::string::npos) {
        std::string name = path.substr(prefix.size());
        node.gone ? (void)names.erase(name) : (void)names.insert(name);
      }
    }
    result->assign(names.begin(), names.end());
    return names.empty() ? listed : Status::OK();
  }
  Status RemoveFile(const std::string& name) override {
    put(name, {.gone = true});
    return Status::OK();
  }
  Status CreateDir(const std::string&) override { return Status::OK(); }
  Status RemoveDir(const std::string&) override { return Status::OK(); }
  Status GetFileSize(const std::string& name, uint64_t* size) override {
    auto at = find(name);
    if (at.memory == nullptr) {
      return at.gone ? absent(name) : target()->GetFileSize(at.below, size);
    }
    std::lock_guard lock(at.memory->mutex);
    *size = at.memory->bytes.size();
    return Status::OK();
  }
  Status RenameFile(const std::string& from, const std::string& to) override {
    auto at = find(from);
    if (at.gone || (at.memory == nullptr && !target()->FileExists(at.below))) {
      return absent(from);
    }
    put(to, at);
    put(from, {.gone = true});
    return Status::OK();
  }
  Status LockFile(const std::string&, leveldb::FileLock** lock) override {
    *lock = new NoLock;
    return Status::OK();
  }
  Status UnlockFile(leveldb::FileLock* lock) override {
    delete lock;
    return Status::OK();
  }
  Status NewLogger(const std::string&, leveldb::Logger** result) override {
    *result = new NoLogger;
    return Status::OK();
  }

 private:
  // What stands at a path: a file in memory, one below (perhaps of another name), or none.
  struct Node {
    Shared memory = nullptr;
    std::string below = {};
    bool gone = false;
  };

  static Status absent(const std::string& name) { return Status::NotFound(name, "no such file"); }

  Node find(const std::string& name) {
    std::lock_guard lock(mutex_);
    auto found = nodes_.find(name);
    return found == nodes_.end() ? Node{.below = name} : found->second;
  }
  void put(const std::string& name, Node node) {
    std::lock_guard lock(mutex_);
    nodes_[name] = std::move(node);
  }

  std::mutex mutex_;
  std::map<std::string, Node> nodes_;
};

}  // namespace

std::unique_ptr<leveldb::Env> newOverlayEnv(leveldb::Env& under) {
  return std::make_unique<OverlayEnv>(under);
}

}  // namespace cairn
