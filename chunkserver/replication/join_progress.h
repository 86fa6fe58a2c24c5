// How far the joining members of a volume are: for people, and for who decides what moves where.
#pragma once
#include <cstdint>

namespace cairn {

struct JoinProgress {
  uint64_t bytesLeft = 0;   // still to be compared or fetched, as far as known
  uint64_t bytesMoved = 0;  // fetched since the server's start
};

}  // namespace cairn
