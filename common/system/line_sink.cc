#include "common/system/line_sink.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <string>

namespace cairn {

bool LineSink::isWritable() const {
  if (file_ != nullptr) {
    return true;
  }
  pollfd wanted{fd_, POLLOUT, 0};
  return poll(&wanted, 1, 0) == 1 && (wanted.revents & POLLOUT) != 0;
}

bool LineSink::write(const char* line, size_t size) {
  if (file_ != nullptr) {
    return file_->write(line, size);
  }
  // There is nobody to tell of an error here.
  (void)!::write(fd_, line, size);
  return true;
}

void LineSink::reopen() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (file_ != nullptr) {
    file_->reopen();
  }
}

uint64_t LineSink::dropped() {
  std::lock_guard<std::mutex> lock(mutex_);
  return droppedAll_;
}

void LineSink::sink_it_(const spdlog::details::log_msg& message) {
  if (dropped_ > 0 && isWritable()) {
    std::string note = "(" + std::to_string(dropped_) + " lines of this log were dropped: nobody took them)\n";
    write(note.data(), note.size());
    dropped_ = 0;
  }
  spdlog::memory_buf_t line;
  bool taken = isWritable();
  if (taken) {
    formatter_->format(message, line);
    size_t size = std::min(line.size(), LINE_BYTES_MAX);
    line.data()[size - 1] = '\n';
    taken = write(line.data(), size);
  }
  if (!taken) {
    ++dropped_;
    ++droppedAll_;
  }
}

}  // namespace cairn
