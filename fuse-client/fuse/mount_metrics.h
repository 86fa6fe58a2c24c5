// What a mount counts of the calls of programs, by the kernel's kinds, and the line in the log when one took long.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "common/metrics/line_limit.h"
#include "common/metrics/sheet.h"
#include "fuse-client/client/client.h"

namespace cairn {

class MountMetrics {
 public:
  MountMetrics(Client& client, Clock& clock) : client_(client), clock_(clock) {}

  // A call that came at `since` is being answered. `kind` is a literal. `mayBeLong`: it waits for other programs, so
  // that it is long says nothing.
  void answered(const char* kind, InodeId inode, Nanos since, int code, bool mayBeLong);
  void measure(MetricsSheet& sheet) const;

 private:
  Client& client_;
  Clock& clock_;
  LineLimit lines_;
  // By the literal's address: of one kind there may be several.
  std::unordered_map<const char*, std::unique_ptr<OperationMetric>> operations_;
};

}  // namespace cairn
