// How much may still be allocated. A part of the disk is kept back so that removes, cuts, the index and its
// compactions always find room: new blocks are refused when 95 % is used.
#pragma once
#include "chunkserver/store/volume_store.h"
#include "common/disk.h"

namespace cairn {

class SpaceBudget {
 public:
  static constexpr uint64_t RESERVE_MAX = 16ull << 30;
  // The disk is asked again after this much was allocated.
  static constexpr uint64_t ASK_AGAIN_BYTES = 8 << 20;

  SpaceBudget(Disk& disk, uint64_t capacityLimit) : disk_(disk), limit_(capacityLimit) {}

  // Looks at the disk. An error leaves the old figures.
  Status refresh();
  // Whether `bytes` more may be allocated.
  bool admits(uint64_t bytes);
  void allocated(int64_t deltaBytes);
  void setUsed(uint64_t bytes) { used_ = bytes; }
  uint64_t usedBytes() const { return used_; }
  VolumeSpace space() const;

 private:
  Disk& disk_;
  uint64_t limit_;
  uint64_t used_ = 0;  // by blocks of chunks
  uint64_t sinceAsked_ = 0;
  DiskSpace found_;
};

}  // namespace cairn
