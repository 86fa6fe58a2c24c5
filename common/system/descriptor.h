// What files of the operating system are used through: a descriptor that jobs on other threads may share, closed with
// the last reference, and a write that isn't short.
#pragma once
#include <errno.h>
#include <kj/refcount.h>
#include <unistd.h>

#include <cstdint>

namespace cairn {

class Descriptor final : public kj::AtomicRefcounted {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() noexcept(false) { close(fd_); }
  int fd() const { return fd_; }

 private:
  int fd_;
};

// All of `data` at `offset`, however often the system takes only a part. 0, or the errno.
inline int writeFully(int fd, uint64_t offset, const void* data, size_t size) {
  auto* from = static_cast<const char*>(data);
  while (size > 0) {
    ssize_t n = pwrite(fd, from, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return n < 0 ? errno : EIO;
    }
    offset += static_cast<uint64_t>(n);
    from += n;
    size -= static_cast<size_t>(n);
  }
  return 0;
}

}  // namespace cairn
