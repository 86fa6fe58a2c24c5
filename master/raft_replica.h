// RaftReplica: the Replica, as one of a group of masters. Drives master/raft: persists (RaftStore), sends (RaftLinks),
// applies (StateKeeper), ticks. Nothing of it waits for a disk but the answers.
#pragma once
#include <deque>
#include <map>
#include <optional>

#include "master/digests.h"
#include "master/entry_clock.h"
#include "master/group.h"
#include "master/log/identity.h"
#include "master/log/log.h"
#include "master/raft/raft.h"
#include "master/raft_links.h"
#include "master/raft_store.h"
#include "master/replica.h"
#include "master/state_keeper.h"

namespace cairn {

class RaftReplica final : public Replica,
                          public Group,
                          private RaftStore::Owner,
                          private RaftLinks::Owner,
                          private StateKeeper::Owner,
                          private kj::TaskSet::ErrorHandler {
 public:
  RaftReplica(ReplicaOptions options, const ClusterFile& cluster, ReplicaSeams seams, OwnedDirectory directory,
              kj::Own<Log> log);
  Status start();

  // ---- Replica ----
  Task<Result<Applied>> propose(capnp::MessageBuilder& command) override;
  Task<Result<LogIndex>> readBarrier() override;
  bool isCurrent() override;
  const NamespaceReader& reader() const override { return state_.machine().reader(); }
  bool isLeader() const override { return leads_ && !failed_; }
  std::string leaderName() const override;
  std::string leaderAddress() const override;
  Term term() const override { return raft_->term(); }
  void setObserver(ReplicaObserver* observer) override { observer_ = observer; }
  void setOfficeObserver(OfficeObserver* observer) override { office_ = observer; }
  Group& group() override { return *this; }
  kj::Promise<Error> onFatal() override { return kj::mv(fatal_.promise); }
  Task<void> stop() override;

  // ---- Group ----
  raft::MemberId self() const override { return self_; }
  GroupEpoch epoch() const override { return directory_.identity.epoch; }
  const Program& program() const override { return options_.program; }
  Status meetEpoch(GroupEpoch epoch) override;
  bool hasJoined() const override { return raft_->membership().contains(self_); }
  void receive(raft::Message message, const std::string& name) override;
  kj::Promise<void> receipt() override;
  Result<kj::Own<File>> receiveSnapshot(LogIndex index) override;
  Task<Status> takeSnapshot(kj::Own<File> file, raft::Message message) override;
  std::optional<uint64_t> digestAt(LogIndex index) const override;
  void differs(LogIndex index) override;
  Task<Status> join(raft::MemberId id, MemberAbout about) override;
  Task<Status> promote(std::string name) override;
  Task<Status> remove(std::string name) override;
  Status transfer(const std::string& name) override;
  void snapshotSoon() override { state_.snapshotSoon(); }
  Task<DigestComparison> compareDigests() override;
  GroupStatus status() const override;

 private:
  // A proposal of this member that isn't applied yet.
  struct Waiting {
    Term term{};
    kj::Own<kj::PromiseFulfiller<Result<Applied>>> done;
  };
  using ReadDone = kj::Own<kj::PromiseFulfiller<Result<LogIndex>>>;

  // raft_replica.cc
  Status acceptPlace();
  Status checkLevel() const;
  Result<raft::Restart> findRestart();
  Status readTail(raft::Restart& restart);
  raft::Membership membershipAt(LogIndex index) const;
  Status checkRoom(size_t bytes);
  Task<void> clockwork();
  void sendReceipts();
  void pumpSoon();
  void pump();
  void handle(raft::Output output);
  void noteHealed();
  void readStored(raft::StoredAppend stored);
  void applyDurable();
  Task<void> resumeApplying();
  void applyOne(const raft::Entry& entry);
  void answerReads(const raft::Output& output);
  void finishReads();
  Task<void> watchLog();
  bool handOver();
  void lookAtOffice();
  void failWaiting();
  void fail(Error error);
  Error refusal(raft::Refusal refusal) const;
  // RaftStore::Owner
  void onDurable(raft::Persist& persist) override;
  Task<Status> installState(const raft::InstallSnapshot& snapshot) override;
  void onStoreFailed(Error error) override { fail(kj::mv(error)); }
  // RaftLinks::Owner
  void onUnreachable(raft::MemberId member) override;
  void onSnapshotSent(raft::MemberId member, bool arrived) override;
  GroupEpoch ownEpoch() const override { return epoch(); }
  void onEpoch(GroupEpoch epoch) override { (void)meetEpoch(epoch); }
  // StateKeeper::Owner
  void onSnapshot(LogIndex index, LogIndex oldest) override;
  void onStateFailed(Error error) override { fail(kj::mv(error)); }
  void onStateWritten() override { pumpSoon(); }
  void taskFailed(kj::Exception&& exception) override;

  // raft_group.cc
  Task<Status> change(raft::Membership membership);
  void step(raft::Message message);
  raft::Membership withVoter(const raft::MemberRecord& learner) const;
  bool answers(raft::MemberId id) const;
  bool canGoOnWith(const raft::Membership& membership) const;
  const raft::MemberRecord* findByName(const std::string& name) const;
  void promoteNewcomers();
  Task<void> promoteOne(std::string name);
  void nameFounder();
  Task<void> recordMembership();

  // raft_digest.cc
  static constexpr Nanos COMPARE_PERIOD = 10 * SECOND;
  void compareSoon();
  Task<void> compareStates();
  LogIndex reachedEverywhere() const;
  void act(const DigestVerdict& verdict, LogIndex checkpoint);

  const ReplicaOptions options_;
  ReplicaSeams seams_;
  OwnedDirectory directory_;
  const raft::MemberId self_;
  kj::Own<Log> log_;
  RaftStore store_;
  RaftLinks links_;
  StateKeeper state_;
  kj::Own<raft::Raft> raft_;
  ReplicaObserver* observer_ = nullptr;
  OfficeObserver* office_ = nullptr;
  EntryClock time_;
  DigestHistory digests_;
  Nanos comparedAt_ = 0;

  std::deque<raft::Entry> committed_;  // not applied yet: not durable here, or the state is being replaced
  std::map<LogIndex, Waiting> waiting_;
  std::map<raft::ReadId, ReadDone> reads_;
  std::deque<raft::ReadReady> confirmed_;  // reads that wait for the state
  Term officeTerm_{};
  raft::Membership linked_;  // that links_ knows
  struct Receipts {
    explicit Receipts(kj::PromiseFulfillerPair<void> pair) : sent(kj::mv(pair.fulfiller)), all(pair.promise.fork()) {}
    kj::Own<kj::PromiseFulfiller<void>> sent;
    kj::ForkedPromise<void> all;
  };
  kj::Maybe<Receipts> receipts_;  // that are due at the next tick
  bool pumpDue_ = false;
  bool pumping_ = false;
  bool resuming_ = false;  // more of committed_ is applied in a moment
  bool installing_ = false;
  bool leads_ = false;
  bool changing_ = false;
  bool comparing_ = false;
  bool stopping_ = false;
  bool failed_ = false;
  kj::PromiseFulfillerPair<Error> fatal_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
