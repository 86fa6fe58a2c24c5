// ReadTimes: when files were read. A read moves a file's access time at this mount at once (Inode::effective); the
// master hears of it behind, of many files in one message, for no reader waits for it and a crash may lose it.
//
// Others hear of it as of any change: their leases on the attributes are recalled. So what isn't leased here when its
// turn comes, because somebody else has changed it meanwhile, is not told of. Once this mount knows what has changed,
// its next read decides anew. That is why a hundred mounts that read one file at a time tell of it once.
#pragma once
#include <kj/async.h>

#include <deque>
#include <vector>

#include "common/task.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/inode.h"
#include "fuse-client/client/master_session.h"

namespace cairn {

class ReadTimes final : private kj::TaskSet::ErrorHandler {
 public:
  ReadTimes(Context& context, MasterSession& session) : context_(context), session_(session), tasks_(*this) {}
  KJ_DISALLOW_COPY(ReadTimes);

  // A read of it now would be news.
  bool isNews(const Inode& inode) const;
  // It was read.
  void read(Inode& inode);
  // Tells all that waits. To be called at the end of a mount, when nobody reads any more.
  Task<void> flush();

 private:
  static constexpr Nanos GATHER_DELAY = 5 * SECOND;
  static constexpr size_t BATCH_MAX = 256;
  static constexpr size_t QUEUE_MAX = 4096;  // beyond it what is read isn't told of

  Task<void> flushAfter(Nanos delay);
  std::vector<kj::Own<Inode>> nextBatch();
  Task<void> send(std::vector<kj::Own<Inode>> batch);
  void taskFailed(kj::Exception&& e) override;

  Context& context_;
  MasterSession& session_;
  std::deque<kj::Own<Inode>> queue_;
  bool waking_ = false;
  kj::TaskSet tasks_;
};

}  // namespace cairn
