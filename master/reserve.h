// Room kept back on the data directory's disk: a file of zeros that is given up when the disk is nearly full, so that
// what frees space (deletes, above all) can still be logged and applied. It is made again when there is room.
#pragma once
#include <string>

#include "common/disk.h"
#include "common/task.h"

namespace cairn {

class SpaceReserve {
 public:
  // Enough for LevelDB's log, a table and a compaction, twice over.
  static constexpr uint64_t DEFAULT_BYTES = 64 << 20;

  SpaceReserve(Disk& disk, uint64_t bytes) : disk_(disk), bytes_(bytes) {}

  // Whether the state may be written now: at least half the reserve's size is free, for a LevelDB that runs into a full
  // disk is of no use afterwards. Gives the reserve up when there is no room otherwise.
  bool hasRoom();
  // Makes the reserve, if it isn't there and there is plenty of room. Failing to is no error.
  Task<void> restore();

 private:
  uint64_t available();
  uint64_t marginBytes() const { return bytes_ / 2; }

  Disk& disk_;
  uint64_t bytes_;
  bool short_ = false;
};

}  // namespace cairn
