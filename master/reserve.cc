#include "master/reserve.h"

#include <algorithm>
#include <cstring>

#include "common/log.h"

namespace cairn {

namespace {

constexpr char FILE_NAME[] = "reserve";
constexpr char UNFINISHED[] = "reserve.new";
constexpr uint64_t PIECE_BYTES = 1 << 20;
constexpr uint64_t PIECES_PER_SYNC = 4;
// The reserve is made only while there is this many times its size.
constexpr uint64_t PLENTY = 4;

Task<Status> fill(File& file, uint64_t bytes) {
  auto zeros = kj::heapArray<kj::byte>(std::min(PIECE_BYTES, bytes));
  memset(zeros.begin(), 0, zeros.size());
  uint64_t pieces = 0;
  for (uint64_t at = 0; at < bytes; at += zeros.size()) {
    auto written = file.write(at, zeros.slice(0, std::min<uint64_t>(zeros.size(), bytes - at)));
    if (!written.ok()) {
      co_return written;
    }
    if (++pieces % PIECES_PER_SYNC == 0) {
      auto synced = co_await file.sync();
      if (!synced.ok()) {
        co_return synced;
      }
    }
  }
  co_return co_await file.sync();
}

}  // namespace

uint64_t SpaceReserve::available() {
  auto space = disk_.space();
  return space.ok() ? space.value().availableBytes : 0;
}

bool SpaceReserve::hasRoom() {
  if (available() >= marginBytes()) {
    short_ = false;
    return true;
  }
  if (disk_.exists(FILE_NAME) && disk_.remove(FILE_NAME).ok()) {
    spdlog::warn("{}: the disk is full; {} MiB kept back are given up, so that deleting goes on", disk_.hostPath("."),
                 bytes_ >> 20);
    return available() >= marginBytes();
  }
  if (!short_) {
    short_ = true;
    spdlog::error("{}: the disk is full; changes stay in the log until there is room", disk_.hostPath("."));
  }
  return false;
}

Task<void> SpaceReserve::restore() {
  if (disk_.exists(FILE_NAME) || available() < PLENTY * bytes_) {
    co_return;
  }
  auto opened = disk_.open(UNFINISHED, Disk::Mode::CREATE);
  if (!opened.ok()) {
    spdlog::warn("no room is kept back: {}", opened.error().why);
    co_return;
  }
  auto filled = co_await fill(*opened.value(), bytes_);
  if (filled.ok()) {
    filled = disk_.rename(UNFINISHED, FILE_NAME);
  }
  if (!filled.ok()) {
    spdlog::warn("no room is kept back: {}", filled.error().why);
    // Best effort: whatever is left is written over by the next try.
    (void)disk_.remove(UNFINISHED);
  }
}

}  // namespace cairn
