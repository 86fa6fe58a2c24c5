// Space: how much room the cluster has for data, and this master for its log and state.
#pragma once
#include <cstdint>

#include "common/disk.h"
#include "master/namespace/reader.h"
#include "master/placement/roster.h"
#include "schema/master.capnp.h"

namespace cairn {

// At this many percent of a volume, or of all of them, people are warned; at the next new data is refused: what is
// left is for deletes, for the index, and for moving data away.
constexpr uint64_t WARN_PERCENT = 90;
constexpr uint64_t REFUSE_PERCENT = 95;
constexpr uint64_t FILLING_PERCENT = 75;

// Of all usable volumes, as they last told.
struct RawSpace {
  uint64_t totalBytes = 0;
  uint64_t usedBytes = 0;
  uint64_t retiredBytes = 0;
  // What a volume may still get of each byte that is written, over what it has room for: the fullest one says how much
  // can be written before some chunk finds no place. Of user's bytes, one copy.
  uint64_t boundBytes = UINT64_MAX;
  // Without what is kept back.
  uint64_t availableBytes() const;
};
// Up to which a volume takes new data.
uint64_t refuseBytes(uint64_t totalBytes);
RawSpace rawSpace(const Roster& roster);
// Bounded by the volumes that the class's shards are on.
RawSpace rawSpace(const Roster& roster, const ShardMap& map, ClassId cls);

// Some usable volume is so full that the room of deleted files is wanted soon.
bool isFilling(const Roster& roster);

// What statfs shows of a directory (or file): bytes that a user can still write there, in the copies that they get.
void writeSpace(const NamespaceReader& reader, const Roster& roster, InodeId inode, wire::Space::Builder out);

// The disk of the data directory. Asked rarely, for it is a system call.
class OwnSpace {
 public:
  explicit OwnSpace(Disk& disk) : disk_(disk) { refresh(); }
  void refresh();
  // New names are refused; whatever frees space goes on.
  bool isShort() const { return space_.totalBytes > 0 && space_.availableBytes < reserveBytes(); }
  bool isLow() const { return space_.totalBytes > 0 && space_.availableBytes < 2 * reserveBytes(); }
  uint64_t availableBytes() const { return space_.availableBytes; }

 private:
  static constexpr uint64_t RESERVE_BYTES_MAX = 128 << 20;
  static constexpr uint64_t RESERVE_PART = 40;
  uint64_t reserveBytes() const;

  Disk& disk_;
  DiskSpace space_;
};

}  // namespace cairn
