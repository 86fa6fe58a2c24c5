#include "master/leases.h"

#include <algorithm>

#include "common/log.h"
#include "rpc/connection.h"

namespace cairn {

Leases::Leases(Clock& clock, const NamespaceReader& reader, Evictor& evictor)
    : clock_(clock), reader_(reader), evictor_(evictor), lastOrder_(raw(reader.appliedTerm()) << ORDERS_OF_TERM_BITS) {
  for (auto& session : reader.sessions()) {
    if (session.leases) {
      unknown_.insert(session.id);
    }
  }
}

bool Leases::attached(SessionId session, kj::Maybe<wire::LeaseHolder::Client> holder,
                      const std::vector<InodeId>& writing) {
  links_.erase(session);
  KJ_IF_MAYBE(client, holder) {
    links_.emplace(session, kj::mv(*client));
  }
  unknown_.erase(session);
  table_.releaseAll(session);
  bool all = true;
  for (InodeId inode : writing) {
    all = table_.takeUpWriting(session, inode) && all;
  }
  happened(freed_, session);
  return all;
}

void Leases::linkLost(SessionId session) {
  links_.erase(session);
}

void Leases::ended(SessionId session) {
  Fence fence;
  fence.version = reader_.map().version;
  fence.below = unknown_.contains(session) ? reader_.nextInode() : InodeId{};
  for (InodeId inode : table_.writtenBy(session)) {
    fence.inodes.insert(inode);
  }
  if (raw(fence.below) != 0 || !fence.inodes.empty()) {
    fences_.push_back(kj::mv(fence));
  }
  links_.erase(session);
  unknown_.erase(session);
  table_.releaseAll(session);
  happened(freed_, session);
}

bool Leases::grant(SessionId session, InodeId inode) {
  return links_.contains(session) && !isFenced(inode) && table_.grant(session, inode);
}

std::vector<Leases::Holder> Leases::holders(InodeId inode) const {
  std::map<SessionId, Holder> out;
  const SessionId nobody{};
  auto sessions = table_.holdersBut(nobody, inode);
  sessions.insert(sessions.end(), unknown_.begin(), unknown_.end());
  for (SessionId session : sessions) {
    out[session] = {session, table_.isWriting(session, inode), std::nullopt};
  }
  for (auto& asked : asking_) {
    auto holder = out.find(asked.session);
    bool about = std::find(asked.inodes.begin(), asked.inodes.end(), inode) != asked.inodes.end();
    if (about && holder != out.end() && !holder->second.askedAt) {
      holder->second.askedAt = asked.since;
    }
  }
  std::vector<Holder> list;
  for (auto& [session, holder] : out) {
    list.push_back(holder);
  }
  return list;
}

bool Leases::othersMayHold(SessionId by) const {
  return table_.anyHolderBut(by) || isAnyUnknownBut(by);
}

// One that comes anew believes nothing, but may go on writing what it wrote.
Task<void> Leases::recallFrom(SessionId session, std::vector<Item> items) {
  std::vector<InodeId> inodes;
  for (auto& item : items) {
    inodes.push_back(item.inode);
  }
  Asking asking(*this, session, std::move(inodes));
  do {
    auto asked = ask(session, items).promise().exclusiveJoin(when(freed_, session));
    co_await kj::mv(asked);
  } while (stillWrites(session, items));
}

bool Leases::stillWrites(SessionId session, const std::vector<Item>& items) const {
  return std::any_of(items.begin(), items.end(), [&](auto& item) { return table_.isWriting(session, item.inode); });
}

void Leases::answered(SessionId session, const std::vector<Item>& items, uint64_t order,
                      capnp::List<uint64_t>::Reader dropped) {
  for (auto& item : items) {
    table_.endWriting(session, item.inode, order);
  }
  for (uint64_t inode : dropped) {
    table_.release(session, InodeId{inode});
  }
}

// Comes to its end when the session has answered, and only then.
Task<void> Leases::ask(SessionId session, std::vector<Item> items) {
  bool linkLost = false;
  for (bool busy = true; busy;) {
    auto link = links_.find(session);
    if (link == links_.end()) {
      break;
    }
    busy = false;
    try {
      auto request = link->second.recallRequest();
      request.setIndex(raw(reader_.appliedIndex()));
      const uint64_t order = nextOrder();
      request.setOrder(order);
      auto list = request.initChanges(static_cast<unsigned>(items.size()));
      for (unsigned i = 0; i < list.size(); ++i) {
        list[i].setInode(raw(items[i].inode));
        list[i].setName(kj::StringPtr(items[i].name.c_str(), items[i].name.size()).asBytes());
        list[i].setShare(items[i].share);
      }
      using Answer = capnp::Response<wire::LeaseHolder::RecallResults>;
      kj::Promise<Answer> sent = request.send();
      auto answer = co_await sent.exclusiveJoin(late<Answer>());
      answered(session, items, order, answer.getDropped());
      co_return;
    } catch (const kj::Exception& e) {
      // Still writing out what it has: as long as it says so it is waited for.
      busy = e.getType() == kj::Exception::Type::OVERLOADED;
      linkLost = e.getType() == kj::Exception::Type::DISCONNECTED;
      if (!busy) {
        spdlog::info("session {} does not answer a recall: {}", raw(session), e.getDescription().cStr());
      }
    }
  }
  bool silent = links_.contains(session) && !linkLost;  // else it comes again, or its time runs out
  while (silent) {
    evictor_.evict(session, "it left a recall of its leases unanswered");
    co_await clock_.after(SESSION_LEASE);
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
    happened(leases_.changesEnded_, item.inode);
  }
}

Task<void> Leases::Change::recallAll() {
  co_await leases_.whenKnown(by_);
  std::map<SessionId, std::vector<Item>> whom;
  for (; recalled_ < items_.size(); ++recalled_) {
    for (SessionId session : leases_.table_.holdersBut(by_, items_[recalled_].inode)) {
      whom[session].push_back(items_[recalled_]);
    }
  }
  auto waits = kj::heapArrayBuilder<kj::Promise<void>>(whom.size());
  for (auto& [session, items] : whom) {
    leases_.recalls_ += items.size();
    waits.add(leases_.recallFrom(session, kj::mv(items)).promise());
  }
  co_await kj::joinPromises(waits.finish());
}

}  // namespace cairn
