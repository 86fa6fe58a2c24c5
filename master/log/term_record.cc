#include "master/log/term_record.h"

#include <cerrno>
#include <cstring>
#include <vector>

#include "common/checksum.h"

namespace cairn {

namespace {

constexpr size_t TERM_BYTES = 8;
constexpr size_t SUM_BYTES = 8;
constexpr uint64_t FILE_BYTES_MAX = 4096;
constexpr uint64_t SEED = 0x5465726d;

}  // namespace

Result<TermRecord> readTermRecord(Disk& disk, const std::string& path) {
  auto read = readWholeFile(disk, path, FILE_BYTES_MAX);
  if (read.code() == ENOENT) {
    return TermRecord{};
  }
  if (!read.ok()) {
    return read.error();
  }
  const auto& bytes = read.value();
  uint64_t sum = 0;
  bool whole = bytes.size() >= TERM_BYTES + SUM_BYTES;
  if (whole) {
    memcpy(&sum, bytes.end() - SUM_BYTES, SUM_BYTES);
    whole = sum == hash64(bytes.slice(0, bytes.size() - SUM_BYTES), SEED);
  }
  if (!whole) {
    return Error{EIO, disk.hostPath(path) +
                          ": the record of the current term is damaged; restore this file, or the whole data "
                          "directory, from a copy. Nothing was changed"};
  }
  TermRecord record;
  memcpy(&record.term, bytes.begin(), TERM_BYTES);
  auto chars = bytes.asChars();
  record.votedFor.assign(chars.begin() + TERM_BYTES, chars.end() - SUM_BYTES);
  return record;
}

Status writeTermRecord(Disk& disk, const std::string& path, const TermRecord& record) {
  std::vector<kj::byte> bytes(TERM_BYTES + record.votedFor.size() + SUM_BYTES);
  memcpy(bytes.data(), &record.term, TERM_BYTES);
  if (!record.votedFor.empty()) {
    memcpy(bytes.data() + TERM_BYTES, record.votedFor.data(), record.votedFor.size());
  }
  size_t summed = bytes.size() - SUM_BYTES;
  uint64_t sum = hash64(kj::arrayPtr(bytes.data(), summed), SEED);
  memcpy(bytes.data() + summed, &sum, SUM_BYTES);
  return replaceFile(disk, path, kj::arrayPtr(bytes.data(), bytes.size()));
}

}  // namespace cairn
