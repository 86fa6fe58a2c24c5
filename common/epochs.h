// A shard's epochs: the high half counts its histories. A new one begins where something that was acknowledged is given
// up (`dfsadmin shard force`, `dfsadmin raft recover`): a mark of an older one says nothing of what is missing since.
#pragma once
#include "common/ids.h"

namespace cairn {

constexpr unsigned HISTORY_SHIFT = 32;

constexpr Epoch nextHistory(Epoch epoch) {
  return Epoch{((raw(epoch) >> HISTORY_SHIFT) + 1) << HISTORY_SHIFT};
}
constexpr bool ofOneHistory(Epoch a, Epoch b) {
  return raw(a) >> HISTORY_SHIFT == raw(b) >> HISTORY_SHIFT;
}

}  // namespace cairn
