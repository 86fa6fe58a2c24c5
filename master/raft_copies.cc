// RaftReplica: what copies of its state are made from.
#include <cerrno>

#include "master/namespace/snapshot.h"
#include "master/raft_replica.h"

namespace cairn {

// One that came from elsewhere and was never installed doesn't count.
LogIndex RaftReplica::newestSnapshot() const {
  LogIndex newest{};
  for (LogIndex index : state_.snapshots()) {
    bool counts = index <= state_.machine().appliedIndex() && next(index) >= log_->firstIndex();
    newest = counts ? index : newest;
  }
  return newest;
}

Result<StateSource::Snapshot> RaftReplica::openSnapshot() {
  LogIndex index = newestSnapshot();
  if (raw(index) == 0) {
    return Error{ENOENT, "there is no snapshot yet"};
  }
  auto file = seams_.disk.open(snapshotPath(index), Disk::Mode::READ);
  if (!file.ok()) {
    return file.error();
  }
  auto info = file.value()->info();
  if (!info.ok()) {
    return info.error();
  }
  return Snapshot{index, log_->term(index), kj::mv(file.value()), info.value().sizeBytes};
}

Status RaftReplica::readApplied(LogIndex from, kj::FunctionParam<bool(const LogEntry&)> visit) {
  if (from < log_->firstIndex()) {
    return Error{ENOENT, "these entries are no longer in the log"};
  }
  LogIndex applied = state_.machine().appliedIndex();
  if (from > applied) {
    return {};
  }
  return log_->read(from, [&](const LogEntry& entry) { return entry.index <= applied && visit(entry); });
}

}  // namespace cairn
