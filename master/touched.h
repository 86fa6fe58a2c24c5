// What an operation is about to change: for the recall of leases.
#pragma once
#include "master/leases.h"
#include "master/namespace/reader.h"

namespace cairn {

// Adds every inode and name to `change`, as the names stand in `reader` now; what is there already stays.
void addTouched(wire::Op::Reader op, const NamespaceReader& reader, Leases::Change& change);

}  // namespace cairn
