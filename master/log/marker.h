// The synced-up-to marker: a small file beside the log that says which entry is durable, written after every sync of
// the log and synced only now and then. It can lag behind, never run ahead, so what lies at or below it and doesn't
// verify has rotted and wasn't torn. Two places written in turn: a torn write spoils one.
#pragma once
#include <kj/memory.h>

#include "common/disk.h"
#include "common/ids.h"

namespace cairn {

class SyncedMarker {
 public:
  static constexpr uint64_t WRITES_PER_SYNC = 256;

  // A file that is absent or damaged says 0.
  static Result<kj::Own<SyncedMarker>> open(Disk& disk, const std::string& path);
  explicit SyncedMarker(kj::Own<File> file) : file_(kj::mv(file)) {}

  LogIndex get() const { return index_; }
  // True when it is time to sync the marker as well.
  Result<bool> set(LogIndex durable);
  // Before entries after `durable` are taken away; waits inline until that is durable itself.
  Status lower(LogIndex durable);
  Task<Status> sync() { return file_->sync(); }

 private:
  kj::Own<File> file_;
  LogIndex index_{};
  uint64_t writes_ = 0;
};

}  // namespace cairn
