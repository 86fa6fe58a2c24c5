// Which accesses to a simulated volume go wrong. Chosen by (seed, file, offset), not by the order of the
// calls, so that LevelDB's background thread can't change what happens.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace cairn {

// Chances per million 4 KiB blocks (for syncs and names: per call).
struct SimFaults {
  uint64_t seed = 0;
  uint32_t readError = 0;
  uint32_t writeError = 0;
  uint32_t syncError = 0;
  uint32_t lostWrite = 0;         // the device says "stored" and forgets
  uint32_t misdirectedWrite = 0;  // ... and stores it over another block of the file
  // Which files they befall; all when empty.
  std::function<bool(const std::string& path)> befalls;
};

// Fails the n-th access from now on (1 is the next), for "fail the n-th I/O" loops.
struct SimTrip {
  uint64_t countdown = 0;  // 0: never
  int code = 5;            // EIO
  bool forGood = false;    // all later ones as well: the disk has died
};

}  // namespace cairn
