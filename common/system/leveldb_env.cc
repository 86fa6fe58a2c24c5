#include "common/system/leveldb_env.h"

#include <atomic>

namespace cairn {

namespace {

using leveldb::Slice;
using leveldb::Status;
using leveldb::WritableFile;

class LogFile final : public WritableFile {
 public:
  // `poisoned` belongs to the Env, which outlives its files.
  LogFile(std::unique_ptr<WritableFile> file, std::atomic<bool>& poisoned)
      : file_(std::move(file)), poisoned_(poisoned) {}
  ~LogFile() override {
    if (!closed_) {
      // LevelDB destroys logs without Close(). A failure is remembered by `poisoned_`.
      (void)Close();
    }
  }

  Status Append(const Slice& data) override {
    if (poisoned_) {
      return failed();
    }
    unsynced_ = true;
    return file_->Append(data);
  }
  Status Flush() override { return file_->Flush(); }
  Status Sync() override {
    if (poisoned_) {
      return failed();
    }
    Status synced = file_->Sync();
    if (!synced.ok()) {
      poisoned_ = true;
      return synced;
    }
    unsynced_ = false;
    return synced;
  }
  Status Close() override {
    closed_ = true;
    Status synced = unsynced_ ? Sync() : Status::OK();
    Status closed = file_->Close();
    return synced.ok() ? closed : synced;
  }

 private:
  static Status failed() { return Status::IOError("an earlier sync of a log failed; the database must be rebuilt"); }

  std::unique_ptr<WritableFile> file_;
  std::atomic<bool>& poisoned_;
  bool unsynced_ = false;
  bool closed_ = false;
};

class LogSyncingEnv final : public leveldb::EnvWrapper {
 public:
  explicit LogSyncingEnv(leveldb::Env& under) : EnvWrapper(&under) {}

  Status NewWritableFile(const std::string& name, WritableFile** result) override {
    return wrap(name, target()->NewWritableFile(name, result), result);
  }
  Status NewAppendableFile(const std::string& name, WritableFile** result) override {
    return wrap(name, target()->NewAppendableFile(name, result), result);
  }

 private:
  Status wrap(const std::string& name, Status opened, WritableFile** result) {
    if (opened.ok() && name.ends_with(".log")) {
      *result = new LogFile(std::unique_ptr<WritableFile>(*result), poisoned_);
    }
    return opened;
  }

  std::atomic<bool> poisoned_{false};  // set by the writing thread or the compacting one
};

}  // namespace

std::unique_ptr<leveldb::Env> newLogSyncingEnv(leveldb::Env& under) {
  return std::make_unique<LogSyncingEnv>(under);
}

}  // namespace cairn
