// NameCache: which inodes the names of leased directories stand for, and which names are known to be absent. Of a
// directory that this mount made and nobody else has changed every name is known. Pure; it is cleared when the leases
// are lost, so whatever it says counts while they last.
//
// Replies may be taken in out of order: each brings the log index that it is of, and the newest wins.
#pragma once
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/ids.h"

namespace cairn {

class NameCache {
 public:
  // Names of all directories together, and eight times the directories; beyond it whole directories are dropped, the
  // longest unused first.
  explicit NameCache(size_t namesMax) : namesMax_(namesMax) {}

  // InodeId{}: absent. Nothing: the master must be asked.
  std::optional<InodeId> find(InodeId directory, std::string_view name);
  bool contains(InodeId directory) const { return directories_.contains(directory); }

  // A read said so, as of log index `index`. InodeId{}: absent.
  void learn(InodeId directory, const std::string& name, InodeId inode, uint64_t index);
  // A change made by this mount. `leased`: nobody else is changing the directory.
  void changed(InodeId directory, const std::string& name, InodeId inode, uint64_t index, bool leased);
  // This mount made the directory: it is empty.
  void made(InodeId directory, uint64_t index);
  // Another client is about to change what the name stands for. A directory that nobody here has asked about since the
  // last time is dropped whole, so that its master need ask no more.
  void recall(InodeId directory, const std::string& name);
  void drop(InodeId directory);
  void clear();

  // Directories that were dropped for want of room since the last call.
  std::vector<InodeId> takeDropped();

 private:
  struct Known {
    InodeId inode{};
    uint64_t index = 0;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
  };
  struct Directory {
    std::unordered_map<std::string, Known, Hash, std::equal_to<>> names;
    bool used = true;         // since the last recall
    bool complete = false;    // what isn't in `names` is absent
    uint64_t changedAt = 0;   // newest change by this mount: reads of before don't count
    std::list<InodeId>::iterator place;
  };

  Directory& get(InodeId id);
  void put(Directory& directory, const std::string& name, InodeId inode, uint64_t index);
  void erase(Directory& directory, const std::string& name);
  void forget(InodeId directory, const std::string& name);
  void makeRoom(InodeId keep);

  const size_t namesMax_;
  size_t names_ = 0;
  std::unordered_map<InodeId, Directory> directories_;
  std::list<InodeId> byUse_;  // longest unused first
  std::vector<InodeId> dropped_;
};

}  // namespace cairn
