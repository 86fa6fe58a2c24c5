// What a file with one writer may contain: the checker's memory. A sector may show the version that the last successful
// fsync covered, or any version written since; nothing older, nothing else.
#pragma once
#include <map>
#include <set>
#include <string>

#include "tests/sim/cluster/sectors.h"

namespace cairn {

class FileLedger {
 public:
  explicit FileLedger(uint64_t file) : file_(file) {}

  uint64_t file() const { return file_; }
  // Call before the write is sent: from then on it may be seen. Returns its version.
  int64_t writing(uint64_t block) {
    int64_t version = ++lastVersion_;
    blocks_[block].possible.insert(version);
    return version;
  }
  // The versions an fsync that is called now will cover.
  std::map<uint64_t, int64_t> beforeSync() const {
    std::map<uint64_t, int64_t> newest;
    for (auto& [block, state] : blocks_) {
      newest[block] = *state.possible.rbegin();
    }
    return newest;
  }
  // That fsync has returned success: older versions may not be seen any more.
  void synced(const std::map<uint64_t, int64_t>& covered) {
    for (auto& [block, version] : covered) {
      auto& possible = blocks_[block].possible;
      possible.erase(possible.begin(), possible.lower_bound(version));
    }
  }
  uint64_t blockEnd() const { return blocks_.empty() ? 0 : blocks_.rbegin()->first + 1; }

  // Empty when `bytes` may be what block `block` holds; else what is wrong with it.
  std::string problem(uint64_t block, kj::ArrayPtr<const kj::byte> bytes) const;

 private:
  struct Block {
    std::set<int64_t> possible{ZEROS};
  };
  const uint64_t file_;
  int64_t lastVersion_ = 0;
  std::map<uint64_t, Block> blocks_;
};

}  // namespace cairn
