#include "fuse-client/client/client.h"

#include "common/log.h"
#include "fuse-client/client/client_impl.h"

namespace cairn {

Client::Client(Clock& clock, Network& network, Random& random, ClusterFile cluster, ClientOptions options)
    : impl_(kj::heap<Impl>(clock, network, random, kj::mv(cluster), kj::mv(options))) {}

Client::~Client() noexcept(false) = default;

void Client::Impl::sessionLost(SessionId old) {
  Error error{EIO, "session " + std::to_string(raw(old)) + " was evicted before this data was safe"};
  buffer.sessionLost(inodes.all(), error);
  quotas.sessionLost();
  for (auto& inode : inodes.all()) {
    bytes.linkLost(*inode);
  }
  locksLost();
}

Task<Status> Client::start() {
  Status attached = co_await impl_->session.start();
  if (!attached.ok()) {
    co_return attached;
  }
  MapVersion first{1};
  co_await impl_->map.reached(first);
  co_return Status();
}

Task<Status> Client::stop() {
  co_await impl_->sync.syncAll();
  auto told = impl_->readTimes.flush().promise().exclusiveJoin(impl_->context.clock.after(ACCESS_TIMES_WAIT));
  co_await kj::mv(told);
  Status out;
  for (auto& inode : impl_->inodes.all()) {
    uint64_t told = inode->errorsTold();
    Status error = inode->errorSince(told);
    out = out.ok() ? error : out;
  }
  for (InodeId written : impl_->bytes.endWriting()) {
    impl_->leases.giveUp(written);
  }
  co_await impl_->session.stop();
  co_return out;
}

Task<Status> Client::syncAll() {
  co_await impl_->sync.syncAll();
  co_return Status();
}

ClientStats Client::stats() const {
  ClientStats out = impl_->context.stats;
  out.openHandles = impl_->handles.size();
  out.inodes = impl_->inodes.count();
  out.mapVersion = raw(impl_->map.map().version);
  out.session = raw(impl_->session.id());
  return out;
}

std::optional<std::string> Client::answered(const char* kind, InodeId inode, Nanos began, bool failed) {
  Context& context = impl_->context;
  ++context.stats.operations;
  context.stats.operationErrors += failed;
  Nanos now = context.clock.monotonic();
  if (!context.slow.isSlow(now - began)) {
    return std::nullopt;
  }
  ++context.stats.slowOperations;
  return context.slow.call(kind, inode, began, now);
}

std::vector<Wait> Client::waits() const { return impl_->context.waits.list(); }

LeaderStanding Client::master() const { return impl_->session.standing(); }

std::string Client::nameOf(InodeId inode) {
  KJ_IF_MAYBE(known, impl_->inodes.find(inode)) {
    return known->name;
  }
  return {};
}

Task<void> Client::whenCutOff() {
  for (;;) {
    Nanos silent = master().silentNanos;
    if (silent >= CUT_OFF) {
      co_return;
    }
    co_await impl_->context.clock.after(CUT_OFF - silent);
  }
}

void Client::Impl::taskFailed(kj::Exception&& e) {
  spdlog::error("an operation failed unheard: {}", kj::str(e).cStr());
}

// ---- handles ------------------------------------------------------------------------------------

Result<kj::Own<Handle>> Client::Impl::handle(HandleId id) {
  auto it = handles.find(raw(id));
  if (it == handles.end()) {
    return Error{EBADF, "no such handle"};
  }
  return kj::addRef(*it->second);
}

HandleId Client::Impl::addHandle(kj::Own<Inode> inode, uint32_t bits) {
  ++inode->handles;
  inode->gone = false;
  uint64_t id = nextHandle++;
  handles[id] = kj::refcounted<Handle>(kj::mv(inode), bits);
  return HandleId{id};
}

HandleId Client::open(InodeId inode, uint32_t openBits) {
  auto opened = impl_->inodes.get(inode);
  impl_->session.take(inode, opened->isLeased());
  return impl_->addHandle(kj::mv(opened), openBits);
}

Task<Result<Client::Created>> Client::Impl::create(InodeId parent, std::string name, uint32_t mode, uint32_t openBits,
                                                   Caller caller) {
  auto made = co_await make(parent, kj::mv(name), mode, 0, std::string(), true, kj::mv(caller));
  if (!made.ok()) {
    co_return made.error();
  }
  Created out;
  out.attributes = kj::mv(made).value();
  out.handle = addHandle(inodes.get(out.attributes.inode), openBits);
  co_return kj::mv(out);
}

Task<Result<Client::Created>> Client::create(InodeId parent, std::string name, uint32_t mode, uint32_t openBits,
                                             Caller caller) {
  return impl_->create(parent, kj::mv(name), mode, openBits, kj::mv(caller));
}

void Client::release(HandleId id) { impl_->release(id); }

void Client::Impl::release(HandleId id) {
  auto it = handles.find(raw(id));
  if (it == handles.end()) {
    return;
  }
  auto handle = kj::mv(it->second);
  handles.erase(it);
  Inode& inode = *handle->inode;
  unlockThrough(inode.id, id);
  --inode.handles;
  if (inode.handles == 0 && inode.isKnown() && inode.committed().links == 0) {
    buffer.forget(inode);
  } else if (!inode.writes.dirty.empty()) {
    buffer.startDrain(inode);
  }
  session.drop(inode.id);
}

Task<Status> Client::flush(HandleId id) {
  auto found = impl_->handle(id);
  if (!found.ok()) {
    co_return found.error();
  }
  auto handle = kj::mv(found).value();
  Inode& inode = *handle->inode;
  if (inode.hasUnsent()) {
    bool large = inode.writes.dirty.bytes() + inode.writes.underWay.bytes() > FLUSH_WAIT_BYTES;
    if (large) {
      co_await impl_->buffer.drained(kj::addRef(inode));
    } else {
      impl_->buffer.startDrain(inode);
    }
  }
  Status out = inode.errorSince(handle->errorsSeen);
  impl_->context.stats.errorsReported += out.ok() ? 0 : 1;
  co_return out;
}

Task<Status> Client::fsync(HandleId id, bool dataOnly) {
  auto found = impl_->handle(id);
  if (!found.ok()) {
    co_return found.error();
  }
  auto handle = kj::mv(found).value();
  co_await impl_->sync.sync(kj::addRef(*handle->inode), dataOnly);
  Status out = handle->inode->errorSince(handle->errorsSeen);
  impl_->context.stats.errorsReported += out.ok() ? 0 : 1;
  co_return out;
}

// Names are durable when their operation was answered.
Task<Status> Client::fsyncDirectory(HandleId) { co_return Status(); }

}  // namespace cairn
