// What a mount may be told, the bounds of its memory, and what it counts.
#pragma once
#include <cstdint>
#include <string>

#include "common/clock.h"
#include "common/metrics/operation.h"

namespace cairn {

// Which reads move a file's access time: none; the first after each change and one a day, enough to tell what was read
// since it changed, and what nobody uses any more; or every one.
enum class AccessTimes { NEVER, RELATIVE, STRICT };

// Bounds of one mount's memory and waits.
struct ClientLimits {
  uint64_t dirtyBytesMax = 64u << 20;     // accepted by write(), not yet acknowledged by chunkservers
  uint64_t unsyncedBytesMax = 64u << 20;  // acknowledged, not yet known durable
  uint64_t readAheadBytesMax = 32u << 20; // blocks read ahead of the reader, all handles together
  uint32_t inodesMax = 64u << 10;         // attributes kept of inodes that are not open
  uint32_t namesMax = 256u << 10;         // names kept of leased directories
};

struct ClientOptions {
  std::string name;    // of this mount, for people ("host:/mnt")
  std::string hostId;  // equal to a chunkserver's: its Unix socket is tried first
  // 0 ("hard"): operations wait as long as the cluster is away. Else ("soft"): EIO after this long.
  Nanos softTimeoutNanos = 0;
  // write() answers only when the data is durable (mount -o sync).
  bool synchronous = false;
  AccessTimes accessTimes = AccessTimes::NEVER;
  bool directoryAccessTimes = true;  // of directories too
  Nanos slow = SLOW_DEFAULT;  // from when on a call is worth a line in the log; 0: never
  ClientLimits limits;
};

// Whom the mount takes for the leader of the masters.
struct LeaderStanding {
  std::string name, address;  // that it is attached to, or was last; empty: to none yet
  bool attached = false;
  uint64_t session = 0;
  Nanos silentNanos = 0;  // for so long nothing has been heard, though it was asked or looked for
};

// Counters since the start, for `stats` of a mount.
struct ClientStats {
  uint64_t masterCalls = 0, masterRetries = 0, sessions = 0;
  uint64_t chunkCalls = 0, chunkRetries = 0, badBlocks = 0, hedgedReads = 0;
  uint64_t bytesRead = 0, bytesWritten = 0, bytesResent = 0;
  uint64_t dirtyBytes = 0, unsyncedBytes = 0, readAheadBytes = 0;  // now
  uint64_t openHandles = 0, inodes = 0, errorsReported = 0;
  uint64_t mapVersion = 0, session = 0;
  uint64_t term = 0, index = 0;  // of the master's log, where its last answer was given
  uint64_t leasedLookups = 0, leasedAttributes = 0, recalls = 0;
  uint64_t operations = 0, operationErrors = 0, slowOperations = 0;  // calls of programs
};

}  // namespace cairn
