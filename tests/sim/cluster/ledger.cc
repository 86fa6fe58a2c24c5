#include "tests/sim/cluster/ledger.h"

namespace cairn {

std::string FileLedger::problem(uint64_t block, kj::ArrayPtr<const kj::byte> bytes) const {
  auto it = blocks_.find(block);
  auto versions = sectorVersions(bytes, file_, block);
  for (size_t i = 0; i < versions.size(); ++i) {
    bool allowed = it == blocks_.end() ? versions[i] == ZEROS : it->second.possible.count(versions[i]) > 0;
    if (allowed) {
      continue;
    }
    std::string text = "file " + std::to_string(file_) + " block " + std::to_string(block) + " sector " +
                       std::to_string(i) + " shows version " + std::to_string(versions[i]) + ", allowed:";
    if (it == blocks_.end()) {
      return text + " zeros";
    }
    for (int64_t version : it->second.possible) {
      text += " " + std::to_string(version);
    }
    return text;
  }
  return {};
}

}  // namespace cairn
