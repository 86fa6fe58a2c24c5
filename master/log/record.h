// The log's format on disk, written down once. All numbers little-endian.
//
// A segment is a file "<number, 16 hex digits>.segment" of fixed size. Its first BLOCK_BYTES begin with a
// SegmentHeader; then records follow, each a RecordHeader and its payload, padded to 8 bytes. A recycled segment keeps
// its old bytes: they are told apart by the segment number in each record.
//
// Two hashes: `sum` says whether this record is whole, by itself; `chain` covers all records before it as well, so none
// can be missing, doubled or from another log. `synced` says what was known durable when the record was written: a
// damaged record that a later one calls durable has rotted; any other was torn by a crash and never acknowledged.
#pragma once
#include <kj/array.h>

#include <cstdint>
#include <optional>
#include <string>

#include "common/ids.h"

namespace cairn {

struct LogEntry {
  LogIndex index{};
  Term term{};
  kj::ArrayPtr<const kj::byte> payload;
};

// A segment may begin before the end of the one before it: the entries from there on were truncated, and don't count. A
// segment with the flag RESET begins anew: all before it is void, a snapshot has taken its place.
struct SegmentHeader {
  static constexpr uint32_t RESET = 1;                   // a flag
  static constexpr uint64_t MAGIC = 0x31474f4c4e524943;  // "CIRNLOG1"
  static constexpr uint32_t VERSION = 1;
  uint64_t magic = MAGIC;
  uint32_t version = VERSION;
  uint32_t flags = 0;
  uint64_t number = 0;
  uint64_t firstIndex = 0;     // of the records here; the segment before ends with the entry before
  uint64_t previousTerm = 0;   // of that entry
  uint64_t previousChain = 0;  // of that entry
  uint64_t clusterHigh = 0;
  uint64_t clusterLow = 0;
  uint64_t sum = 0;  // of the fields above
};
static_assert(sizeof(SegmentHeader) == 72);

struct RecordHeader {
  uint32_t length = 0;   // of the payload
  uint32_t segment = 0;  // low bits of the segment's number
  uint64_t term = 0;
  uint64_t index = 0;
  uint64_t synced = 0;
  uint64_t chain = 0;
  uint64_t sum = 0;  // of the fields above and the payload
};
static_assert(sizeof(RecordHeader) == 48);

constexpr uint64_t SEGMENT_HEADER_BYTES = BLOCK_BYTES;
constexpr uint64_t RECORD_ALIGNMENT = 8;
inline uint64_t recordBytes(uint64_t payloadBytes) {
  return sizeof(RecordHeader) + (payloadBytes + RECORD_ALIGNMENT - 1) / RECORD_ALIGNMENT * RECORD_ALIGNMENT;
}

std::string segmentName(uint64_t number);
// Nothing when the file isn't named like a segment.
std::optional<uint64_t> segmentNumber(const std::string& name);

uint64_t sumOf(const SegmentHeader& header);
uint64_t sumOf(const RecordHeader& header, uint64_t payloadSum);
uint64_t chainAfter(uint64_t previousChain, Term term, LogIndex index, uint64_t payloadSum);

// The header at the start of a segment file; nothing when it isn't one of that number, or not whole.
std::optional<SegmentHeader> parseSegmentHeader(kj::ArrayPtr<const kj::byte> file, uint64_t number);

// The record at `offset` of a segment file, judged by itself; nothing when there is no whole one of that segment.
struct ParsedRecord {
  RecordHeader header;
  LogEntry entry;  // its payload points into the file's bytes
  uint64_t payloadSum = 0;
  uint64_t end = 0;

  // Whether it comes next after an entry with that index and chain.
  bool follows(LogIndex previous, uint64_t previousChain) const;
};
std::optional<ParsedRecord> parseRecord(kj::ArrayPtr<const kj::byte> file, uint64_t offset, uint64_t number);

}  // namespace cairn
