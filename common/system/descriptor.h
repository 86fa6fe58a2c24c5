// A file descriptor that jobs on other threads may share: closed with the last reference.
#pragma once
#include <kj/refcount.h>
#include <unistd.h>

namespace cairn {

class Descriptor final : public kj::AtomicRefcounted {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() noexcept(false) { close(fd_); }
  int fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace cairn
