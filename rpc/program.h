// Program: what a server's program can do, as it tells the masters.
//
// The feature level is about what may stand in the masters' log and state and on the chunkservers' disks. A program
// that knows more than before writes nothing of it until the cluster has been raised to its level (master/upgrade.h),
// so that servers can be upgraded one by one, and taken back as long as not all have been.
#pragma once
#include <string>

#include "schema/types.capnp.h"

namespace cairn {

struct Program {
  std::string version;  // for people
  uint32_t level = wire::FEATURE_LEVEL;
};

inline void writeProgram(const Program& program, wire::Program::Builder out) {
  out.setVersion(program.version);
  out.setLevel(program.level);
}
inline Program readProgram(wire::Program::Reader in) {
  return {in.getVersion().cStr(), in.getLevel()};
}

// `server` can't be one of a cluster of `level`. The error says what to do.
inline std::string tooOld(const std::string& server, const Program& program, uint32_t level) {
  return server + " runs version " + program.version + ", which knows feature level " + std::to_string(program.level) +
         ", and this cluster has been raised to " + std::to_string(level) +
         ": install the other servers' version there";
}

}  // namespace cairn
