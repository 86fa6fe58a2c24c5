// Between the wire's structs and the client's: attributes, callers, times, names.
#pragma once
#include <kj/string.h>

#include <string>

#include "common/result.h"
#include "fuse-client/client/types.h"
#include "schema/master.capnp.h"
#include "schema/types.capnp.h"

namespace cairn {

inline capnp::Data::Reader wireBytes(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}
inline std::string textOf(capnp::Data::Reader bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
}

Attributes readAttributes(wire::Attributes::Reader in);
void writeCaller(const Caller& in, wire::Caller::Builder out);
void writeTime(FileTime in, wire::Time::Builder out);
// Success, or the error that it names.
Status readOutcome(wire::Outcome::Reader in);

}  // namespace cairn
