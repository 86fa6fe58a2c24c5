#include "master/raft_links.h"

#include <deque>

#include "common/log.h"
#include "master/member_about.h"
#include "master/namespace/snapshot.h"
#include "master/raft_entries.h"
#include "rpc/hello.h"
#include "rpc/shard_map.h"

namespace cairn {

// The connection to one other master.
class RaftLink final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr size_t WAITING_MAX = 256;  // messages, while there is no connection
  static constexpr size_t UNANSWERED_BYTES_MAX = 64 << 20;
  static constexpr Nanos CONNECT_LIMIT = SECOND;
  static constexpr Nanos MESSAGE_LIMIT = 2 * SECOND;  // without an answer the connection counts as broken
  static constexpr Nanos PIECE_LIMIT = 10 * SECOND;
  static constexpr size_t PIECE_BYTES = 512 << 10;  // of a snapshot

  RaftLink(RaftLinks& links, raft::MemberId to, MemberAbout about)
      : links_(links), to_(to), name_(std::move(about.name)), address_(std::move(about.address)), tasks_(*this) {
    tasks_.add(run());
  }

  const std::string& name() const { return name_; }
  const std::optional<Program>& program() const { return program_; }

  void send(raft::Message message) {
    if (peer_ == nullptr && waiting_.size() >= WAITING_MAX) {
      waiting_.pop_front();
    }
    if (peer_ == nullptr) {
      waiting_.push_back(std::move(message));
    } else if (unansweredBytes_ < UNANSWERED_BYTES_MAX) {
      sendNow(message);
    }
  }

  void sendSnapshot(raft::Message message) { tasks_.add(transfer(std::move(message))); }

  // May outlive the link.
  kj::Promise<std::optional<uint64_t>> askDigest(LogIndex index) {
    using Answer = std::optional<uint64_t>;
    KJ_IF_MAYBE (peer, peer_) {
      auto request = peer->digestRequest();
      request.setIndex(raw(index));
      kj::Promise<Answer> sent = request.send().then(
          [](auto&& reply) { return reply.getKnown() ? Answer(reply.getDigest()) : Answer(); });
      auto silence = [](kj::Exception&&) { return Answer(); };  // it will be asked again
      return withDeadline(links_.seams_.clock, MESSAGE_LIMIT, kj::mv(sent), "another master").catch_(kj::mv(silence));
    }
    return Answer();
  }

  void tellDiffers(LogIndex index) {
    KJ_IF_MAYBE (peer, peer_) {
      auto request = peer->differsRequest();
      request.setIndex(raw(index));
      auto unheard = [this](kj::Exception&& e) { spdlog::debug("master {}: {}", name_, e.getDescription().cStr()); };
      tasks_.add(request.send().ignoreResult().catch_(kj::mv(unheard)));  // it stops, and may not answer any more
    }
  }

 private:
  Task<void> run() {
    for (unsigned tries = 0;; ++tries) {
      auto delay = backoffDelay(links_.seams_.random, tries);
      co_await links_.seams_.clock.after(delay);
      bool connected = co_await connect();
      if (!connected) {
        link_ = nullptr;
        continue;
      }
      tries = 0;
      for (auto& message : std::exchange(waiting_, {})) {
        sendNow(message);
      }
      auto broken = kj::newPromiseAndFulfiller<void>();
      broken_ = kj::mv(broken.fulfiller);
      auto lost = link_->onBroken().then([] {}, [](kj::Exception&&) {}).exclusiveJoin(kj::mv(broken.promise));
      co_await kj::mv(lost);
      peer_ = nullptr;
      unansweredBytes_ = 0;
      ++life_;
      links_.owner_.onUnreachable(to_);
      co_await nextTurn();  // never take a link down from inside its own event
      link_ = nullptr;
    }
  }

  static kj::Promise<void> nextTurn() {
    return kj::evalLater([] {});
  }

  std::vector<Address> addresses() const {
    for (const auto& master : links_.cluster_.masters) {
      if (master.name == name_) {
        return master.addresses();
      }
    }
    return address_.empty() ? std::vector<Address>() : std::vector<Address>{address_};
  }

  Task<bool> connect() {
    auto known = addresses();
    for (auto& address : known) {
      bool entered = co_await enter(address);
      if (entered) {
        co_return true;
      }
    }
    co_return false;
  }

  Task<bool> enter(Address address) {
    try {
      link_ = co_await dial(links_.seams_.network, links_.seams_.clock, address, CONNECT_LIMIT);
      auto request = link_->bootstrap().castAs<wire::MasterDoor>().raftRequest();
      writeHello(request.initHello(), links_.cluster_.cluster, wire::Role::MASTER,
                 links_.name_, links_.owner_.ownEpoch());
      request.setTo(raw(to_));
      kj::Promise<capnp::Response<wire::MasterDoor::RaftResults>> sent = request.send();
      auto reply = co_await withDeadline(links_.seams_.clock, CONNECT_LIMIT, kj::mv(sent), "another master");
      if (reply.getOutcome().getErrno() != 0) {
        complain(reply.getOutcome().getWhy().cStr());
        links_.owner_.onEpoch(GroupEpoch{reply.getEpoch()});
        links_.dismiss(to_, name_);
        co_return false;
      }
      complained_.clear();
      peer_ = reply.getPeer();
      program_ = readProgram(reply.getProgram());
      co_return true;
    } catch (const kj::Exception& e) {
      spdlog::debug("master {} at {}: {}", name_, address, e.getDescription().cStr());
    }
    co_return false;
  }

  // Once for each reason.
  void complain(const std::string& why) {
    if (complained_ != why) {
      complained_ = why;
      spdlog::warn("master {} doesn't let this one in: {}", name_, why);
    }
  }

  void sendNow(const raft::Message& message) {
    KJ_IF_MAYBE (peer, peer_) {
      size_t bytes = bytesOf(message);
      unansweredBytes_ += bytes;
      auto request = peer->messageRequest(capnp::MessageSize{bytes / sizeof(capnp::word) + 64, 0});
      writeMessage(message, request.initMessage());
      kj::Promise<void> sent = request.send().ignoreResult();
      tasks_.add(answered(kj::mv(sent), bytes, life_));
    }
  }

  Task<void> answered(kj::Promise<void> sent, size_t bytes, uint64_t life) {
    bool failed = false;
    try {
      co_await withDeadline(links_.seams_.clock, MESSAGE_LIMIT, kj::mv(sent), "another master");
    } catch (const kj::Exception& e) {
      spdlog::debug("master {}: {}", name_, e.getDescription().cStr());
      failed = true;
    }
    if (life != life_) {
      co_return;
    }
    unansweredBytes_ -= std::min(unansweredBytes_, bytes);
    if (failed && broken_.get() != nullptr) {
      broken_->fulfill();
    }
  }

  Task<void> transfer(raft::Message message) {
    bool arrived = false;
    try {
      arrived = co_await transferAll(message);
    } catch (const kj::Exception& e) {
      spdlog::warn("the snapshot for master {} did not arrive: {}", name_, e.getDescription().cStr());
    }
    links_.owner_.onSnapshotSent(to_, arrived);
  }

  Task<bool> transferAll(const raft::Message& message) {
    LogIndex index = std::get<raft::InstallSnapshot>(message.body).last.index;
    auto file = links_.seams_.disk.open(snapshotPath(index), Disk::Mode::READ);
    if (!file.ok() || peer_ == nullptr) {
      co_return false;
    }
    auto begin = KJ_ASSERT_NONNULL(peer_).snapshotRequest();
    begin.setIndex(raw(index));
    kj::Promise<capnp::Response<wire::RaftPeer::SnapshotResults>> begun = begin.send();
    auto opened = co_await withDeadline(links_.seams_.clock, PIECE_LIMIT, kj::mv(begun), "a snapshot");
    if (opened.getOutcome().getErrno() != 0) {
      spdlog::warn("master {} takes no snapshot: {}", name_, opened.getOutcome().getWhy().cStr());
      co_return false;
    }
    auto sink = opened.getSink();
    auto buffer = kj::heapArray<kj::byte>(PIECE_BYTES);
    for (uint64_t offset = 0;;) {
      auto got = co_await file.value()->read(offset, buffer);
      if (!got.ok()) {
        co_return false;
      }
      if (got.value() == 0) {
        break;
      }
      bool taken = co_await sendPiece(sink, offset, buffer.slice(0, got.value()));
      if (!taken) {
        co_return false;
      }
      offset += got.value();
    }
    co_return co_await finish(sink, message);
  }

  Task<bool> sendPiece(wire::SnapshotSink::Client sink, uint64_t offset, kj::ArrayPtr<const kj::byte> bytes) {
    auto request = sink.writeRequest();
    request.setOffset(offset);
    request.setData(bytes);
    kj::Promise<capnp::Response<wire::SnapshotSink::WriteResults>> sent = request.send();
    auto reply = co_await withDeadline(links_.seams_.clock, PIECE_LIMIT, kj::mv(sent), "a piece of a snapshot");
    co_return reply.getOutcome().getErrno() == 0;
  }

  Task<bool> finish(wire::SnapshotSink::Client sink, const raft::Message& message) {
    auto request = sink.finishRequest();
    writeMessage(message, request.initMessage());
    kj::Promise<capnp::Response<wire::SnapshotSink::FinishResults>> sent = request.send();
    auto reply = co_await withDeadline(links_.seams_.clock, PIECE_LIMIT, kj::mv(sent), "the end of a snapshot");
    co_return reply.getOutcome().getErrno() == 0;
  }

  void taskFailed(kj::Exception&& e) override { spdlog::error("the link to master {}: {}", name_, kj::str(e).cStr()); }

  RaftLinks& links_;
  const raft::MemberId to_;
  const std::string name_;
  const Address address_;  // for when cluster.toml doesn't know it
  kj::Own<Link> link_;
  kj::Maybe<wire::RaftPeer::Client> peer_;
  std::optional<Program> program_;
  std::deque<raft::Message> waiting_;
  size_t unansweredBytes_ = 0;
  uint64_t life_ = 0;  // of the connection
  kj::Own<kj::PromiseFulfiller<void>> broken_;
  std::string complained_;
  kj::TaskSet tasks_;
};

RaftLinks::RaftLinks(RaftLinkSeams seams, const ClusterFile& cluster, std::string name, raft::MemberId self,
                     Owner& owner)
    : seams_(seams), cluster_(cluster), name_(std::move(name)), self_(self), owner_(owner), tasks_(*this) {}

RaftLinks::~RaftLinks() noexcept(false) = default;

void RaftLinks::setMembers(const raft::Membership& membership) {
  wanted_ = membership;
  if (!membersDue_) {
    membersDue_ = true;
    tasks_.add(kj::evalLast([this] { applyMembers(); }));
  }
}

void RaftLinks::applyMembers() {
  membersDue_ = false;
  auto wanted = wanted_;
  for (const auto& [name, id] : guests_) {
    if (!wanted.contains(id)) {
      wanted.set({id, false, name});
    }
  }
  std::erase_if(links_, [&](const auto& link) { return !wanted.contains(link.first); });
  for (const auto& member : wanted.members()) {
    if (member.id != self_ && !links_.contains(member.id)) {
      links_[member.id] = kj::heap<RaftLink>(*this, member.id, memberAbout(member.about));
    }
  }
}

void RaftLinks::meet(raft::MemberId id, const std::string& name) {
  if (links_.contains(id) || id == self_) {
    return;
  }
  for (const auto& master : cluster_.masters) {
    if (master.name == name) {
      guests_[name] = id;
      setMembers(wanted_);
    }
  }
}

// There is another master of that name now.
void RaftLinks::dismiss(raft::MemberId id, const std::string& name) {
  auto guest = guests_.find(name);
  if (guest != guests_.end() && guest->second == id) {
    guests_.erase(guest);
    setMembers(wanted_);
  }
}

void RaftLinks::send(raft::Message message) {
  auto link = links_.find(message.to);
  if (link != links_.end()) {
    link->second->send(std::move(message));
  }
}

void RaftLinks::sendSnapshot(raft::Message message) {
  auto link = links_.find(message.to);
  if (link != links_.end()) {
    link->second->sendSnapshot(std::move(message));
  } else {
    owner_.onSnapshotSent(message.to, false);
  }
}

Task<std::optional<uint64_t>> RaftLinks::askDigest(raft::MemberId member, LogIndex index) {
  auto link = links_.find(member);
  if (link == links_.end()) {
    return kj::Promise<std::optional<uint64_t>>(std::optional<uint64_t>());
  }
  return link->second->askDigest(index);
}

void RaftLinks::tellDiffers(raft::MemberId member, LogIndex index) {
  auto link = links_.find(member);
  if (link != links_.end()) {
    link->second->tellDiffers(index);
  }
}

std::optional<Program> RaftLinks::program(raft::MemberId member) const {
  auto link = links_.find(member);
  return link == links_.end() ? std::nullopt : link->second->program();
}

void RaftLinks::taskFailed(kj::Exception&& exception) {
  spdlog::error("links to other masters: {}", kj::str(exception).cStr());
}

}  // namespace cairn
