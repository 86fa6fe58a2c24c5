#include "tests/unit/master/account_check.h"

#include <algorithm>

namespace cairn {
namespace {

constexpr size_t ALL = 1 << 20;

// Adds up what is below `directory`; a file counts where its record says, which must be a directory that names it.
Account count(TestNamespace& ns, InodeId directory, std::set<InodeId>& charged) {
  Account sum;
  for (const auto& child : ns.reader().children(directory, 0, ALL)) {
    auto inode = ns.reader().record(child.inode);
    if (!inode) {
      ADD_FAILURE() << "a name without an inode";
      continue;
    }
    if (S_ISDIR(inode->mode)) {
      Account below = count(ns, inode->id, charged);
      sum.bytes += below.bytes;
      sum.allocated += below.allocated;
      sum.files += below.files;
      sum.directories += below.directories + 1;
    } else if (inode->parent == directory && charged.insert(inode->id).second) {
      sum.bytes += S_ISREG(inode->mode) ? inode->size : 0;
      sum.allocated += inode->allocated;
      sum.files += 1;
    }
  }
  auto account = ns.reader().account(directory);
  if (!account) {
    ADD_FAILURE() << "directory " << raw(directory) << " has no account";
    return sum;
  }
  EXPECT_EQ(account->bytes, sum.bytes) << raw(directory);
  EXPECT_EQ(account->allocated, sum.allocated) << raw(directory);
  EXPECT_EQ(account->files, sum.files) << raw(directory);
  EXPECT_EQ(account->directories, sum.directories) << raw(directory);
  return sum;
}

void gatherFiles(TestNamespace& ns, InodeId directory, std::set<InodeId>& found) {
  for (const auto& child : ns.reader().children(directory, 0, ALL)) {
    auto inode = ns.reader().record(child.inode);
    if (inode && S_ISDIR(inode->mode)) {
      gatherFiles(ns, inode->id, found);
    } else {
      found.insert(child.inode);
    }
  }
}

}  // namespace

void checkAccounts(TestNamespace& ns) {
  std::set<InodeId> charged;
  std::set<InodeId> there;
  Account root = count(ns, ROOT_INODE, charged);
  gatherFiles(ns, ROOT_INODE, there);
  EXPECT_EQ(charged, there) << "a file is charged to no directory that names it";
  EXPECT_EQ(root.files, there.size());
}

}  // namespace cairn
