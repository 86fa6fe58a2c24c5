// A client that goes on where another process ended.
#include "common/log.h"
#include "fuse-client/client/client_impl.h"

namespace cairn {

void Client::setLedger(Ledger& ledger) { impl_->context.ledger = &ledger; }

void Client::takeUp(const Inheritance& from) { impl_->takeUp(from); }

void Client::expectOnly(const std::set<uint64_t>& requests) { impl_->session.expectOnly(requests); }

void Client::Impl::takeUp(const Inheritance& from) {
  session.takeUp(from);
  for (const auto& file : from.files) {
    auto inode = inodes.get(file.inode);
    ++inode->handles;
    session.take(file.inode, false);
    auto handle = kj::refcounted<Handle>(kj::mv(inode), file.bits);
    handle->locksLost = file.locksLost;
    handles[raw(file.handle)] = kj::mv(handle);
  }
  nextHandle = from.lastHandle + 1;
  for (const auto& lock : from.locks) {
    LockBook::Key key{lock.inode, lock.flock, lock.owner};
    locks.note(key, lock.handle);
    if (!handles.contains(raw(lock.handle))) {  // closed; the locks were about to be given back
      tasks.add(unlockAll(key).promise().ignoreResult());
    }
  }
  for (const auto& file : from.unsafe) {
    auto inode = inodes.get(file.inode);
    context.ledger->safety(file.inode, Safety::SAFE);  // from here on this process says how it is
    if (file.safety == Safety::UNSENT || inode->handles > 0) {
      spdlog::error("inode {}: what was written and not synced before the mount's process ended is lost, perhaps",
                    raw(file.inode));
      inode->fail(Error{EIO, "the mount's process ended before this file's data was safe"});
    }
  }
  // The kernel still believes what was leased to the predecessor. Who attaches has given that up.
  forgotten = cache->forgetEverything().fork();
}

}  // namespace cairn
