// What is found in a log's directory: reads and verifies every segment, tells a torn end from rot. Changes nothing.
#pragma once
#include <string>
#include <vector>

#include "common/disk.h"
#include "common/ids.h"
#include "master/log/record.h"

namespace cairn {

struct LogOptions {
  ClusterId cluster;
  std::string directory = "log";
  uint64_t segmentBytes = 32 << 20;
};

// The SyncedMarker's file.
std::string markerPath(const LogOptions& options);

struct LogSegment {
  uint64_t number = 0;
  LogIndex first{};
  Term previousTerm{};
  uint64_t previousChain = 0;
  uint64_t end = SEGMENT_HEADER_BYTES;  // of its records
  uint32_t flags = 0;
};

struct TermStart {
  Term term;
  LogIndex first;
};

struct FoundLog {
  std::vector<LogSegment> segments;  // in order
  std::vector<TermStart> terms;      // of the entries in them
  LogIndex last{};
  Term lastTerm{};
  uint64_t chain = 0;
  bool torn = false;              // bytes of entries that were never acknowledged follow the last one
  std::vector<uint64_t> ready;    // unused segments that follow the last one
  std::vector<uint64_t> useless;  // files that serve nothing
};

// `synced`: what the marker says. An error names file, offset and next step; EIO is damage.
Result<FoundLog> findLog(Disk& disk, const LogOptions& options, LogIndex synced);

// The last entry that anything in the directory speaks of, however damaged the rest is; 0: nothing does.
Result<LogIndex> findLastTrace(Disk& disk, const LogOptions& options);
// Numbers of all segment files.
Result<std::vector<uint64_t>> listSegments(Disk& disk, const LogOptions& options);

// Where a log stands after one of its entries.
struct LogPlace {
  size_t segment = 0;  // of the list
  uint64_t end = 0;    // in its file
  uint64_t chain = 0;
};
// After entry `index`, which is in one of the segments, or right before the first of them.
Result<LogPlace> findPlace(Disk& disk, const LogOptions& options, const std::vector<LogSegment>& segments,
                           LogIndex index);
// Takes the entries after `place` from the list.
void cutAfter(std::vector<LogSegment>& segments, const LogPlace& place);

// The used part of a segment file.
Result<kj::Array<kj::byte>> readSegment(Disk& disk, const LogOptions& options, uint64_t number, uint64_t bytes);

}  // namespace cairn
