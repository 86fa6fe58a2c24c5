#include "fuse-client/client/size_reporter.h"

#include <algorithm>

#include "common/log.h"
#include "fuse-client/client/wire.h"

namespace cairn {

namespace {

kj::Promise<void> endOfTurn() {
  return kj::evalLast([] {});
}

}  // namespace

SizeReporter::SizeReporter(Context& context, MasterSession& session)
    : context_(context), session_(session), tasks_(*this) {}

void SizeReporter::taskFailed(kj::Exception&& e) {
  spdlog::error("reporting sizes failed: {}", kj::str(e).cStr());
}

bool SizeReporter::isNeeded(const Inode& inode) {
  const FileReport& report = inode.report;
  uint64_t known = inode.committed().sizeBytes;
  return report.reported < report.change || report.end > known || report.promised > known || report.allocatedDelta != 0;
}

// The size up to which nothing is missing: a size beyond bytes on their way would show others a hole.
uint64_t SizeReporter::reportableEnd(const Inode& inode) {
  const FileWrites& writes = inode.writes;
  uint64_t end = inode.report.end;
  const uint64_t known = inode.committed().sizeBytes;
  for (const ExtentMap* map : {&writes.dirty, &writes.underWay}) {
    auto missing = map->slices(known, end);
    if (!missing.empty()) {
      end = missing.front().offset;
    }
  }
  return std::max(end, inode.report.promised);
}

void SizeReporter::due(Inode& inode, bool drained) {
  if (!isNeeded(inode)) {
    return;
  }
  Nanos now = context_.clock.monotonic();
  if (!drained && now - inode.report.sentAt < STREAM_INTERVAL) {
    return;
  }
  enqueue(inode);
  flushSoon(GATHER_DELAY);
}

void SizeReporter::dueNow(Inode& inode) {
  if (isNeeded(inode) && !inode.report.underWay && inode.report.blocked == 0) {
    enqueue(inode);
    flushSoon(0);
  }
}

void SizeReporter::enqueue(Inode& inode) {
  FileReport& report = inode.report;
  if (!report.queued) {
    report.queued = true;
    queue_.push_back(kj::addRef(inode));
  }
}

void SizeReporter::flushSoon(Nanos delay) {
  Nanos at = context_.clock.monotonic() + delay;
  if (wakeAt_ == 0 || at < wakeAt_) {
    wakeAt_ = at;
    tasks_.add(flushAfter(delay, ++wakeup_).promise());
  }
}

Task<void> SizeReporter::flushAfter(Nanos delay, uint64_t wakeup) {
  if (delay > 0) {
    co_await context_.clock.after(delay);
  } else {
    co_await endOfTurn();
  }
  if (wakeup != wakeup_) {
    co_return;  // an earlier one was set meanwhile
  }
  wakeAt_ = 0;
  co_await sendAll();
}

Task<void> SizeReporter::sendAll() {
  while (!queue_.empty()) {
    auto batch = nextBatch();
    if (batch.empty()) {
      co_return;
    }
    tasks_.add(send(kj::mv(batch)).promise());
  }
}

std::vector<SizeReporter::Sent> SizeReporter::nextBatch() {
  std::vector<Sent> batch;
  while (!queue_.empty() && batch.size() < BATCH_MAX) {
    auto inode = kj::mv(queue_.front());
    queue_.pop_front();
    FileReport& report = inode->report;
    report.queued = false;
    // Blocked or under way: whoever ends that puts it back.
    if (report.blocked > 0 || report.underWay || !isNeeded(*inode) || inode->gone) {
      report.changed.raise();
      continue;
    }
    Sent sent;
    sent.session = session_.id();
    sent.object = inode->layout().object;
    sent.size = reportableEnd(*inode);
    sent.change = report.change;
    sent.modified = report.modified;
    sent.allocatedDelta = report.allocatedDelta;
    report.allocatedDelta = 0;
    report.underWay = true;
    report.sentAt = context_.clock.monotonic();
    sent.inode = kj::mv(inode);
    batch.push_back(kj::mv(sent));
  }
  return batch;
}

Task<void> SizeReporter::send(std::vector<Sent> batch) {
  auto op = kj::heap<MasterSession::OpDraft>();
  auto list = (*op)->initWritten(static_cast<unsigned>(batch.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    list[i].setInode(raw(batch[i].inode->id));
    list[i].setObject(raw(batch[i].object));
    list[i].setSize(batch[i].size);
    if (batch[i].change > batch[i].inode->report.reported) {  // room taken alone moves no time
      writeTime(batch[i].modified, list[i].initModified());
    }
    list[i].setAllocatedDelta(batch[i].allocatedDelta);
  }
  auto reply = co_await session_.execute(kj::mv(op));
  if (!reply.ok()) {
    Status failed = reply.error();
    for (auto& sent : batch) {
      finish(sent, failed);
    }
    co_return;
  }
  auto reader = reply.value().getReply();
  auto outcomes = reader.getWritten();
  for (unsigned i = 0; i < batch.size(); ++i) {
    bool told = i < outcomes.size();
    Status outcome = told ? readOutcome(outcomes[i]) : Status(Error{EIO, "the master's answer leaves it out"});
    finish(batch[i], outcome);
  }
}

void SizeReporter::finish(Sent& sent, const Status& outcome) {
  Inode& inode = *sent.inode;
  FileReport& report = inode.report;
  report.underWay = false;
  report.reported = std::max(report.reported, sent.change);
  if (outcome.ok()) {
    report.end = report.end <= sent.size ? 0 : report.end;
    report.promised = report.promised <= sent.size ? 0 : report.promised;
  } else if (outcome.code() == ESTALE || outcome.code() == ENOENT) {
    // Removed, or truncated to nothing by somebody else: these bytes are gone by right.
    report.end = report.promised = 0;
    report.allocatedDelta = 0;
  } else {
    spdlog::warn("size of inode {} not recorded: {}", raw(inode.id), outcome.error().why);
    report.end = report.promised = 0;
    bool lost = raw(sent.session) != 0 && sent.session != session_.id();
    if (!lost) {  // else its writers have been told that the session ended
      inode.fail(outcome.error());
    }
  }
  inode.noteSafety();
  if (isNeeded(inode) && !inode.hasUnsent()) {
    due(inode, true);
  }
  report.changed.raise();
}

Task<void> SizeReporter::committed(kj::Own<Inode> inode, uint64_t end, uint64_t change) {
  FileReport& report = inode->report;
  uint64_t errors = inode->errorCount();
  Waits::Note note(context_.waits, [this, &inode](Wait& out) {
    out.inodes = {inode->id};
    session_.describe(out);
  });
  report.promised = std::max(report.promised, end);
  while (report.reported < change || report.promised > inode->committed().sizeBytes) {
    if (inode->errorCount() != errors || inode->gone) {
      co_return;
    }
    if (!report.underWay && report.blocked == 0) {
      enqueue(*inode);
      flushSoon(0);
    }
    co_await report.changed.wait();
  }
}

// ---- blocks -------------------------------------------------------------------------------------

SizeReporter::Block::Block(SizeReporter& reporter, Inode& inode) : reporter_(reporter), inode_(kj::addRef(inode)) {
  ++inode_->report.blocked;
}

SizeReporter::Block::~Block() noexcept(false) {
  FileReport& report = inode_->report;
  --report.blocked;
  if (report.blocked == 0 && isNeeded(*inode_) && !inode_->hasUnsent()) {
    reporter_.due(*inode_, true);
  }
  report.changed.raise();
}

Task<void> SizeReporter::Block::ready() {
  while (inode_->report.underWay) {
    co_await inode_->report.changed.wait();
  }
}

}  // namespace cairn
