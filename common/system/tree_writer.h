// TreeWriter: writes files, directories and whatever else a tree has below one directory, with names that come from
// elsewhere and may be hostile. Nothing outside of that directory is ever written or looked at: every step goes through
// the directory's descriptor, and neither "..", nor a symbolic link, nor a mount leads out (openat2, RESOLVE_BENEATH).
//
// Paths are relative to the directory, their names separated by slashes.
#pragma once
#include <kj/array.h>
#include <kj/memory.h>

#include <string>
#include <vector>

#include "common/result.h"

namespace cairn {

struct TreeAttributes {
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t accessedSeconds = 0;
  uint32_t accessedNanos = 0;
  int64_t modifiedSeconds = 0;
  uint32_t modifiedNanos = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

class TreeWriter {
 public:
  virtual ~TreeWriter() noexcept(false) = default;

  // Makes the directory when it isn't there.
  static Result<kj::Own<TreeWriter>> open(const std::string& directory);
  // Whether it can be a name at all.
  static bool isName(std::string_view name);

  class Output {
   public:
    virtual ~Output() noexcept(false) = default;
    // What isn't written stays a hole.
    virtual Status write(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes) = 0;
    virtual Status finish(uint64_t size, const TreeAttributes& attributes) = 0;
  };

  // What has been brought out whole before, by its size and time of modification, which is set last.
  virtual bool isDone(const std::string& path, uint64_t size, const TreeAttributes& attributes) = 0;
  // A regular file in the place of what is there, but for a directory. `path` is only reached by finish(), under
  // another name until then.
  virtual Result<kj::Own<Output>> createFile(const std::string& path) = 0;
  // Success when it is there.
  virtual Status makeDirectory(const std::string& path) = 0;
  // When all that is in it is.
  virtual Status finishDirectory(const std::string& path, const TreeAttributes& attributes) = 0;
  virtual Status makeSymlink(const std::string& path, const std::string& target, const TreeAttributes& attributes) = 0;
  // FIFOs, sockets, devices.
  virtual Status makeNode(const std::string& path, uint32_t device, const TreeAttributes& attributes) = 0;
  virtual Status makeLink(const std::string& existing, const std::string& path) = 0;
};

}  // namespace cairn
