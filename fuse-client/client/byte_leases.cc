#include "fuse-client/client/byte_leases.h"

#include "common/log.h"
#include "fuse-client/client/wire.h"

namespace cairn {

namespace {

// Those who come while one asks wait for the answer; also when who asked has been given up.
class Asking {
 public:
  explicit Asking(ByteLease& bytes) : bytes_(bytes) { bytes_.asking = true; }
  ~Asking() noexcept(false) {
    bytes_.asking = false;
    bytes_.changed.raise();
  }
  KJ_DISALLOW_COPY(Asking);

 private:
  ByteLease& bytes_;
};

}  // namespace

void ByteLeases::taskFailed(kj::Exception&& e) {
  spdlog::error("a lease could not be given back: {}", kj::str(e).cStr());
}

// A session goes on writing across a broken link, for as long as the masters can't have given it up.
bool ByteLeases::isWriter(const Inode& inode) const {
  return raw(inode.bytes.writer) != 0 && inode.bytes.writer == session_.id();
}

bool ByteLeases::has(const Inode& inode, bool write) const {
  bool alone = isWriter(inode) && leases_.sessionLasts();
  return inode.isKnown() && (alone || (!write && inode.isLeased()));
}

Task<Result<kj::Own<ByteLeases::Use>>> ByteLeases::enter(kj::Own<Inode> inode, bool write) {
  ByteLease& bytes = inode->bytes;
  for (;;) {
    if (bytes.leaving || bytes.asking) {
      co_await untilDecided(*inode);
      continue;
    }
    if (has(*inode, write)) {
      co_return kj::heap<Use>(*inode);
    }
    Asking asking(bytes);
    auto answer = co_await session_.acquire(inode->id, write);
    if (!answer.ok()) {
      co_return answer.error();
    }
    // In the same breath, or the next recall could come first each time.
    bool now = granted(*inode, answer.value(), write);
    if (now) {
      co_return kj::heap<Use>(*inode);
    }
  }
}

Task<void> ByteLeases::untilDecided(Inode& inode) {
  Waits::Note note(context_.waits, [&inode](Wait& out) {
    out.what = "lease";
    out.inodes = {inode.id};
    out.text = inode.bytes.leaving ? "what was written here to be stored, for another mount asks for the file"
                                   : "the lease on the file's bytes that another call asks for";
    out.end = "the end of that";
  });
  while (inode.bytes.leaving || inode.bytes.asking) {
    co_await inode.bytes.changed.wait();
  }
}

// Takes the answer in; whether the operation that asked may begin.
bool ByteLeases::granted(Inode& inode, const MasterSession::Acquired& answer, bool write) {
  const Grant& grant = answer.grant;
  bool stands = leases_.isOfNow(grant) && answer.response.getOrder() > inode.bytes.recalledAt;
  inodes_.learn(inode, answer.getAnswer().getAttributes(), grant, stands && grant.has(wire::LEASED_ATTRIBUTES));
  if (stands && grant.has(wire::LEASED_WRITING)) {
    inode.bytes.writer = session_.id();
  }
  // A master that has no room for another lease lets one operation through, as things are now.
  return stands && (!write || grant.has(wire::LEASED_WRITING));
}

Task<void> ByteLeases::whenNotAsking(InodeId id) {
  KJ_IF_MAYBE(known, inodes_.find(id)) {
    auto inode = kj::addRef(*known);
    while (inode->bytes.asking) {
      co_await inode->bytes.changed.wait();
    }
  }
}

Task<void> ByteLeases::giveBack(kj::Own<Inode> inode, bool share) {
  ByteLease& bytes = inode->bytes;
  while (bytes.leaving) {
    co_await bytes.changed.wait();
  }
  if (!isWriter(*inode) && (share || bytes.users == 0)) {
    if (!share) {
      lost(*inode);
    }
    co_return;
  }
  bytes.leaving = true;
  // To its end even if nobody waits for it any more.
  tasks_.add(leave(kj::addRef(*inode), share).promise());
  while (bytes.leaving) {
    co_await bytes.changed.wait();
  }
}

Task<void> ByteLeases::leave(kj::Own<Inode> inode, bool share) {
  ByteLease& bytes = inode->bytes;
  KJ_DEFER({
    bytes.leaving = false;
    bytes.changed.raise();
  });
  if (isWriter(*inode)) {
    co_await untilUnused(*inode);
    while (!inode->gone && !isSettled(*inode)) {
      co_await sync_.sync(kj::addRef(*inode), false);
      co_await untilReported(*inode);
    }
    bytes.writer = SessionId{};
  } else {
    auto unused = untilUnused(*inode).promise().exclusiveJoin(context_.clock.after(READERS_WAIT));
    co_await kj::mv(unused);
  }
  if (!share) {
    lost(*inode);
  }
}

// The master knows, or is not to be told, all that was done here. A report that is still on its way would be about a
// file that others have by then: it would wait for them, and they may wait for this mount.
bool ByteLeases::isSettled(const Inode& inode) {
  const FileReport& report = inode.report;
  return !inode.hasLocalChanges() && inode.writes.unsynced.empty() && inode.bytes.users == 0 && !report.queued &&
         !report.underWay && report.allocatedDelta == 0;
}

Task<void> ByteLeases::untilReported(Inode& inode) {
  while (!inode.gone && (inode.report.queued || inode.report.underWay || inode.report.allocatedDelta != 0)) {
    reporter_.dueNow(inode);
    co_await inode.report.changed.wait();
  }
}

Task<void> ByteLeases::untilUnused(Inode& inode) {
  while (inode.bytes.users > 0) {
    co_await inode.bytes.changed.wait();
  }
}

// Often called by an operation on the very bytes, so what it reads ahead is thrown away at a later turn. Nobody uses it
// before: a lease must come first.
void ByteLeases::linkLost(Inode& inode) {
  if (!isWriter(inode)) {
    inode.bytes.writer = SessionId{};
    ++inode.bytes.losses;
    tasks_.add(kj::evalLater([kept = kj::addRef(inode)]() mutable { kept->invalidate(0, UINT64_MAX); }));
  }
}

void ByteLeases::lost(Inode& inode) {
  inode.bytes.writer = SessionId{};
  ++inode.bytes.losses;
  inode.invalidate(0, UINT64_MAX);
}

bool ByteLeases::report(InodeId id, wire::Written::Builder out) {
  KJ_IF_MAYBE(inode, inodes_.find(id)) {
    const ByteLease& bytes = inode->bytes;
    if (!isWriter(*inode)) {
      return false;
    }
    if (isSettled(*inode) && !bytes.leaving && !bytes.asking) {
      inode->bytes.writer = SessionId{};  // the master knows all there is to know
      return false;
    }
    Attributes now = inode->effective();
    out.setInode(raw(id));
    out.setSize(now.sizeBytes);
    writeTime(now.modified, out.initModified());
    out.setAllocatedDelta(static_cast<int64_t>(now.allocatedBytes - inode->committed().allocatedBytes));
    return true;
  }
  return false;
}

std::vector<InodeId> ByteLeases::endWriting() {
  std::vector<InodeId> out;
  for (auto& inode : inodes_.all()) {
    if (isWriter(*inode)) {
      inode->recall();
      inode->bytes.writer = SessionId{};
      out.push_back(inode->id);
    }
  }
  return out;
}

std::vector<InodeId> ByteLeases::writing() {
  std::vector<InodeId> out;
  for (auto& inode : inodes_.all()) {
    if (!isWriter(*inode)) {
      continue;
    }
    if (isSettled(*inode)) {
      inode->bytes.writer = SessionId{};
    } else {
      out.push_back(inode->id);
    }
  }
  return out;
}

}  // namespace cairn
