// Leases: drives the lease table. Grants with replies, recalls from others before a change, and waits for those who
// don't answer until their session is taken up anew (then they believe nothing) or has ended.
//
// Of a file's bytes (leases_bytes.cc) the lease on its attributes is the one to read them. To write them is to be the
// only one who has any: then size and times are the writer's too, and others' questions are answered by asking it.
#pragma once
#include <kj/async.h>

#include <deque>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/task.h"
#include "master/namespace/reader.h"
#include "master/session/session_table.h"
#include "master/session/lease_table.h"
#include "rpc/shard_map.h"
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

  // The session begins, or was taken up by a new link: it believes nothing, but goes on writing the files `writing`.
  // False: it can't, for others have leases on them.
  bool attached(SessionId session, kj::Maybe<wire::LeaseHolder::Client> holder,
                const std::vector<InodeId>& writing = {});
  // Its link is gone. It goes on believing for a while, and can't be asked.
  void linkLost(SessionId session);
  void ended(SessionId session);

  // Who may believe something of an inode, sessions of an earlier leader's time among them, which may believe anything.
  struct Holder {
    SessionId session{};
    bool write = false;
    std::optional<Nanos> askedAt;  // to give it back, or what it has written, and hasn't answered
  };
  std::vector<Holder> holders(InodeId inode) const;

  // How many were asked for back.
  uint64_t recalls() const { return recalls_; }

  bool grant(SessionId session, InodeId inode);
  void release(SessionId session, InodeId inode) { table_.release(session, inode); }
  size_t count(SessionId session) const { return table_.count(session); }

  struct Item {
    InodeId inode{};
    std::string name;    // empty: attributes only
    bool share = false;  // nothing changes: others are to read
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
    kj::Promise<void> recall() { return recallAll().promise(); }

   private:
    Task<void> recallAll();

    Leases& leases_;
    const SessionId by_;
    std::vector<Item> items_;
    size_t recalled_ = 0;
  };

  // ---- bytes of files (leases_bytes.cc)

  // Leases on one file's bytes are asked for one after another: nobody is passed over.
  class Turn {
   public:
    Turn(Leases& leases, InodeId inode);
    ~Turn() noexcept(false);
    KJ_DISALLOW_COPY(Turn);
    kj::Promise<void> come();

   private:
    Leases& leases_;
    const InodeId inode_;
    kj::Own<kj::PromiseFulfiller<void>> called_;
  };

  // What stands between a session and its lease to read an inode, or (beside those who hold leases, whom a Change
  // recalls) to write it: resolves when that may be gone. Nothing: it may be granted.
  kj::Maybe<kj::Promise<void>> obstacle(SessionId to, InodeId inode);
  bool grantWriting(SessionId session, InodeId inode, uint64_t order);
  // Of recalls and of grants by themselves, as they are given out.
  uint64_t nextOrder() { return ++lastOrder_; }
  std::optional<SessionId> writerBut(SessionId but, InodeId inode) const { return table_.writerBut(but, inode); }

  // What a writer knows of its file.
  struct Written {
    InodeId inode{};
    uint64_t sizeBytes = 0;
    int64_t allocatedDelta = 0;
    int64_t modifiedSeconds = 0;
    uint32_t modifiedNanos = 0;
  };
  // Asks a session for files that it writes; of those that aren't among `out` then, it isn't the writer any more.
  // False: it could not be asked, and isn't, or has come anew since.
  Task<bool> report(SessionId writer, std::vector<InodeId> inodes, std::vector<Written>& out);

  // Sessions of an earlier leader's time, which might be writing anything, have come or ended.
  bool isAnyUnknownBut(SessionId session) const { return unknown_.size() > (unknown_.contains(session) ? 1u : 0u); }
  Task<void> whenKnown(SessionId but);

  // Every chunkserver has confirmed the map of this version: late writes of those who were evicted before can't land.
  void drained(MapVersion confirmed);
  bool waitsForDrain() const { return !fences_.empty(); }

  // ---- grants of quotas (quotas.h)

  // Has a session give back what it can do without of a grant. Resolves when it has, or has ended, or doesn't in time.
  Task<void> giveBack(SessionId session, InodeId root);
  // Files that some session alone has the right to write.
  std::vector<InodeId> writtenFiles() const { return table_.written(); }

 private:
  // What some wait for.
  struct Event {
    kj::ForkedPromise<void> promise;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };
  template <typename Key>
  using Events = std::map<Key, Event>;
  template <typename Key>
  static kj::Promise<void> when(Events<Key>& events, Key key);
  template <typename Key>
  static void happened(Events<Key>& events, Key key);

  // Late writes of a session that was evicted may still land in these files: nobody gets a lease on them.
  struct Fence {
    MapVersion version{};
    InodeId below{};  // what it wrote isn't known: any of those that there were
    std::set<InodeId> inodes;
  };

  // A session that is being asked. Stands in the list as long as it lives.
  class Asking {
   public:
    Asking(Leases& leases, SessionId session, std::vector<InodeId> inodes)
        : leases_(leases), place_(leases.asking_.insert(leases.asking_.end(), Asked{session, std::move(inodes),
                                                                                    leases.clock_.monotonic()})) {}
    ~Asking() { leases_.asking_.erase(place_); }
    KJ_DISALLOW_COPY(Asking);

   private:
    friend class Leases;
    struct Asked {
      SessionId session{};
      std::vector<InodeId> inodes;
      Nanos since = 0;
    };
    Leases& leases_;
    const std::list<Asked>::iterator place_;
  };

  static constexpr unsigned ORDERS_OF_TERM_BITS = 40;
  static constexpr unsigned GIVE_BACK_TRIES = 2;

  bool othersMayHold(SessionId by) const;
  Task<void> recallFrom(SessionId session, std::vector<Item> items);
  Task<void> ask(SessionId session, std::vector<Item> items);
  void answered(SessionId session, const std::vector<Item>& items, uint64_t order,
                capnp::List<uint64_t>::Reader dropped);
  bool stillWrites(SessionId session, const std::vector<Item>& items) const;
  Task<void> share(SessionId by, InodeId inode);
  bool isFenced(InodeId inode) const;
  template <typename T>
  kj::Promise<T> late();

  Clock& clock_;
  const NamespaceReader& reader_;
  Evictor& evictor_;
  LeaseTable table_;
  std::set<SessionId> unknown_;  // of an earlier leader's time
  std::map<SessionId, wire::LeaseHolder::Client> links_;
  Events<SessionId> freed_;
  Events<InodeId> changesEnded_;
  std::unordered_map<InodeId, std::deque<Turn*>> turns_;
  std::vector<Fence> fences_;
  std::list<Asking::Asked> asking_;
  uint64_t recalls_ = 0;
  uint64_t lastOrder_;  // higher than any that an earlier leader gave out
  Events<int> drained_;  // one, of no meaning: any fence went
};

// Rejects when a question has been unanswered for a session's time. In two halves: when this process has stood still,
// answers may be waiting unread.
template <typename T>
kj::Promise<T> Leases::late() {
  constexpr Nanos HALF = (SESSION_LEASE + SESSION_MARGIN) / 2;
  return clock_.after(HALF).then([this] { return clock_.after(HALF); }).then([]() -> kj::Promise<T> {
    return KJ_EXCEPTION(FAILED, "no answer in time");
  });
}

template <typename Key>
kj::Promise<void> Leases::when(Events<Key>& events, Key key) {
  auto it = events.find(key);
  if (it == events.end()) {
    auto paf = kj::newPromiseAndFulfiller<void>();
    it = events.emplace(key, Event{paf.promise.fork(), kj::mv(paf.fulfiller)}).first;
  }
  return it->second.promise.addBranch();
}

template <typename Key>
void Leases::happened(Events<Key>& events, Key key) {
  auto waited = events.find(key);
  if (waited != events.end()) {
    auto fulfiller = kj::mv(waited->second.fulfiller);
    events.erase(waited);
    fulfiller->fulfill();
  }
}

}  // namespace cairn
