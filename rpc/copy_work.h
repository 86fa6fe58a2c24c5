// Ids of wire::CopyObject: how the master and the servers that copy speak of a piece of work and of what came of it.
#pragma once
#include <cstdint>

namespace cairn {

// Tells them from the ids of the reclaim and cut queues.
constexpr uint64_t COPY_WORK = uint64_t{1} << 63;
// In `done` the low half says what came of it: of a survey how many chunks there are, else 0.
constexpr uint64_t WORK_RESULT = 0xffffffff;
// A block has no good copy.
constexpr uint32_t WORK_FAILED = 0xffffffff;

inline bool isCopyWork(uint64_t id) { return (id & COPY_WORK) != 0; }

}  // namespace cairn
