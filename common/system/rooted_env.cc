#include "common/system/rooted_env.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

namespace cairn {

namespace {

using leveldb::Status;

class RootedEnv final : public leveldb::EnvWrapper {
 public:
  RootedEnv(leveldb::Env& under, std::string root, int fd)
      : EnvWrapper(&under), root_(std::move(root)), directory_(fd), here_("/proc/self/fd/" + std::to_string(fd)) {}
  ~RootedEnv() override { close(directory_); }

  Status NewSequentialFile(const std::string& name, leveldb::SequentialFile** result) override {
    return target()->NewSequentialFile(within(name), result);
  }
  Status NewRandomAccessFile(const std::string& name, leveldb::RandomAccessFile** result) override {
    return target()->NewRandomAccessFile(within(name), result);
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
