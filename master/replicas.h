// How many copies there are of a directory's files, and what no two of them share, as administrators set it. A class of
// that kind is made when it is asked for first, and stays.
#pragma once
#include <string>

#include "common/task.h"
#include "master/core.h"
#include "master/placement/classes.h"

namespace cairn {

struct ReplicasWish {
  std::string path;
  ClassWish cls;
  bool existing = false;  // also of the files that are there already
  bool apply = false;     // else it only says what it would do
};

struct ReplicasDone {
  std::string text;   // for people
  uint64_t task = 0;  // that copies existing files; 0: there is none
};

// The class of that kind, made and placed.
Task<Result<ClassId>> ensureClass(Core& core, ClassWish wish);
Task<Result<ReplicasDone>> setReplicas(Core& core, ReplicasWish wish);

}  // namespace cairn
