// Group: what a master in a group of masters offers beside Replica: the messages of the others come in, members join
// and go, and anybody may ask how it stands. Implemented by RaftReplica, used by the services.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "common/disk.h"
#include "common/result.h"
#include "common/task.h"
#include "master/member_about.h"
#include "master/raft/raft.h"
#include "rpc/program.h"

namespace cairn {

struct GroupMember {
  raft::MemberId id = raft::NOBODY;
  std::string name;
  std::string address;  // host:port, of one that said so when it joined
  bool voter = false;
  bool leader = false;
  bool reachable = false;  // heard of by the leader just now
  LogIndex match{};        // durable there
  std::optional<Program> program;  // nothing: it hasn't said
};

struct GroupStatus {
  Term term{};
  LogIndex commit{};
  LogIndex applied{};
  uint64_t digest = 0;
  std::vector<GroupMember> members;
};

struct DigestComparison {
  LogIndex index{};  // 0: there is no checkpoint yet
  struct Member {
    std::string name;
    std::optional<uint64_t> digest;
    bool odd = false;  // differs from what more than half of the voters agree upon
  };
  std::vector<Member> members;
  bool equal = true;  // those that answered
};

class Group {
 public:
  virtual ~Group() noexcept(false) = default;

  virtual raft::MemberId self() const = 0;
  virtual GroupEpoch epoch() const = 0;
  // This member's.
  virtual const Program& program() const = 0;
  // Another master is of a group with that epoch. A directory without entries becomes one of that group, durably; else
  // this one's group was replaced: the error says what to do, and the process ends.
  virtual Status meetEpoch(GroupEpoch epoch) = 0;
  // Whether this member knows itself as one of the group.
  virtual bool hasJoined() const = 0;
  // `name`: of the master that sent it.
  virtual void receive(raft::Message message, const std::string& name) = 0;
  // When to say that messages have arrived: of many together, at the next tick. Nobody waits for it, and each alone
  // would wake its sender.
  virtual kj::Promise<void> receipt() = 0;
  // A snapshot from another member: written to `file`, then taken with its message.
  virtual Result<kj::Own<File>> receiveSnapshot(LogIndex index) = 0;
  virtual Task<Status> takeSnapshot(kj::Own<File> file, raft::Message message) = 0;
  // Of this member's state after an entry, if that was one of the recent checkpoints.
  virtual std::optional<uint64_t> digestAt(LogIndex index) const = 0;
  // The leader has found that most members have another digest there.
  virtual void differs(LogIndex index) = 0;

  // What follows is for the leader; EAGAIN when this isn't it. Each resolves when the change is committed.
  // A member of a new directory: a learner, and a voter when it has caught up. EEXIST: the name is another directory's.
  virtual Task<Status> join(raft::MemberId id, MemberAbout about) = 0;
  virtual Task<Status> promote(std::string name) = 0;
  virtual Task<Status> remove(std::string name) = 0;
  virtual Status transfer(const std::string& name) = 0;
  virtual void snapshotSoon() = 0;
  // The voters' states; who is found odd is stopped.
  virtual Task<DigestComparison> compareDigests() = 0;
  virtual GroupStatus status() const = 0;
};

}  // namespace cairn
