// What a daemon says of its own process, and how much it logs.
#pragma once
#include <string>

#include "common/result.h"
#include "schema/admin.capnp.h"

namespace cairn {

// `logLevel`: from now on; empty: as it is. EINVAL: there is none of that name.
Status tellAbout(const std::string& logLevel, const std::string& version, wire::DaemonAbout::Builder out);

}  // namespace cairn
