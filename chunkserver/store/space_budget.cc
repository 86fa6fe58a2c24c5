#include "chunkserver/store/space_budget.h"

#include <algorithm>

namespace cairn {

namespace {

constexpr uint64_t reserveOf(uint64_t total) {
  return std::min(total / 20, SpaceBudget::RESERVE_MAX);
}

}  // namespace

Status SpaceBudget::refresh() {
  auto found = disk_.space();
  if (!found.ok()) {
    return found.error();
  }
  found_ = found.value();
  sinceAsked_ = doubtful_ = 0;
  return {};
}

bool SpaceBudget::admits(uint64_t bytes) {
  if (bytes == 0) {
    return true;
  }
  // An answer that can't be had doesn't change what is allowed; the next write will tell what is wrong.
  if (doubtful_ + bytes >= ASK_AGAIN_BYTES) {
    (void)refresh();
  } else if (roomBytes() < bytes) {
    // No refusal by old figures: room may have been made. What was allocated since may not be on the disk yet.
    uint64_t doubtful = doubtful_;
    (void)refresh();
    doubtful_ = doubtful;
  }
  return roomBytes() >= bytes;
}

void SpaceBudget::allocated(int64_t deltaBytes) {
  used_ = deltaBytes < 0 ? used_ - std::min(used_, static_cast<uint64_t>(-deltaBytes))
                         : used_ + static_cast<uint64_t>(deltaBytes);
  uint64_t more = deltaBytes > 0 ? static_cast<uint64_t>(deltaBytes) : 0;
  sinceAsked_ += more;
  doubtful_ += more;
}

void SpaceBudget::retired(int64_t deltaBytes) {
  retired_ = deltaBytes < 0 ? retired_ - std::min(retired_, static_cast<uint64_t>(-deltaBytes))
                            : retired_ + static_cast<uint64_t>(deltaBytes);
}

uint64_t SpaceBudget::roomBytes() const {
  uint64_t reserve = reserveOf(found_.totalBytes) + doubtful_;
  uint64_t room = found_.availableBytes > reserve ? found_.availableBytes - reserve : 0;
  if (limit_ > 0) {
    uint64_t usable = limit_ - reserveOf(limit_);
    uint64_t taken = used_ + retired_;
    room = std::min(room, usable > taken ? usable - taken : 0);
  }
  return room;
}

VolumeSpace SpaceBudget::space() const {
  VolumeSpace out;
  out.totalBytes = limit_ > 0 ? std::min(found_.totalBytes, limit_) : found_.totalBytes;
  out.usedBytes = used_;
  out.retiredBytes = retired_;
  out.availableBytes = roomBytes() + retired_;
  uint64_t left = found_.availableBytes - std::min(found_.availableBytes, sinceAsked_) + retired_;
  out.takenBytes = std::max(std::min(used_, out.totalBytes), out.totalBytes - std::min(out.totalBytes, left));
  out.full = out.availableBytes < BLOCK_BYTES;
  return out;
}

}  // namespace cairn
