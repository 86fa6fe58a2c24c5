// What the client library hands to its users: attributes, callers, directory entries, the bytes of a read.
// Names, paths, xattr names and values are byte strings.
#pragma once
#include <kj/array.h>
#include <kj/memory.h>

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/ids.h"

namespace cairn {

// Who asks. The master checks permissions with it.
struct Caller {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;  // supplementary
  uint32_t umask = 0;            // of what it makes, where no default ACL says otherwise
  // Which request this is, if it may be asked again of a successor process (ledger.h); 0: it isn't.
  uint64_t request = 0;
};

// Seconds since 1970 (may be negative) and nanoseconds in [0, 1e9).
struct FileTime {
  int64_t seconds = 0;
  uint32_t nanos = 0;
  auto operator<=>(const FileTime&) const = default;
};
FileTime fileTime(Nanos sinceEpoch);

// Bytes at or past `firstDead` written under a generation below `generation` are dead.
struct Cut {
  uint32_t generation = 0;
  uint64_t firstDead = 0;
  bool operator==(const Cut&) const = default;
};

// Where a regular file's bytes live and how to ask for them.
struct Layout {
  ObjectId object{};
  ClassId cls{};
  uint8_t chunkBits = DEFAULT_CHUNK_BITS;
  uint32_t generation = 0;
  std::vector<Cut> cuts;
  ObjectId movedFrom{};  // that these bytes were copied from; 0: from none
  bool operator==(const Layout&) const = default;
};

struct Attributes {
  InodeId inode{};
  uint32_t mode = 0;  // type and permission bits as in stat(2)
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t links = 0;
  uint32_t device = 0;
  uint64_t sizeBytes = 0;
  uint64_t allocatedBytes = 0;
  FileTime accessed, modified, changed, created;
  Layout layout;      // regular files
  InodeId parent{};   // directories
  uint8_t lacks = 0;  // of extended attributes: bits as in types.capnp
  InodeId quotaRoot{};  // the directory whose quota of bytes it counts for; 0: none
};

// Which attributes setAttributes changes; the bits of SetAttributes.which in master.capnp.
enum AttributeBits : uint32_t {
  SET_MODE = 1,
  SET_UID = 2,
  SET_GID = 4,
  SET_SIZE = 8,
  SET_ACCESSED = 16,
  SET_MODIFIED = 32,
  SET_ACCESSED_NOW = 64,
  SET_MODIFIED_NOW = 128,
  SET_ONLY_GROW = 256,  // the client's own, for fallocate
  SET_CHANGED = 512,
};

struct AttributeChange {
  uint32_t which = 0;  // AttributeBits
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t sizeBytes = 0;
  FileTime accessed, modified;
  bool held = false;  // through an open descriptor (ftruncate): permission was checked at open
};

struct DirectoryEntry {
  std::string name;
  InodeId inode{};
  uint32_t mode = 0;    // type bits at least
  uint64_t next = 0;    // cookie that continues after this entry
  bool hasAttributes = false;
  Attributes attributes;  // when asked for and hasAttributes
};

struct DirectoryPage {
  std::vector<DirectoryEntry> entries;  // neither "." nor ".."
  bool end = false;                     // nothing after the last one
};

struct SpaceInfo {
  uint64_t totalBytes = 0;
  uint64_t availableBytes = 0;
  uint64_t files = 0;
  uint64_t filesMax = 0;
};

// An open file or directory of this mount. Never reused within a mount.
enum class HandleId : uint64_t {};

enum class LockMode { NONE, SHARED, EXCLUSIVE };

// A lock on bytes first..last of a file, both included, that a program wants or has; NONE: to be rid of what it has
// there. `owner`: as the kernel tells programs (fcntl's locks) and open file descriptions (flock, OFD locks) apart.
struct LockWish {
  bool flock = false;  // then it is of all bytes
  LockMode mode = LockMode::NONE;
  uint64_t owner = 0;
  uint32_t pid = 0;
  uint64_t first = 0;
  uint64_t last = UINT64_MAX;
};

// The bytes of one read, in pieces that point into received messages and buffers, so that they are not
// copied before they reach the kernel. Valid as long as it lives.
class ReadData {
 public:
  uint64_t sizeBytes() const { return sizeBytes_; }
  // In order; together sizeBytes().
  const std::vector<kj::ArrayPtr<const kj::byte>>& parts() const { return parts_; }
  // All bytes in one array (a copy), for callers that aren't in a hurry.
  kj::Array<kj::byte> joined() const;

  // For the library. `owner` keeps `part` alive.
  void add(kj::ArrayPtr<const kj::byte> part, kj::Own<void> owner) {
    parts_.push_back(part);
    owners_.push_back(kj::mv(owner));
    sizeBytes_ += part.size();
  }
  void addZeros(uint64_t count);

 private:
  std::vector<kj::ArrayPtr<const kj::byte>> parts_;
  std::vector<kj::Own<void>> owners_;
  uint64_t sizeBytes_ = 0;
};

}  // namespace cairn
