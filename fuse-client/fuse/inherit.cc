// Operations that go on where another process ended: what they note for that, and what they take over.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "fuse-client/fuse/operations.h"

namespace cairn {

void Operations::noteKnown(InodeId inode) {
  if (kept_ == nullptr) {
    return;
  }
  Node* node = nodes_.find(inode);
  kept_->knows(node == nullptr ? KeptState::Known{raw(inode)}
                               : KeptState::Known{raw(inode), node->lookups, node->mode, node->gid});
}

void Operations::noteOpen(const Request& request, HandleId handle, InodeId inode, InodeId parent, uint32_t bits) {
  if (kept_ != nullptr) {
    kept_->opened({raw(handle), raw(inode), raw(parent), request.number(), bits, 0});
  }
}

// A predecessor may have ended it and died before its answer, so that the kernel asks once more.
bool Operations::noteClosed(HandleId handle) {
  if (kept_ == nullptr) {
    return true;
  }
  bool was = kept_->isOpen(handle);
  kept_->closed(handle);
  return was;
}

Task<void> Operations::settled(Nanos limit) {
  constexpr Nanos LOOK = 2 * MILLISECOND;
  const Nanos until = clock_.monotonic() + limit;
  auto underWay = [this] {
    return std::any_of(calls_.begin(), calls_.end(),
                       [](const auto& call) { return !call.second->request.isInterruptible(); });
  };
  while (underWay() && clock_.monotonic() < until) {
    co_await clock_.after(LOOK);
  }
}

void Operations::inherit() {
  std::unordered_map<uint64_t, uint32_t> opens;
  kept_->forEachOpen([&](const KeptState::Open& open) {
    openedBy_[open.request] = open;
    if ((open.bits & OPEN_DIRECTORY) == 0) {
      ++opens[open.inode];
      return;
    }
    Directory& directory = directories_[open.key];
    directory.inode = InodeId{open.inode};
    directory.parent = InodeId{open.parent};
  });
  kept_->forEachKnown([&](const KeptState::Known& known) {
    InodeId inode{known.key};
    Node& node = nodes_.inherit(inode, known.lookups, known.mode, known.gid);
    auto open = opens.find(known.key);
    kernel_.inherited(node, open == opens.end() ? 0 : open->second);
  });
  client_.takeUp(kept_->inheritance());
  nodes_.forEach([this](InodeId inode, Node& node) { holdIfItOpensByItself(inode, node); });
}

void Operations::identify(Call& call) {
  call.request.numbered(arrival_.request(), arrival_.isResent());
  if (!arrival_.isResent()) {
    return;
  }
  resent_.insert(call.request.number());
  auto opened = openedBy_.find(call.request.number());
  if (opened != openedBy_.end()) {
    call.undelivered = opened->second;
    openedBy_.erase(opened);
  }
}

void Operations::resentEnded(Call& call) {
  if (!call.request.isResent()) {
    return;
  }
  resent_.erase(call.request.number());
  if (resendsOver_) {
    client_.expectOnly(resent_);
  }
  releaseUndelivered(call);
}

// Not before it has been opened anew: else nobody would hold a file without a name for a moment.
void Operations::releaseUndelivered(Call& call) {
  auto open = std::exchange(call.undelivered, KeptState::Open{});
  if (open.key == 0 || !noteClosed(HandleId{open.key})) {
    return;
  }
  if (directories_.erase(open.key) == 0) {
    kernel_.closed(InodeId{open.inode});
  }
  client_.release(HandleId{open.key});
}

void Operations::resendsOver() {
  openedBy_.clear();
  resendsOver_ = true;
  client_.expectOnly(resent_);
}

}  // namespace cairn
