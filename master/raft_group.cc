// RaftReplica as one of a group: messages and snapshots from the others, members that join and go.
#include <algorithm>
#include <cerrno>

#include "common/log.h"
#include "master/namespace/snapshot.h"
#include "master/joining.h"
#include "master/raft_entries.h"
#include "master/raft_replica.h"

namespace cairn {

Status RaftReplica::meetEpoch(GroupEpoch epoch) {
  auto& identity = directory_.identity;
  if (epoch <= identity.epoch) {
    return {};
  }
  if (raw(log_->lastIndex()) > 0) {
    auto replaced = replacedGroup(options_.member, identity.epoch, epoch);
    fail(replaced);
    return replaced;
  }
  auto later = identity;
  later.epoch = epoch;
  auto saved = saveIdentity(seams_.disk, later);
  if (saved.ok()) {
    identity = later;
  }
  return saved;
}

void RaftReplica::receive(raft::Message message, const std::string& name) {
  if (failed_) {
    return;
  }
  links_.meet(message.from, name);
  step(kj::mv(message));
  pumpSoon();
}

// What must not be (two leaders in a term, say) ends the process, not only the call of whoever sent it.
void RaftReplica::step(raft::Message message) {
  raft_->timeIs(seams_.clock.monotonic());
  auto impossible = kj::runCatchingExceptions([&] { raft_->step(kj::mv(message)); });
  KJ_IF_MAYBE (e, impossible) {
    fail({EIO, kj::str("what another master says contradicts what is here: ", e->getDescription()).cStr()});
  }
}

kj::Promise<void> RaftReplica::receipt() {
  if (receipts_ == nullptr) {
    receipts_.emplace(kj::newPromiseAndFulfiller<void>());
  }
  return KJ_ASSERT_NONNULL(receipts_).all.addBranch();
}

void RaftReplica::sendReceipts() {
  KJ_IF_MAYBE (due, receipts_) {
    due->sent->fulfill();
    receipts_ = nullptr;
  }
}

Result<kj::Own<File>> RaftReplica::receiveSnapshot(LogIndex index) {
  if (index <= raft_->commit()) {
    return Error{EALREADY, "what the snapshot holds is here already"};
  }
  auto opened = seams_.disk.open(unfinishedSnapshotPath(index), Disk::Mode::CREATE);
  if (opened.ok()) {
    auto emptied = opened.value()->truncate(0);
    if (!emptied.ok()) {
      return emptied.error();
    }
  }
  return opened;
}

Task<Status> RaftReplica::takeSnapshot(kj::Own<File> file, raft::Message message) {
  const auto* install = std::get_if<raft::InstallSnapshot>(&message.body);
  if (install == nullptr) {
    co_return Error{EINVAL, "a snapshot comes with its own message"};
  }
  LogIndex index = install->last.index;
  auto kept = co_await keepSnapshot(seams_.disk, *file, index);
  if (!kept.ok()) {
    co_return kept;
  }
  step(kj::mv(message));
  pump();
  if (!installing_) {
    (void)removeSnapshot(seams_.disk, index);  // not needed; a leftover is passed over at the next start
  }
  co_return Status();
}

const raft::MemberRecord* RaftReplica::findByName(const std::string& name) const {
  for (const auto& member : raft_->membership().members()) {
    if (memberAbout(member.about).name == name) {
      return &member;
    }
  }
  return nullptr;
}

// Resolves when the change is committed.
Task<Status> RaftReplica::change(raft::Membership membership) {
  if (!leads_) {
    co_return Error{EAGAIN, "master " + options_.member + " is not the leader"};
  }
  std::string objection = raft_->membership().objectionTo(membership);
  if (!objection.empty()) {
    co_return Error{EINVAL, objection};
  }
  auto proposed = raft_->proposeMembership(membership);
  if (proposed.refusal == raft::Refusal::BEHIND) {
    co_return Error{EBUSY, "it hasn't caught up yet: try again when `dfsadmin raft status` shows that it has"};
  }
  if (proposed.refusal != raft::Refusal::NONE) {
    co_return Error{EBUSY, "another change of the group is under way: try again"};
  }
  auto waiting = kj::newPromiseAndFulfiller<Result<Applied>>();
  waiting_[proposed.at.index] = {proposed.at.term, kj::mv(waiting.fulfiller)};
  pumpSoon();
  auto applied = co_await waiting.promise;
  co_return applied.ok() ? Status() : Status(applied.error());
}

Task<Status> RaftReplica::join(raft::MemberId id, MemberAbout about) {
  if (!leads_) {
    co_return Error{EAGAIN, "master " + options_.member + " is not the leader"};
  }
  const auto* known = findByName(about.name);
  if (known != nullptr && known->id != id) {
    co_return Error{EEXIST, "the group has a master " + about.name +
                                " with another data directory: if that is lost for good, run `dfsadmin raft remove " +
                                about.name + "`, then start this one again"};
  }
  if (known != nullptr) {
    co_return Status();
  }
  auto membership = raft_->membership();
  membership.set({id, false, toText(about)});
  spdlog::info("master {} joins the group", about.name);
  co_return co_await change(membership);
}

// As this leader sees it; only a leader keeps count.
bool RaftReplica::answers(raft::MemberId id) const {
  auto progress = raft_->progress().find(id);
  return id == self_ || (progress != raft_->progress().end() && progress->second.heardOf());
}

// Whether enough of those who would vote answer now. A change is in force at once: without a majority it could be
// neither committed nor taken back.
bool RaftReplica::canGoOnWith(const raft::Membership& membership) const {
  return membership.majorityOf([this](raft::MemberId id) { return answers(id); });
}

raft::Membership RaftReplica::withVoter(const raft::MemberRecord& learner) const {
  auto membership = raft_->membership();
  membership.set({learner.id, true, learner.about});
  return membership;
}

Task<Status> RaftReplica::promote(std::string name) {
  const auto* member = findByName(name);
  if (member == nullptr) {
    co_return Error{ENOENT, "the group has no master " + name};
  }
  auto membership = withVoter(*member);
  if (raft_->isLeader() && !canGoOnWith(membership)) {
    co_return Error{EBUSY, "with master " + name +
                               " as a voter those that answer would be no majority: nothing could be changed any "
                               "more. Start the others first"};
  }
  co_return co_await change(membership);
}

Task<Status> RaftReplica::remove(std::string name) {
  const auto* member = findByName(name);
  if (member == nullptr) {
    co_return Error{ENOENT, "the group has no master " + name};
  }
  auto membership = raft_->membership();
  membership.remove(member->id);
  if (raft_->isLeader() && !canGoOnWith(membership)) {
    co_return Error{EBUSY, "without master " + name +
                               " the masters that answer are no majority of the others: nothing "
                               "could be changed any more. Start the others first"};
  }
  co_return co_await change(membership);
}

Status RaftReplica::transfer(const std::string& name) {
  const auto* member = findByName(name);
  if (member == nullptr) {
    return Error{ENOENT, "the group has no master " + name};
  }
  auto refused = raft_->transfer(member->id);
  pumpSoon();
  switch (refused) {
    case raft::Refusal::NONE:
      return {};
    case raft::Refusal::NOT_LEADER:
      return Error{EAGAIN, "master " + options_.member + " is not the leader"};
    case raft::Refusal::TRANSFERRING:
      return Error{EBUSY, "leadership is being handed over already"};
    default:
      return Error{EINVAL, member->voter ? "master " + name + " leads already" : "master " + name + " has no vote yet"};
  }
}

// A new member votes as soon as it has what the others have.
void RaftReplica::promoteNewcomers() {
  if (changing_ || !raft_->membershipCommitted()) {
    return;
  }
  for (const auto& member : raft_->membership().members()) {
    auto progress = raft_->progress().find(member.id);
    bool isReady = !member.voter && progress != raft_->progress().end() && progress->second.heardOf() &&
                   progress->second.match() >= raft_->commit();
    if (isReady && canGoOnWith(withVoter(member))) {
      changing_ = true;
      auto name = memberAbout(member.about).name;
      spdlog::info("master {} has caught up and votes from now on", name);
      tasks_.add(promoteOne(name));
      return;
    }
  }
}

Task<void> RaftReplica::promoteOne(std::string name) {
  auto promoted = co_await promote(name);
  if (!promoted.ok()) {
    spdlog::info("master {} can't vote yet: {}", name, promoted.error().why);
  }
  changing_ = false;
}

// A group of one knows itself only by its directory: from now on the log says so too, for those that join.
void RaftReplica::nameFounder() {
  if (raw(raft_->log().newest().index) == 0 || reader().memberships().empty()) {
    tasks_.add(recordMembership());
  }
}

Task<void> RaftReplica::recordMembership() {
  auto changed = co_await change(raft_->membership());
  if (!changed.ok()) {
    spdlog::warn("the group isn't on record yet: {}", changed.error().why);
  }
}

GroupStatus RaftReplica::status() const {
  GroupStatus status;
  status.term = raft_->term();
  status.commit = raft_->commit();
  status.applied = state_.machine().appliedIndex();
  status.digest = reader().digest();
  for (const auto& member : raft_->membership().members()) {
    GroupMember out;
    out.id = member.id;
    out.name = memberAbout(member.about).name;
    out.address = memberAbout(member.about).address;
    out.voter = member.voter;
    out.leader = member.id == raft_->leader();
    auto progress = raft_->progress().find(member.id);
    bool isSelf = member.id == self_;
    out.reachable = answers(member.id);
    out.program = isSelf ? options_.program : links_.program(member.id);
    out.match = isSelf ? raft_->durable() : LogIndex{};
    if (progress != raft_->progress().end()) {
      out.match = progress->second.match();
    }
    status.members.push_back(out);
  }
  return status;
}

}  // namespace cairn
