// A file system in memory, one process, no cluster: what memory_client.cc answers from. It stands in for the
// cluster in tests of the FUSE adapter alone, so it is as simple as possible and checks what POSIX asks for.
#pragma once
#include <cerrno>
#include <map>
#include <string>

#include "common/result.h"
#include "fuse-client/client/types.h"

namespace cairn {

struct MemoryInode {
  Attributes attributes;
  std::string target;
  std::map<std::string, std::string> xattrs;
  std::map<uint64_t, std::string> blocks;  // by number, each BLOCK_BYTES long
  struct Entry {
    InodeId inode{};
    uint64_t cookie = 0;
  };
  std::map<std::string, Entry> entries;
  unsigned opens = 0;

  std::string read(uint64_t offset, uint64_t length) const;
  void write(uint64_t offset, kj::ArrayPtr<const kj::byte> data);
  void resize(uint64_t size);
  // Zeros; whole blocks are freed.
  void clear(uint64_t offset, uint64_t length);
  // The first block at or after `offset` that is there (or is not); the size when there is none.
  uint64_t seek(uint64_t offset, bool data) const;
};

class MemoryFiles {
 public:
  explicit MemoryFiles(Nanos now);

  MemoryInode* find(InodeId inode);
  Result<InodeId> lookup(InodeId parent, const std::string& name);
  Result<InodeId> make(InodeId parent, const std::string& name, uint32_t mode, const Caller& caller);
  Status link(InodeId inode, InodeId parent, const std::string& name);
  Status remove(InodeId parent, const std::string& name, bool directory);
  Status rename(InodeId parent, const std::string& name, InodeId newParent, const std::string& newName, uint32_t flags);
  void dropIfUnused(InodeId inode);
  void setNow(Nanos now) { now_ = fileTime(now); }
  FileTime now() const { return now_; }

 private:
  bool isBelow(InodeId inode, InodeId ancestor);
  void insert(MemoryInode& directory, const std::string& name, InodeId inode);
  Status checkReplaced(InodeId moved, InodeId there, uint32_t flags);
  void changed(MemoryInode& inode) { inode.attributes.modified = inode.attributes.changed = now_; }

  std::map<uint64_t, MemoryInode> inodes_;
  uint64_t lastInode_ = 1;
  uint64_t lastCookie_ = 0;
  FileTime now_;
};

}  // namespace cairn
