#include "common/system/prepared_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "common/system/descriptor.h"

namespace cairn {

namespace {

using leveldb::Slice;
using leveldb::Status;

constexpr uint64_t STEP_BYTES = 256 << 10;  // of zeros at once
constexpr size_t BUFFER_BYTES = 64 << 10;   // appended, not yet handed to the system

class PreparedLog final : public leveldb::WritableFile {
 public:
  PreparedLog(std::string path, int fd) : path_(std::move(path)), fd_(fd) { buffer_.reserve(BUFFER_BYTES); }
  ~PreparedLog() override {
    if (fd_ >= 0) {
      // LevelDB destroys logs without Close() and asks for no status.
      (void)Close();
    }
  }

  Status Append(const Slice& data) override {
    buffer_.append(data.data(), data.size());
    return buffer_.size() < BUFFER_BYTES ? Status::OK() : Flush();
  }

  Status Flush() override {
    if (end_ + buffer_.size() > prepared_) {
      prepare(end_ + buffer_.size());
    }
    Status written = writeAt(end_, buffer_.data(), buffer_.size());
    if (written.ok()) {
      end_ += buffer_.size();
      buffer_.clear();
    }
    return written;
  }

  Status Sync() override {
    Status flushed = Flush();
    if (!flushed.ok()) {
      return flushed;
    }
    return fdatasync(fd_) == 0 ? Status::OK() : failure(errno);
  }

  Status Close() override {
    Status flushed = Flush();
    // Only for tidiness: zeros that stay do no harm.
    (void)!ftruncate(fd_, static_cast<off_t>(end_));
    Status closed = close(fd_) == 0 ? Status::OK() : failure(errno);
    fd_ = -1;
    return flushed.ok() ? closed : flushed;
  }

  // Without zeros (no room for them) the next syncs are slower, and that is all.
  void prepare(uint64_t atLeast) {
    const std::string zeros(BUFFER_BYTES, '\0');
    uint64_t to = (atLeast / STEP_BYTES + 1) * STEP_BYTES;
    for (uint64_t at = std::max(prepared_, end_); at < to; at += zeros.size()) {
      Status written = writeAt(at, zeros.data(), std::min<uint64_t>(zeros.size(), to - at));
      if (!written.ok()) {
        return;
      }
      prepared_ = std::min<uint64_t>(at + zeros.size(), to);
    }
  }

 private:
  Status writeAt(uint64_t offset, const char* data, size_t size) {
    int code = writeFully(fd_, offset, data, size);
    return code == 0 ? Status::OK() : failure(code);
  }
  Status failure(int code) const { return Status::IOError(path_, strerror(code)); }

  const std::string path_;
  int fd_;
  std::string buffer_;
  uint64_t end_ = 0;       // of what was handed to the system
  uint64_t prepared_ = 0;  // zeros or data up to here
};

class PreparedLogEnv final : public leveldb::EnvWrapper {
 public:
  explicit PreparedLogEnv(leveldb::Env& under) : EnvWrapper(&under) {}

  Status NewWritableFile(const std::string& name, leveldb::WritableFile** result) override {
    if (!name.ends_with(".log")) {
      return target()->NewWritableFile(name, result);
    }
    *result = nullptr;
    int fd = open(name.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) {
      return Status::IOError(name, strerror(errno));
    }
    auto log = std::make_unique<PreparedLog>(name, fd);
    log->prepare(0);
    // Here, where LevelDB changes over to a new log, not in the first write that somebody waits for.
    Status synced = log->Sync();
    if (synced.ok()) {
      *result = log.release();
    }
    return synced;
  }
};

}  // namespace

std::unique_ptr<leveldb::Env> newPreparedLogEnv(leveldb::Env& under) {
  return std::make_unique<PreparedLogEnv>(under);
}

}  // namespace cairn
