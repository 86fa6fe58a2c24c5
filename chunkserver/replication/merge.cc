#include "chunkserver/replication/merge.h"

#include <kj/debug.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "chunkserver/store/chunk_format.h"

namespace cairn {
namespace {

bool lists(const std::vector<uint32_t>& sorted, uint32_t block) {
  return std::binary_search(sorted.begin(), sorted.end(), block);
}

bool matches(const CopyState& copy, uint32_t block) {
  return copy.present && !lists(copy.bad, block) && !lists(copy.torn, block);
}

uint64_t sumOf(const CopyState& copy, uint32_t block) {
  return block < copy.sums.size() ? copy.sums[block] : 0;
}

bool allEqual(const std::vector<CopyState>& copies) {
  for (auto& copy : copies) {
    bool same = copy.present == copies[0].present && copy.digest == copies[0].digest;
    if (copy.present && (!same || !copy.bad.empty() || !copy.torn.empty())) {
      return false;
    }
    if (!same) {
      return false;
    }
  }
  return true;
}

// Where the base has lost the checksum itself it doesn't say what the block should be. The others do, if they agree.
std::optional<uint32_t> agreedSource(const std::vector<CopyState>& copies, uint32_t base, uint32_t block) {
  std::optional<uint32_t> found;
  for (uint32_t m = 0; m < copies.size(); ++m) {
    if (m == base || !matches(copies[m], block)) {
      continue;
    }
    if (found && sumOf(copies[m], block) != sumOf(copies[*found], block)) {
      return std::nullopt;
    }
    found = found.value_or(m);
  }
  return found;
}

// The member to take `block` from, which doesn't match at the base: one with the very bytes that the base should have;
// else, where a crash left the base torn, one with another version, data before a hole. Rot is never replaced by
// another version: in-sync copies of a whole chunk can't differ, so something is wrong, and no byte beats a wrong one.
std::optional<uint32_t> sourceOf(const std::vector<CopyState>& copies, uint32_t base, uint32_t block) {
  uint64_t wanted = sumOf(copies[base], block);
  if (wanted == LOST_SUM && lists(copies[base].bad, block)) {
    return agreedSource(copies, base, block);
  }
  std::optional<uint32_t> otherData, hole;
  for (uint32_t m = 0; m < copies.size(); ++m) {
    if (m == base || !matches(copies[m], block)) {
      continue;
    }
    uint64_t sum = sumOf(copies[m], block);
    if (sum == wanted) {
      return m;
    }
    auto& slot = sum == 0 ? hole : otherData;
    slot = slot.value_or(m);
  }
  if (!lists(copies[base].torn, block)) {
    return std::nullopt;
  }
  return otherData ? otherData : hole;
}

std::optional<uint32_t> adoptableAt(const std::vector<CopyState>& copies, uint32_t base, uint32_t block) {
  if (lists(copies[base].torn, block)) {
    return base;
  }
  for (uint32_t m = 0; m < copies.size(); ++m) {
    if (copies[m].present && lists(copies[m].torn, block)) {
      return m;
    }
  }
  return std::nullopt;
}

uint32_t chooseBase(const std::vector<CopyState>& copies, uint32_t base, bool allRestarted) {
  if (copies[base].present || !allRestarted) {
    return base;
  }
  for (uint32_t m = 0; m < copies.size(); ++m) {
    if (copies[m].present) {
      return m;  // a crash may have lost a whole chunk at the base, and here it is
    }
  }
  return base;
}

// The same contents, as far as their checksums are known.
bool agree(const CopyState& a, const CopyState& b) {
  uint32_t end = static_cast<uint32_t>(std::max(a.sums.size(), b.sums.size()));
  for (uint32_t block = 0; block < end; ++block) {
    bool known = sumOf(a, block) != LOST_SUM && sumOf(b, block) != LOST_SUM;
    if (known && sumOf(a, block) != sumOf(b, block)) {
      return false;
    }
  }
  return a.present == b.present;
}

}  // namespace

uint32_t chooseNewest(const std::vector<CopyState>& copies) {
  size_t absent = std::count_if(copies.begin(), copies.end(), [](auto& copy) { return !copy.present; });
  bool removed = 2 * absent > copies.size();
  using Rank = std::tuple<uint64_t, bool, size_t>;
  auto rankOf = [&copies](const CopyState& copy) {
    bool whole = std::find(copy.sums.begin(), copy.sums.end(), LOST_SUM) == copy.sums.end();
    size_t votes = std::count_if(copies.begin(), copies.end(), [&](auto& other) { return agree(copy, other); });
    return Rank(copy.lastEpoch, whole, votes);
  };
  uint32_t best = 0;
  std::optional<Rank> highest;
  for (uint32_t m = 0; m < copies.size(); ++m) {
    if (copies[m].present != removed && (!highest || rankOf(copies[m]) > *highest)) {
      best = m;
      highest = rankOf(copies[m]);
    }
  }
  return best;
}

MergePlan planMerge(const std::vector<CopyState>& copies, uint32_t base, bool allRestarted) {
  KJ_REQUIRE(base < copies.size());
  MergePlan plan;
  plan.base = base;
  if (allEqual(copies)) {
    return plan;
  }
  plan.base = chooseBase(copies, base, allRestarted);
  const CopyState& from = copies[plan.base];
  if (!from.present) {
    plan.kind = MergePlan::Kind::REMOVE;
    return plan;
  }
  std::vector<uint32_t> failing;
  std::merge(from.bad.begin(), from.bad.end(), from.torn.begin(), from.torn.end(), std::back_inserter(failing));
  for (uint32_t block : failing) {
    if (auto source = sourceOf(copies, plan.base, block)) {
      plan.patches.push_back({block, *source});
      continue;
    }
    auto adoptable = allRestarted ? adoptableAt(copies, plan.base, block) : std::nullopt;
    if (adoptable) {
      plan.adopted.push_back({block, *adoptable});
    } else {
      plan.bad.push_back(block);
    }
  }
  // When nobody has anything better, installing would change nothing.
  bool othersDiffer = false;
  for (auto& copy : copies) {
    othersDiffer |= !copy.present || copy.digest != from.digest || copy.bad != plan.bad || !copy.torn.empty();
  }
  plan.kind = othersDiffer ? MergePlan::Kind::INSTALL : MergePlan::Kind::EQUAL;
  return plan;
}

}  // namespace cairn
