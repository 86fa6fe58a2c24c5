#include "master/log/record.h"

#include <cstddef>
#include <cstdio>
#include <cstring>

#include "common/checksum.h"

namespace cairn {

namespace {

constexpr size_t NAME_DIGITS = 16;
constexpr char SUFFIX[] = ".segment";

template <typename T>
kj::ArrayPtr<const kj::byte> startOf(const T& object, size_t size) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(&object), size);
}

}  // namespace

std::string segmentName(uint64_t number) {
  char text[NAME_DIGITS + sizeof(SUFFIX)];
  snprintf(text, sizeof(text), "%016lx%s", number, SUFFIX);
  return text;
}

std::optional<uint64_t> segmentNumber(const std::string& name) {
  if (name.size() != NAME_DIGITS + sizeof(SUFFIX) - 1 || name.substr(NAME_DIGITS) != SUFFIX) {
    return std::nullopt;
  }
  uint64_t number = 0;
  for (char c : name.substr(0, NAME_DIGITS)) {
    size_t digit = std::string("0123456789abcdef").find(c);
    if (digit == std::string::npos) {
      return std::nullopt;
    }
    number = number << 4 | digit;
  }
  return number;
}

uint64_t sumOf(const SegmentHeader& header) {
  return hash64(startOf(header, offsetof(SegmentHeader, sum)));
}

uint64_t sumOf(const RecordHeader& header, uint64_t payloadSum) {
  return hash64(startOf(header, offsetof(RecordHeader, sum)), payloadSum);
}

uint64_t chainAfter(uint64_t previousChain, Term term, LogIndex index, uint64_t payloadSum) {
  uint64_t words[] = {raw(term), raw(index), payloadSum};
  return hash64(startOf(words, sizeof(words)), previousChain);
}

std::optional<SegmentHeader> parseSegmentHeader(kj::ArrayPtr<const kj::byte> file, uint64_t number) {
  SegmentHeader header;
  if (file.size() < sizeof(header)) {
    return std::nullopt;
  }
  memcpy(&header, file.begin(), sizeof(header));
  bool whole = header.magic == SegmentHeader::MAGIC && header.number == number && header.sum == sumOf(header);
  return whole ? std::optional(header) : std::nullopt;
}

std::optional<ParsedRecord> parseRecord(kj::ArrayPtr<const kj::byte> file, uint64_t offset, uint64_t number) {
  ParsedRecord record;
  auto& header = record.header;
  if (offset + sizeof(header) > file.size()) {
    return std::nullopt;
  }
  memcpy(&header, file.begin() + offset, sizeof(header));
  record.end = offset + recordBytes(header.length);
  if (header.segment != static_cast<uint32_t>(number) || header.index == 0 || record.end > file.size()) {
    return std::nullopt;
  }
  auto start = offset + sizeof(header);
  record.entry = {LogIndex{header.index}, Term{header.term}, file.slice(start, start + header.length)};
  record.payloadSum = hash64(record.entry.payload);
  return header.sum == sumOf(header, record.payloadSum) ? std::optional(record) : std::nullopt;
}

bool ParsedRecord::follows(LogIndex previous, uint64_t previousChain) const {
  return entry.index == next(previous) &&
         header.chain == chainAfter(previousChain, entry.term, entry.index, payloadSum);
}

}  // namespace cairn
