// ScrubPlace: how far the scrub of one volume has come, as it is kept on the volume: a restart goes on from there.
#pragma once
#include <string>

#include "common/ids.h"

namespace cairn {

struct ScrubPlace {
  bool running = false;
  bool fast = false;         // started by hand
  int64_t begun = 0;         // seconds of the wall clock
  int64_t lastBegun = 0;     // of the last complete pass
  int64_t lastEnded = 0;
  uint64_t bytesDone = 0;
  uint64_t bytesTotal = 0;
  ShardId shard{};           // all before it are done, and of it all up to `chunk`
  ChunkId chunk;
  bool inShard = false;      // `chunk` means something

  std::string text() const;
  // What isn't a place, or is damaged, is the beginning.
  static ScrubPlace parse(const std::string& text);
};

}  // namespace cairn
