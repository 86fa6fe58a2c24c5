// Leases: drives the lease table. Grants with replies, recalls from others before a change, and waits for those who
// don't answer until their session is taken up anew (then they believe nothing) or has ended.
#pragma once
#include <kj/async.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/task.h"
#include "master/namespace/reader.h"
#include "master/session/lease_table.h"
#include "schema/master.capnp.h"

namespace cairn {

class Leases final {
 public:
  // Who must end a session that answers no recall.
  class Evictor {
   public:
    virtual void evict(SessionId session, const std::string& why) = 0;
  };

  // Every session that `reader` knows to take leases may hold anything, from an earlier leader, until it attaches here
  // or ends.
  Leases(Clock& clock, const NamespaceReader& reader, Evictor& evictor);
  KJ_DISALLOW_COPY(Leases);

  // The session begins, or was taken up by a new link: it believes nothing.
  void attached(SessionId session, kj::Maybe<wire::LeaseHolder::Client> holder);
  // Its link is gone. It goes on believing for a while, and can't be asked.
  void linkLost(SessionId session);
  void ended(SessionId session);

  bool grant(SessionId session, InodeId inode);
  void release(SessionId session, InodeId inode) { table_.release(session, inode); }
  size_t count(SessionId session) const { return table_.count(session); }

  struct Item {
    InodeId inode{};
    std::string name;  // empty: attributes only
  };

  // What one operation is about to change. While it lives nobody else is granted a lease on these inodes.
  class Change {
   public:
    Change(Leases& leases, SessionId by) : leases_(leases), by_(by) {}
    ~Change() noexcept(false);
    KJ_DISALLOW_COPY(Change);

    // `name`: what it stands for in `inode` changes too.
    void add(InodeId inode, capnp::Data::Reader name = nullptr);
    // Somebody else may believe something of what was added since the last recall().
    bool mustRecall() const { return recalled_ < items_.size() && leases_.othersMayHold(by_); }
    // Resolves when nobody else does any more.
    kj::Promise<void> recall();

   private:
    Leases& leases_;
    const SessionId by_;
    std::vector<Item> items_;
    size_t recalled_ = 0;
  };

 private:
  struct Goodbye {
    kj::ForkedPromise<void> promise;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };

  bool othersMayHold(SessionId by) const;
  Task<void> recallFrom(SessionId session, std::vector<Item> items);
  Task<void> ask(SessionId session, std::vector<Item> items);
  using Recalled = kj::Promise<capnp::Response<wire::LeaseHolder::RecallResults>>;
  Recalled late();
  kj::Promise<void> whenFree(SessionId session);
  void setFree(SessionId session);

  Clock& clock_;
  const NamespaceReader& reader_;
  Evictor& evictor_;
  LeaseTable table_;
  std::set<SessionId> unknown_;  // of an earlier leader's time
  std::map<SessionId, wire::LeaseHolder::Client> links_;
  std::map<SessionId, Goodbye> goodbyes_;
};

}  // namespace cairn
