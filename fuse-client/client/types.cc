#include "fuse-client/client/types.h"

#include <algorithm>
#include <cstring>

namespace cairn {
namespace {

constexpr size_t ZERO_BYTES = 256 * 1024;
constexpr kj::byte ZEROS[ZERO_BYTES] = {};

}  // namespace

FileTime fileTime(Nanos sinceEpoch) {
  int64_t seconds = sinceEpoch / SECOND;
  int64_t nanos = sinceEpoch % SECOND;
  if (nanos < 0) {
    nanos += SECOND;
    --seconds;
  }
  return {seconds, static_cast<uint32_t>(nanos)};
}

kj::Array<kj::byte> ReadData::joined() const {
  auto out = kj::heapArray<kj::byte>(sizeBytes_);
  kj::byte* at = out.begin();
  for (auto& part : parts_) {
    memcpy(at, part.begin(), part.size());
    at += part.size();
  }
  return out;
}

void ReadData::addZeros(uint64_t count) {
  sizeBytes_ += count;
  while (count > 0) {
    size_t now = std::min<uint64_t>(count, ZERO_BYTES);
    parts_.push_back(kj::arrayPtr(ZEROS, now));
    count -= now;
  }
}

}  // namespace cairn
