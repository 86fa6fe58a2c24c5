// Inode: what the mount knows of one file: the master's attributes, what local writes have changed since, the bytes on
// their way, and the errors nobody has been told of. InodeTable keeps them: those in use, and a bounded number more.
#pragma once
#include <kj/function.h>
#include <kj/refcount.h>

#include <algorithm>
#include <list>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/task.h"
#include "fuse-client/client/chunk_io.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/extent_map.h"
#include "fuse-client/client/lease_book.h"
#include "fuse-client/client/master_session.h"
#include "fuse-client/client/signal.h"
#include "fuse-client/client/types.h"

namespace cairn {

class InodeTable;

// Somebody who keeps copies of a file's bytes as they are at the chunkservers.
class CachedReader {
 public:
  virtual void invalidate(uint64_t from, uint64_t to) = 0;
};

// Bytes that were written here. Every one is in the newest of the four places that has it.
struct FileWrites {
  ExtentMap dirty;     // accepted, not sent
  ExtentMap underWay;  // sent, not acknowledged; nothing overlapping is sent meanwhile
  ExtentMap unsynced;  // acknowledged, not known durable
  ExtentMap lostHoles;   // punches that were lost and not sent again yet; what is written later goes over them
  uint64_t resends = 0;  // times that kept bytes turned out lost and became dirty again
  unsigned calls = 0;    // under way
  unsigned window = 0;  // how many calls may be
  uint64_t lastWrite = 0;  // number of the newest write
  uint64_t drainUpTo = 0;  // writes up to this one are to leave now
  bool paused = false;     // somebody changes the file's shape: nothing is accepted or sent
  bool stalled = false;    // waits for room in the mount's bounds
  bool listed = false;     // in the write buffer's list of dirty files
  bool listedUnsynced = false;
  bool syncing = false;  // in the background
  Nanos dirtySince = 0;
  Signal changed;  // a call ended, or the pause did
};

// What the master is still to be told of sizes and times.
struct FileReport {
  uint64_t end = 0;        // of acknowledged bytes, when beyond the size that the master knows
  uint64_t truncations = 0;  // what was to be told before one isn't any more
  uint64_t promised = 0;   // an fsync wants this size told without waiting for the acknowledgement; 0: none does
  uint64_t change = 0;     // number of the newest change of times
  uint64_t reported = 0;   // number of the newest change that the master knows
  FileTime modified;       // of that newest change
  int64_t allocatedDelta = 0;
  bool queued = false;
  bool underWay = false;
  unsigned blocked = 0;  // somebody sets size or times: nothing is sent
  Nanos sentAt = 0;
  Signal changed;
};

// The right to the file's bytes (byte_leases.h).
struct ByteLease {
  SessionId writer{};   // the session under which this mount alone reads and writes them; 0: it doesn't
  unsigned users = 0;   // operations under way that rely on a lease
  bool leaving = false; // the lease is being given back: who comes now asks for another
  bool asking = false;
  uint64_t recalledAt = 0;  // the master's order of the last recall
  uint64_t losses = 0;  // times that others got the right to change the bytes
  Signal changed;
};

// Bytes of a grant of that quota that the file needs (quota_book.h).
struct ByteClaim {
  InodeId root{};
  uint64_t bytes = 0;
};

class Inode final : public kj::Refcounted, public ChunkFile {
 public:
  Inode(InodeTable& table, InodeId id) : id(id), table_(table) {}

  const InodeId id;
  std::string name;  // by which it was found last, for chunks' self-description
  FileWrites writes;
  FileReport report;
  ByteLease bytes;
  ByteClaim claim;
  std::vector<CachedReader*> readers;
  uint32_t handles = 0;
  bool gone = false;  // no name and no handle any more: its bytes needn't be written

  bool isKnown() const { return known_; }
  // As the master gave them.
  const Attributes& committed() const { return committed_; }
  // With what local writes have changed.
  Attributes effective() const;
  uint64_t effectiveSize() const;
  // The master tells before anybody else changes them.
  bool isLeased() const;
  // Of the master's log, that committed() is of.
  uint64_t index() const { return index_; }
  // What is known is no older than this.
  Nanos ageNanos() const;
  bool hasLocalChanges() const;
  // Bytes that no chunkserver has acknowledged.
  bool hasUnsent() const {
    return !writes.dirty.empty() || !writes.underWay.empty() || !writes.lostHoles.empty();
  }
  // Nothing is lost when it is forgotten.
  bool isIdle() const;

  // Takes over the master's attributes as of a log index, unless newer ones are known. `leased`: under the present
  // link.
  void learn(const Attributes& attributes, uint64_t index, bool leased);
  // The master has carried out a report; these are the attributes with it.
  void reported(const Attributes& attributes, uint64_t index, bool leased);
  // Another client is about to change them: nothing known counts as young any more.
  void recall() {
    leasedUnder_ = 0;
    learnedAt_ = LONG_AGO;
  }
  // The master counts on being able to ask for it.
  bool mayBeLeased() const;
  // Log indices of before mean nothing any more.
  void historyChanged() { index_ = 0; }
  // Others were told that they may believe the attributes for so long.
  void promise(Nanos until) { promisedUntil_ = std::max(promisedUntil_, until); }
  // Something of what written() counts may have come to its end.
  void noteSafety();
  // A local write of [.., end) at `now`.
  void written(uint64_t end, FileTime now);
  // The file was truncated to `size` by this mount.
  void truncated(uint64_t size);

  // ---- when it was read (read_times.h)
  // A read at `now` is news, by the rule of `mode`.
  bool wouldMoveAccess(FileTime now, AccessTimes mode) const;
  void readAt(FileTime now) { accessed_ = now; }
  // What the master is still to be told; and that it is being told so.
  const std::optional<FileTime>& accessed() const { return accessed_; }
  void tellingRead() { accessedTold_ = accessed_.value_or(accessedTold_); }
  // Somebody has said it, or sets it.
  void forgetRead() { accessed_.reset(); }
  bool accessQueued = false;

  void invalidate(uint64_t from, uint64_t to);

  // ---- errors of buffered writes: told once to each handle
  void fail(const Error& error);
  uint64_t errorCount() const { return errors_; }
  // What a new handle counts as told: an error that nobody was told of yet is for it.
  uint64_t errorsTold() const { return told_; }
  // The newest error after number `seen`, which then is told.
  Status errorSince(uint64_t& seen);

  // ---- ChunkFile
  InodeId inode() const override { return id; }
  const Layout& layout() const override { return committed_.layout; }
  void describe(wire::Target::Builder target) const override;
  Task<Status> refreshLayout() override;
  Nanos layoutAgeNanos() const override;
  // The bytes are in that object, or were copied from it.
  bool hasBytesOf(ObjectId object) const {
    return object == committed_.layout.object || formerObjects_.count(object) > 0;
  }

 private:
  friend class InodeTable;
  static constexpr Nanos LONG_AGO = INT64_MIN / 2;

  void take(const Attributes& attributes, uint64_t index, bool leased);
  bool isReadSuperseded(const Attributes& attributes) const;

  InodeTable& table_;
  bool known_ = false;
  Attributes committed_;
  uint64_t index_ = 0;  // log index that committed_ is of
  uint64_t leasedUnder_ = 0;  // the link; 0: not leased
  uint64_t learnedUnder_ = 0;  // the master may have granted a lease under that one
  Nanos learnedAt_ = 0;
  Nanos layoutAt_ = 0;
  Nanos promisedUntil_ = 0;
  std::set<ObjectId> formerObjects_;  // that the present one was copied from, one after another
  std::optional<FileTime> accessed_;
  FileTime accessedTold_;
  uint64_t localEnd_ = 0;  // end of the farthest write that the master may not know

  Error error_{0, {}};
  uint64_t errors_ = 0;
  uint64_t told_ = 0;
  Safety noted_ = Safety::SAFE;
  std::list<Inode*>::iterator place_;
};

class InodeTable {
 public:
  InodeTable(Context& context, MasterSession& session, LeaseBook& leases)
      : context_(context), session_(session), leases_(leases) {}
  KJ_DISALLOW_COPY(InodeTable);

  // Made when absent.
  kj::Own<Inode> get(InodeId id);
  kj::Maybe<Inode&> find(InodeId id);
  // Notes attributes that came with `grant`, `bit` of it saying that they are leased; gives back what the mount shows.
  Attributes learn(wire::Attributes::Reader in, const Grant& grant, uint8_t bit, const std::string& name = {});
  // The same, of one whose lease the caller has judged.
  void learn(Inode& inode, wire::Attributes::Reader in, const Grant& grant, bool leased);
  // The same for every inode that a change has touched.
  void learn(wire::Reply::Reader reply, const Grant& grant);
  // The answer to a report of the mount's own writes.
  void reported(Inode& inode, wire::Attributes::Reader in, const Grant& grant);
  // Asks the master.
  Task<Status> refresh(Inode& inode);
  // Who hears of each inode that is forgotten, and with it its lease.
  void onEvict(kj::Function<void(InodeId)> evicted) { evicted_ = kj::mv(evicted); }
  size_t count() const { return inodes_.size(); }
  const LeaseBook& leases() const { return leases_; }
  Nanos now() const { return context_.clock.monotonic(); }
  void note(InodeId inode, Safety safety) { context_.ledger->safety(inode, safety); }
  // All that are known now, in no meaningful but a repeatable order.
  std::vector<kj::Own<Inode>> all();

 private:
  static constexpr unsigned EVICT_TRIES = 8;
  void evict();

  Context& context_;
  MasterSession& session_;
  LeaseBook& leases_;
  kj::Function<void(InodeId)> evicted_ = [](InodeId) {};
  std::unordered_map<uint64_t, kj::Own<Inode>> inodes_;
  std::list<Inode*> byUse_;  // longest unused first
};

}  // namespace cairn
