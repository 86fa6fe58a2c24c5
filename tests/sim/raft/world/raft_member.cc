#include "tests/sim/raft/world/raft_member.h"

#include <kj/debug.h>

namespace cairn::raft {

void RaftMember::start(Nanos now) {
  KJ_REQUIRE(!running());
  state_ = disk_.snapshot().state;
  raft_ = std::make_unique<Raft>(options_, random_, disk_.restart(), now);
  settle();
}

void RaftMember::crash(bool keepSome) {
  raft_ = nullptr;
  received_.clear();
  confirmed_.clear();
  stored_.clear();
  if (keepSome) {
    disk_.crash(random_);
  } else {
    disk_.crash();
  }
}

void RaftMember::deliver(Message message, std::shared_ptr<const RaftSnapshot> state) {
  if (state != nullptr) {
    received_[state->last.index] = std::move(state);
  }
  raft_->step(std::move(message));
  settle();
}

void RaftMember::tick() {
  raft_->tick();
  for (auto& stored : std::exchange(stored_, {})) {
    readStored(std::move(stored));
  }
  settle();
}

void RaftMember::readStored(StoredAppend stored) {
  auto entries = disk_.read(stored.first, stored.last, stored.bytesMax);
  auto message = raft_->complete(std::move(stored), std::move(entries));
  if (message) {
    send_(std::move(*message), nullptr);
  }
}

void RaftMember::settle() {
  for (auto output = raft_->ready(); !output.empty(); output = raft_->ready()) {
    handle(std::move(output));
  }
}

void RaftMember::handle(Output output) {
  for (auto& message : output.messages) {
    send_(std::move(message), nullptr);
  }
  for (auto& order : output.snapshots) {
    auto state = std::make_shared<const RaftSnapshot>(disk_.snapshot());
    KJ_ASSERT(std::get<InstallSnapshot>(order.message.body).last == state->last);
    send_(std::move(order.message), state);
  }
  for (auto& stored : output.stored) {
    if (readsLater_) {
      stored_.push_back(std::move(stored));
    } else {
      readStored(std::move(stored));
    }
  }
  if (output.persist) {
    std::optional<RaftSnapshot> received;
    if (output.persist->snapshot) {
      received = *received_.at(output.persist->snapshot->last.index);
    }
    disk_.write(std::move(*output.persist), std::move(received));
  }
  for (const auto& entry : output.apply) {
    state_.apply(entry);
    watcher_.onApplied(id(), entry, state_);
  }
  for (const auto& read : output.reads) {
    confirmed_.push_back(read);
  }
  for (const auto& failed : output.failedReads) {
    watcher_.onReadFailed(id(), failed);
  }
  if (output.healed) {
    disk_.noteHealed();
  }
  answerReads();
}

void RaftMember::answerReads() {
  std::vector<ReadReady> later;
  for (const auto& read : confirmed_) {
    if (read.index <= state_.index) {
      watcher_.onRead(id(), read, state_);
    } else {
      later.push_back(read);
    }
  }
  confirmed_ = std::move(later);
}

void RaftMember::finishWrite() {
  auto done = disk_.finishOne();
  if (done.snapshot) {
    state_ = disk_.snapshot().state;
    received_.clear();
    watcher_.onInstalled(id(), disk_.snapshot());
  }
  raft_->persisted(done.id);
  for (auto& message : done.messages) {
    send_(std::move(message), nullptr);
  }
  settle();
}

void RaftMember::makeSnapshot(uint64_t kept) {
  const auto& log = raft_->log();
  if (state_.index <= disk_.snapshot().last.index || state_.index > raft_->durable()) {
    return;
  }
  disk_.keepSnapshot({{*log.term(state_.index), state_.index}, log.membershipAt(state_.index), state_});
  raft_->snapshotMade(state_.index);
  if (raw(state_.index) > kept) {
    LogIndex upTo{raw(state_.index) - kept};
    disk_.compact(upTo);
    raft_->compact(upTo);
  }
}

}  // namespace cairn::raft
