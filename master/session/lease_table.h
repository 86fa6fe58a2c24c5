// LeaseTable: which sessions may believe what they were told of which inodes, and which inodes are being changed now.
// Pure, in the leader's memory only: a new leader knows nobody's leases and waits for all sessions instead.
//
// A lease on an inode covers its attributes and, of a directory, its names. While a session changes an inode nobody
// else gets a lease on it, so what was read just before can't be believed just after.
//
// A file has one writer at most: a session that alone may read and change its bytes, and knows its size and times.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/ids.h"

namespace cairn {

class LeaseTable {
 public:
  // About 150 bytes of memory a lease. Beyond these bounds nothing is granted, and clients ask each time.
  static constexpr size_t OF_ONE_MAX = 128 << 10;
  static constexpr size_t ALL_MAX = 2 << 20;

  // False: somebody else is changing it, or there are too many.
  bool grant(SessionId session, InodeId inode);
  void release(SessionId session, InodeId inode);
  void releaseAll(SessionId session);

  // Beyond the bounds too, for nobody could write without it. False: others hold it, write it, or are changing it.
  // `order`: when, among all grants and questions.
  bool grantWriting(SessionId session, InodeId inode, uint64_t order);
  // The session comes anew and goes on writing, as it was allowed to by this leader or an earlier one. False: others
  // have leases on it, so it has lost that right.
  bool takeUpWriting(SessionId session, InodeId inode);
  // It stays a holder. Nothing happens to a right that was granted after `order`: an answer to an earlier question
  // doesn't speak of it.
  void endWriting(SessionId session, InodeId inode, uint64_t order = UINT64_MAX);
  // The writer, unless that is `but`.
  std::optional<SessionId> writerBut(SessionId but, InodeId inode) const;
  bool isWriting(SessionId session, InodeId inode) const;
  std::vector<InodeId> writtenBy(SessionId session) const;
  std::vector<InodeId> written() const;  // by anybody, sorted

  // Each beginChange() has its endChange().
  void beginChange(SessionId by, InodeId inode);
  void endChange(SessionId by, InodeId inode);
  bool changesForOthers(SessionId session, InodeId inode) const;

  // Holders other than `by`, sorted.
  std::vector<SessionId> holdersBut(SessionId by, InodeId inode) const;
  bool anyHolderBut(SessionId by) const;
  size_t count(SessionId session) const;

 private:
  struct Change {
    SessionId by{};
    unsigned count = 0;
  };
  void add(SessionId session, InodeId inode);

  std::unordered_map<InodeId, std::vector<SessionId>> holders_;
  struct Writer {
    SessionId session{};
    uint64_t order = 0;
  };
  std::unordered_map<InodeId, Writer> writers_;
  std::map<SessionId, std::unordered_set<InodeId>> leases_;
  std::unordered_map<InodeId, std::vector<Change>> changes_;
  size_t all_ = 0;
};

}  // namespace cairn
