#include "fuse-client/client/extent_map.h"

#include <kj/debug.h>

#include <algorithm>
#include <cstring>

namespace cairn {

bool Verifiers::shares(const Verifiers& other) const {
  return std::any_of(list.begin(), list.end(), [&other](const VolumeVerifier& mine) {
    return std::find(other.list.begin(), other.list.end(), mine) != other.list.end();
  });
}

Extent Extent::slice(uint64_t from, uint64_t to) const {
  KJ_ASSERT(from >= offset && to <= end() && from < to);
  Extent out;
  out.offset = from;
  out.length = to - from;
  out.sequence = sequence;
  if (!isHole()) {
    out.buffer = kj::addRef(*const_cast<Buffer*>(buffer.get()));
    out.start = start + static_cast<uint32_t>(from - offset);
  }
  if (acknowledged.get() != nullptr) {
    out.acknowledged = kj::addRef(*const_cast<Verifiers*>(acknowledged.get()));
  }
  return out;
}

ExtentMap::Map::iterator ExtentMap::firstOverlapping(uint64_t from) {
  auto it = extents_.upper_bound(from);
  if (it != extents_.begin() && std::prev(it)->second.end() > from) {
    --it;
  }
  return it;
}

bool ExtentMap::overlaps(uint64_t from, uint64_t to) const {
  auto it = const_cast<ExtentMap*>(this)->firstOverlapping(from);
  return it != extents_.end() && it->first < to;
}

bool ExtentMap::covers(uint64_t from, uint64_t to) const {
  auto it = const_cast<ExtentMap*>(this)->firstOverlapping(from);
  while (from < to) {
    if (it == extents_.end() || it->first > from) {
      return false;
    }
    from = it->second.end();
    ++it;
  }
  return true;
}

std::vector<Extent> ExtentMap::slices(uint64_t from, uint64_t to) const {
  std::vector<Extent> out;
  if (from >= to) {
    return out;
  }
  for (auto it = const_cast<ExtentMap*>(this)->firstOverlapping(from); it != extents_.end() && it->first < to; ++it) {
    out.push_back(it->second.slice(std::max(from, it->first), std::min(to, it->second.end())));
  }
  return out;
}

void ExtentMap::insert(Extent extent) {
  bytes_ += extent.isHole() ? 0 : extent.length;
  uint64_t key = extent.offset;
  extents_.emplace(key, kj::mv(extent));
}

std::vector<Extent> ExtentMap::take(uint64_t from, uint64_t to) {
  std::vector<Extent> out;
  if (from >= to) {
    return out;
  }
  auto it = firstOverlapping(from);
  while (it != extents_.end() && it->first < to) {
    Extent whole = kj::mv(it->second);
    it = extents_.erase(it);
    bytes_ -= whole.isHole() ? 0 : whole.length;
    if (whole.offset < from) {
      insert(whole.slice(whole.offset, from));
    }
    if (whole.end() > to) {
      insert(whole.slice(to, whole.end()));
    }
    if (whole.offset >= from && whole.end() <= to) {
      out.push_back(kj::mv(whole));
    } else {
      out.push_back(whole.slice(std::max(from, whole.offset), std::min(to, whole.end())));
    }
  }
  return out;
}

void ExtentMap::erase(uint64_t from, uint64_t to) {
  auto dropped = take(from, to);
}

void ExtentMap::clear() {
  extents_.clear();
  bytes_ = 0;
}

void ExtentMap::put(Extent extent) {
  erase(extent.offset, extent.end());
  insert(kj::mv(extent));
}

void ExtentMap::putUnder(const Extent& extent) {
  uint64_t at = extent.offset;
  for (auto& over : slices(extent.offset, extent.end())) {
    if (over.offset > at) {
      insert(extent.slice(at, over.offset));
    }
    at = over.end();
  }
  if (at < extent.end()) {
    insert(extent.slice(at, extent.end()));
  }
}

void ExtentMap::write(BufferPool& pool, uint64_t offset, kj::ArrayPtr<const kj::byte> data, uint64_t unit,
                      uint64_t sequence) {
  KJ_REQUIRE(unit <= BUFFER_BYTES_MAX && (unit & (unit - 1)) == 0, unit);
  while (data.size() > 0) {
    size_t room = unit - (offset & (unit - 1));
    size_t now = std::min(room, data.size());
    writeUnit(pool, offset, data.slice(0, now), unit, sequence);
    offset += now;
    data = data.slice(now, data.size());
  }
}

void ExtentMap::writeUnit(BufferPool& pool, uint64_t offset, kj::ArrayPtr<const kj::byte> data, uint64_t unit,
                          uint64_t sequence) {
  if (writeInPlace(offset, data)) {
    return;
  }
  erase(offset, offset + data.size());
  if (append(offset, data, unit)) {
    return;
  }
  Extent extent;
  extent.offset = offset;
  extent.length = data.size();
  extent.sequence = sequence;
  // A row of small appends gets buffers of growing size.
  uint64_t wanted = data.size();
  auto before = extents_.lower_bound(offset);
  if (before != extents_.begin() && std::prev(before)->second.end() == offset && (offset & (unit - 1)) != 0) {
    wanted = std::max(wanted, std::min(std::prev(before)->second.length * 4, unit - (offset & (unit - 1))));
  }
  extent.buffer = pool.get(static_cast<uint32_t>(wanted));
  extent.buffer->use(static_cast<uint32_t>(data.size()));
  memcpy(extent.buffer->begin(), data.begin(), data.size());
  insert(kj::mv(extent));
}

bool ExtentMap::writeInPlace(uint64_t offset, kj::ArrayPtr<const kj::byte> data) {
  auto it = firstOverlapping(offset);
  if (it == extents_.end() || it->first > offset || it->second.end() < offset + data.size() || it->second.isHole()) {
    return false;
  }
  memcpy(it->second.bytes().begin() + (offset - it->first), data.begin(), data.size());
  return true;
}

bool ExtentMap::append(uint64_t offset, kj::ArrayPtr<const kj::byte> data, uint64_t unit) {
  auto after = extents_.lower_bound(offset);
  if (after == extents_.begin() || (offset & (unit - 1)) == 0) {
    return false;
  }
  Extent& before = std::prev(after)->second;
  if (before.end() != offset || before.isHole()) {
    return false;
  }
  Buffer& buffer = *before.buffer;
  uint32_t at = before.start + static_cast<uint32_t>(before.length);
  if (buffer.used() != at || buffer.capacity() - at < data.size()) {
    return false;
  }
  memcpy(buffer.begin() + at, data.begin(), data.size());
  buffer.use(at + static_cast<uint32_t>(data.size()));
  before.length += data.size();
  bytes_ += data.size();
  return true;
}

}  // namespace cairn
