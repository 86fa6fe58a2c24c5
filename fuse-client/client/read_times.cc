#include "fuse-client/client/read_times.h"

#include <sys/stat.h>

#include "common/log.h"
#include "fuse-client/client/wire.h"

namespace cairn {

void ReadTimes::taskFailed(kj::Exception&& e) {
  spdlog::error("telling of access times failed: {}", kj::str(e).cStr());
}

bool ReadTimes::isNews(const Inode& inode) const {
  const ClientOptions& options = context_.options;
  bool counts = options.directoryAccessTimes || !S_ISDIR(inode.committed().mode);
  return counts && inode.wouldMoveAccess(fileTime(context_.clock.wall()), options.accessTimes);
}

void ReadTimes::read(Inode& inode) {
  bool tells = isNews(inode) && (inode.accessQueued || queue_.size() < QUEUE_MAX);
  if (!tells) {
    return;
  }
  inode.readAt(fileTime(context_.clock.wall()));
  if (!inode.accessQueued) {
    inode.accessQueued = true;
    queue_.push_back(kj::addRef(inode));
  }
  if (!waking_) {
    waking_ = true;
    tasks_.add(flushAfter(GATHER_DELAY).promise());
  }
}

Task<void> ReadTimes::flushAfter(Nanos delay) {
  co_await context_.clock.after(delay);
  waking_ = false;
  co_await flush();
}

Task<void> ReadTimes::flush() {
  while (!queue_.empty()) {
    auto batch = nextBatch();
    if (!batch.empty()) {
      co_await send(kj::mv(batch));
    }
  }
}

std::vector<kj::Own<Inode>> ReadTimes::nextBatch() {
  std::vector<kj::Own<Inode>> batch;
  while (!queue_.empty() && batch.size() < BATCH_MAX) {
    auto inode = kj::mv(queue_.front());
    queue_.pop_front();
    inode->accessQueued = false;
    bool tells = inode->accessed() && !inode->gone && inode->isLeased();
    if (tells) {
      batch.push_back(kj::mv(inode));
    } else {
      inode->forgetRead();
    }
  }
  return batch;
}

Task<void> ReadTimes::send(std::vector<kj::Own<Inode>> batch) {
  auto op = kj::heap<MasterSession::OpDraft>();
  auto list = (*op)->initWritten(static_cast<unsigned>(batch.size()));
  std::vector<FileTime> told;
  for (unsigned i = 0; i < list.size(); ++i) {
    told.push_back(*batch[i]->accessed());
    batch[i]->tellingRead();
    list[i].setInode(raw(batch[i]->id));
    writeTime(told[i], list[i].initAccessed());
  }
  auto reply = co_await session_.execute(kj::mv(op));
  if (!reply.ok()) {
    spdlog::info("access times of {} files not recorded: {}", batch.size(), reply.error().why);
  }
  for (unsigned i = 0; i < batch.size(); ++i) {  // told or refused: what is shown from here on is the master's
    if (batch[i]->accessed() == told[i]) {
      batch[i]->forgetRead();
    }
  }
}

}  // namespace cairn
