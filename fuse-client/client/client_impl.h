// What a Client is made of. Members are in the order of dependence: what stands later uses what stands earlier.
#pragma once
#include <optional>
#include <unordered_map>

#include "fuse-client/client/buffer.h"
#include "fuse-client/client/byte_leases.h"
#include "fuse-client/client/chunk_io.h"
#include "fuse-client/client/chunk_links.h"
#include "fuse-client/client/client.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/file_sync.h"
#include "fuse-client/client/inode.h"
#include "fuse-client/client/lease_book.h"
#include "fuse-client/client/lock_book.h"
#include "fuse-client/client/map_holder.h"
#include "fuse-client/client/master_session.h"
#include "fuse-client/client/name_cache.h"
#include "fuse-client/client/no_xattrs.h"
#include "fuse-client/client/quota_book.h"
#include "fuse-client/client/read_ahead.h"
#include "fuse-client/client/read_times.h"
#include "fuse-client/client/size_reporter.h"
#include "fuse-client/client/unsynced.h"
#include "fuse-client/client/write_buffer.h"

namespace cairn {

// An open file. Operations keep it alive even if it is released under them.
struct Handle : public kj::Refcounted {
  Handle(kj::Own<Inode> file, uint32_t bits) : inode(kj::mv(file)), bits(bits), errorsSeen(inode->errorsTold()) {}

  kj::Own<Inode> inode;
  uint32_t bits;
  uint64_t errorsSeen;
  // Told by a write. fsync and close tell them all the same: of a write that the kernel sends in pieces the program
  // hears of a failure only when it is the first piece's.
  uint64_t errorsAtWrite = 0;
  bool locksLost = false;  // with a session: what they protected may be somebody else's now
  kj::Own<ReadAhead> readAhead;  // of a regular file, from the first read on
};

// Nobody beside the library believes anything.
class NoCache final : public CacheListener {
 public:
  kj::Promise<void> forgetInode(InodeId) override { return kj::READY_NOW; }
  kj::Promise<void> forgetName(InodeId, const std::string&) override { return kj::READY_NOW; }
  void forgetNames() override {}
  kj::Promise<void> forgetEverything() override { return kj::READY_NOW; }
};

// What such a handle is good for.
inline Error lostLocks() {
  return Error{EIO, "the session ended, and with it the locks taken through this open file: open it again"};
}

class Client::Impl final : public MasterSession::Listener,
                           public MapHolder::Listener,
                           private kj::TaskSet::ErrorHandler {
 public:
  Impl(Clock& clock, Network& network, Random& random, ClusterFile clusterFile, ClientOptions options)
      : context(clock, network, random, kj::mv(options)),
        cluster(kj::mv(clusterFile)),
        map(*this),
        links(context, cluster),
        leases(context.clock),
        names(context.options.limits.namesMax),
        session(context, cluster, map, leases, *this),
        inodes(context, session, leases),
        io(context, map, links, session.id()),
        reporter(context, session),
        readTimes(context, session),
        unsynced(context, io),
        quotas(context, session, inodes),
        buffer(context, pool, io, reporter, unsynced, quotas, session.id()),
        sync(inodes, buffer, unsynced, reporter),
        bytes(context, session, inodes, leases, reporter, sync),
        budget(context),
        tasks(*this) {
    inodes.onEvict([this](InodeId id) { tasks.add(cache->forgetInode(id)); });
  }

  void sessionLost(SessionId old) override;
  // ---- leases (lease_ops.cc)
  void linkLost() override;
  void historyChanged() override;
  void executed(wire::Op::Reader op, wire::Reply::Reader reply, const Grant& grant) override;
  void refused(wire::Query::Reader query, int code, const Grant& grant) override;
  kj::Promise<void> recalled(wire::LeaseChange::Reader change, uint64_t order) override;
  kj::Promise<void> whenNotAsking(InodeId inode) override { return bytes.whenNotAsking(inode).promise(); }
  bool believes(InodeId inode) override;
  bool report(InodeId inode, wire::Written::Builder out) override { return bytes.report(inode, out); }
  std::vector<InodeId> writing() override { return bytes.writing(); }
  kj::Promise<void> giveBackGrant(InodeId root) override { return quotas.giveBack(root).promise(); }
  kj::Promise<void> whenForgotten() override { return forgotten.addBranch(); }
  void setDoubt(wire::Op::Reader op, bool begins) override;
  // One without an open handle was read.
  void noteRead(InodeId id);
  void giveUpDropped();
  void noteName(InodeId directory, const std::string& name, InodeId inode, const Grant& grant);
  void noteFound(InodeId directory, const std::string& name, InodeId inode, const Grant& grant);
  void noteNoXattr(InodeId inode, const std::string& name, const Grant& grant);
  // That it has no such extended attribute can be said without asking.
  bool hasNoXattr(InodeId inode, const std::string& name);
  bool hasNoXattrs(InodeId inode);
  void noteNames(wire::Op::Reader op, wire::Reply::Reader reply, const Grant& grant);
  // What leases say of a name without asking. Nothing: ask the master.
  std::optional<Result<Attributes>> leasedLookup(InodeId parent, const std::string& name);
  void mapChanged() override {
    context.network.setRevoked(map.map().revoked);
    unsynced.mapChanged(map.map());
  }

  // Lets `work` come to its end even if the result is dropped: stopped half-way it would leave the master and this
  // client with different ideas of a file.
  template <typename T>
  kj::Promise<T> toTheEnd(kj::Promise<T> work) {
    auto paf = kj::newPromiseAndFulfiller<T>();
    auto& done = *paf.fulfiller;
    auto arrived = [&done](T&& result) { done.fulfill(kj::mv(result)); };
    auto failed = [&done](kj::Exception&& e) { done.reject(kj::mv(e)); };
    tasks.add(work.then(kj::mv(arrived), kj::mv(failed)).attach(kj::mv(paf.fulfiller)));
    return kj::mv(paf.promise);
  }

  // EBADF when there is no such handle.
  Result<kj::Own<Handle>> handle(HandleId id);
  HandleId addHandle(kj::Own<Inode> inode, uint32_t bits);
  Task<Result<ReadData>> read(Handle& handle, uint64_t offset, uint32_t length);
  Task<Result<uint64_t>> accept(Handle& handle, uint64_t offset, kj::ArrayPtr<const kj::byte> data, bool inPlace);
  Task<Result<Attributes>> make(InodeId parent, std::string name, uint32_t mode, uint32_t device, std::string target,
                                bool hold, Caller caller);
  // Sets size or times, with nothing else under way that could undo it.
  Task<Result<Attributes>> setAttributes(kj::Own<Inode> inode, AttributeChange change, Caller caller);
  // One operation; the attributes in the reply are remembered.
  Task<Result<Attributes>> execute(kj::Own<MasterSession::OpDraft> op);
  Attributes shown(wire::Reply::Reader reply, const std::string& name = {});
  Task<Result<Attributes>> sendAttributes(InodeId inode, const AttributeChange& change, const Caller& caller);
  Task<Result<Created>> create(InodeId parent, std::string name, uint32_t mode, uint32_t openBits, Caller caller);
  void release(HandleId id);
  Task<Status> lock(kj::Own<Handle> handle, HandleId id, LockWish wish);
  Task<Status> unlockAll(LockBook::Key key);
  void unlockThrough(InodeId inode, HandleId handle);
  void noteLocks(const LockBook::Key& key, HandleId handle);
  void eraseLocks(const LockBook::Key& key);
  void takeUp(const Inheritance& from);
  void locksLost();
  Task<Status> zero(kj::Own<Inode> inode, uint64_t from, uint64_t to, bool mayGrow);
  Task<Status> tellWrittenEnd(Inode& inode, uint64_t newSizeBytes, Caller caller);
  Task<Status> grow(kj::Own<Inode> inode, uint64_t sizeBytes);

  Context context;
  const ClusterFile cluster;
  BufferPool pool;  // before all that holds buffers
  MapHolder map;
  ChunkLinks links;
  LeaseBook leases;
  NameCache names;
  NoXattrs noXattrs;
  LockBook locks;
  MasterSession session;
  InodeTable inodes;
  ChunkIo io;
  SizeReporter reporter;
  ReadTimes readTimes;
  Unsynced unsynced;
  QuotaBook quotas;
  WriteBuffer buffer;
  FileSync sync;
  ByteLeases bytes;
  ReadBudget budget;
  NoCache noCache;
  CacheListener* cache = &noCache;
  kj::ForkedPromise<void> forgotten = kj::Promise<void>(kj::READY_NOW).fork();  // what was told under earlier links
  std::unordered_map<uint64_t, kj::Own<Handle>> handles;
  uint64_t nextHandle = 1;
  kj::TaskSet tasks;

 private:
  void taskFailed(kj::Exception&& e) override;
};

}  // namespace cairn
