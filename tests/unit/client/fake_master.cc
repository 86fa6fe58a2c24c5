#include "tests/unit/client/fake_master.h"

#include <sys/stat.h>

#include <algorithm>

namespace cairn {
namespace {

std::string text(capnp::Data::Reader data) {
  return std::string(reinterpret_cast<const char*>(data.begin()), data.size());
}
capnp::Data::Reader bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

}  // namespace

class FakeSession final : public wire::ClientSession::Server {
 public:
  FakeSession(FakeMaster& master, uint64_t id) : master_(master), id_(id) {}

  kj::Promise<void> execute(ExecuteContext context) override {
    auto fate = master_.decide("execute");
    if (fate == FakeMaster::Fate::BREAK_BEFORE) {
      return master_.breaking();
    }
    auto params = context.getParams();
    auto session = master_.sessions_.find(id_);
    if (session == master_.sessions_.end()) {
      return KJ_EXCEPTION(DISCONNECTED, "session ended");
    }
    auto& slot = session->second.slots[params.getSlot()];
    if (slot.sequence == params.getSequence()) {
      ++master_.replayed;
    } else {
      KJ_ASSERT(params.getSequence() == slot.sequence + 1, "sequence of a slot jumped");
      slot.sequence = params.getSequence();
      slot.reply = kj::heap<capnp::MallocMessageBuilder>();
      master_.execute(id_, params.getOp(), slot.reply->initRoot<wire::Reply>());
    }
    auto reply = slot.reply->getRoot<wire::Reply>().asReader();
    if (params.getOp().isMake() && params.getOp().getMake().getHold() && reply.getOutcome().getErrno() == 0) {
      session->second.holds.insert(reply.getAttributes().getInode());
    }
    if (fate == FakeMaster::Fate::BREAK_AFTER) {
      return master_.breaking();
    }
    context.getResults().setReply(reply);
    return kj::READY_NOW;
  }

  kj::Promise<void> read(ReadContext context) override {
    if (master_.decide("read") != FakeMaster::Fate::NORMAL) {
      return master_.breaking();
    }
    ++master_.reads;
    auto answer = context.getResults().initAnswer();
    answer.setIndex(master_.index_);
    auto query = context.getParams().getQuery();
    answer.getOutcome().setErrno(master_.answer(query, answer));
    context.getResults().setLeased(query.isLookup() ? master_.leased() : uint8_t{0});
    return kj::READY_NOW;
  }

  kj::Promise<void> hold(HoldContext context) override {
    auto fate = master_.decide("hold");
    if (fate == FakeMaster::Fate::BREAK_BEFORE) {
      return master_.breaking();
    }
    ++master_.holdCalls;
    auto& holds = master_.sessions_.at(id_).holds;
    for (uint64_t inode : context.getParams().getTaken()) {
      holds.insert(inode);
    }
    for (uint64_t inode : context.getParams().getDropped()) {
      holds.erase(inode);
      if (auto* found = master_.find(inode)) {
        master_.lost(*found);
      }
    }
    return fate == FakeMaster::Fate::BREAK_AFTER ? master_.breaking() : kj::Promise<void>(kj::READY_NOW);
  }

  kj::Promise<void> acquire(AcquireContext context) override {
    auto answer = context.getResults().initAnswer();
    answer.setIndex(master_.index_);
    capnp::MallocMessageBuilder message;
    auto query = message.initRoot<wire::Query>();
    query.setAttributes(context.getParams().getInode());
    answer.getOutcome().setErrno(master_.answer(query.asReader(), answer));
    bool write = context.getParams().getWrite();
    context.getResults().setOrder(1);
    context.getResults().setLeased(master_.leased() | (write ? wire::LEASED_WRITING : uint8_t{0}));
    return kj::READY_NOW;
  }

  kj::Promise<void> forget(ForgetContext) override { return kj::READY_NOW; }

  kj::Promise<void> renew(RenewContext context) override {
    if (master_.decide("renew") != FakeMaster::Fate::NORMAL) {
      return master_.breaking();
    }
    context.getResults().setLeaseNanos(master_.lease);
    return kj::READY_NOW;
  }

  kj::Promise<void> detach(DetachContext) override {
    master_.sessions_.erase(id_);
    return kj::READY_NOW;
  }

 private:
  FakeMaster& master_;
  const uint64_t id_;
};

class FakeMasterService final : public wire::Master::Server {
 public:
  explicit FakeMasterService(FakeMaster& master) : master_(master) {}

  kj::Promise<void> attach(AttachContext context) override {
    auto fate = master_.decide("attach");
    if (fate == FakeMaster::Fate::BREAK_BEFORE) {
      return master_.breaking();
    }
    auto params = context.getParams();
    auto results = context.getResults();
    uint64_t session = params.getSession();
    if (session != 0 && master_.sessions_.count(session) == 0) {
      results.getOutcome().setErrno(ESTALE);
      return kj::READY_NOW;
    }
    if (session == 0) {
      session = master_.nextSession_++;
      master_.sessions_[session];
    }
    results.setSession(session);
    results.setLeaseNanos(master_.lease);
    results.setClient(kj::heap<FakeSession>(master_, session));
    master_.watchers_.push_back(params.getWatcher());
    auto push = params.getWatcher().pushRequest();
    master_.map.encode(push.initMap(), MapVersion{});
    return push.send().ignoreResult().catch_([](kj::Exception&&) {});
  }

 private:
  FakeMaster& master_;
};

class FakeDoor final : public wire::MasterDoor::Server {
 public:
  explicit FakeDoor(FakeMaster& master) : master_(master) {}

  kj::Promise<void> enter(EnterContext context) override {
    auto cluster = fromWire<ClusterTag>(context.getParams().getHello().getCluster());
    if (cluster != master_.cluster_) {
      context.getResults().getOutcome().setErrno(ESTALE);
      context.getResults().getOutcome().setWhy("another cluster");
      return kj::READY_NOW;
    }
    context.getResults().setMaster(kj::heap<FakeMasterService>(master_));
    return kj::READY_NOW;
  }

 private:
  FakeMaster& master_;
};

FakeMaster::FakeMaster(World& world, ClusterId cluster, std::string host)
    : world_(world), cluster_(cluster), host_(std::move(host)) {
  auto& root = inodes_[1];
  root.id = root.parent = 1;
  root.mode = S_IFDIR | 0755;
  root.links = 2;
  start();
}

void FakeMaster::start() {
  auto door = [this](const PeerIdentity&) { return capnp::Capability::Client(kj::heap<FakeDoor>(*this)); };
  server_ = serveRpc(world_.network().host(host_).listen(address()).value(), kj::mv(door));
}

void FakeMaster::listenOn(const std::string& socket) {
  auto door = [this](const PeerIdentity&) {
    ++socketConnections;
    return capnp::Capability::Client(kj::heap<FakeDoor>(*this));
  };
  socketServer_ = serveRpc(world_.network().host(host_).listen("unix:" + socket).value(), kj::mv(door));
}

void FakeMaster::stop() {
  watchers_.clear();
  socketServer_ = nullptr;
  server_ = nullptr;
}

kj::Promise<void> FakeMaster::breaking() {
  breakLinks();
  return KJ_EXCEPTION(DISCONNECTED, "the test broke the link");
}

void FakeMaster::push() {
  map.version = next(map.version);
  for (auto& watcher : watchers_) {
    auto push = watcher.pushRequest();
    map.encode(push.initMap(), MapVersion{});
    push.send().ignoreResult().detach([](kj::Exception&&) {});
  }
}

FakeInode* FakeMaster::find(uint64_t id) {
  auto it = inodes_.find(id);
  return it == inodes_.end() ? nullptr : &it->second;
}

FakeInode* FakeMaster::at(const std::string& name) {
  auto it = inodes_[1].entries.find(name);
  return it == inodes_[1].entries.end() ? nullptr : find(it->second.inode);
}

void FakeMaster::touch(FakeInode& inode) {
  Nanos now = world_.clock().wall();
  inode.modifiedSeconds = now / SECOND;
  inode.modifiedNanos = static_cast<uint32_t>(now % SECOND);
}

bool FakeMaster::isHeld(uint64_t inode) const {
  return std::any_of(sessions_.begin(), sessions_.end(),
                     [inode](const auto& session) { return session.second.holds.count(inode) > 0; });
}

void FakeMaster::lost(FakeInode& inode) {
  if (inode.links == 0 && !isHeld(inode.id)) {
    inodes_.erase(inode.id);
  }
}

void FakeMaster::describe(const FakeInode& inode, wire::Attributes::Builder out) const {
  out.setInode(inode.id);
  out.setMode(inode.mode);
  out.setUid(inode.uid);
  out.setGid(inode.gid);
  out.setLinks(inode.links);
  out.setDevice(inode.device);
  out.setSize(inode.size);
  out.setAllocatedBytes(inode.allocated);
  out.initModified().setSeconds(inode.modifiedSeconds);
  out.getModified().setNanos(inode.modifiedNanos);
  out.setParent(inode.parent);
  auto layout = out.initLayout();
  layout.setObject(inode.object);
  layout.setClass(1);
  layout.setChunkBits(chunkBits);
  layout.setGeneration(inode.generation);
  auto cuts = layout.initCuts(inode.cuts.size());
  for (unsigned i = 0; i < cuts.size(); ++i) {
    cuts[i].setGeneration(inode.cuts[i].first);
    cuts[i].setFirstDead(inode.cuts[i].second);
  }
}

// ---- changes ------------------------------------------------------------------------------------

void FakeMaster::execute(uint64_t session, wire::Op::Reader op, wire::Reply::Builder reply) {
  ++executed;
  reply.setIndex(++index_);
  int code = EOPNOTSUPP;
  switch (op.which()) {
    case wire::Op::MAKE:
      log.push_back("make");
      code = make(session, op.getMake(), reply);
      break;
    case wire::Op::LINK:
      log.push_back("link");
      code = link(op.getLink(), reply);
      break;
    case wire::Op::UNLINK:
      log.push_back("unlink");
      code = unlink(op.getUnlink(), reply);
      break;
    case wire::Op::RENAME:
      log.push_back("rename");
      code = rename(op.getRename(), reply);
      break;
    case wire::Op::SET_ATTRIBUTES:
      log.push_back("setAttributes");
      code = setAttributes(op.getSetAttributes(), reply);
      break;
    case wire::Op::SET_XATTR: {
      auto set = op.getSetXattr();
      auto* inode = find(set.getInode());
      code = inode == nullptr ? ENOENT : 0;
      if (inode != nullptr) {
        inode->xattrs[text(set.getName())] = text(set.getValue());
      }
      break;
    }
    case wire::Op::REMOVE_XATTR: {
      auto remove = op.getRemoveXattr();
      auto* inode = find(remove.getInode());
      code = inode != nullptr && inode->xattrs.erase(text(remove.getName())) > 0 ? 0 : ENODATA;
      break;
    }
    case wire::Op::WRITTEN:
      log.push_back("written");
      code = wrote(op.getWritten(), reply);
      break;
    case wire::Op::LOCK:  // nobody else has one
      log.push_back(op.getLock().getType() == wire::LockType::NONE ? "unlock" : "lock");
      code = 0;
      break;
    case wire::Op::RESERVE:  // quotas without an end
      reply.setGranted(op.getReserve().getBytes());
      code = 0;
      break;
    case wire::Op::GIVE_BACK:
      code = 0;
      break;
    case wire::Op::DETACH:
      break;
  }
  reply.getOutcome().setErrno(code);
}

int FakeMaster::make(uint64_t, wire::Op::Make::Reader op, wire::Reply::Builder reply) {
  auto* parent = find(op.getParent());
  if (parent == nullptr) {
    return ENOENT;
  }
  std::string name = text(op.getName());
  if (parent->entries.count(name) > 0) {
    return EEXIST;
  }
  FakeInode inode;
  inode.id = nextInode_++;
  inode.mode = op.getMode();
  inode.uid = op.getMode() == 0 ? 1 : 0;
  inode.device = op.getDevice();
  inode.target = text(op.getTarget());
  inode.parent = S_ISDIR(inode.mode) ? parent->id : 0;
  inode.links = S_ISDIR(inode.mode) ? 2 : 1;
  inode.object = S_ISREG(inode.mode) ? nextObject_++ : 0;
  touch(inode);
  parent->entries[name] = {inode.id, parent->nextCookie++};
  describe(inode, reply.initAttributes());
  describe(*parent, reply.initParent());
  inodes_[inode.id] = inode;
  return 0;
}

int FakeMaster::link(wire::Op::Link::Reader op, wire::Reply::Builder reply) {
  auto* inode = find(op.getInode());
  auto* parent = find(op.getParent());
  if (inode == nullptr || parent == nullptr) {
    return ENOENT;
  }
  if (parent->entries.count(text(op.getName())) > 0) {
    return EEXIST;
  }
  parent->entries[text(op.getName())] = {inode->id, parent->nextCookie++};
  ++inode->links;
  describe(*inode, reply.initAttributes());
  return 0;
}

int FakeMaster::unlink(wire::Op::Unlink::Reader op, wire::Reply::Builder reply) {
  auto* parent = find(op.getParent());
  auto it = parent->entries.find(text(op.getName()));
  if (it == parent->entries.end()) {
    return ENOENT;
  }
  auto* inode = find(it->second.inode);
  if (S_ISDIR(inode->mode) != op.getDirectory()) {
    return op.getDirectory() ? ENOTDIR : EISDIR;
  }
  if (!inode->entries.empty()) {
    return ENOTEMPTY;
  }
  inode->links = S_ISDIR(inode->mode) ? 0 : inode->links - 1;
  parent->entries.erase(it);
  describe(*inode, reply.initAttributes());
  lost(*inode);
  return 0;
}

int FakeMaster::rename(wire::Op::Rename::Reader op, wire::Reply::Builder reply) {
  auto* from = find(op.getParent());
  auto* to = find(op.getNewParent());
  auto source = from->entries.find(text(op.getName()));
  if (source == from->entries.end()) {
    return ENOENT;
  }
  auto moved = source->second.inode;
  auto victim = to->entries.find(text(op.getNewName()));
  if (victim != to->entries.end()) {
    if ((op.getFlags() & 1) != 0) {
      return EEXIST;
    }
    auto* old = find(victim->second.inode);
    --old->links;
    describe(*old, reply.initReplaced());
    to->entries.erase(victim);
    lost(*old);
  }
  from->entries.erase(source);
  to->entries[text(op.getNewName())] = {moved, to->nextCookie++};
  describe(*find(moved), reply.initAttributes());
  return 0;
}

void FakeMaster::resize(FakeInode& inode, uint64_t size, bool onlyGrow) {
  if (onlyGrow) {
    inode.size = std::max(inode.size, size);
    return;
  }
  if (size == 0) {
    inode.object = nextObject_++;
    inode.generation = 0;
    inode.cuts.clear();
    inode.allocated = 0;
  } else if (size < inode.size) {
    inode.cuts.emplace_back(++inode.generation, size);
  }
  inode.size = size;
}

int FakeMaster::setAttributes(wire::SetAttributes::Reader op, wire::Reply::Builder reply) {
  auto* inode = find(op.getInode());
  if (inode == nullptr) {
    return ENOENT;
  }
  uint32_t which = op.getWhich();
  if ((which & 1) != 0) {
    inode->mode = (inode->mode & S_IFMT) | (op.getMode() & 07777);
  }
  if ((which & 2) != 0) {
    inode->uid = op.getUid();
  }
  if ((which & 8) != 0) {
    touch(*inode);
    resize(*inode, op.getSize(), (which & 256) != 0);
  }
  if ((which & 32) != 0) {
    inode->modifiedSeconds = op.getModified().getSeconds();
    inode->modifiedNanos = op.getModified().getNanos();
  }
  if ((which & 128) != 0) {
    touch(*inode);
  }
  describe(*inode, reply.initAttributes());
  return 0;
}

int FakeMaster::wrote(capnp::List<wire::Written>::Reader items, wire::Reply::Builder reply) {
  auto outcomes = reply.initWritten(items.size());
  auto now = reply.initWrittenNow(items.size());
  for (unsigned i = 0; i < items.size(); ++i) {
    ++written;
    auto* inode = find(items[i].getInode());
    if (inode == nullptr || inode->object != items[i].getObject()) {
      outcomes[i].setErrno(ESTALE);
      continue;
    }
    inode->size = std::max(inode->size, items[i].getSize());
    inode->allocated += items[i].getAllocatedDelta();
    inode->modifiedSeconds = items[i].getModified().getSeconds();
    inode->modifiedNanos = items[i].getModified().getNanos();
    describe(*inode, now[i]);
  }
  return 0;
}

// ---- questions ----------------------------------------------------------------------------------

int FakeMaster::answer(wire::Query::Reader query, wire::Answer::Builder answer) {
  switch (query.which()) {
    case wire::Query::LOOKUP: {
      auto* parent = find(query.getLookup().getParent());
      auto it = parent->entries.find(text(query.getLookup().getName()));
      if (it == parent->entries.end()) {
        return ENOENT;
      }
      describe(*find(it->second.inode), answer.initAttributes());
      return 0;
    }
    case wire::Query::ATTRIBUTES: {
      auto* inode = find(query.getAttributes());
      if (inode == nullptr) {
        return ENOENT;
      }
      describe(*inode, answer.initAttributes());
      return 0;
    }
    case wire::Query::READ_DIRECTORY:
      return readDirectory(query.getReadDirectory(), answer);
    case wire::Query::READ_LINK:
      answer.setBytes(bytesOf(find(query.getReadLink())->target));
      return 0;
    case wire::Query::GET_XATTR: {
      auto& xattrs = find(query.getGetXattr().getInode())->xattrs;
      auto it = xattrs.find(text(query.getGetXattr().getName()));
      if (it == xattrs.end()) {
        return ENODATA;
      }
      answer.setBytes(bytesOf(it->second));
      return 0;
    }
    case wire::Query::LIST_XATTR: {
      std::string names;
      for (auto& [name, value] : find(query.getListXattr())->xattrs) {
        names += name + '\0';
      }
      answer.setBytes(bytesOf(names));
      return 0;
    }
    case wire::Query::SPACE:
      answer.initSpace().setTotalBytes(1u << 30);
      answer.getSpace().setAvailableBytes(1u << 29);
      return 0;
    case wire::Query::TEST_LOCK:
      break;
  }
  return EOPNOTSUPP;
}

int FakeMaster::readDirectory(wire::Query::ReadDirectory::Reader query, wire::Answer::Builder answer) {
  auto* inode = find(query.getInode());
  std::map<uint64_t, std::pair<std::string, uint64_t>> byCookie;
  for (auto& [name, entry] : inode->entries) {
    if (entry.cookie > query.getCookie()) {
      byCookie[entry.cookie] = {name, entry.inode};
    }
  }
  auto count = std::min<size_t>(byCookie.size(), query.getEntriesMax());
  auto entries = answer.initEntries();
  auto list = entries.initList(count);
  unsigned i = 0;
  for (auto& [cookie, entry] : byCookie) {
    if (i == count) {
      break;
    }
    list[i].setName(bytesOf(entry.first));
    list[i].setInode(entry.second);
    list[i].setMode(find(entry.second)->mode);
    list[i].setNext(cookie);
    if (query.getWithAttributes()) {
      describe(*find(entry.second), list[i].initAttributes());
    }
    ++i;
  }
  entries.setEnd(count == byCookie.size());
  return 0;
}

}  // namespace cairn
