// LockBook: which programs of this mount may have locks on which files, so that closing a file that nobody locked asks
// nobody, and so that a program's requests for locks on a file arrive in their order, its closing of the file last.
#pragma once
#include <compare>
#include <map>
#include <set>
#include <vector>

#include "common/ids.h"
#include "common/task.h"
#include "fuse-client/client/signal.h"
#include "fuse-client/client/types.h"

namespace cairn {

class LockBook {
 public:
  LockBook() = default;
  KJ_DISALLOW_COPY(LockBook);

  // Whose locks: an owner's of one kind on one file.
  struct Key {
    InodeId inode{};
    bool flock = false;
    uint64_t owner = 0;
    auto operator<=>(const Key&) const = default;
  };

  // One request of an owner at a time.
  class Turn {
   public:
    Turn(LockBook& book, const Key& key) : book_(book), key_(key) { ++book_.asking_[key_]; }
    ~Turn() noexcept(false) {
      if (--book_.asking_[key_] == 0) {
        book_.asking_.erase(key_);
      }
      if (mine_) {
        book_.busy_.erase(key_);
        book_.changed_.raise();
      }
    }
    KJ_DISALLOW_COPY(Turn);
    // Also, to take a lock, after all files that this mount has closed let go of theirs: who closed one may have told
    // whoever asks now.
    Task<void> ready(bool toTake);

   private:
    LockBook& book_;
    const Key key_;
    bool mine_ = false;
  };

  // A file is being closed; lives until its locks are gone.
  class Leaving {
   public:
    Leaving(LockBook& book, InodeId inode) : book_(book), inode_(inode) { ++book_.leaving_[inode_]; }
    ~Leaving() noexcept(false) {
      if (--book_.leaving_[inode_] == 0) {
        book_.leaving_.erase(inode_);
        book_.changed_.raise();
      }
    }
    KJ_DISALLOW_COPY(Leaving);

   private:
    LockBook& book_;
    const InodeId inode_;
  };

  // The owner may have a lock, that it asked for through that open file.
  void note(const Key& key, HandleId handle) { held_[key] = handle; }
  void erase(const Key& key) { held_.erase(key); }
  bool mayHave(const Key& key) const { return held_.contains(key); }
  bool mayHaveOrGet(const Key& key) const { return mayHave(key) || asking_.contains(key); }
  bool mayHave(InodeId inode) const;
  // Whose requests came through that open file last.
  std::vector<Key> through(InodeId inode, HandleId handle) const;
  // All are gone, with the session.
  void clear() { held_.clear(); }

 private:
  std::map<Key, HandleId> held_;
  std::map<Key, unsigned> asking_;  // requests under way, or waiting for their turn
  std::set<Key> busy_;
  std::map<InodeId, unsigned> leaving_;
  Signal changed_;
};

}  // namespace cairn
