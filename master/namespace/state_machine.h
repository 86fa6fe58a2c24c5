// StateMachine: the replicated state, changed by log entries only. Applying is deterministic: the same entries in the
// same order give the same state and the same replies on every member and at every replay; all checks are made here.
#pragma once
#include <capnp/message.h>
#include <kj/array.h>

#include <string>
#include <vector>

#include "common/ids.h"
#include "common/result.h"
#include "master/namespace/accounts.h"
#include "master/namespace/reader.h"
#include "master/namespace/records.h"
#include "master/namespace/store.h"
#include "schema/log.capnp.h"

namespace cairn {

// What one entry changed that the layers above act upon.
struct Changes {
  bool map = false;               // map version rose, or the fenced list changed
  bool queued = false;            // the reclaim or the cut queue grew
  bool level = false;             // the feature level rose
  bool moves = false;             // files began or ceased to be copied into another class, or a task did
  SessionId opened{};             // openSession: the session, new or found by its nonce
  std::vector<SessionId> ended;   // endSession
  InodeId made{};                 // make: the new inode
  std::vector<InodeId> unlocked;  // fewer, or other, locks are on these: who waits for one may try again
  std::vector<InodeId> orphaned;  // lost their last name and have holders: ask whether they still hold
};

// An applied command.
struct Applied {
  Term term{};
  LogIndex index{};
  kj::Array<capnp::word> reply;  // a flat wire::Reply message; for a retry the first execution's
  bool repeated = false;         // the reply is that of an earlier entry
  Changes changes;
};

class StateMachine {
 public:
  // `store` holds the state up to its writtenHead().
  explicit StateMachine(kj::Own<Store> store);

  // REQUIRES: index follows appliedIndex().
  Applied apply(LogIndex index, Term term, wire::Command::Reader command);

  LogIndex appliedIndex() const { return head_.index; }
  Timestamp time() const { return head_.time; }
  const NamespaceReader& reader() const { return reader_; }

  // Writing out what was applied: see Store.
  Store& store() { return *store_; }
  kj::Function<void()> beginWrite() { return store_->beginWrite(head_); }

 private:
  kj::Array<capnp::word> reply_;  // room for building replies, zero in between
  kj::Own<Store> store_;
  Head head_;
  ShardMap map_;
  Accounts accounts_;
  NamespaceReader reader_;
};

}  // namespace cairn
