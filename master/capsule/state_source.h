// StateSource: the replicated state as copies of it are made elsewhere: the newest snapshot and the log after it.
#pragma once
#include <kj/function.h>
#include <kj/memory.h>

#include "common/disk.h"
#include "common/result.h"
#include "master/log/record.h"

namespace cairn {

class StateSource {
 public:
  virtual ~StateSource() noexcept(false) = default;

  // 0: there is none yet.
  virtual LogIndex newestSnapshot() const = 0;
  struct Snapshot {
    LogIndex index{};
    Term term{};
    kj::Own<File> file;  // stays readable when a newer one takes its place
    uint64_t bytes = 0;
  };
  virtual Result<Snapshot> openSnapshot() = 0;
  // Makes one now, instead of when the log has grown.
  virtual void snapshotSoon() = 0;
  // Shows applied entries from `from` on, in order, until `visit` returns false. Waits inline. ENOENT: they are no
  // longer in the log.
  virtual Status readApplied(LogIndex from, kj::FunctionParam<bool(const LogEntry&)> visit) = 0;
};

}  // namespace cairn
