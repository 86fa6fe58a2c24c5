#include "chunkserver/scrub/scrub_place.h"

#include <sstream>

namespace cairn {

std::string ScrubPlace::text() const {
  std::ostringstream out;
  out << "1 " << running << ' ' << fast << ' ' << begun << ' ' << lastBegun << ' ' << lastEnded << ' ' << bytesDone
      << ' ' << bytesTotal << ' ' << raw(shard) << ' ' << raw(chunk.object) << ' ' << chunk.index << ' ' << inShard
      << " end";
  return out.str();
}

ScrubPlace ScrubPlace::parse(const std::string& text) {
  std::istringstream in(text);
  int version = 0;
  uint32_t shard = 0;
  uint64_t object = 0;
  std::string end;
  ScrubPlace place;
  in >> version >> place.running >> place.fast >> place.begun >> place.lastBegun >> place.lastEnded >>
      place.bytesDone >> place.bytesTotal >> shard >> object >> place.chunk.index >> place.inShard >> end;
  place.shard = ShardId{shard};
  place.chunk.object = ObjectId{object};
  return version == 1 && end == "end" ? place : ScrubPlace();
}

}  // namespace cairn
