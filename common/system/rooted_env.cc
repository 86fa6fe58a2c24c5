#include "common/system/rooted_env.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

namespace cairn {

namespace {

using leveldb::Status;

Status statusOf(const std::string& name, int errnum) {
  std::string why = strerror(errnum);
  return errnum == ENOENT ? Status::NotFound(name, why) : Status::IOError(name, why);
}

class ReadFile final : public leveldb::RandomAccessFile {
 public:
  ReadFile(std::string name, int fd) : name_(std::move(name)), fd_(fd) {}
  ~ReadFile() override { close(fd_); }

  Status Read(uint64_t offset, size_t size, leveldb::Slice* result, char* scratch) const override {
    size_t done = 0;
    *result = leveldb::Slice();
    while (done < size) {
      ssize_t got = pread(fd_, scratch + done, size - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno != EINTR) {
        return statusOf(name_, errno);
      }
      if (got == 0) {
        break;
      }
      done += got > 0 ? static_cast<size_t>(got) : 0;
    }
    *result = leveldb::Slice(scratch, done);
    return Status::OK();
  }

 private:
  const std::string name_;
  const int fd_;
};

class RootedEnv final : public leveldb::EnvWrapper {
 public:
  RootedEnv(leveldb::Env& under, std::string root, int fd)
      : EnvWrapper(&under), root_(std::move(root)), directory_(fd), here_("/proc/self/fd/" + std::to_string(fd)) {}
  ~RootedEnv() override { close(directory_); }

  Status NewSequentialFile(const std::string& name, leveldb::SequentialFile** result) override {
    return target()->NewSequentialFile(within(name), result);
  }
  Status NewRandomAccessFile(const std::string& name, leveldb::RandomAccessFile** result) override {
    int fd = open(within(name).c_str(), O_RDONLY | O_CLOEXEC);
    *result = fd < 0 ? nullptr : new ReadFile(name, fd);
    return fd < 0 ? statusOf(name, errno) : Status::OK();
  }
  Status NewWritableFile(const std::string& name, leveldb::WritableFile** result) override {
    return target()->NewWritableFile(within(name), result);
  }
  Status NewAppendableFile(const std::string& name, leveldb::WritableFile** result) override {
    return target()->NewAppendableFile(within(name), result);
  }
  bool FileExists(const std::string& name) override { return target()->FileExists(within(name)); }
  Status GetChildren(const std::string& name, std::vector<std::string>* result) override {
    return target()->GetChildren(within(name), result);
  }
  Status RemoveFile(const std::string& name) override { return target()->RemoveFile(within(name)); }
  Status CreateDir(const std::string& name) override { return target()->CreateDir(within(name)); }
  Status RemoveDir(const std::string& name) override { return target()->RemoveDir(within(name)); }
  Status GetFileSize(const std::string& name, uint64_t* size) override {
    return target()->GetFileSize(within(name), size);
  }
  Status RenameFile(const std::string& from, const std::string& to) override {
    return target()->RenameFile(within(from), within(to));
  }
  Status LockFile(const std::string& name, leveldb::FileLock** lock) override {
    return target()->LockFile(within(name), lock);
  }
  Status NewLogger(const std::string& name, leveldb::Logger** result) override {
    return target()->NewLogger(within(name), result);
  }

 private:
  std::string within(const std::string& name) const {
    bool below = name.starts_with(root_) && name.size() > root_.size() && name[root_.size()] == '/';
    return below ? here_ + name.substr(root_.size()) : name;
  }

  const std::string root_;
  const int directory_;
  const std::string here_;
};

}  // namespace

Result<std::unique_ptr<leveldb::Env>> newRootedEnv(leveldb::Env& under, const std::string& root) {
  int fd = open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return Error{errno, root + ": open: " + strerror(errno)};
  }
  return std::unique_ptr<leveldb::Env>(std::make_unique<RootedEnv>(under, root, fd));
}

}  // namespace cairn
