// FuseSession: the mount itself. Reads the kernel's requests from /dev/fuse in the event loop, beside the sockets,
// and hands them to Operations. No other thread takes part.
//
// libfuse 3.14 does the decoding and the replies; what it doesn't know yet (KILLPRIV_V2, mapped direct I/O) is
// written into the answer to FUSE_INIT on its way out.
#pragma once
#include <fuse_lowlevel.h>
#include <kj/async-unix.h>
#include <kj/memory.h>
#include <sys/uio.h>

#include <string>

#include "common/clock.h"
#include "common/result.h"
#include "common/task.h"
#include "fuse-client/fuse/arrival.h"
#include "fuse-client/fuse/operations.h"
#include "fuse-client/fuse/options.h"

namespace cairn {

class FuseSession {
 public:
  // `arrival` is the one that `operations` looks at.
  FuseSession(kj::UnixEventPort& port, Clock& clock, Operations& operations, Arrival& arrival);
  ~FuseSession() noexcept(false);
  KJ_DISALLOW_COPY(FuseSession);

  // Puts the mount into the tree. The error says what the kernel or fusermount3 said.
  Status mount(const MountOptions& options);

  // Goes on serving the mount that `descriptor` belongs to, in the place of a process that began with `firstRequest`.
  // The kernel asks once more what that one has left unanswered.
  Status adopt(const MountOptions& options, int descriptor, const std::string& firstRequest);

  // Answers the kernel until the mount is gone, or until pause(). REQUIRES: mount() or adopt() went well.
  Task<void> serve();
  // serve() ends soon; what has been read goes on.
  void pause();
  bool isPaused() const { return paused_; }

  // The kernel's first request, once it was answered.
  const std::string& firstRequest() const { return firstRequest_; }
  // The kernel can be made to ask once more what was left unanswered (Linux 6.9).
  bool canBeSucceeded() const { return (offered2_ & HAS_RESEND2) != 0; }

  // Resolves when the kernel has had the answer to its first request.
  kj::Promise<void> onReady() { return ready_.addBranch(); }

  // For the child process that unmounts.
  int descriptor() const { return fuse_session_fd(session_); }

 private:
  // Bits of the second word of flags, as in <linux/fuse.h> of kernels newer than the headers here.
  static constexpr uint32_t DIRECT_IO_ALLOW_MMAP2 = 1u << 4;
  static constexpr uint32_t HAS_RESEND2 = 1u << 7;

  Status makeSession(const MountOptions& options);
  Status attach(const char* place, const std::string& refusal);
  void resendsOver();
  static ssize_t readRequest(int fd, void* buffer, size_t size, void* self);
  static ssize_t writeReply(int fd, iovec* parts, int count, void* self);
  static void startConnection(void* self, fuse_conn_info* connection);
  static FuseSession& of(void* userData);
  bool serveSome();
  void editInitReply(iovec* parts, int count);

  kj::UnixEventPort& port_;
  Clock& clock_;
  Operations& operations_;
  Arrival& arrival_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  kj::Own<kj::UnixEventPort::FdObserver> observer_;
  uint64_t initUnique_ = 0;  // of the FUSE_INIT that is being answered
  uint32_t offered_ = 0;     // its flags
  uint32_t offered2_ = 0;
  std::string firstRequest_;
  bool adopted_ = false;    // the answer to the first request went out long ago
  bool resending_ = false;  // the first that comes are those that a predecessor left unanswered
  bool paused_ = false;
  kj::Own<kj::PromiseFulfiller<void>> pauseFulfiller_;
  kj::Own<kj::PromiseFulfiller<void>> readyFulfiller_;
  kj::ForkedPromise<void> ready_;
};

}  // namespace cairn
