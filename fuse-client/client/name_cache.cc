#include "fuse-client/client/name_cache.h"

#include <algorithm>
#include <utility>

namespace cairn {

std::optional<InodeId> NameCache::find(InodeId id, std::string_view name) {
  auto it = directories_.find(id);
  if (it == directories_.end()) {
    return std::nullopt;
  }
  Directory& directory = it->second;
  directory.used = true;
  byUse_.splice(byUse_.end(), byUse_, directory.place);
  auto known = directory.names.find(name);
  if (known != directory.names.end()) {
    return known->second.inode;
  }
  return directory.complete ? std::optional(InodeId{}) : std::nullopt;
}

NameCache::Directory& NameCache::get(InodeId id) {
  auto [it, added] = directories_.try_emplace(id);
  if (added) {
    it->second.place = byUse_.insert(byUse_.end(), id);
  } else {
    byUse_.splice(byUse_.end(), byUse_, it->second.place);
  }
  return it->second;
}

// In a complete directory an absent name needs no entry.
void NameCache::put(Directory& directory, const std::string& name, InodeId inode, uint64_t index) {
  auto [it, added] = directory.names.try_emplace(name);
  names_ += added ? 1 : 0;
  it->second = Known{inode, index};
  if (directory.complete && raw(inode) == 0) {
    erase(directory, name);
  }
}

void NameCache::erase(Directory& directory, const std::string& name) {
  names_ -= directory.names.erase(name);
}

void NameCache::learn(InodeId id, const std::string& name, InodeId inode, uint64_t index) {
  Directory& directory = get(id);
  auto known = directory.names.find(name);
  bool older = index < directory.changedAt || (known != directory.names.end() && index < known->second.index);
  if (!older) {
    put(directory, name, inode, index);
  }
  makeRoom(id);
}

void NameCache::changed(InodeId id, const std::string& name, InodeId inode, uint64_t index, bool leased) {
  if (!leased) {
    forget(id, name);
    return;
  }
  Directory& directory = get(id);
  auto known = directory.names.find(name);
  if (known != directory.names.end() ? index < known->second.index : index < directory.changedAt) {
    // Overtaken by a later change, of this name perhaps.
    forget(id, name);
  } else {
    put(directory, name, inode, index);
  }
  directory.changedAt = std::max(directory.changedAt, index);
  makeRoom(id);
}

void NameCache::made(InodeId id, uint64_t index) {
  drop(id);
  Directory& directory = get(id);
  directory.complete = true;
  directory.changedAt = index;
  makeRoom(id);
}

void NameCache::recall(InodeId id, const std::string& name) {
  auto it = directories_.find(id);
  if (it == directories_.end()) {
    return;
  }
  if (!it->second.used) {
    drop(id);
    return;
  }
  it->second.used = false;
  forget(id, name);
}

void NameCache::forget(InodeId id, const std::string& name) {
  auto it = directories_.find(id);
  if (it != directories_.end()) {
    erase(it->second, name);
    it->second.complete = false;
  }
}

void NameCache::drop(InodeId id) {
  auto it = directories_.find(id);
  if (it != directories_.end()) {
    names_ -= it->second.names.size();
    byUse_.erase(it->second.place);
    directories_.erase(it);
  }
}

void NameCache::clear() {
  directories_.clear();
  byUse_.clear();
  dropped_.clear();
  names_ = 0;
}

// One directory may have half of the room.
void NameCache::makeRoom(InodeId keep) {
  while ((names_ > namesMax_ || directories_.size() > namesMax_ / 8) && byUse_.front() != keep) {
    dropped_.push_back(byUse_.front());
    drop(byUse_.front());
  }
  Directory& directory = directories_.at(keep);
  if (directory.names.size() > namesMax_ / 2) {
    names_ -= directory.names.size();
    directory.names.clear();
    directory.complete = false;
  }
}

std::vector<InodeId> NameCache::takeDropped() {
  return std::exchange(dropped_, {});
}

}  // namespace cairn
