// A leveldb::Env that reaches everything below one directory through the directory itself, as it was when it was
// opened. By its path alone LevelDB would go on somewhere else when a disk is unmounted under it: it would make its
// directory anew in the file system beneath. Nor does it map its tables into memory: a disk that can't be read would be
// a SIGBUS then, and the end of a process that serves other disks too; here it is an error.
#pragma once
#include <leveldb/env.h>

#include <memory>
#include <string>

#include "common/result.h"

namespace cairn {

// Names that begin with `root` and a slash are below it, all others are left alone. `under` must outlive the result.
Result<std::unique_ptr<leveldb::Env>> newRootedEnv(leveldb::Env& under, const std::string& root);

}  // namespace cairn
