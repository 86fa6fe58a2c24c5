// The call of MasterSession that may take as long as others please.
#include "common/log.h"
#include "fuse-client/client/master_session.h"
#include "fuse-client/client/wire.h"

namespace cairn {

// After a broken link nobody knows, so the lock may be free: who waits tries again, and comes back here if it isn't.
Task<Status> MasterSession::awaitLock(kj::Own<Draft<wire::LockRequest>> wanted) {
  InodeId inode{(*wanted)->getInode()};
  Waits::Note note(context_.waits, [this, inode](Wait& out) {
    describe(out);
    out.inodes = {inode};
    if (attached_) {
      out.what = "lock";
      out.text = "a lock that somebody else has";
      out.end = "its owner letting go of it, any signal, or: dfsadmin lock break";
    }
  });
  while (!attached_) {
    co_await untilAttached();
  }
  uint64_t generation = generation_;
  try {
    auto request = KJ_ASSERT_NONNULL(client_).awaitLockRequest();
    request.setLock(**wanted);
    auto response = co_await request.send();
    co_return readOutcome(response.getOutcome());
  } catch (kj::Exception& e) {
    if (!isRetryable(e)) {
      spdlog::error("the master failed to wait for a lock: {}", e.getDescription().cStr());
      co_return Error{EIO, e.getDescription().cStr()};
    }
    if (e.getType() == kj::Exception::Type::DISCONNECTED) {
      linkFailed(generation);
    }
  }
  co_return Status();
}

}  // namespace cairn
