// Locks as the master lists them.
#pragma once
#include <string>
#include <vector>

#include "common/task.h"
#include "schema/master.capnp.h"
#include "tools/admin/context.h"
#include "tools/admin/output.h"

namespace cairn::admin {

using Locks = capnp::Response<wire::Admin::LocksResults>;

Task<Locks> readLocks(Context& context, wire::Admin::Client admin);
// Of one file, or of all (inode 0); of one session, or of all (0).
std::vector<wire::LockInfo::Reader> chosen(const Locks& all, uint64_t inode, uint64_t session);
// In a sentence, and for programs.
std::string textOf(wire::LockInfo::Reader info);
Json jsonOf(wire::LockInfo::Reader info);

}  // namespace cairn::admin
