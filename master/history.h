// This master's history against what a chunkserver has obeyed.
#pragma once
#include <string>

#include "common/result.h"
#include "master/namespace/reader.h"
#include "rpc/history.h"

namespace cairn {

// Where the applied state is. `epoch`: of the group.
HistoryPoint historyOf(const NamespaceReader& reader, GroupEpoch epoch);

// Whether the history has in it what was `obeyed`. ENOTRECOVERABLE: it hasn't; the error names both sides and what to
// do. A leader that was deposed without knowing is behind as well: read behind a barrier before anybody is told.
Status checkHistory(const NamespaceReader& reader, GroupEpoch epoch, const HistoryPoint& obeyed,
                    const std::string& master, const std::string& chunkserver);

}  // namespace cairn
