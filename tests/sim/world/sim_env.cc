#include "tests/sim/world/sim_env.h"

#include <cerrno>
#include <memory>

namespace cairn {

namespace {

using leveldb::Slice;

leveldb::Status toLevel(const Error& error) {
  return error.code == ENOENT ? leveldb::Status::NotFound(error.why) : leveldb::Status::IOError(error.why);
}
leveldb::Status toLevel(const Status& status) {
  return status.ok() ? leveldb::Status::OK() : toLevel(status.error());
}

// An open file, whatever LevelDB wants to do with it.
class OpenFile {
 public:
  OpenFile(SimVolume& volume, SimVolume::Life life, SimVolume::NodeId node)
      : volume_(volume), life_(life), node_(node) {}
  ~OpenFile() noexcept(false) { volume_.closeFile(life_, node_); }

  leveldb::Status read(uint64_t offset, size_t n, Slice* result, char* scratch) const {
    auto out = kj::arrayPtr(reinterpret_cast<kj::byte*>(scratch), n);
    auto got = volume_.read(life_, node_, offset, out, false);
    *result = Slice(scratch, got.ok() ? got.value() : 0);
    return got.ok() ? leveldb::Status::OK() : toLevel(got.error());
  }
  leveldb::Status write(uint64_t offset, const Slice& data) {
    auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(data.data()), data.size());
    return toLevel(volume_.write(life_, node_, offset, bytes));
  }
  leveldb::Status sync() {
    auto begun = volume_.beginSync(life_, node_);
    return begun.ok() ? toLevel(volume_.endSync(life_, begun.value())) : toLevel(begun.error());
  }

 private:
  SimVolume& volume_;
  SimVolume::Life life_;
  SimVolume::NodeId node_;
};

class Sequential final : public leveldb::SequentialFile {
 public:
  explicit Sequential(std::unique_ptr<OpenFile> file) : file_(std::move(file)) {}
  leveldb::Status Read(size_t n, Slice* result, char* scratch) override {
    auto status = file_->read(at_, n, result, scratch);
    at_ += result->size();
    return status;
  }
  leveldb::Status Skip(uint64_t n) override {
    at_ += n;
    return leveldb::Status::OK();
  }

 private:
  std::unique_ptr<OpenFile> file_;
  uint64_t at_ = 0;
};

class RandomAccess final : public leveldb::RandomAccessFile {
 public:
  explicit RandomAccess(std::unique_ptr<OpenFile> file) : file_(std::move(file)) {}
  leveldb::Status Read(uint64_t offset, size_t n, Slice* result, char* scratch) const override {
    return file_->read(offset, n, result, scratch);
  }

 private:
  std::unique_ptr<OpenFile> file_;
};

// Buffers as LevelDB's own POSIX file does: what was appended but not flushed dies with the process.
class Writable final : public leveldb::WritableFile {
 public:
  Writable(std::unique_ptr<OpenFile> file, uint64_t end) : file_(std::move(file)), end_(end) {}
  ~Writable() override { (void)Close(); }  // nobody left to tell

  leveldb::Status Append(const Slice& data) override {
    buffer_.append(data.data(), data.size());
    return buffer_.size() < BUFFER_BYTES ? leveldb::Status::OK() : Flush();
  }
  leveldb::Status Flush() override {
    if (buffer_.empty()) {
      return leveldb::Status::OK();
    }
    auto status = file_->write(end_, buffer_);
    end_ += buffer_.size();
    buffer_.clear();
    return status;
  }
  leveldb::Status Sync() override {
    auto status = Flush();
    return status.ok() ? file_->sync() : status;
  }
  leveldb::Status Close() override { return Flush(); }

 private:
  static constexpr size_t BUFFER_BYTES = 65536;

  std::unique_ptr<OpenFile> file_;
  uint64_t end_;
  std::string buffer_;
};

struct Lock final : leveldb::FileLock {
  Lock(SimVolume& volume, SimVolume::Life life, std::string path) : volume(volume), life(life), path(std::move(path)) {}
  SimVolume& volume;
  SimVolume::Life life;
  std::string path;
};

}  // namespace

// A volume's life is remembered from the first use, so that this Env dies with its process.
SimEnv::Place SimEnv::locate(const std::string& hostPath) {
  SimVolume* volume = finder_(hostPath);
  KJ_REQUIRE(volume != nullptr, "no simulated volume holds this path", hostPath);
  std::string root = volume->hostPath("");
  std::lock_guard<std::mutex> guard(mutex_);
  auto life = lives_.try_emplace(volume, volume->life()).first->second;
  return Place{volume, life, hostPath.size() > root.size() ? hostPath.substr(root.size() + 1) : ""};
}

leveldb::Status SimEnv::NewSequentialFile(const std::string& name, leveldb::SequentialFile** result) {
  *result = nullptr;
  auto place = locate(name);
  auto node = place.volume->openFile(place.life, place.path, Disk::Mode::READ);
  if (!node.ok()) {
    return toLevel(node.error());
  }
  *result = new Sequential(std::make_unique<OpenFile>(*place.volume, place.life, node.value()));
  return leveldb::Status::OK();
}

leveldb::Status SimEnv::NewRandomAccessFile(const std::string& name, leveldb::RandomAccessFile** result) {
  *result = nullptr;
  auto place = locate(name);
  auto node = place.volume->openFile(place.life, place.path, Disk::Mode::READ);
  if (!node.ok()) {
    return toLevel(node.error());
  }
  *result = new RandomAccess(std::make_unique<OpenFile>(*place.volume, place.life, node.value()));
  return leveldb::Status::OK();
}

leveldb::Status SimEnv::openWritable(const std::string& name, bool empty, leveldb::WritableFile** result) {
  *result = nullptr;
  auto place = locate(name);
  auto node = place.volume->openFile(place.life, place.path, Disk::Mode::CREATE);
  if (!node.ok()) {
    return toLevel(node.error());
  }
  auto file = std::make_unique<OpenFile>(*place.volume, place.life, node.value());
  uint64_t end = 0;
  if (empty) {
    auto emptied = place.volume->truncate(place.life, node.value(), 0);
    if (!emptied.ok()) {
      return toLevel(emptied);
    }
  } else {
    auto info = place.volume->info(place.life, node.value());
    if (!info.ok()) {
      return toLevel(info.error());
    }
    end = info.value().sizeBytes;
  }
  *result = new Writable(std::move(file), end);
  return leveldb::Status::OK();
}

leveldb::Status SimEnv::NewWritableFile(const std::string& name, leveldb::WritableFile** result) {
  return openWritable(name, true, result);
}

leveldb::Status SimEnv::NewAppendableFile(const std::string& name, leveldb::WritableFile** result) {
  return openWritable(name, false, result);
}

bool SimEnv::FileExists(const std::string& name) {
  auto place = locate(name);
  return place.volume->exists(place.life, place.path);
}

leveldb::Status SimEnv::GetChildren(const std::string& directory, std::vector<std::string>* result) {
  auto place = locate(directory);
  auto names = place.volume->list(place.life, place.path);
  if (!names.ok()) {
    result->clear();
    return toLevel(names.error());
  }
  *result = std::move(names.value());
  return leveldb::Status::OK();
}

leveldb::Status SimEnv::RemoveFile(const std::string& name) {
  auto place = locate(name);
  return toLevel(place.volume->remove(place.life, place.path, false));
}

leveldb::Status SimEnv::CreateDir(const std::string& name) {
  auto place = locate(name);
  bool there = place.volume->exists(place.life, place.path);
  auto made = there ? Status(Error{EEXIST, name + ": exists"}) : place.volume->makeDirectory(place.life, place.path);
  place.volume->journal(place.life, place.path);
  return toLevel(made);
}

leveldb::Status SimEnv::RemoveDir(const std::string& name) {
  auto place = locate(name);
  return toLevel(place.volume->remove(place.life, place.path, true));
}

leveldb::Status SimEnv::GetFileSize(const std::string& name, uint64_t* size) {
  *size = 0;
  auto place = locate(name);
  auto node = place.volume->openFile(place.life, place.path, Disk::Mode::READ);
  if (!node.ok()) {
    return toLevel(node.error());
  }
  OpenFile file(*place.volume, place.life, node.value());
  auto info = place.volume->info(place.life, node.value());
  if (!info.ok()) {
    return toLevel(info.error());
  }
  *size = info.value().sizeBytes;
  return leveldb::Status::OK();
}

leveldb::Status SimEnv::RenameFile(const std::string& from, const std::string& to) {
  auto source = locate(from);
  auto target = locate(to);
  KJ_REQUIRE(source.volume == target.volume, "a rename across volumes", from, to);
  return toLevel(source.volume->rename(source.life, source.path, target.path));
}

leveldb::Status SimEnv::LockFile(const std::string& name, leveldb::FileLock** lock) {
  *lock = nullptr;
  auto place = locate(name);
  auto made = place.volume->openFile(place.life, place.path, Disk::Mode::CREATE);
  if (!made.ok()) {
    return toLevel(made.error());
  }
  place.volume->closeFile(place.life, made.value());
  auto locked = place.volume->lock(place.life, place.path);
  if (!locked.ok()) {
    return toLevel(locked);
  }
  *lock = new Lock(*place.volume, place.life, place.path);
  return leveldb::Status::OK();
}

leveldb::Status SimEnv::UnlockFile(leveldb::FileLock* lock) {
  std::unique_ptr<Lock> held(static_cast<Lock*>(lock));
  held->volume.unlock(held->life, held->path);
  return leveldb::Status::OK();
}

void SimEnv::Schedule(void (*function)(void* argument), void* argument) {
  background_.schedule(function, argument);
}

void SimEnv::StartThread(void (*function)(void* argument), void* argument) {
  background_.schedule(function, argument);
}

leveldb::Status SimEnv::GetTestDirectory(std::string*) {
  return leveldb::Status::NotSupported("a simulated Env has no test directory");
}

// LevelDB does without its own log of events.
leveldb::Status SimEnv::NewLogger(const std::string&, leveldb::Logger** result) {
  *result = nullptr;
  return leveldb::Status::NotSupported("a simulated Env keeps no event log");
}

// Called by a writer that wants the compaction to catch up.
void SimEnv::SleepForMicroseconds(int) {
  background_.settle();
}

}  // namespace cairn
