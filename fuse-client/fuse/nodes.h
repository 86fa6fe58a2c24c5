// What this mount remembers of the inodes that the kernel knows: how often it was told of each, and what its
// page cache may hold. An entry lives from the first lookup to the last forget, so the kernel's own cache
// bounds the table.
#pragma once
#include <cstdint>
#include <unordered_map>

#include "common/clock.h"
#include "common/ids.h"
#include "fuse-client/client/types.h"

namespace cairn {

struct Node {
  uint64_t lookups = 0;
  uint32_t mode = 0;  // as last told to the kernel
  uint32_t gid = 0;
  // Contents at the last open by this mount: unchanged means that the kernel may keep its pages.
  bool opened = false;
  uint64_t sizeBytes = 0;
  FileTime modified;
  // What the kernel believes without asking (kernel_cache.h).
  Nanos toldAt = 0;           // its attributes, last
  Nanos attributesUntil = 0;
  Nanos namesToldAt = 0;      // of a directory: a name in it, last
  Nanos namesUntil = 0;
  Nanos recalledAt = 0;       // another client used it
  Nanos newsAt = 0;           // when it was told last what it can't have known, or may have ignored what it was told
  uint32_t opens = 0;         // of a regular file, here
  bool pagesStale = false;    // and not dropped since
  FileTime toldModified;      // with the attributes that were told last
  uint64_t toldSize = 0;
  // The kernel opens FIFOs, sockets and devices without a word: one that it knows may be open, and is held.
  HandleId held{};
};

class Nodes {
 public:
  // Null when the kernel doesn't know the inode. The root of the mount, which it never forgets, is told once by its
  // owner.
  Node* find(InodeId inode) {
    auto found = nodes_.find(raw(inode));
    return found == nodes_.end() ? nullptr : &found->second;
  }
  // The kernel is being told of it once more, with these attributes.
  Node& told(const Attributes& attributes) {
    Node& node = told(attributes.inode);
    node.mode = attributes.mode;
    node.gid = attributes.gid;
    return node;
  }
  Node& told(InodeId inode) {
    Node& node = nodes_[raw(inode)];
    node.lookups++;
    return node;
  }
  // A predecessor has told the kernel of it so often.
  Node& inherit(InodeId inode, uint64_t lookups, uint32_t mode, uint32_t gid) {
    Node& node = nodes_[raw(inode)];
    node.lookups = lookups;
    node.mode = mode;
    node.gid = gid;
    return node;
  }
  // Returns what was held with the last lookup; else the empty handle.
  HandleId forget(InodeId inode, uint64_t count) {
    HandleId held{};
    auto found = nodes_.find(raw(inode));
    if (found == nodes_.end()) {
      return held;
    }
    found->second.lookups -= count < found->second.lookups ? count : found->second.lookups;
    if (found->second.lookups == 0) {
      held = found->second.held;
      nodes_.erase(found);
    }
    return held;
  }
  size_t size() const { return nodes_.size(); }
  template <typename Visit>
  void forEach(Visit&& visit) {
    for (auto& [inode, node] : nodes_) {
      visit(InodeId{inode}, node);
    }
  }

 private:
  std::unordered_map<uint64_t, Node> nodes_;
};

}  // namespace cairn
