// What leases allow this mount to believe: taken in with replies, given up when it is recalled or the link is gone.
#include <sys/stat.h>

#include "fuse-client/client/client_impl.h"
#include "fuse-client/client/wire.h"

namespace cairn {
namespace {

// Of renameat2(2): after these the old name stands for something else.
constexpr uint32_t EXCHANGE = 2;
constexpr uint32_t WHITEOUT = 4;

}  // namespace

void Client::Impl::linkLost() {
  names.clear();
  for (auto& inode : inodes.all()) {
    bytes.linkLost(*inode);
  }
  forgotten = cache->forgetEverything().fork();
}

void Client::Impl::historyChanged() {
  leases.historyChanged();
  for (auto& inode : inodes.all()) {
    inode->historyChanged();
  }
}

bool Client::Impl::believes(InodeId id) {
  if (names.contains(id)) {
    return true;
  }
  KJ_IF_MAYBE(inode, inodes.find(id)) {
    return inode->mayBeLeased() || bytes.isWriter(*inode);
  }
  return false;
}

kj::Promise<void> Client::Impl::recalled(wire::LeaseChange::Reader change, uint64_t order) {
  InodeId id{change.getInode()};
  kj::Vector<kj::Promise<void>> obeyed;
  if (change.getName().size() > 0) {
    std::string name = textOf(change.getName());
    bool believed = names.contains(id);
    names.recall(id, name);
    if (names.contains(id)) {
      obeyed.add(cache->forgetName(id, name));
    } else if (believed) {
      cache->forgetNames();  // given up whole
    }
  }
  if (!change.getShare()) {
    obeyed.add(cache->forgetInode(id));
  }
  KJ_IF_MAYBE(inode, inodes.find(id)) {
    inode->bytes.recalledAt = order;
    if (!change.getShare()) {
      inode->recall();
    }
    obeyed.add(bytes.giveBack(kj::addRef(*inode), change.getShare()).promise());
  }
  return kj::joinPromises(obeyed.releaseAsArray());
}

void Client::Impl::giveUpDropped() {
  auto dropped = names.takeDropped();
  if (!dropped.empty()) {
    cache->forgetNames();
  }
  for (InodeId directory : dropped) {
    leases.giveUp(directory);
  }
}

void Client::Impl::noteName(InodeId directory, const std::string& name, InodeId inode, const Grant& grant) {
  names.changed(directory, name, inode, grant.index, grant.has(wire::LEASED_NAMES) && leases.stands(grant));
}

void Client::Impl::noteNames(wire::Op::Reader op, wire::Reply::Reader reply, const Grant& grant) {
  InodeId inode{reply.getAttributes().getInode()};
  switch (op.which()) {
    case wire::Op::MAKE: {
      auto make = op.getMake();
      if (make.getUnnamed()) {
        break;
      }
      noteName(InodeId{make.getParent()}, textOf(make.getName()), inode, grant);
      if (S_ISDIR(make.getMode()) && grant.has(wire::LEASED_ATTRIBUTES) && leases.stands(grant)) {
        names.made(inode, grant.index);
      }
      break;
    }
    case wire::Op::LINK:
      noteName(InodeId{op.getLink().getParent()}, textOf(op.getLink().getName()), inode, grant);
      break;
    case wire::Op::UNLINK:
      noteName(InodeId{op.getUnlink().getParent()}, textOf(op.getUnlink().getName()), InodeId{}, grant);
      if (op.getUnlink().getDirectory()) {
        names.drop(inode);
      }
      break;
    case wire::Op::DETACH:
      noteName(InodeId{op.getDetach().getParent()}, textOf(op.getDetach().getName()), InodeId{}, grant);
      names.drop(inode);
      break;
    case wire::Op::RENAME: {
      auto rename = op.getRename();
      InodeId from{rename.getParent()};
      InodeId into{rename.getNewParent()};
      bool moves = (rename.getFlags() & (EXCHANGE | WHITEOUT)) == 0;
      bool nothing = reply.hasReplaced() && InodeId{reply.getReplaced().getInode()} == inode;
      Grant here = grant;
      Grant there = grant;
      there.bits = grant.has(wire::LEASED_NEW_PARENT) ? wire::LEASED_NAMES : 0;
      if (!moves || nothing) {
        here.bits = there.bits = 0;
      }
      noteName(from, textOf(rename.getName()), InodeId{}, here);
      noteName(into, textOf(rename.getNewName()), inode, there);
      break;
    }
    default:
      break;
  }
  giveUpDropped();
}

void Client::Impl::executed(wire::Op::Reader op, wire::Reply::Reader reply, const Grant& grant) {
  inodes.learn(reply, grant);
  noteNames(op, reply, grant);
  quotas.executed(op, reply);
  auto written = op.isWritten() ? op.getWritten() : capnp::List<wire::Written>::Reader();
  auto now = reply.getWrittenNow();
  for (unsigned i = 0; i < written.size() && i < now.size(); ++i) {
    KJ_IF_MAYBE(inode, inodes.find(InodeId{now[i].getInode()})) {
      inodes.reported(*inode, now[i], grant);
    }
  }
  for (auto gone : {reply.getAttributes(), reply.getReplaced()}) {
    if (gone.getInode() != 0 && gone.getLinks() == 0) {
      leases.giveUp(InodeId{gone.getInode()});
    }
  }
}

void Client::Impl::setDoubt(wire::Op::Reader op, bool begins) {
  auto inode = [&](InodeId id) { leases.setDoubt(LeaseBook::keyOf(id), begins); };
  auto name = [&](uint64_t directory, capnp::Data::Reader text) {
    inode(InodeId{directory});
    leases.setDoubt(LeaseBook::keyOf(InodeId{directory}, textOf(text)), begins);
  };
  switch (op.which()) {
    case wire::Op::MAKE:
      return name(op.getMake().getParent(), op.getMake().getName());
    case wire::Op::LINK:
      inode(InodeId{op.getLink().getInode()});
      return name(op.getLink().getParent(), op.getLink().getName());
    case wire::Op::UNLINK:
      return name(op.getUnlink().getParent(), op.getUnlink().getName());
    case wire::Op::RENAME:
      name(op.getRename().getParent(), op.getRename().getName());
      return name(op.getRename().getNewParent(), op.getRename().getNewName());
    case wire::Op::SET_ATTRIBUTES:
      return inode(InodeId{op.getSetAttributes().getInode()});
    case wire::Op::SET_XATTR:
      return inode(InodeId{op.getSetXattr().getInode()});
    case wire::Op::REMOVE_XATTR:
      return inode(InodeId{op.getRemoveXattr().getInode()});
    case wire::Op::DETACH:
      return name(op.getDetach().getParent(), op.getDetach().getName());
    case wire::Op::WRITTEN:
      return;  // what it tells is shown already
    case wire::Op::LOCK:
    case wire::Op::RESERVE:
    case wire::Op::GIVE_BACK:
      return;  // nothing of locks and grants is believed
  }
}

void Client::Impl::refused(wire::Query::Reader query, int code, const Grant& grant) {
  if (query.isGetXattr() && code == ENODATA) {
    noteNoXattr(InodeId{query.getGetXattr().getInode()}, textOf(query.getGetXattr().getName()), grant);
  }
  if (query.isLookup() && code == ENOENT) {
    noteFound(InodeId{query.getLookup().getParent()}, textOf(query.getLookup().getName()), InodeId{}, grant);
  }
}

// True for as long as the inode is leased and its change time is what it is now.
void Client::Impl::noteNoXattr(InodeId id, const std::string& name, const Grant& grant) {
  KJ_IF_MAYBE(inode, inodes.find(id)) {
    if (inode->isLeased() && inode->index() <= grant.index) {
      noXattrs.note(id, name, inode->committed().changed);
    }
  }
}

bool Client::Impl::hasNoXattr(InodeId id, const std::string& name) {
  KJ_IF_MAYBE(inode, inodes.find(id)) {
    const Attributes& known = inode->committed();
    return inode->isLeased() && (lacksXattr(known, name) || noXattrs.contains(id, name, known.changed));
  }
  return false;
}

bool Client::Impl::hasNoXattrs(InodeId id) {
  KJ_IF_MAYBE(inode, inodes.find(id)) {
    constexpr uint8_t ALL = wire::LACKS_ACCESS_ACL | wire::LACKS_DEFAULT_ACL | wire::LACKS_OTHER_XATTRS;
    return inode->isLeased() && inode->committed().lacks == ALL;
  }
  return false;
}

void Client::Impl::noteFound(InodeId directory, const std::string& name, InodeId inode, const Grant& grant) {
  if (!grant.has(wire::LEASED_NAMES)) {
    return;
  }
  if (!leases.stands(grant)) {
    leases.giveUp(directory);
    return;
  }
  names.learn(directory, name, inode, grant.index);
  giveUpDropped();
}

std::optional<Result<Attributes>> Client::Impl::leasedLookup(InodeId parent, const std::string& name) {
  if (!leases.lasts(leases.link())) {
    return std::nullopt;
  }
  auto known = names.find(parent, name);
  if (!known || leases.isInDoubt(LeaseBook::keyOf(parent, name))) {
    return std::nullopt;
  }
  if (raw(*known) == 0) {
    ++context.stats.leasedLookups;
    return Error{ENOENT, {}};
  }
  KJ_IF_MAYBE(inode, inodes.find(*known)) {
    if (inode->isLeased()) {
      ++context.stats.leasedLookups;
      inode->name = name;
      return inode->effective();
    }
  }
  return std::nullopt;
}

}  // namespace cairn
