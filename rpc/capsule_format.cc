#include "rpc/capsule_format.h"

#include <fmt/format.h>
#include <zstd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "common/checksum.h"

namespace cairn {

namespace {

constexpr uint64_t MAGIC = 0x5041434e52494143;  // "CAIRNCAP" in the file
constexpr uint32_t VERSION = 1;
// Log and snapshot shrink to a quarter with the fastest levels; more effort gains little and costs the leader.
constexpr int LEVEL = 1;
constexpr size_t ALIGNMENT = 8;
constexpr char CAPSULE_SUFFIX[] = ".capsule";
constexpr char TAIL_SUFFIX[] = ".tail";

struct Header {
  uint64_t magic = MAGIC;
  uint32_t version = VERSION;
  uint32_t kind = 0;
  uint64_t clusterHigh = 0;
  uint64_t clusterLow = 0;
  uint64_t epoch = 0;
  uint64_t term = 0;
  uint64_t index = 0;
  uint64_t first = 0;
  uint64_t last = 0;
  int64_t seconds = 0;
  uint64_t contentBytes = 0;
  uint64_t storedBytes = 0;
  uint64_t reserved = 0;
  uint64_t sum = 0;  // of the fields above and the stored content
};
static_assert(sizeof(Header) == FRAME_HEADER_BYTES);

struct TailEntry {
  uint64_t index = 0;
  uint64_t term = 0;
  uint64_t bytes = 0;
};

uint64_t sumOf(const Header& header, kj::ArrayPtr<const kj::byte> stored) {
  auto fields = kj::arrayPtr(reinterpret_cast<const kj::byte*>(&header), offsetof(Header, sum));
  return hash64(stored, hash64(fields));
}

size_t padded(size_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

bool isPlausible(const Header& header) {
  return header.magic == MAGIC && header.contentBytes <= CAPSULE_CONTENT_MAX &&
         header.storedBytes <= ZSTD_compressBound(CAPSULE_CONTENT_MAX);
}

std::string nameOf(const CapsuleId& id) {
  return fmt::format("{}/{:016x}-{:016x}-{:016x}", CAPSULE_DIRECTORY, raw(id.epoch), raw(id.term), raw(id.index));
}

std::optional<CapsuleId> parseName(const std::string& name, const char* suffix) {
  constexpr size_t STEM = 3 * 16 + 2;
  if (!name.ends_with(suffix) || name.size() != STEM + strlen(suffix)) {
    return std::nullopt;
  }
  unsigned long epoch = 0, term = 0, index = 0;
  int end = 0;
  if (sscanf(name.c_str(), "%16lx-%16lx-%16lx%n", &epoch, &term, &index, &end) != 3 || end != static_cast<int>(STEM)) {
    return std::nullopt;
  }
  return CapsuleId{GroupEpoch{epoch}, LogIndex{index}, Term{term}};
}

}  // namespace

std::string encodeFrame(const FrameHead& head, kj::ArrayPtr<const kj::byte> content) {
  KJ_REQUIRE(content.size() <= CAPSULE_CONTENT_MAX, content.size());
  std::string out(sizeof(Header) + ZSTD_compressBound(content.size()), '\0');
  size_t stored = ZSTD_compress(out.data() + sizeof(Header), out.size() - sizeof(Header), content.begin(),
                                content.size(), LEVEL);
  KJ_ASSERT(!ZSTD_isError(stored), ZSTD_getErrorName(stored));
  Header header;
  header.kind = static_cast<uint32_t>(head.kind);
  header.clusterHigh = head.cluster.high;
  header.clusterLow = head.cluster.low;
  header.epoch = raw(head.capsule.epoch);
  header.term = raw(head.capsule.term);
  header.index = raw(head.capsule.index);
  header.first = head.first;
  header.last = head.last;
  header.seconds = head.seconds;
  header.contentBytes = content.size();
  header.storedBytes = stored;
  header.sum = sumOf(header, kj::arrayPtr(reinterpret_cast<const kj::byte*>(out.data()) + sizeof(Header), stored));
  memcpy(out.data(), &header, sizeof(header));
  out.resize(sizeof(Header) + padded(stored));
  return out;
}

std::optional<size_t> frameBytes(kj::ArrayPtr<const kj::byte> bytes) {
  Header header;
  if (bytes.size() < sizeof(header)) {
    return std::nullopt;
  }
  memcpy(&header, bytes.begin(), sizeof(header));
  return isPlausible(header) ? std::optional<size_t>(sizeof(header) + padded(header.storedBytes)) : std::nullopt;
}

Result<Frame> checkFrame(kj::ArrayPtr<const kj::byte> bytes) {
  auto whole = frameBytes(bytes);
  if (!whole || *whole > bytes.size()) {
    return Error{EUCLEAN, "no whole frame of a capsule"};
  }
  Header header;
  memcpy(&header, bytes.begin(), sizeof(header));
  auto stored = bytes.slice(sizeof(header), sizeof(header) + header.storedBytes);
  if (header.sum != sumOf(header, stored)) {
    return Error{EUCLEAN, "a damaged frame of a capsule"};
  }
  if (header.version != VERSION) {
    return Error{EPROTONOSUPPORT, fmt::format("capsule format {} is newer than this program's {}", header.version,
                                              VERSION)};
  }
  Frame frame;
  frame.head.kind = static_cast<FrameKind>(header.kind);
  frame.head.cluster = {header.clusterHigh, header.clusterLow};
  frame.head.capsule = {GroupEpoch{header.epoch}, LogIndex{header.index}, Term{header.term}};
  frame.head.first = header.first;
  frame.head.last = header.last;
  frame.head.seconds = header.seconds;
  frame.contentBytes = header.contentBytes;
  frame.stored = stored;
  frame.bytes = *whole;
  return frame;
}

Result<kj::Array<kj::byte>> contentOf(const Frame& frame) {
  auto out = kj::heapArray<kj::byte>(frame.contentBytes);
  size_t got = ZSTD_decompress(out.begin(), out.size(), frame.stored.begin(), frame.stored.size());
  if (ZSTD_isError(got) || got != out.size()) {
    return Error{EUCLEAN, "a frame of a capsule can't be decompressed"};
  }
  return kj::mv(out);
}

void appendTailEntry(std::string& content, LogIndex index, Term term, kj::ArrayPtr<const kj::byte> payload) {
  TailEntry entry{raw(index), raw(term), payload.size()};
  content.append(reinterpret_cast<const char*>(&entry), sizeof(entry));
  content.append(reinterpret_cast<const char*>(payload.begin()), payload.size());
  content.resize(padded(content.size()));
}

Status readTailEntries(kj::ArrayPtr<const kj::byte> content,
                       kj::FunctionParam<Status(LogIndex, Term, kj::ArrayPtr<const kj::byte>)> each) {
  while (content.size() > 0) {
    TailEntry entry;
    if (content.size() < sizeof(entry)) {
      return Error{EUCLEAN, "a log tail ends within an entry"};
    }
    memcpy(&entry, content.begin(), sizeof(entry));
    if (entry.bytes > content.size() - sizeof(entry) || padded(entry.bytes) > content.size() - sizeof(entry)) {
      return Error{EUCLEAN, "a log tail ends within an entry"};
    }
    auto payload = content.slice(sizeof(entry), sizeof(entry) + entry.bytes);
    auto seen = each(LogIndex{entry.index}, Term{entry.term}, payload);
    if (!seen.ok()) {
      return seen;
    }
    content = content.slice(sizeof(entry) + padded(entry.bytes), content.size());
  }
  return {};
}

std::string capsulePath(const CapsuleId& id) { return nameOf(id) + CAPSULE_SUFFIX; }
std::string tailPath(const CapsuleId& id) { return nameOf(id) + TAIL_SUFFIX; }
std::optional<CapsuleId> parseCapsuleName(const std::string& name) { return parseName(name, CAPSULE_SUFFIX); }
std::optional<CapsuleId> parseTailName(const std::string& name) { return parseName(name, TAIL_SUFFIX); }

}  // namespace cairn
