// KernelCache: what the kernel was told it may believe without asking, and how it is told to forget it. Time-outs end
// with the leases, so a mount whose process stands still misleads nobody for longer.
//
// Notifications are written raw: libfuse 3.14 doesn't know all of them. Those that may wait for a lock inside the
// kernel are written by worker threads, for who holds the lock may wait for this very process. A name is forgotten
// under the lock of its directory, which also every local change in that directory holds while it waits for the
// master: where that takes long all names are made to be asked about again instead (an "epoch" ends), which waits for
// nothing.
//
// An answer about attributes that meets such a notification on its way is ignored by the kernel, which then reads
// with the size and the pages that it has. Of a file that is open here this may only happen to an answer without
// news. So what is new is told without a time-out: the kernel asks before each use of a page until it has had a tenth
// of a second to take it in, and as long as others use the file too. It drops a file's pages when it is told another
// time of modification.
#pragma once
#include <fuse_lowlevel.h>
#include <kj/async.h>

#include <map>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/task.h"
#include "common/workers.h"
#include "fuse-client/client/client.h"
#include "fuse-client/fuse/nodes.h"

namespace cairn {

class KernelCache final : public CacheListener, private kj::TaskSet::ErrorHandler {
 public:
  // `waiters` are for what may wait for the kernel's locks of directories and pages, so that `workers`, for attributes,
  // always get to their end. `root` is the inode that the mount shows as its root.
  KernelCache(Clock& clock, Workers& workers, Workers& waiters, Nodes& nodes, InodeId root)
      : clock_(clock), workers_(workers), waiters_(waiters), nodes_(nodes), root_(root), tasks_(*this) {}
  KJ_DISALLOW_COPY(KernelCache);

  // The mount's descriptor, once the kernel has had its first answer; -1: there is no mount (any more).
  void attach(int descriptor);

  // For how long the kernel may believe what it is being told now of an inode's attributes, or of a name.
  Nanos tellAttributes(const Attributes& attributes, Nanos leased);
  Nanos tellName(InodeId directory, Nanos leased);
  // The modification time to tell: the kernel knows changed bytes by it alone, so it must not be the same as before
  // when they have changed and somebody has set the time back. Then it is a nanosecond off, once. Not every answer
  // makes it look (`looks`): that to a change of attributes just tells.
  FileTime tellModified(const Attributes& attributes, bool looks);

  // What a predecessor told the kernel of it is not known: it may believe all, and have any pages. `opens`: how often
  // it has the file open.
  void inherited(Node& node, uint32_t opens);
  // This mount has written to the file: the kernel ignores answers that were on their way.
  void written(InodeId inode);
  // A regular file is being opened; to be awaited before the answer. Each has its closed().
  kj::Promise<void> opening(InodeId inode);
  void closed(InodeId inode);
  // The pages that the kernel has of it aren't those that others have changed since.
  bool mayKeepPages(InodeId inode);
  // Others use the file too: what is read of it through a new descriptor should not go by the kernel's pages.
  bool isContended(InodeId inode);

  kj::Promise<void> forgetInode(InodeId inode) override;
  kj::Promise<void> forgetName(InodeId directory, const std::string& name) override;
  void forgetNames() override;
  kj::Promise<void> forgetEverything() override;

 private:
  // The kernel may not have taken in yet what it was told so shortly ago: it doesn't know what it is to forget.
  static constexpr Nanos ARRIVAL = 100 * MILLISECOND;
  // A file counts as used by others for so long after a recall.
  static constexpr Nanos CONTENDED = SECOND;
  static constexpr Nanos LOCK_PATIENCE = 2 * MILLISECOND;
  // Of the waiters, at most so many may be taken by names.
  static constexpr unsigned WAITING_MAX = 1;

  fuse_ino_t nodeOf(InodeId inode) const { return inode == root_ ? FUSE_ROOT_ID : raw(inode); }
  kj::Promise<int> send(Workers& workers, int code, std::string body);
  static std::string inodeBody(uint64_t node, int64_t offset);
  Task<void> forgetClosed(InodeId inode, bool pages);
  Task<void> forgetOneName(InodeId directory, std::string name);
  bool isOpenFile(const Node& node) const;
  bool isContended(const Node& node) const;
  void taskFailed(kj::Exception&& exception) override;

  Clock& clock_;
  Workers& workers_;
  Workers& waiters_;
  Nodes& nodes_;
  const InodeId root_;
  int descriptor_ = -1;
  bool epochs_ = false;
  unsigned namesWaiting_ = 0;
  struct Forgetting {
    uint64_t serial = 0;
    kj::ForkedPromise<void> done;
  };
  std::map<InodeId, Forgetting> forgetting_;  // of what isn't open, under way; the last of each
  uint64_t lastForgetting_ = 0;
  kj::ForkedPromise<void> everything_ = kj::Promise<void>(kj::READY_NOW).fork();
  kj::TaskSet tasks_;
};

}  // namespace cairn
