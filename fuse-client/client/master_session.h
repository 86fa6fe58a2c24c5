// MasterSession: the mount's session at the master. Finds the leader (Unix socket first, then TCP), attaches, renews,
// and attaches again after a broken link. Mutations are exactly once: after a broken link the same (slot, sequence)
// is sent again. Nobody else in the client talks to a master.
//
// When the master has evicted the session (ESTALE), a new one is made: mutations that the old one may have carried
// out fail with EIO, and the listener hears of it.
#pragma once
#include <capnp/message.h>
#include <kj/async.h>

#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/cluster_file.h"
#include "common/task.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/lease_book.h"
#include "fuse-client/client/map_holder.h"
#include "fuse-client/client/signal.h"
#include "rpc/connection.h"
#include "rpc/find_leader.h"
#include "schema/master.capnp.h"

namespace cairn {

// A message being built that may be sent more than once.
template <typename T>
class Draft {
 public:
  Draft() : message_(FIRST_WORDS), root_(message_.initRoot<T>()) {}
  typename T::Builder operator*() { return root_; }
  typename T::Builder* operator->() { return &root_; }
  uint64_t request = 0;  // Caller::request

 private:
  static constexpr unsigned FIRST_WORDS = 96;
  capnp::MallocMessageBuilder message_;
  typename T::Builder root_;
};

class MasterSession final : private kj::TaskSet::ErrorHandler {
 public:
  struct Executed {
    capnp::Response<wire::ClientSession::ExecuteResults> response;
    Grant grant;
    wire::Reply::Reader getReply() const { return response.getReply(); }
  };
  template <typename Results>
  struct Answered {
    capnp::Response<Results> response;
    Grant grant;
    wire::Answer::Reader getAnswer() const { return response.getAnswer(); }
  };
  using Read = Answered<wire::ClientSession::ReadResults>;
  using Acquired = Answered<wire::ClientSession::AcquireResults>;
  using OpDraft = Draft<wire::Op>;
  using QueryDraft = Draft<wire::Query>;

  class Listener {
   public:
    // `old` was evicted: nothing sent under it may count any more.
    virtual void sessionLost(SessionId old) = 0;
    // The masters were recovered with a part of their history lost: places in their log begin anew.
    virtual void historyChanged() = 0;
    // Nothing that was leased may be believed any more.
    virtual void linkLost() = 0;
    // A change has been made, whether or not anybody still waits for it.
    virtual void executed(wire::Op::Reader op, wire::Reply::Reader reply, const Grant& grant) = 0;
    // A change is on its way (or no more): the master may have made it already, so what it is about isn't believed.
    virtual void setDoubt(wire::Op::Reader op, bool begins) = 0;
    // A question was answered with an error number.
    virtual void refused(wire::Query::Reader query, int code, const Grant& grant) = 0;
    // Another client is about to make a change, or to read what is written here: resolves when it may.
    virtual kj::Promise<void> recalled(wire::LeaseChange::Reader change, uint64_t order) = 0;
    // Resolves when no lease on the file's bytes is on its way.
    virtual kj::Promise<void> whenNotAsking(InodeId inode) = 0;
    // Something is believed of the inode under a lease.
    virtual bool believes(InodeId inode) = 0;
    // What of a file that this mount writes the master doesn't know; false: it isn't written any more.
    virtual bool report(InodeId inode, wire::Written::Builder out) = 0;
    // Files whose writing goes on under a new link.
    virtual std::vector<InodeId> writing() = 0;
    // Others are short of a quota's bytes: resolves when what isn't needed of the grant has been given back.
    virtual kj::Promise<void> giveBackGrant(InodeId root) = 0;
    // Resolves when nobody believes anything any more that was told under an earlier link.
    virtual kj::Promise<void> whenForgotten() = 0;
  };

  MasterSession(Context& context, const ClusterFile& cluster, MapHolder& map, LeaseBook& leases, Listener& listener);
  ~MasterSession() noexcept(false);

  // Resolves when attached, or with the error of a master that refused this cluster or protocol.
  Task<Status> start();
  // Ends the session in good order, waiting at most DETACH_LIMIT. Nothing may be called after it.
  Task<void> stop();
  // 0 when there is none.
  const SessionId& id() const { return id_; }
  LeaderStanding standing() const;
  // What who waits for an answer of the master waits for.
  void describe(Wait& out) const;

  // Goes on where another process ended. REQUIRES: nothing was called before, and the loop hasn't turned.
  void takeUp(const Inheritance& from);
  // Of what the predecessor sent, only these requests will be asked for again: the other slots are free.
  void expectOnly(const std::set<uint64_t>& requests);

  // Success only with outcome 0. Dropping the task doesn't take back what was sent. `holds`: the op is a make with
  // `hold` set, and success counts as take(of the inode made).
  Task<Result<Executed>> execute(kj::Own<OpDraft> op, bool holds = false);
  Task<Result<Read>> query(kj::Own<QueryDraft> query);
  // A lease on the file's bytes, to be alone with them (`write`) or not. Waits for others.
  Task<Result<Acquired>> acquire(InodeId inode, bool write);
  // Resolves when a lock that was refused may be free. It may take any time, and may be dropped (lock_calls.cc).
  Task<Status> awaitLock(kj::Own<Draft<wire::LockRequest>> wanted);

  // An open file more or less on this inode. Sent in order with execute(), gathered over a turn, not awaited. `leased`:
  // its attributes are, so that the master asks before it takes the inode's last name. Then the master needn't know
  // yet, for all holds are told before an answer to it: who opens and closes what is known calls nobody.
  void take(InodeId inode, bool leased);
  void drop(InodeId inode);

 private:
  static constexpr unsigned SLOTS = 64;
  // Only for sizes and times of written files, and for grants given back. Others may wait for these while their own
  // changes fill all other slots, and this mount's, for what the others are to tell.
  static constexpr uint8_t REPORT_SLOT = SLOTS - 1;
  static constexpr Nanos CONNECT_LIMIT = 2 * SECOND;
  static constexpr Nanos DETACH_LIMIT = 2 * SECOND;
  // Many files are closed in that time, and some opened again. Until the master hears of it they count as open.
  static constexpr Nanos HOLD_DELAY = 50 * MILLISECOND;
  static constexpr Nanos BUSY_DELAY = 20 * MILLISECOND;
  static constexpr Nanos RENEW_LIMIT_MIN = 500 * MILLISECOND;
  // A new leader changes nothing before everybody who may believe something has come to it, so also a mount that has
  // nothing to ask must notice soon that its master is gone.
  static constexpr Nanos LEADER_LOOK = 400 * MILLISECOND;
  static constexpr unsigned SOCKET_TRIES = 3;

  struct Hold {
    uint32_t count = 0;
    bool known = false;  // the master has been told
  };

  // A call under way.
  class Call {
   public:
    explicit Call(MasterSession& session) : session_(session) { session_.callBegins(); }
    ~Call() { --session_.calls_; }
    KJ_DISALLOW_COPY(Call);

   private:
    MasterSession& session_;
  };

  // While a change is on its way.
  class Doubt {
   public:
    Doubt(Listener& listener, wire::Op::Reader op) : listener_(listener), op_(op) { listener_.setDoubt(op_, true); }
    ~Doubt() noexcept(false) { listener_.setDoubt(op_, false); }
    KJ_DISALLOW_COPY(Doubt);

   private:
    Listener& listener_;
    const wire::Op::Reader op_;
  };

  // ---- the link (master_session.cc)
  Task<void> run();
  Task<bool> connect();
  Task<bool> connectTo(const MasterAddress& master, Address address);
  Task<bool> attach(wire::Master::Client master);
  void attached(wire::ClientSession::Client client, Nanos sent, Nanos lease);
  void evicted();
  Task<void> keep();
  Task<bool> renew();
  void fillLoad(wire::ClientLoad::Builder out);
  void noteAnswer(InodeId inode, Nanos began, kj::StringPtr told);
  Task<void> untilBroken();
  Task<void> lookForSocket();
  bool isGroup() const { return cluster_.masters.size() > 1; }
  LeaderSearch search() const;
  Task<bool> seekLeader(unsigned tries);
  void learn(const LeaderFound& found);
  void learn(GroupEpoch epoch);
  void callBegins();
  void heard() { heardAt_ = context_.clock.monotonic(); }
  Task<void> watchSilence();
  void linkFailed(uint64_t generation);
  Task<void> untilAttached();

  // ---- calls (master_calls.cc)
  static InodeId inodeOf(wire::Op::Reader op);
  static InodeId inodeOf(wire::Query::Reader query);
  Task<Result<Executed>> executeHard(kj::Own<OpDraft> op, bool holds);
  Task<Result<Read>> queryHard(kj::Own<QueryDraft> query);
  Task<Result<Acquired>> acquireHard(InodeId inode, bool write);
  void beforeAsking();
  Task<bool> mayRepeat(const kj::Exception& e, uint64_t generation);
  void notePlace(uint64_t term, uint64_t index);
  // Under which a change goes out: a slot that is free, or the one under which a predecessor has sent it.
  struct Place {
    uint8_t slot = 0;
    SessionId sentIn{};     // 0: it wasn't sent
    uint64_t sequence = 0;  // if it was
  };
  void fill(wire::ClientSession::ExecuteParams::Builder request, const Place& place, wire::Op::Reader op);
  kj::Maybe<Place> earlierPlace(OpDraft& op);
  uint64_t nextSequence(uint8_t slot, OpDraft& op);
  Task<bool> overtake(wire::ClientSession::Client client);
  Task<uint8_t> takeSlot(bool othersWait);
  Task<void> runSlot(Place place, kj::Own<OpDraft> op, kj::Own<kj::PromiseFulfiller<Result<Executed>>> done,
                     bool holds);
  void deliver(Result<Executed> result, kj::PromiseFulfiller<Result<Executed>>& done, bool holds, bool resent);
  void releaseSlot(uint8_t slot);

  // ---- leases (master_session.cc)
  class Holder;
  void setLease(Nanos sent, Nanos length);
  void flushUnwanted(bool all = false);

  // ---- holds (master_calls.cc)
  void holdChanged(InodeId inode, bool mayWait);
  void flushHolds();
  void resendHolds();
  void sendHolds(std::vector<InodeId> taken, std::vector<InodeId> dropped);
  void taskFailed(kj::Exception&& e) override;

  Context& context_;
  ClusterFile cluster_;
  GroupEpoch epoch_;  // the highest that was heard of
  MapHolder& map_;
  LeaseBook& leases_;
  Listener& listener_;

  kj::Own<Link> link_;
  kj::Maybe<wire::ClientSession::Client> client_;
  uint64_t generation_ = 0;  // of the link
  bool attached_ = false;
  uint64_t attempts_ = 0;  // to attach
  bool broken_ = false;
  bool stopping_ = false;
  Signal changed_;  // attached_, broken_, refused_
  kj::Maybe<Error> refused_;
  size_t nextMaster_ = 0;
  size_t master_ = 0;  // that the link leads to
  unsigned calls_ = 0;
  Nanos heardAt_ = 0;  // or when the first of `calls_` began
  Nanos lostAt_ = 0;   // when the last link broke
  bool watching_ = false;
  std::string betterSocket_;  // of the master that is connected over TCP; empty: nothing better to hope for
  unsigned socketTries_ = 0;
  SessionId id_{};
  Nanos lease_ = 0;

  std::array<uint64_t, SLOTS> sequences_{};
  std::vector<uint8_t> freeSlots_;
  bool reportSlotFree_ = true;
  SessionId earlierSession_{};
  std::set<uint8_t> uncertain_;  // slots of a predecessor's changes that may still be on their way
  std::map<uint8_t, SentChange> earlier_;  // what a predecessor sent and may be asked for again, by slot
  Signal slotFreed_;

  std::map<InodeId, Hold> holds_;
  std::set<InodeId> holdsChanged_;
  bool takesWait_ = false;  // for the end of this turn, or the next call
  bool changesWait_ = false;  // for HOLD_DELAY, the next change, or a recall
  uint64_t nextHoldBatch_ = 0;
  std::map<uint64_t, std::vector<InodeId>> dropsUnderWay_;

  kj::TaskSet tasks_;
  kj::Canceler asked_;  // what the master asks: such a call may outlive the link, and must not outlive this
};

}  // namespace cairn
