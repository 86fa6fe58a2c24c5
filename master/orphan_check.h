// Which objects no file has: what chunkservers ask about the chunks that they keep. The state has no list of objects,
// so all files are looked at, a few at a time; it is asked a few times a day.
#pragma once
#include <vector>

#include "common/clock.h"
#include "common/task.h"
#include "master/namespace/reader.h"

namespace cairn {

constexpr size_t ORPHAN_OBJECTS_MAX = 256 << 10;  // in one question

// Of `objects` those that were given out, are no file's, and aren't on the reclaim queue, in order. Behind a read
// barrier, and while this master leads: what is made meanwhile isn't among them, for their chunks were there before.
Task<std::vector<ObjectId>> findOrphans(Clock& clock, const NamespaceReader& reader, std::vector<ObjectId> objects);

}  // namespace cairn
