#include "master/log/marker.h"

#include <algorithm>
#include <cstddef>

#include "common/checksum.h"

namespace cairn {

namespace {

// Far enough apart that no write of one touches a block of the other.
constexpr uint64_t PLACE_BYTES = BLOCK_BYTES;
constexpr uint64_t PLACES = 2;
constexpr uint64_t SEED = 0x4d61726b6572;

struct Place {
  uint64_t index = 0;
  uint64_t sum = 0;
};

uint64_t sumOf(const Place& place) {
  return hash64(kj::arrayPtr(reinterpret_cast<const kj::byte*>(&place), offsetof(Place, sum)), SEED);
}

}  // namespace

Result<kj::Own<SyncedMarker>> SyncedMarker::open(Disk& disk, const std::string& path) {
  auto opened = disk.open(path, Disk::Mode::CREATE);
  if (!opened.ok()) {
    return opened.error();
  }
  auto marker = kj::heap<SyncedMarker>(kj::mv(opened.value()));
  for (uint64_t i = 0; i < PLACES; ++i) {
    Place place;
    auto bytes = kj::arrayPtr(reinterpret_cast<kj::byte*>(&place), sizeof(place));
    auto got = marker->file_->readNow(i * PLACE_BYTES, bytes);
    if (!got.ok()) {
      return got.error();
    }
    if (got.value() == sizeof(place) && place.sum == sumOf(place)) {
      marker->index_ = std::max(marker->index_, LogIndex{place.index});
    }
    if (got.value() < sizeof(place)) {  // room for it now, so that a full disk later doesn't matter
      place = {};
      auto made = marker->file_->write(i * PLACE_BYTES, bytes);
      if (!made.ok()) {
        return made.error();
      }
    }
  }
  return kj::mv(marker);
}

Result<bool> SyncedMarker::set(LogIndex durable) {
  index_ = durable;
  Place place{raw(durable), 0};
  place.sum = sumOf(place);
  auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(&place), sizeof(place));
  auto status = file_->write(writes_++ % PLACES * PLACE_BYTES, bytes);
  if (!status.ok()) {
    return status.error();
  }
  return writes_ % WRITES_PER_SYNC == 0;
}

Status SyncedMarker::lower(LogIndex durable) {
  for (uint64_t i = 0; i < PLACES; ++i) {
    auto written = set(durable);
    if (!written.ok()) {
      return written.error();
    }
  }
  return file_->syncNow();
}

}  // namespace cairn
