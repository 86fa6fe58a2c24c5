#include "tests/sim/cluster/ledger.h"

#include <algorithm>

namespace cairn {

bool FileLedger::Block::zerosPossible() const {
  return std::any_of(possible.begin(), possible.end(), [](auto& version) { return version.second; });
}

int64_t FileLedger::begin(uint64_t block, bool zeros) {
  int64_t version = ++lastVersion_;
  blocks_[block].possible[version] = zeros;
  return version;
}

FileLedger::Mark FileLedger::cutting(uint64_t blocks) {
  Mark mark;
  for (auto it = blocks_.lower_bound(blocks); it != blocks_.end(); ++it) {
    mark[it->first] = begin(it->first, true);
  }
  return mark;
}

FileLedger::Mark FileLedger::beforeSync() const {
  Mark newest;
  for (auto& [block, state] : blocks_) {
    newest[block] = state.possible.rbegin()->first;
  }
  return newest;
}

void FileLedger::settle(const Mark& covered, int64_t doubtful) {
  for (auto& [block, version] : covered) {
    if (version <= doubtful) {
      continue;
    }
    auto& state = blocks_[block];
    auto end = state.possible.lower_bound(version);
    state.past.insert(state.possible.begin(), end);
    state.possible.erase(state.possible.begin(), end);
  }
}

FileLedger::Floor FileLedger::floor() const {
  Floor out;
  for (auto& [block, state] : blocks_) {
    out.oldest[block] = state.possible.begin()->first;
    out.zeros[block] = state.zerosPossible();
  }
  return out;
}

std::string FileLedger::problem(uint64_t block, kj::ArrayPtr<const kj::byte> bytes, const Floor* since) const {
  Block untouched;
  auto it = blocks_.find(block);
  const Block& state = it == blocks_.end() ? untouched : it->second;
  int64_t oldest = state.possible.begin()->first;
  bool zeros = state.zerosPossible();
  if (since != nullptr) {
    auto known = since->oldest.find(block);
    oldest = known == since->oldest.end() ? 0 : known->second;
    zeros = zeros || known == since->oldest.end() || since->zeros.at(block);
    // Zeros that came and went since then.
    auto begin = state.past.lower_bound(oldest);
    zeros = zeros || std::any_of(begin, state.past.end(), [](auto& version) { return version.second; });
  }
  auto versions = sectorVersions(bytes, file_, block);
  for (size_t i = 0; i < versions.size(); ++i) {
    int64_t version = versions[i];
    bool written = state.possible.count(version) > 0 ? !state.possible.at(version)
                                                     : state.past.count(version) > 0 && !state.past.at(version);
    if (version == ZEROS ? zeros : version >= oldest && written) {
      continue;
    }
    return "file " + std::to_string(file_) + " block " + std::to_string(block) + " sector " + std::to_string(i) +
           " shows version " + std::to_string(version) + ", but nothing older than " + std::to_string(oldest) +
           (zeros ? " may be seen, or zeros" : " may be seen, and no zeros");
  }
  return {};
}

}  // namespace cairn
