// LineSink: log lines to a file, or to a descriptor that may be a pipe nobody reads at the moment. A line that would
// have to wait is dropped, and counted in the next one that goes out: a stuck reader must not stall a daemon.
#pragma once
#include <spdlog/sinks/base_sink.h>

#include <cstdint>
#include <memory>
#include <mutex>

#include "common/system/log_file.h"

namespace cairn {

class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  // Longer lines are cut. What poll() calls writable takes so much of a pipe at once, and no more for sure.
  static constexpr size_t LINE_BYTES_MAX = 4096;

  // `fd` stays the caller's.
  explicit LineSink(int fd) : fd_(fd) {}
  explicit LineSink(std::unique_ptr<LogFile> file) : fd_(-1), file_(std::move(file)) {}

  void reopen();
  uint64_t dropped();  // since the start

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override;
  void flush_() override {}

 private:
  bool isWritable() const;
  bool write(const char* line, size_t size);

  const int fd_;
  std::unique_ptr<LogFile> file_;
  uint64_t dropped_ = 0;     // since the last line that went out
  uint64_t droppedAll_ = 0;  // since the start
};

}  // namespace cairn
