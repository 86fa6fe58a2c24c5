#include "common/system/held.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <cstring>

#include "common/system/descriptor.h"

namespace cairn {

Result<bool> isHeld(const std::string& lockPath) {
  int fd = ::open(lockPath.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) {
    return errno == ENOENT ? Result<bool>(false) : Result<bool>(Error{errno, lockPath + ": " + strerror(errno)});
  }
  auto held = kj::atomicRefcounted<Descriptor>(fd);
  if (::flock(fd, LOCK_SH | LOCK_NB) == 0) {
    return false;
  }
  return errno == EWOULDBLOCK ? Result<bool>(true) : Result<bool>(Error{errno, lockPath + ": " + strerror(errno)});
}

}  // namespace cairn
