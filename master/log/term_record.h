// The record of the current term and of the vote given in it: replaced whole and synced before anybody learns of it.
#pragma once
#include <string>

#include "common/disk.h"
#include "common/ids.h"

namespace cairn {

struct TermRecord {
  Term term{};
  std::string votedFor;  // a member's name; empty: nobody
};

// Term 0 when there is none yet; an error that says what to do when it is damaged.
Result<TermRecord> readTermRecord(Disk& disk, const std::string& path);
Status writeTermRecord(Disk& disk, const std::string& path, const TermRecord& record);

}  // namespace cairn
