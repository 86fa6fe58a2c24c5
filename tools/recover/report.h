// What can be had of each file: whole, in part (which bytes not), or nothing.
#pragma once
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "tools/recover/archive.h"

namespace cairn::rescue {

struct ByteRange {
  uint64_t first = 0;
  uint64_t end = 0;
};

struct FileReport {
  std::string path;
  uint64_t size = 0;
  std::vector<ByteRange> lost;
  bool nothing = false;  // no byte of it is left
  bool mayBeOlder = false;
  const char* state() const { return lost.empty() ? "recovered" : nothing ? "lost" : "partial"; }
};

// Reads only where the scan has found something wrong.
FileReport assessFile(Archive& archive, const FileView& file, std::string path);

// Bytes that no name leads to: of files made after the names were written last, or nobody's any more.
struct Unnamed {
  FileView file;
  std::string name;  // to be had under
  ChunkHints hints;
  bool isNewer = false;  // certainly the former
};
std::vector<Unnamed> findUnnamed(Archive& archive);

struct Report {
  uint64_t recovered = 0;
  uint64_t partial = 0;
  uint64_t lost = 0;
  uint64_t bytes = 0;
  std::vector<FileReport> damaged;  // partial or lost, or perhaps older than they were
  std::vector<FileReport> unnamed;
};
Report assessAll(Archive& archive);

std::string hexText(const std::string& bytes);
nlohmann::json filesJson(const std::vector<FileReport>& files);
void printFiles(const std::vector<FileReport>& files);
nlohmann::json toJson(const Archive& archive, const Report& report);
void print(const Archive& archive, const Report& report);

}  // namespace cairn::rescue
