#include "fuse-client/client/quota_book.h"

#include <algorithm>

#include "common/log.h"

namespace cairn {

class QuotaBook::Asking {
 public:
  explicit Asking(Root& root) : root_(root) { root_.asking = true; }
  ~Asking() noexcept(false) {
    root_.asking = false;
    root_.changed.raise();
  }
  KJ_DISALLOW_COPY(Asking);

 private:
  Root& root_;
};

void QuotaBook::taskFailed(kj::Exception&& e) {
  spdlog::error("grants could not be given back: {}", kj::str(e).cStr());
}

// ---- claims -------------------------------------------------------------------------------------

uint64_t QuotaBook::reach(Inode& inode, uint64_t to) {
  settle(inode);
  const InodeId root = inode.committed().quotaRoot;
  const uint64_t end = inode.effectiveSize();
  if (raw(root) == 0 || to <= end) {
    return to;
  }
  auto found = roots_.find(root);
  uint64_t available = found == roots_.end() ? 0 : found->second.available();
  return to - end <= available ? to : end + available;
}

void QuotaBook::claim(Inode& inode, uint64_t to) {
  const InodeId id = inode.committed().quotaRoot;
  const uint64_t end = inode.effectiveSize();
  if (raw(id) == 0 || to <= end) {
    return;
  }
  if (inode.claim.root != id) {  // the quota was set, or cleared, since
    release(inode, inode.claim.bytes);
  }
  Root& root = roots_[id];
  root.claimed += to - end;
  root.usedAt = context_.clock.monotonic();
  root.files.try_emplace(inode.id, kj::addRef(inode));
  inode.claim.root = id;
  inode.claim.bytes += to - end;
}

uint64_t QuotaBook::claimOf(const Inode& inode) const {
  return inode.claim.root == inode.committed().quotaRoot ? inode.claim.bytes : 0;
}

void QuotaBook::release(Inode& inode, uint64_t bytes) {
  if (bytes == 0) {
    return;
  }
  Root& root = roots_[inode.claim.root];
  root.claimed -= bytes;
  inode.claim.bytes -= bytes;
  if (inode.claim.bytes == 0) {
    root.files.erase(inode.id);
  }
}

// Bytes may have been lost, or cut off, before the master heard of them.
void QuotaBook::settle(Inode& inode) {
  if (!inode.hasLocalChanges() && !inode.report.underWay) {
    release(inode, inode.claim.bytes);
  }
}

void QuotaBook::settleAll(Root& root) {
  std::vector<kj::Own<Inode>> files;
  for (auto& [id, file] : root.files) {
    files.push_back(kj::addRef(*file));
  }
  for (auto& file : files) {
    settle(*file);
  }
}

// ---- grants -------------------------------------------------------------------------------------

Task<Status> QuotaBook::ask(kj::Own<Inode> inode, uint64_t to) {
  const InodeId id = inode->committed().quotaRoot;
  Root& root = roots_[id];
  if (root.asking) {
    co_await root.changed.wait();
    co_return Status();
  }
  settleAll(root);
  const uint64_t end = inode->effectiveSize();
  const uint64_t missing = to - std::min(to, end + root.available());
  if (missing == 0) {
    co_return Status();
  }
  Asking asking(root);
  auto op = kj::heap<MasterSession::OpDraft>();
  auto wish = (*op)->initReserve();
  wish.setRoot(raw(id));
  wish.setBytes(missing);
  auto reply = co_await session_.execute(kj::mv(op));
  if (reply.ok()) {
    co_return Status();
  }
  if (reply.code() != ENOENT) {
    co_return reply.error();
  }
  co_return co_await inodes_.refresh(*inode);  // it counts for another quota by now, or for none
}

void QuotaBook::executed(wire::Op::Reader op, wire::Reply::Reader reply) {
  if (op.isReserve()) {
    Root& root = roots_[InodeId{op.getReserve().getRoot()}];
    root.granted += reply.getGranted();
    root.usedAt = context_.clock.monotonic();
    if (!ticking_) {
      ticking_ = true;
      tasks_.add(tick().promise());
    }
  }
  auto charges = reply.getCharged();
  auto files = reply.getWrittenNow();
  for (unsigned i = 0; i < charges.size(); ++i) {
    auto file = op.isWritten() && i < files.size() ? files[i] : reply.getAttributes();
    charged(InodeId{file.getInode()}, InodeId{file.getQuotaRoot()}, charges[i]);
  }
}

void QuotaBook::charged(InodeId file, InodeId id, uint64_t bytes) {
  Root& root = roots_[id];
  root.granted -= std::min(root.granted, bytes);
  KJ_IF_MAYBE(inode, inodes_.find(file)) {
    if (inode->claim.root == id) {
      release(*inode, std::min(inode->claim.bytes, bytes));
    }
  }
}

Task<void> QuotaBook::giveBack(InodeId id) {
  Root& root = roots_[id];
  settleAll(root);
  const uint64_t bytes = root.available();
  if (bytes == 0) {
    co_return;
  }
  root.granted -= bytes;  // the operation takes place, or the session ends
  auto op = kj::heap<MasterSession::OpDraft>();
  auto grant = (*op)->initGiveBack();
  grant.setRoot(raw(id));
  grant.setBytes(bytes);
  auto reply = co_await session_.execute(kj::mv(op));
  if (!reply.ok()) {
    spdlog::info("a grant of quota {} was not given back: {}", raw(id), reply.error().why);
  }
}

Task<void> QuotaBook::tick() {
  auto any = [this] {
    return std::any_of(roots_.begin(), roots_.end(), [](auto& one) { return one.second.granted > 0; });
  };
  while (any()) {
    co_await context_.clock.after(TICK);
    for (auto& [id, root] : roots_) {  // none is ever removed
      if (context_.clock.monotonic() - root.usedAt >= IDLE) {
        tasks_.add(giveBack(id).promise());
      }
    }
  }
  ticking_ = false;
}

void QuotaBook::sessionLost() {
  for (auto& [id, root] : roots_) {
    for (auto& [file, inode] : root.files) {
      inode->claim = ByteClaim{};
    }
    root.files.clear();
    root.granted = root.claimed = 0;
  }
}

}  // namespace cairn
