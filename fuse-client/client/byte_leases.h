// ByteLeases: the right to read and to write files' bytes at this mount. The lease on a file's attributes is the one
// to read its bytes. To write them a mount must be the only one with a lease: then it may keep what it writes, with
// size and times, until another wants to know.
//
// When a lease is wanted back (a recall), operations under way come to their end, what was written is stored and synced
// and its size told, and only then does the master hear that others may go on. Synced, because bytes that are kept for
// sending again after a loss must not be sent over what others have written meanwhile.
#pragma once
#include <kj/async.h>

#include "common/task.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/file_sync.h"
#include "fuse-client/client/inode.h"
#include "fuse-client/client/lease_book.h"
#include "fuse-client/client/master_session.h"
#include "fuse-client/client/size_reporter.h"

namespace cairn {

class ByteLeases final : private kj::TaskSet::ErrorHandler {
 public:
  ByteLeases(Context& context, MasterSession& session, InodeTable& inodes, const LeaseBook& leases,
             SizeReporter& reporter, FileSync& sync)
      : context_(context),
        session_(session),
        inodes_(inodes),
        leases_(leases),
        reporter_(reporter),
        sync_(sync),
        tasks_(*this) {}
  KJ_DISALLOW_COPY(ByteLeases);

  // An operation that relies on a lease. The lease isn't given back while it lives, but for a reader that takes long.
  class Use {
   public:
    explicit Use(Inode& inode) : inode_(kj::addRef(inode)), losses_(inode.bytes.losses) { ++inode_->bytes.users; }
    ~Use() noexcept(false) {
      --inode_->bytes.users;
      inode_->bytes.changed.raise();
    }
    KJ_DISALLOW_COPY(Use);
    // Nobody else can have changed the bytes since the operation began.
    bool stands() const { return inode_->bytes.losses == losses_; }

   private:
    kj::Own<Inode> inode_;
    const uint64_t losses_;
  };

  // Waits for the right to read, or to write. The file's attributes are known then, and nobody else changes them.
  Task<Result<kj::Own<Use>>> enter(kj::Own<Inode> inode, bool write);
  // Gives the lease back; `share`: only the right to be alone. Resolves when others may go on.
  Task<void> giveBack(kj::Own<Inode> inode, bool share);
  // This mount alone has the bytes, for as long as its session lasts.
  bool isWriter(const Inode& inode) const;
  // Others may change the bytes from now on, unless this mount goes on writing them.
  void linkLost(Inode& inode);
  // As MasterSession::Listener.
  Task<void> whenNotAsking(InodeId id);
  bool report(InodeId id, wire::Written::Builder out);
  std::vector<InodeId> writing();
  // At the end of a mount, when everything is written out: the files whose leases the master may forget about.
  std::vector<InodeId> endWriting();

 private:
  // A reader that waits for a chunkserver must not hold up a writer for long: it reads again.
  static constexpr Nanos READERS_WAIT = 500 * MILLISECOND;

  bool has(const Inode& inode, bool write) const;
  Task<void> untilDecided(Inode& inode);
  static bool isSettled(const Inode& inode);
  Task<void> untilReported(Inode& inode);
  bool granted(Inode& inode, const MasterSession::Acquired& answer, bool write);
  Task<void> leave(kj::Own<Inode> inode, bool share);
  void lost(Inode& inode);
  Task<void> untilUnused(Inode& inode);
  void taskFailed(kj::Exception&& e) override;

  Context& context_;
  MasterSession& session_;
  InodeTable& inodes_;
  const LeaseBook& leases_;
  SizeReporter& reporter_;
  FileSync& sync_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
