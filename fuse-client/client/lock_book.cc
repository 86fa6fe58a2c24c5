#include "fuse-client/client/lock_book.h"

namespace cairn {

Task<void> LockBook::Turn::ready(bool toTake) {
  while (book_.busy_.contains(key_) || (toTake && book_.leaving_.contains(key_.inode))) {
    co_await book_.changed_.wait();
  }
  mine_ = true;
  book_.busy_.insert(key_);
}

bool LockBook::mayHave(InodeId inode) const {
  auto first = held_.lower_bound(Key{inode, false, 0});
  return first != held_.end() && first->first.inode == inode;
}

std::vector<LockBook::Key> LockBook::through(InodeId inode, HandleId handle) const {
  std::vector<Key> out;
  auto first = held_.lower_bound(Key{inode, false, 0});
  for (auto at = first; at != held_.end() && at->first.inode == inode; ++at) {
    if (at->second == handle) {
      out.push_back(at->first);
    }
  }
  return out;
}

}  // namespace cairn
