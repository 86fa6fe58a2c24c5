#include "common/system/line_sink.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <string>

namespace cairn {

bool LineSink::isWritable() const {
  pollfd wanted{fd_, POLLOUT, 0};
  return poll(&wanted, 1, 0) == 1 && (wanted.revents & POLLOUT) != 0;
}

void LineSink::write(const char* line, size_t size) {
  // There is nobody to tell of an error here.
  (void)!::write(fd_, line, size);
}

void LineSink::sink_it_(const spdlog::details::log_msg& message) {
  if (dropped_ > 0 && isWritable()) {
    std::string note = "(" + std::to_string(dropped_) + " lines of this log were dropped: nobody took them)\n";
    write(note.data(), note.size());
    dropped_ = 0;
  }
  if (!isWritable()) {
    ++dropped_;
    return;
  }
  spdlog::memory_buf_t line;
  formatter_->format(message, line);
  size_t size = std::min(line.size(), LINE_BYTES_MAX);
  line.data()[size - 1] = '\n';
  write(line.data(), size);
}

}  // namespace cairn
