#include "common/system/log_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/log.h"

namespace cairn {
namespace {

constexpr mode_t FILE_MODE = 0640;

}  // namespace

Result<std::unique_ptr<LogFile>> LogFile::open(const std::string& path, uint64_t bytesMax) {
  std::unique_ptr<LogFile> out(new LogFile(path, bytesMax));
  int code = out->openFile();
  if (code != 0) {
    return Error{code, "cannot write the log " + path + ": " + strerror(code) + "; name another file with --log-file"};
  }
  return out;
}

LogFile::~LogFile() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

// An errno.
int LogFile::openFile() {
  int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, FILE_MODE);
  if (fd < 0) {
    return errno;
  }
  if (fd_ >= 0) {
    ::close(fd_);
  }
  fd_ = fd;
  struct stat info {};
  bytes_ = ::fstat(fd_, &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
  return 0;
}

void LogFile::rotate() {
  auto numbered = [this](unsigned number) { return path_ + "." + std::to_string(number); };
  for (unsigned number = LoggingOptions::FILES_KEPT - 1; number > 1; --number) {
    ::rename(numbered(number - 1).c_str(), numbered(number).c_str());  // absent at first
  }
  ::rename(path_.c_str(), numbered(1).c_str());
  reopen();
}

void LogFile::reopen() {
  if (openFile() != 0) {
    bytes_ = 0;  // the old one is still there to be written to; it is tried again after as much
  }
}

bool LogFile::write(const char* line, size_t size) {
  if (bytes_ > 0 && bytes_ + size > bytesMax_) {
    rotate();
  }
  ssize_t written = ::write(fd_, line, size);
  bytes_ += written > 0 ? static_cast<uint64_t>(written) : 0;
  return written == static_cast<ssize_t>(size);
}

}  // namespace cairn
