// QuotaBook: the bytes by which this mount may let files below directories with a quota grow before the master hears
// of it. What write() accepts beyond a file's known end is a *claim* on a grant of that quota; when there is too
// little, more is asked for, and when there is none, write() fails with EDQUOT, not some fsync afterwards. A claim ends
// when the master has charged the grown file to the grant, or when nothing of the file waits any more.
//
// Grants change by operations that take place exactly once and say what they did, so this book and the master's agree.
// What no file claims is given back when others are short of it, and after a while by itself.
#pragma once
#include <kj/async.h>

#include <map>

#include "common/task.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/inode.h"
#include "fuse-client/client/master_session.h"
#include "fuse-client/client/signal.h"

namespace cairn {

class QuotaBook final : private kj::TaskSet::ErrorHandler {
 public:
  QuotaBook(Context& context, MasterSession& session, InodeTable& inodes)
      : context_(context), session_(session), inodes_(inodes), tasks_(*this) {}
  KJ_DISALLOW_COPY(QuotaBook);

  // How far the file may be written now of what is to end at `to`.
  uint64_t reach(Inode& inode, uint64_t to);
  // It is about to be. REQUIRES: it reaches there.
  void claim(Inode& inode, uint64_t to);
  // Asks the master for what is missing. Success: look again how far it reaches. EDQUOT: no farther than now.
  Task<Status> ask(kj::Own<Inode> inode, uint64_t to);
  // What the file claims of the quota that it counts for.
  uint64_t claimOf(const Inode& inode) const;

  // As MasterSession::Listener.
  void executed(wire::Op::Reader op, wire::Reply::Reader reply);
  Task<void> giveBack(InodeId root);
  // With its session all grants are gone.
  void sessionLost();

 private:
  static constexpr Nanos IDLE = 3 * SECOND;
  static constexpr Nanos TICK = SECOND;

  // Of one quota's directory.
  struct Root {
    uint64_t granted = 0;  // as the master has it
    uint64_t claimed = 0;  // of these, by files
    bool asking = false;
    Nanos usedAt = 0;
    std::map<InodeId, kj::Own<Inode>> files;  // that claim some
    Signal changed;

    uint64_t available() const { return granted > claimed ? granted - claimed : 0; }
  };
  // Those who are short while one asks wait for the answer; also when who asked has been given up.
  class Asking;

  void charged(InodeId file, InodeId root, uint64_t bytes);
  void release(Inode& inode, uint64_t bytes);
  void settle(Inode& inode);
  void settleAll(Root& root);
  Task<void> tick();
  void taskFailed(kj::Exception&& e) override;

  Context& context_;
  MasterSession& session_;
  InodeTable& inodes_;
  std::map<InodeId, Root> roots_;
  bool ticking_ = false;
  kj::TaskSet tasks_;
};

}  // namespace cairn
