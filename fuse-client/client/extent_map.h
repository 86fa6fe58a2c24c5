// ExtentMap: which byte ranges of a file lie in which buffers. Extents never overlap. Pure: used for dirty bytes,
// for bytes on their way, and for bytes acknowledged but not yet durable.
#pragma once
#include <kj/refcount.h>

#include <cstdint>
#include <map>
#include <vector>

#include "common/ids.h"
#include "fuse-client/client/buffer.h"

namespace cairn {

// The volumes, each under one incarnation and as a member without a gap since one epoch, that acknowledged something.
struct VolumeVerifier {
  VolumeNumber volume{};
  Incarnation incarnation;
  Epoch since{};
  bool operator==(const VolumeVerifier&) const = default;
};
struct Verifiers : public kj::Refcounted {
  std::vector<VolumeVerifier> list;
  uint64_t order = 0;  // rises with every acknowledgement of a mount
  ObjectId object{};   // that they have it in
  ClassId cls{};

  // Some volume is in both, the same: what was acknowledged there is covered by a sync there.
  bool shares(const Verifiers& other) const;
};

struct Extent {
  uint64_t offset = 0;
  uint64_t length = 0;
  kj::Own<Buffer> buffer;  // null: zeros that were punched
  uint32_t start = 0;      // of these bytes in the buffer
  uint64_t sequence = 0;   // of the oldest write in it
  kj::Own<Verifiers> acknowledged;  // who has it; null before

  uint64_t end() const { return offset + length; }
  bool isHole() const { return buffer.get() == nullptr; }
  kj::ArrayPtr<kj::byte> bytes() const { return kj::arrayPtr(buffer.get()->begin() + start, length); }
  // The part of it in [from, to), sharing the buffer.
  Extent slice(uint64_t from, uint64_t to) const;
};

class ExtentMap {
 public:
  using Map = std::map<uint64_t, Extent>;

  bool empty() const { return extents_.empty(); }
  uint64_t bytes() const { return bytes_; }  // of buffers, holes not counted
  size_t count() const { return extents_.size(); }
  const Map& extents() const { return extents_; }
  bool overlaps(uint64_t from, uint64_t to) const;
  // True when every byte of [from, to) is in some extent.
  bool covers(uint64_t from, uint64_t to) const;
  uint64_t end() const { return extents_.empty() ? 0 : extents_.rbegin()->second.end(); }

  // Slices of everything in [from, to), in order.
  std::vector<Extent> slices(uint64_t from, uint64_t to) const;
  // Puts `extent` over what was there.
  void put(Extent extent);
  // Puts in only the parts of `extent` where nothing is.
  void putUnder(const Extent& extent);
  void erase(uint64_t from, uint64_t to);
  void clear();
  // Takes [from, to) out.
  std::vector<Extent> take(uint64_t from, uint64_t to);

  // Copies `data` in. No extent made here crosses a multiple of `unit` (a power of two). Overwrites in place where one
  // extent holds all of it, appends in place where a buffer has room.
  void write(BufferPool& pool, uint64_t offset, kj::ArrayPtr<const kj::byte> data, uint64_t unit, uint64_t sequence);

 private:
  Map::iterator firstOverlapping(uint64_t from);
  void writeUnit(BufferPool& pool, uint64_t offset, kj::ArrayPtr<const kj::byte> data, uint64_t unit,
                 uint64_t sequence);
  bool writeInPlace(uint64_t offset, kj::ArrayPtr<const kj::byte> data);
  bool append(uint64_t offset, kj::ArrayPtr<const kj::byte> data, uint64_t unit);
  void insert(Extent extent);

  Map extents_;
  uint64_t bytes_ = 0;
};

}  // namespace cairn
