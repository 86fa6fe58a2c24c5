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
  // Of deleted chunks: still on the disk, but room for whoever wants it.
  void setRetired(uint64_t bytes) { retired_ = bytes; }
  void retired(int64_t deltaBytes);
  uint64_t retiredBytes() const { return retired_; }
  // What may be allocated without giving any of them up.
  uint64_t roomBytes() const;
  VolumeSpace space() const;

 private:
  Disk& disk_;
  uint64_t limit_;
  uint64_t used_ = 0;  // by blocks of chunks
  uint64_t retired_ = 0;
  // Allocated since the disk was asked; and what it may not have counted when it was, besides.
  uint64_t sinceAsked_ = 0;
  uint64_t doubtful_ = 0;
  DiskSpace found_;
};

}  // namespace cairn
