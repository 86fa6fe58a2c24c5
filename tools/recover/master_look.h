// Looking into a stopped master's directory, or a copy of one: its log, and the state that it gives.
#pragma once
#include <kj/function.h>
#include <nlohmann/json.hpp>

#include <string>

#include "common/disk.h"
#include "tools/recover/names.h"

namespace cairn::rescue {

// Of which cluster the directory is, by its identity.
Result<ClusterId> clusterOf(Disk& master);

struct LogLook {
  LogIndex first{};
  LogIndex last{};
  Term term{};
  size_t segments = 0;
  std::string damage;  // why it can't be read to its end; empty: it can
};
// Reads the log, as far as it is whole, and shows each entry; changes nothing.
Result<LogLook> lookAtLog(Disk& master, kj::Function<void(const LogEntry&)> each);
// An entry as one object, its command as text.
nlohmann::json entryJson(const LogEntry& entry);

// What the state holds, in figures.
nlohmann::json stateJson(const Names& names);
// Shows every path with all that is known of it.
Status exportTree(const Names& names, kj::Function<void(nlohmann::json)> each);

}  // namespace cairn::rescue
