// SizeReporter: tells the master the sizes and times that written data brings with it, many files in one operation,
// gathered over a short time. A size is told when the bytes below it are acknowledged, unless an fsync
// wants to save the round trip.
#pragma once
#include <kj/async.h>

#include <deque>
#include <vector>

#include "common/task.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/inode.h"
#include "fuse-client/client/master_session.h"

namespace cairn {

class SizeReporter final : private kj::TaskSet::ErrorHandler {
 public:
  SizeReporter(Context& context, MasterSession& session);

  // Something of `inode` has been acknowledged. `drained`: nothing more is on its way.
  void due(Inode& inode, bool drained);
  // The same, for somebody who waits for it.
  void dueNow(Inode& inode);
  // Resolves when the master knows the size `end` and every time up to change number `change`, or the inode has an
  // error.
  Task<void> committed(kj::Own<Inode> inode, uint64_t end, uint64_t change);

  // Keeps an inode's reports back while it lives, and has none under way once ready() has resolved.
  class Block {
   public:
    Block(SizeReporter& reporter, Inode& inode);
    ~Block() noexcept(false);
    KJ_DISALLOW_COPY(Block);
    Task<void> ready();

   private:
    SizeReporter& reporter_;
    kj::Own<Inode> inode_;
  };

 private:
  static constexpr Nanos GATHER_DELAY = 20 * MILLISECOND;
  static constexpr Nanos STREAM_INTERVAL = 250 * MILLISECOND;  // between reports of a file being written on
  static constexpr size_t BATCH_MAX = 256;

  // What one inode's line of a batch said.
  struct Sent {
    kj::Own<Inode> inode;
    SessionId session{};
    ObjectId object{};
    uint64_t size = 0;
    uint64_t change = 0;
    FileTime modified;
    int64_t allocatedDelta = 0;
  };

  static bool isNeeded(const Inode& inode);
  static uint64_t reportableEnd(const Inode& inode);
  void enqueue(Inode& inode);
  void flushSoon(Nanos delay);
  Task<void> flushAfter(Nanos delay, uint64_t wakeup);
  Task<void> sendAll();
  std::vector<Sent> nextBatch();
  Task<void> send(std::vector<Sent> batch);
  void finish(Sent& sent, const Status& outcome);
  void taskFailed(kj::Exception&& e) override;

  Context& context_;
  MasterSession& session_;
  std::deque<kj::Own<Inode>> queue_;
  Nanos wakeAt_ = 0;     // 0: no wake-up set
  uint64_t wakeup_ = 0;  // number of the newest
  kj::TaskSet tasks_;
};

}  // namespace cairn
