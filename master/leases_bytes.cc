// Leases on the bytes of files: who may have one and when, what their writers know, and what an evicted one's late
// writes hold up.
#include <algorithm>

#include "common/log.h"
#include "master/leases.h"

namespace cairn {

// ---- turns --------------------------------------------------------------------------------------

Leases::Turn::Turn(Leases& leases, InodeId inode) : leases_(leases), inode_(inode) {
  leases_.turns_[inode_].push_back(this);
}

kj::Promise<void> Leases::Turn::come() {
  if (leases_.turns_.at(inode_).front() == this) {
    return kj::READY_NOW;
  }
  auto paf = kj::newPromiseAndFulfiller<void>();
  called_ = kj::mv(paf.fulfiller);
  return kj::mv(paf.promise);
}

Leases::Turn::~Turn() noexcept(false) {
  auto it = leases_.turns_.find(inode_);
  auto& queue = it->second;
  bool mine = queue.front() == this;
  std::erase(queue, this);
  if (queue.empty()) {
    leases_.turns_.erase(it);
  } else if (mine && queue.front()->called_.get() != nullptr) {
    queue.front()->called_->fulfill();
  }
}

// ---- grants -------------------------------------------------------------------------------------

kj::Maybe<kj::Promise<void>> Leases::obstacle(SessionId to, InodeId inode) {
  if (isAnyUnknownBut(to)) {
    return whenKnown(to).promise();
  }
  if (table_.writerBut(to, inode)) {
    return share(to, inode).promise();
  }
  if (table_.changesForOthers(to, inode)) {
    return when(changesEnded_, inode);
  }
  if (isFenced(inode)) {
    return when(drained_, 0);
  }
  return nullptr;
}

bool Leases::grantWriting(SessionId session, InodeId inode, uint64_t order) {
  return links_.contains(session) && !isFenced(inode) && !isAnyUnknownBut(session) &&
         table_.grantWriting(session, inode, order);
}

Task<void> Leases::share(SessionId by, InodeId inode) {
  auto writer = table_.writerBut(by, inode);
  if (writer) {
    std::vector<Item> items{Item{inode, {}, true}};
    co_await recallFrom(*writer, kj::mv(items));
  }
}

Task<void> Leases::whenKnown(SessionId but) {
  while (isAnyUnknownBut(but)) {
    auto other = std::find_if(unknown_.begin(), unknown_.end(), [but](SessionId one) { return one != but; });
    co_await when(freed_, *other);
  }
}

// ---- what writers know --------------------------------------------------------------------------

Task<bool> Leases::report(SessionId writer, std::vector<InodeId> inodes, std::vector<Written>& out) {
  Asking asking(*this, writer, inodes);
  auto link = links_.find(writer);
  bool linkLost = link == links_.end();  // it isn't asked: when it comes, it has left nothing unanswered
  if (!linkLost) {
    const uint64_t order = nextOrder();
    try {
      auto request = link->second.reportRequest();
      auto list = request.initInodes(static_cast<unsigned>(inodes.size()));
      for (unsigned i = 0; i < list.size(); ++i) {
        list.set(i, raw(inodes[i]));
      }
      using Answer = capnp::Response<wire::LeaseHolder::ReportResults>;
      kj::Promise<Answer> sent = request.send();
      auto answer = co_await sent.exclusiveJoin(late<Answer>());
      std::set<InodeId> told;
      for (auto file : answer.getFiles()) {
        Written written{InodeId{file.getInode()}, file.getSize(), file.getAllocatedDelta(),
                        file.getModified().getSeconds(), file.getModified().getNanos()};
        told.insert(written.inode);
        out.push_back(written);
      }
      for (InodeId inode : inodes) {
        if (!told.contains(inode)) {
          table_.endWriting(writer, inode, order);
        }
      }
      co_return true;
    } catch (const kj::Exception& e) {
      spdlog::info("session {} does not say what it writes: {}", raw(writer), e.getDescription().cStr());
      linkLost = e.getType() == kj::Exception::Type::DISCONNECTED;
    }
  }
  auto writesAny = [&] {
    return std::any_of(inodes.begin(), inodes.end(), [&](InodeId inode) { return table_.isWriting(writer, inode); });
  };
  while (writesAny()) {  // it may have ended, or come anew, while it was asked
    bool linked = links_.contains(writer);
    if (linked && linkLost) {
      co_return false;
    }
    if (linked) {
      evictor_.evict(writer, "it left a question about the files that it writes unanswered");
    }
    auto either = when(freed_, writer).exclusiveJoin(clock_.after(SESSION_LEASE));
    co_await kj::mv(either);
  }
  co_return false;
}

// ---- grants of quotas ---------------------------------------------------------------------------

// A session without a link is soon back, or evicted.
Task<void> Leases::giveBack(SessionId session, InodeId root) {
  for (unsigned tries = 0; tries < GIVE_BACK_TRIES; ++tries) {
    auto link = links_.find(session);
    if (link != links_.end()) {
      try {
        auto request = link->second.giveBackRequest();
        request.setRoot(raw(root));
        auto sent = request.send().ignoreResult().exclusiveJoin(late<void>());
        co_await kj::mv(sent);
        co_return;
      } catch (const kj::Exception& e) {
        spdlog::info("session {} does not give back its grant of quota {}: {}", raw(session), raw(root),
                     e.getDescription().cStr());
        if (e.getType() != kj::Exception::Type::DISCONNECTED) {
          co_return;
        }
      }
    }
    auto either = when(freed_, session).exclusiveJoin(clock_.after(SESSION_LEASE + SESSION_MARGIN));
    co_await kj::mv(either);
  }
}

// ---- fences -------------------------------------------------------------------------------------

bool Leases::isFenced(InodeId inode) const {
  return std::any_of(fences_.begin(), fences_.end(),
                     [inode](auto& fence) { return inode < fence.below || fence.inodes.contains(inode); });
}

void Leases::drained(MapVersion confirmed) {
  auto gone = std::erase_if(fences_, [confirmed](auto& fence) { return confirmed >= fence.version; });
  if (gone > 0) {
    happened(drained_, 0);
  }
}

}  // namespace cairn
