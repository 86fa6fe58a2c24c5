// What a Client is made of. Members are in the order of dependence: what stands later uses what stands earlier.
#pragma once
#include <unordered_map>

#include "fuse-client/client/buffer.h"
#include "fuse-client/client/chunk_io.h"
#include "fuse-client/client/chunk_links.h"
#include "fuse-client/client/client.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/file_sync.h"
#include "fuse-client/client/inode.h"
#include "fuse-client/client/map_holder.h"
#include "fuse-client/client/master_session.h"
#include "fuse-client/client/read_ahead.h"
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
  kj::Own<ReadAhead> readAhead;  // of a regular file, from the first read on
};

class Client::Impl final : public MasterSession::Listener,
                           public MapHolder::Listener,
                           private kj::TaskSet::ErrorHandler {
 public:
  Impl(Clock& clock, Network& network, Random& random, ClusterFile clusterFile, ClientOptions options)
      : context(clock, network, random, kj::mv(options)),
        cluster(kj::mv(clusterFile)),
        map(*this),
        links(context, cluster),
        session(context, cluster, map, *this),
        inodes(context, session),
        io(context, map, links, session.id()),
        reporter(context, session),
        unsynced(context, io),
        buffer(context, pool, io, reporter, unsynced, session.id()),
        sync(inodes, buffer, unsynced, reporter),
        budget(context),
        tasks(*this) {}

  void sessionLost(SessionId old) override;
  void mapChanged() override { unsynced.mapChanged(map.map()); }

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
  // The attributes are known, and young enough when the file is clean.
  Task<Status> known(Inode& inode);
  Task<Result<Attributes>> make(InodeId parent, std::string name, uint32_t mode, uint32_t device, std::string target,
                                bool hold, Caller caller);
  // Sets size or times, with nothing else under way that could undo it.
  Task<Result<Attributes>> setAttributes(kj::Own<Inode> inode, AttributeChange change, Caller caller);
  // One operation; the attributes in the reply are remembered.
  Task<Result<Attributes>> execute(kj::Own<MasterSession::OpDraft> op);
  Task<Result<Attributes>> sendAttributes(InodeId inode, const AttributeChange& change, const Caller& caller);
  Task<Result<Created>> create(InodeId parent, std::string name, uint32_t mode, uint32_t openBits, Caller caller);
  void release(HandleId id);
  Task<Status> zero(kj::Own<Inode> inode, uint64_t from, uint64_t to, bool mayGrow);
  Task<Status> tellWrittenEnd(Inode& inode, uint64_t newSizeBytes, Caller caller);
  Task<Status> grow(kj::Own<Inode> inode, uint64_t sizeBytes);

  Context context;
  const ClusterFile cluster;
  BufferPool pool;  // before all that holds buffers
  MapHolder map;
  ChunkLinks links;
  MasterSession session;
  InodeTable inodes;
  ChunkIo io;
  SizeReporter reporter;
  Unsynced unsynced;
  WriteBuffer buffer;
  FileSync sync;
  ReadBudget budget;
  std::unordered_map<uint64_t, kj::Own<Handle>> handles;
  uint64_t nextHandle = 1;
  kj::TaskSet tasks;

 private:
  void taskFailed(kj::Exception&& e) override;
};

}  // namespace cairn
