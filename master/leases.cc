#include "master/leases.h"

#include "common/log.h"
#include "master/session/session_table.h"
#include "rpc/connection.h"

namespace cairn {

Leases::Leases(Clock& clock, const NamespaceReader& reader, Evictor& evictor)
    : clock_(clock), reader_(reader), evictor_(evictor) {
  for (auto& session : reader.sessions()) {
    if (session.leases) {
      unknown_.insert(session.id);
    }
  }
}

void Leases::attached(SessionId session, kj::Maybe<wire::LeaseHolder::Client> holder) {
  setFree(session);
  links_.erase(session);
  KJ_IF_MAYBE(client, holder) {
    links_.emplace(session, kj::mv(*client));
  }
}

void Leases::linkLost(SessionId session) {
  links_.erase(session);
}

void Leases::ended(SessionId session) {
  setFree(session);
  links_.erase(session);
}

void Leases::setFree(SessionId session) {
  unknown_.erase(session);
  table_.releaseAll(session);
  auto waited = goodbyes_.find(session);
  if (waited != goodbyes_.end()) {
    waited->second.fulfiller->fulfill();
    goodbyes_.erase(waited);
  }
}

kj::Promise<void> Leases::whenFree(SessionId session) {
  auto it = goodbyes_.find(session);
  if (it == goodbyes_.end()) {
    auto paf = kj::newPromiseAndFulfiller<void>();
    it = goodbyes_.emplace(session, Goodbye{paf.promise.fork(), kj::mv(paf.fulfiller)}).first;
  }
  return it->second.promise.addBranch();
}

bool Leases::grant(SessionId session, InodeId inode) {
  return links_.contains(session) && table_.grant(session, inode);
}

bool Leases::othersMayHold(SessionId by) const {
  return table_.anyHolderBut(by) || unknown_.size() > (unknown_.contains(by) ? 1u : 0u);
}

Task<void> Leases::recallFrom(SessionId session, std::vector<Item> items) {
  auto asked = ask(session, kj::mv(items)).promise().exclusiveJoin(whenFree(session));
  co_await kj::mv(asked);
}

// Rejects when a recall has been unanswered for a session's time. In two halves: when this process has stood still,
// answers may be waiting unread.
Leases::Recalled Leases::late() {
  constexpr Nanos HALF = (SESSION_LEASE + SESSION_MARGIN) / 2;
  return clock_.after(HALF).then([this] { return clock_.after(HALF); }).then([]() -> Recalled {
    return KJ_EXCEPTION(OVERLOADED, "no answer in time");
  });
}

// Comes to its end when the session has answered, and only then.
Task<void> Leases::ask(SessionId session, std::vector<Item> items) {
  auto link = links_.find(session);
  if (link != links_.end()) {
    bool linkLost = false;
    try {
      auto request = link->second.recallRequest();
      request.setIndex(raw(reader_.appliedIndex()));
      auto list = request.initChanges(static_cast<unsigned>(items.size()));
      for (unsigned i = 0; i < list.size(); ++i) {
        list[i].setInode(raw(items[i].inode));
        list[i].setName(kj::StringPtr(items[i].name.c_str(), items[i].name.size()).asBytes());
      }
      Recalled sent = request.send();
      auto answer = co_await sent.exclusiveJoin(late());
      for (uint64_t inode : answer.getDropped()) {
        table_.release(session, InodeId{inode});
      }
      co_return;
    } catch (const kj::Exception& e) {
      spdlog::info("session {} does not answer a recall: {}", raw(session), e.getDescription().cStr());
      linkLost = e.getType() == kj::Exception::Type::DISCONNECTED;
    }
    while (!linkLost) {  // else it comes again, or its time runs out
      evictor_.evict(session, "it left a recall of its leases unanswered");
      co_await clock_.after(SESSION_LEASE);
    }
  }
  kj::Promise<void> never = kj::NEVER_DONE;
  co_await kj::mv(never);
}

// ---- changes ------------------------------------------------------------------------------------

void Leases::Change::add(InodeId inode, capnp::Data::Reader name) {
  std::string text(name.asChars().begin(), name.size());
  for (auto& item : items_) {
    if (item.inode == inode && item.name == text) {
      return;
    }
  }
  items_.push_back({inode, std::move(text)});
  leases_.table_.beginChange(by_, inode);
}

Leases::Change::~Change() noexcept(false) {
  for (auto& item : items_) {
    leases_.table_.endChange(by_, item.inode);
  }
}

kj::Promise<void> Leases::Change::recall() {
  std::map<SessionId, std::vector<Item>> whom;
  for (SessionId session : leases_.unknown_) {
    if (session != by_) {
      whom[session];
    }
  }
  for (; recalled_ < items_.size(); ++recalled_) {
    for (SessionId session : leases_.table_.holdersBut(by_, items_[recalled_].inode)) {
      whom[session].push_back(items_[recalled_]);
    }
  }
  auto waits = kj::heapArrayBuilder<kj::Promise<void>>(whom.size());
  for (auto& [session, items] : whom) {
    waits.add(leases_.recallFrom(session, kj::mv(items)).promise());
  }
  return kj::joinPromises(waits.finish());
}

}  // namespace cairn
