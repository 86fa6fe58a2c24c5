#include "tests/mount/memory/memory_files.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <algorithm>

namespace cairn {
namespace {

Error error(int code) {
  return Error{code, "refused"};
}
bool isDirectory(const MemoryInode& inode) {
  return S_ISDIR(inode.attributes.mode);
}

}  // namespace

std::string MemoryInode::read(uint64_t offset, uint64_t length) const {
  uint64_t size = attributes.sizeBytes;
  length = offset >= size ? 0 : std::min(length, size - offset);
  std::string out(length, '\0');
  for (uint64_t at = 0; at < length;) {
    uint64_t inBlock = (offset + at) % BLOCK_BYTES;
    uint64_t piece = std::min<uint64_t>(BLOCK_BYTES - inBlock, length - at);
    auto block = blocks.find((offset + at) / BLOCK_BYTES);
    if (block != blocks.end()) {
      out.replace(at, piece, block->second, inBlock, piece);
    }
    at += piece;
  }
  return out;
}

void MemoryInode::write(uint64_t offset, kj::ArrayPtr<const kj::byte> data) {
  for (uint64_t at = 0; at < data.size();) {
    uint64_t inBlock = (offset + at) % BLOCK_BYTES;
    uint64_t piece = std::min<uint64_t>(BLOCK_BYTES - inBlock, data.size() - at);
    std::string& block = blocks[(offset + at) / BLOCK_BYTES];
    block.resize(BLOCK_BYTES);
    block.replace(inBlock, piece, reinterpret_cast<const char*>(data.begin()) + at, piece);
    at += piece;
  }
  attributes.sizeBytes = std::max(attributes.sizeBytes, offset + data.size());
  attributes.allocatedBytes = blocks.size() * BLOCK_BYTES;
}

void MemoryInode::resize(uint64_t size) {
  if (size < attributes.sizeBytes) {
    clear(size, attributes.sizeBytes - size);
  }
  attributes.sizeBytes = size;
}

void MemoryInode::clear(uint64_t offset, uint64_t length) {
  uint64_t end = offset + length;
  for (auto block = blocks.lower_bound(offset / BLOCK_BYTES); block != blocks.end();) {
    uint64_t begin = block->first * BLOCK_BYTES;
    if (begin >= end) {
      break;
    }
    uint64_t from = std::max(begin, offset) - begin;
    uint64_t to = std::min(begin + BLOCK_BYTES, end) - begin;
    bool toEnd = end >= attributes.sizeBytes;  // the rest of the last block holds nothing
    if (from == 0 && (to == BLOCK_BYTES || toEnd)) {
      block = blocks.erase(block);
    } else {
      std::fill(block->second.begin() + from, block->second.begin() + to, '\0');
      ++block;
    }
  }
  attributes.allocatedBytes = blocks.size() * BLOCK_BYTES;
}

uint64_t MemoryInode::seek(uint64_t offset, bool data) const {
  while (offset < attributes.sizeBytes) {
    auto block = blocks.lower_bound(offset / BLOCK_BYTES);
    bool there = block != blocks.end() && block->first == offset / BLOCK_BYTES;
    if (there == data) {
      return offset;
    }
    if (data && block == blocks.end()) {
      break;
    }
    offset = data ? block->first * BLOCK_BYTES : (offset / BLOCK_BYTES + 1) * BLOCK_BYTES;
  }
  return attributes.sizeBytes;
}

MemoryFiles::MemoryFiles(Nanos now) : now_(fileTime(now)) {
  MemoryInode& root = inodes_[raw(ROOT_INODE)];
  root.attributes.inode = root.attributes.parent = ROOT_INODE;
  root.attributes.mode = S_IFDIR | 0755;
  root.attributes.links = 2;
  changed(root);
}

MemoryInode* MemoryFiles::find(InodeId inode) {
  auto found = inodes_.find(raw(inode));
  return found == inodes_.end() ? nullptr : &found->second;
}

Result<InodeId> MemoryFiles::lookup(InodeId parent, const std::string& name) {
  MemoryInode* directory = find(parent);
  if (directory == nullptr) {
    return error(ESTALE);
  }
  auto entry = directory->entries.find(name);
  if (entry == directory->entries.end()) {
    return error(ENOENT);
  }
  return entry->second.inode;
}

void MemoryFiles::insert(MemoryInode& directory, const std::string& name, InodeId inode) {
  directory.entries[name] = MemoryInode::Entry{inode, ++lastCookie_};
  changed(directory);
}

Result<InodeId> MemoryFiles::make(InodeId parent, const std::string& name, uint32_t mode, const Caller& caller) {
  if (lookup(parent, name).ok()) {
    return error(EEXIST);
  }
  MemoryInode* directory = find(parent);
  if (directory == nullptr || directory->attributes.links == 0) {
    return error(ENOENT);
  }
  InodeId id{++lastInode_};
  MemoryInode& inode = inodes_[raw(id)];
  Attributes& attributes = inode.attributes;
  bool inherits = (directory->attributes.mode & S_ISGID) != 0;
  attributes.inode = id;
  attributes.parent = parent;
  attributes.mode = (S_ISLNK(mode) ? mode : mode & ~caller.umask) | (S_ISDIR(mode) && inherits ? S_ISGID : 0);
  attributes.uid = caller.uid;
  attributes.gid = inherits ? directory->attributes.gid : caller.gid;
  attributes.links = S_ISDIR(mode) ? 2 : 1;
  attributes.accessed = now_;
  changed(inode);
  directory->attributes.links += S_ISDIR(mode) ? 1 : 0;
  insert(*directory, name, id);
  return id;
}

Status MemoryFiles::link(InodeId inode, InodeId parent, const std::string& name) {
  MemoryInode* target = find(inode);
  MemoryInode* directory = find(parent);
  if (target == nullptr || directory == nullptr || target->attributes.links == 0) {
    return error(ENOENT);
  }
  if (lookup(parent, name).ok()) {
    return error(EEXIST);
  }
  if (isDirectory(*target)) {
    return error(EPERM);
  }
  target->attributes.links++;
  target->attributes.changed = now_;
  insert(*directory, name, inode);
  return {};
}

Status MemoryFiles::remove(InodeId parent, const std::string& name, bool directory) {
  auto found = lookup(parent, name);
  if (!found.ok()) {
    return found.error();
  }
  MemoryInode& inode = *find(found.value());
  MemoryInode& above = *find(parent);
  if (directory != isDirectory(inode)) {
    return error(directory ? ENOTDIR : EISDIR);
  }
  if (!inode.entries.empty()) {
    return error(ENOTEMPTY);
  }
  above.entries.erase(name);
  changed(above);
  above.attributes.links -= directory ? 1 : 0;
  inode.attributes.links -= directory ? inode.attributes.links : 1;
  inode.attributes.changed = now_;
  dropIfUnused(found.value());
  return {};
}

void MemoryFiles::dropIfUnused(InodeId inode) {
  MemoryInode* found = find(inode);
  if (found != nullptr && found->attributes.links == 0 && found->opens == 0) {
    inodes_.erase(raw(inode));
  }
}

bool MemoryFiles::isBelow(InodeId inode, InodeId ancestor) {
  while (inode != ROOT_INODE) {
    if (inode == ancestor) {
      return true;
    }
    inode = find(inode)->attributes.parent;
  }
  return ancestor == ROOT_INODE;
}

Status MemoryFiles::checkReplaced(InodeId moved, InodeId there, uint32_t flags) {
  if ((flags & RENAME_NOREPLACE) != 0) {
    return error(EEXIST);
  }
  if ((flags & RENAME_EXCHANGE) != 0) {
    return {};
  }
  if (isDirectory(*find(moved)) != isDirectory(*find(there))) {
    return error(isDirectory(*find(moved)) ? ENOTDIR : EISDIR);
  }
  return find(there)->entries.empty() ? Status() : error(ENOTEMPTY);
}

Status MemoryFiles::rename(InodeId parent, const std::string& name, InodeId newParent, const std::string& newName,
                           uint32_t flags) {
  auto moved = lookup(parent, name);
  if (!moved.ok()) {
    return moved.error();
  }
  auto there = lookup(newParent, newName);
  bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if (exchange && !there.ok()) {
    return error(ENOENT);
  }
  if (isDirectory(*find(moved.value())) && isBelow(newParent, moved.value())) {
    return error(EINVAL);
  }
  if (there.ok()) {
    auto allowed = checkReplaced(moved.value(), there.value(), flags);
    if (!allowed.ok() || moved.value() == there.value()) {
      return allowed;
    }
    if (!exchange) {
      auto removed = remove(newParent, newName, isDirectory(*find(there.value())));
      KJ_ASSERT(removed.ok());
    }
  }
  MemoryInode& from = *find(parent);
  MemoryInode& to = *find(newParent);
  from.entries.erase(name);
  insert(to, newName, moved.value());
  changed(from);
  auto settle = [this](InodeId inode, InodeId oldParent, InodeId parentNow) {
    MemoryInode& file = *find(inode);
    file.attributes.changed = now_;
    file.attributes.parent = parentNow;
    if (isDirectory(file)) {
      find(oldParent)->attributes.links--;
      find(parentNow)->attributes.links++;
    }
  };
  settle(moved.value(), parent, newParent);
  if (exchange) {
    insert(from, name, there.value());
    settle(there.value(), newParent, parent);
  }
  return {};
}

}  // namespace cairn
