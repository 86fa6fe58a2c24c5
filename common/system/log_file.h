// LogFile: a file that log lines go to. When it has grown to its limit it is renamed to FILE.1, what was there to
// FILE.2 and so on, and begun anew; the oldest goes away. In the thread that logs: a rename costs less than a thread.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "common/result.h"

namespace cairn {

class LogFile {
 public:
  static Result<std::unique_ptr<LogFile>> open(const std::string& path, uint64_t bytesMax);
  ~LogFile();
  LogFile(const LogFile&) = delete;

  // False: it wasn't taken (no room, or the file can't be opened any more).
  bool write(const char* line, size_t size);
  // Whoever moved the file away wants the next line in a new one.
  void reopen();

 private:
  LogFile(std::string path, uint64_t bytesMax) : path_(std::move(path)), bytesMax_(bytesMax) {}
  int openFile();
  void rotate();

  const std::string path_;
  const uint64_t bytesMax_;
  int fd_ = -1;
  uint64_t bytes_ = 0;
};

}  // namespace cairn
