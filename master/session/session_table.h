// SessionTable: the leader's memory of client sessions: leases, and who holds which inode open. Pure: time comes with
// each call. That a session exists is replicated; all this is not: after the master's start every session gets a
// fresh lease, and its client tells its holds again.
//
// Of a session without a link, or whose client hasn't spoken on its new link yet, nobody knows what it holds: it
// counts as a holder of everything. The client's first message on a link is hold() with all its holds, if it has any;
// when it is something else, there are none.
#pragma once
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/clock.h"
#include "common/ids.h"

namespace cairn {

// Granted from when the client *sent*; counted here from when it arrived, and a little longer, for clocks that differ.
constexpr Nanos SESSION_LEASE = 5 * SECOND;
constexpr Nanos SESSION_MARGIN = SESSION_LEASE / 20;

class SessionTable {
 public:
  static constexpr size_t SESSIONS_MAX = 16384;
  static constexpr size_t HOLDS_MAX = 1 << 20;  // of one session

  explicit SessionTable(Nanos now) : lastLook_(now) {}

  // A session that the state knows: its link, if any, comes later.
  void add(SessionId session, std::string name, Nanos now);
  // A client's new link takes the session over from an older one. `attempt`: the client's count of its links. 0: no
  // such session, or a later attempt has it: this one was on its way for long. Otherwise the link's number.
  uint64_t attach(SessionId session, uint64_t attempt, bool fresh, Nanos now);
  // Its link is gone; the session stays until its lease has run out.
  void detach(SessionId session, uint64_t link);
  bool isCurrent(SessionId session, uint64_t link) const;
  void renew(SessionId session, Nanos now);
  // Every message of the current link passes here first. True once per link that takes a session up again: what it
  // holds is certain from now on, and what it doesn't name (`complete`) it holds no more.
  bool settle(SessionId session, const std::vector<InodeId>& complete);

  // False: too many.
  bool take(SessionId session, InodeId inode);
  // False: it didn't hold it.
  bool drop(SessionId session, InodeId inode);
  bool holds(SessionId session, InodeId inode) const;
  // Sessions that hold the inode, or may: sorted.
  std::vector<SessionId> holders(InodeId inode) const;

  // Sessions whose lease has run out; they stay in the table until end(). Call it at least every STALL_NANOS / 2.
  std::vector<SessionId> passTime(Nanos now);
  void end(SessionId session);

  struct Summary {
    SessionId id{};
    std::string name;
    size_t holds = 0;
    Nanos leaseEnd = 0;
    bool attached = false;
  };
  std::vector<Summary> list() const;
  size_t size() const { return sessions_.size(); }
  bool contains(SessionId session) const { return sessions_.contains(session); }

 private:
  struct Session {
    std::string name;
    Nanos leaseEnd = 0;
    uint64_t link = 0;     // 0: none
    uint64_t attempt = 0;  // that made the link, or an earlier one
    bool certain = false;  // `holds` is all that it holds
    std::unordered_set<InodeId> holds;
  };
  static constexpr Nanos STALL_NANOS = 500 * MILLISECOND;

  void setCertain(SessionId id, Session& session, bool certain);
  void forget(SessionId session, InodeId inode);

  std::map<SessionId, Session> sessions_;
  std::unordered_map<InodeId, std::vector<SessionId>> holders_;
  std::set<SessionId> uncertain_;
  uint64_t lastLink_ = 0;
  Nanos lastLook_;
};

}  // namespace cairn
