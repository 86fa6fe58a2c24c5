#include "master/client_service.h"

#include <cerrno>

#include "common/log.h"
#include "common/metrics/line_limit.h"
#include "master/namespace/lock_table.h"
#include "master/propose.h"
#include "master/space.h"
#include "master/touched.h"
#include "master/writers.h"

namespace cairn {
namespace {

// Of a result beside the reply: its root and pointers.
constexpr uint64_t RESULT_WORDS = 8;

bool addsNames(wire::Op::Reader op) {
  return op.isMake() || op.isLink() || op.isSetXattr();
}

class ClientService final : public wire::ClientSession::Server {
 public:
  ClientService(Lifeline& lifeline, Sessions::Attached attached, uint64_t watcher)
      : lifeline_(kj::addRef(lifeline)), session_(attached.session), link_(attached.link), watcher_(watcher) {}

  ~ClientService() noexcept(false) {
    if (lifeline_->core() != nullptr) {
      lifeline_->core()->publisher.remove(watcher_);
      lifeline_->core()->sessions.linkLost(session_, link_);
    }
  }

  kj::Promise<void> execute(ExecuteContext context) override {
    return lifeline_->run([&](Core& core) { return execute(core, context); });
  }
  kj::Promise<void> read(ReadContext context) override {
    return lifeline_->run([&](Core& core) { return read(core, context); });
  }
  kj::Promise<void> hold(HoldContext context) override {
    return lifeline_->run([&](Core& core) { return hold(core, context); });
  }
  kj::Promise<void> renew(RenewContext context) override {
    return lifeline_->run([&](Core& core) { return renew(core, context); });
  }
  kj::Promise<void> detach(DetachContext context) override {
    return lifeline_->run([&](Core& core) { return detach(core, context); });
  }
  kj::Promise<void> forget(ForgetContext context) override {
    return lifeline_->run([&](Core& core) { return forget(core, context); });
  }
  kj::Promise<void> acquire(AcquireContext context) override {
    return lifeline_->run([&](Core& core) { return acquire(core, context); });
  }
  // Who gives up waiting, or whose link is gone, must not be called.
  kj::Promise<void> awaitLock(AwaitLockContext context) override {
    context.allowCancellation();
    return lifeline_->run([&](Core& core) { return awaitLock(core, context); });
  }

 private:
  void enter(Core& core, const std::vector<InodeId>& taken = {}) {
    if (!core.replica.isLeader()) {
      kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "this master is not the leader any more"));
    }
    if (!core.sessions.enter(session_, link_, taken)) {
      kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the session has ended or was taken up by another link"));
    }
  }

  Task<void> execute(Core& core, ExecuteContext context);
  bool mustWait(Core& core, wire::Op::Reader op, const NameGate::Plan& plan, Leases::Change& change);
  kj::Promise<void> wait(Core& core, const NameGate::Plan& plan, Leases::Change& change);
  InodeId victimOf(Core& core, const NameGate::Plan& plan);
  std::string slow(Core& core, const char* kind, uint64_t request, const OperationTimer& timer);
  Task<Result<Applied>> proposeOp(Core& core, wire::ClientSession::ExecuteParams::Reader params, InodeId victim);
  void takeMade(Core& core, wire::Op::Reader op, wire::Reply::Reader reply);
  uint8_t lease(Core& core, InodeId inode, uint8_t bit);
  uint8_t leasesWith(Core& core, wire::Op::Reader op, wire::Reply::Reader reply);
  uint8_t leasesWith(Core& core, wire::Query::Reader query, wire::Answer::Reader answer);
  Task<void> read(Core& core, ReadContext context);
  Task<void> readState(Core& core, ReadContext& context);
  void answer(Core& core, ReadContext& context);
  Task<void> acquire(Core& core, AcquireContext context);
  void answerAcquired(Core& core, AcquireContext& context);
  kj::Promise<void> hold(Core& core, HoldContext context);
  Task<void> renew(Core& core, RenewContext context);
  Task<void> detach(Core& core, DetachContext context);
  kj::Promise<void> forget(Core& core, ForgetContext context);
  bool refusesLock(Core& core, wire::LockRequest::Reader request);
  void testLock(Core& core, wire::LockRequest::Reader request, wire::Answer::Builder answer);
  Task<void> awaitLock(Core& core, AwaitLockContext context);

  kj::Own<Lifeline> lifeline_;
  const SessionId session_;
  const uint64_t link_;
  const uint64_t watcher_;
  LineLimit slowLines_;
};

Task<void> ClientService::execute(Core& core, ExecuteContext context) {
  auto params = context.getParams();
  auto op = params.getOp();
  OperationTimer timer(core.observation.metrics.of(op), core.clock);
  enter(core);
  SlotsUnderWay::Pass begun(core.underWay, {session_, params.getSlot(), params.getSequence()});
  if (core.ownSpace.isShort() && addsNames(op) && begun.isNew(core.replica.reader())) {
    setOutcome(Error{ENOSPC, "the master's disk is nearly full"}, context.getResults().initReply().initOutcome());
    co_return;
  }
  if (op.isLock() && refusesLock(core, op.getLock()) && begun.isNew(core.replica.reader())) {
    setOutcome(Error{EAGAIN, {}}, context.getResults().initReply().initOutcome());
    co_return;
  }
  if (core.quotas.isShort(session_, op)) {
    co_await core.quotas.makeRoom(session_, op);
    enter(core);
  }
  auto full = core.quotas.refuses(op);
  if (!full.ok() && begun.isNew(core.replica.reader())) {
    setOutcome(full, context.getResults().initReply().initOutcome());
    co_return;
  }
  auto plan = NameGate::planOf(op);
  Leases::Change change(core.sessions.leases(), session_);
  while (mustWait(core, op, plan, change)) {
    co_await wait(core, plan, change);
    timer.stage("waiting for other clients");
  }
  // Nothing may come between this and the proposal.
  InodeId victim = victimOf(core, plan);
  NameGate::Pass pass(core.names, plan);
  auto applied = co_await proposeOp(core, params, victim);
  if (!applied.ok() && applied.error().code == ENOSPC) {
    setOutcome(applied.error(), context.getResults().initReply().initOutcome());
    co_return;
  }
  timer.stage("the log");
  if (!applied.ok()) {
    timer.fail();
    throwUnwritten(applied.error());
  }
  capnp::FlatArrayMessageReader message(applied.value().reply);
  auto reply = message.getRoot<wire::Reply>();
  if (reply.getOutcome().getErrno() == ESTALE) {
    enter(core);  // of the session, not of an inode: then the client must learn that it was evicted
  }
  takeMade(core, op, reply);
  auto results = context.getResults(capnp::MessageSize{applied.value().reply.size() + RESULT_WORDS, 0});
  results.setReply(reply);
  // A repeated reply tells how things were, not how they are.
  bool current = !applied.value().repeated && core.sessions.table().isCurrent(session_, link_);
  results.setLeased(current ? leasesWith(core, op, reply) : uint8_t{0});
  if (core.observation.isSlow(timer.elapsed())) {
    results.setSlow(slow(core, MasterMetrics::nameOf(op), params.getRequest(), timer));
  }
}

// Where the time went; also said in the log.
std::string ClientService::slow(Core& core, const char* kind, uint64_t request, const OperationTimer& timer) {
  ++core.observation.metrics.slow;
  std::string path = fmt::format("master {} {} ({})", core.name, milliseconds(timer.elapsed()), timer.path());
  if (slowLines_.take(core.clock.monotonic())) {
    spdlog::warn("slow: {} of session {}, request {:x}: {}", kind, raw(session_), request, path);
  }
  return path;
}

// Something under way may give the names concerned another meaning, or somebody else may believe what will change.
bool ClientService::mustWait(Core& core, wire::Op::Reader op, const NameGate::Plan& plan, Leases::Change& change) {
  if (!core.names.isClear(plan)) {
    return true;
  }
  addTouched(op, core.replica.reader(), change);
  return change.mustRecall();
}

kj::Promise<void> ClientService::wait(Core& core, const NameGate::Plan& plan, Leases::Change& change) {
  return core.names.isClear(plan) ? change.recall() : core.names.whenClear(plan);
}

// The inode that may lose its last name.
InodeId ClientService::victimOf(Core& core, const NameGate::Plan& plan) {
  if (!plan.removes) {
    return InodeId{};
  }
  std::string_view name(plan.name.asChars().begin(), plan.name.size());
  auto found = core.replica.reader().lookup(plan.parent, name);
  return found.ok() ? found.value() : InodeId{};
}

uint8_t ClientService::lease(Core& core, InodeId inode, uint8_t bit) {
  return core.sessions.leases().grant(session_, inode) ? bit : uint8_t{0};
}

uint8_t ClientService::leasesWith(Core& core, wire::Op::Reader op, wire::Reply::Reader reply) {
  if (reply.getOutcome().getErrno() != 0) {
    return 0;
  }
  auto names = [&](uint64_t directory) { return lease(core, InodeId{directory}, wire::LEASED_NAMES); };
  auto attributes = [&] { return lease(core, InodeId{reply.getAttributes().getInode()}, wire::LEASED_ATTRIBUTES); };
  switch (op.which()) {
    case wire::Op::MAKE:
      return op.getMake().getUnnamed() ? attributes() : names(op.getMake().getParent()) | attributes();
    case wire::Op::LINK:
      return names(op.getLink().getParent()) | attributes();
    case wire::Op::UNLINK:
      return names(op.getUnlink().getParent());
    case wire::Op::DETACH:
      return names(op.getDetach().getParent());
    case wire::Op::RENAME:
      return names(op.getRename().getParent()) | attributes() |
             lease(core, InodeId{op.getRename().getNewParent()}, wire::LEASED_NEW_PARENT);
    case wire::Op::WRITTEN:
      for (auto item : op.getWritten()) {
        if (lease(core, InodeId{item.getInode()}, wire::LEASED_ATTRIBUTES) == 0) {
          return 0;
        }
      }
      return wire::LEASED_ATTRIBUTES;
    case wire::Op::LOCK:
    case wire::Op::RESERVE:
    case wire::Op::GIVE_BACK:
      return 0;
    default:
      return attributes();
  }
}

uint8_t ClientService::leasesWith(Core& core, wire::Query::Reader query, wire::Answer::Reader answer) {
  int error = answer.getOutcome().getErrno();
  auto attributes = [&] { return lease(core, InodeId{answer.getAttributes().getInode()}, wire::LEASED_ATTRIBUTES); };
  if (query.isLookup() && (error == 0 || error == ENOENT)) {
    uint8_t names = lease(core, InodeId{query.getLookup().getParent()}, wire::LEASED_NAMES);
    return error == 0 ? names | attributes() : names;
  }
  if (query.isAttributes() && error == 0) {
    return attributes();
  }
  if (query.isReadDirectory() && error == 0 && query.getReadDirectory().getWithAttributes()) {
    uint8_t every = wire::LEASED_ATTRIBUTES;
    for (auto entry : answer.getEntries().getList()) {
      every &= !entry.hasAttributes() ? uint8_t{0} : lease(core, InodeId{entry.getInode()}, wire::LEASED_ATTRIBUTES);
    }
    return every | lease(core, InodeId{query.getReadDirectory().getInode()}, wire::LEASED_NAMES);
  }
  return 0;
}

// The operation is copied once into the command, which the log copies as it is.
Task<Result<Applied>> ClientService::proposeOp(Core& core, wire::ClientSession::ExecuteParams::Reader params,
                                               InodeId victim) {
  return propose(core.replica, [&](wire::Command::Builder command) {
    auto out = command.initClient();
    out.setSession(raw(session_));
    out.setSlot(params.getSlot());
    out.setSequence(params.getSequence());
    out.setOp(params.getOp());
    out.setHoldersAt(raw(core.replica.reader().appliedIndex()));
    if (raw(victim) == 0) {
      return;
    }
    auto holders = core.sessions.holders(victim);
    if (holders.empty()) {
      return;
    }
    auto holder = out.initHolders(1)[0];
    holder.setInode(raw(victim));
    auto list = holder.initSessions(holders.size());
    for (uint32_t i = 0; i < holders.size(); ++i) {
      list.set(i, raw(holders[i]));
    }
  });
}

// A make whose caller opens what it made. A repeated reply takes it again: the first one's hold may have died with
// the link, or with an earlier master.
void ClientService::takeMade(Core& core, wire::Op::Reader op, wire::Reply::Reader reply) {
  bool opened = op.isMake() && op.getMake().getHold() && reply.getOutcome().getErrno() == 0;
  if (opened && core.sessions.table().isCurrent(session_, link_)) {
    core.sessions.take(session_, InodeId{reply.getAttributes().getInode()});
  }
}

// What others write right now is theirs to say; they are asked again when one of them has gone or come meanwhile.
Task<void> ClientService::read(Core& core, ReadContext context) {
  auto params = context.getParams();
  OperationTimer timer(core.observation.metrics.of(params.getQuery()), core.clock);
  Writers writers(core.sessions.leases(), session_);
  bool asked = false;
  while (!asked) {
    enter(core);
    co_await writers.allKnown(context.getParams().getQuery());
    co_await readState(core, context);
    asked = co_await writers.overlay(context.getResults().getAnswer());
  }
  timer.stage("reading, with what writers know");
  if (core.observation.isSlow(timer.elapsed())) {
    auto path = slow(core, MasterMetrics::nameOf(params.getQuery()), params.getRequest(), timer);
    context.getResults().setSlow(path);
  }
}

// Under the leader's lease at once, if it still holds when the answer is there.
Task<void> ClientService::readState(Core& core, ReadContext& context) {
  if (core.replica.isCurrent()) {
    answer(core, context);
    if (core.replica.isCurrent()) {
      co_return;
    }
  }
  auto barrier = co_await core.replica.readBarrier();
  if (!barrier.ok()) {
    throwUnwritten(barrier.error());
  }
  answer(core, context);
}

Task<void> ClientService::acquire(Core& core, AcquireContext context) {
  OperationTimer timer(core.observation.metrics.acquire, core.clock);
  enter(core);
  Leases& leases = core.sessions.leases();
  const InodeId inode{context.getParams().getInode()};
  Leases::Turn turn(leases, inode);
  co_await turn.come();
  Leases::Change change(leases, session_);
  if (context.getParams().getWrite()) {
    change.add(inode);  // from now on nobody else is granted anything of it
  }
  bool confirmed = false;  // that this master leads, and nothing was waited for since
  for (;;) {
    auto obstacle = change.mustRecall() ? change.recall() : leases.obstacle(session_, inode);
    KJ_IF_MAYBE(wait, obstacle) {
      co_await kj::mv(*wait);
      confirmed = false;
      continue;
    }
    if (!confirmed && !core.replica.isCurrent()) {
      auto barrier = co_await core.replica.readBarrier();
      if (!barrier.ok()) {
        throwUnwritten(barrier.error());
      }
      confirmed = true;
      continue;
    }
    enter(core);
    answerAcquired(core, context);
    if (confirmed || core.replica.isCurrent()) {
      co_return;
    }
  }
}

void ClientService::answerAcquired(Core& core, AcquireContext& context) {
  const InodeId inode{context.getParams().getInode()};
  auto results = context.getResults();
  auto answer = results.initAnswer();
  capnp::MallocMessageBuilder message;
  auto query = message.initRoot<wire::Query>();
  query.setAttributes(raw(inode));
  core.replica.reader().answer(query.asReader(), answer);
  if (answer.getOutcome().getErrno() != 0) {
    return;
  }
  uint8_t leased = lease(core, inode, wire::LEASED_ATTRIBUTES);
  const uint64_t order = core.sessions.leases().nextOrder();
  if (context.getParams().getWrite() && core.sessions.leases().grantWriting(session_, inode, order)) {
    leased |= wire::LEASED_WRITING;
  }
  results.setLeased(leased);
  results.setOrder(order);
}

void ClientService::answer(Core& core, ReadContext& context) {
  auto query = context.getParams().getQuery();
  auto results = context.getResults();
  auto answer = results.initAnswer();
  core.replica.reader().answer(query, answer);
  bool current = core.sessions.table().isCurrent(session_, link_);
  results.setLeased(current ? leasesWith(core, query, answer.asReader()) : uint8_t{0});
  if (query.isSpace() && answer.getOutcome().getErrno() == 0) {
    writeSpace(core.replica.reader(), core.chunkservers.roster(), InodeId{query.getSpace()}, answer.initSpace());
  }
  if (query.isTestLock() && answer.getOutcome().getErrno() == 0) {
    testLock(core, query.getTestLock(), answer);
  }
}

void ClientService::testLock(Core& core, wire::LockRequest::Reader request, wire::Answer::Builder answer) {
  auto checked = checkLock(request);
  if (!checked.ok()) {
    setOutcome(checked, answer.initOutcome());
    return;
  }
  auto wanted = readLock(session_, request);
  auto held = core.replica.reader().locks(wanted.inode, wanted.kind);
  auto* found = inTheWay(held, wanted);
  FileLock shown = found == nullptr ? FileLock{wanted.inode, wanted.kind} : *found;
  if (shown.owner.session != session_) {
    shown.pid = 0;  // of another machine, where it names another program
  }
  writeLock(shown, answer.initLock());
}

// Asking in vain needs no log entry, if this master still leads when it has looked.
bool ClientService::refusesLock(Core& core, wire::LockRequest::Reader request) {
  if (!checkLock(request).ok()) {
    return false;
  }
  auto wanted = readLock(session_, request);
  if (!core.locks.isRefused(wanted) || !core.replica.isCurrent()) {
    return false;
  }
  core.locks.refused(wanted);
  return true;
}

Task<void> ClientService::awaitLock(Core& core, AwaitLockContext context) {
  enter(core);
  auto request = context.getParams().getLock();
  auto checked = checkLock(request);
  if (checked.ok()) {
    auto wanted = readLock(session_, request);
    checked = co_await core.locks.wait(wanted);
  }
  setOutcome(checked, context.getResults().initOutcome());
}

kj::Promise<void> ClientService::hold(Core& core, HoldContext context) {
  auto params = context.getParams();
  std::vector<InodeId> taken;
  for (uint64_t inode : params.getTaken()) {
    taken.push_back(InodeId{inode});
  }
  enter(core, taken);
  for (InodeId inode : taken) {
    if (!core.sessions.take(session_, inode)) {
      return KJ_EXCEPTION(OVERLOADED, "this session holds too many files open", SessionTable::HOLDS_MAX);
    }
  }
  for (uint64_t inode : params.getDropped()) {
    core.sessions.drop(session_, InodeId{inode});
  }
  return kj::READY_NOW;
}

kj::Promise<void> ClientService::forget(Core& core, ForgetContext context) {
  enter(core);
  for (uint64_t inode : context.getParams().getInodes()) {
    core.sessions.leases().release(session_, InodeId{inode});
  }
  return kj::READY_NOW;
}

Task<void> ClientService::renew(Core& core, RenewContext context) {
  enter(core);
  auto& observation = core.observation;
  observation.loads.report(session_, context.getParams().getLoad(), core.clock.monotonic(), observation.wallSeconds());
  if (!core.replica.isCurrent()) {  // is this master still the leader?
    auto barrier = co_await core.replica.readBarrier();
    if (!barrier.ok()) {
      throwUnwritten(barrier.error());
    }
  }
  context.getResults().setLeaseNanos(SESSION_LEASE);
}

Task<void> ClientService::detach(Core& core, DetachContext) {
  enter(core);
  auto ended = co_await core.sessions.end(session_);
  if (!ended.ok()) {
    throwUnwritten(ended.error());
  }
}

}  // namespace

wire::ClientSession::Client newClientSession(Lifeline& lifeline, Sessions::Attached attached, uint64_t watcher) {
  return kj::heap<ClientService>(lifeline, attached, watcher);
}

}  // namespace cairn
