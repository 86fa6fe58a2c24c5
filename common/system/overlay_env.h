// A leveldb::Env that writes nothing: what LevelDB changes when it opens or repairs a database (both write) stays in
// memory, above files that are only read. For databases that must stay as they are, since they may be all that is left.
#pragma once
#include <leveldb/env.h>

#include <memory>

namespace cairn {

// `under` must outlive the result, which goes when the last database opened through it is closed.
std::unique_ptr<leveldb::Env> newOverlayEnv(leveldb::Env& under);

}  // namespace cairn
