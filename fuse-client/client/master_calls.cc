// The calls of MasterSession: slots, retries, holds.
#include "common/log.h"
#include "fuse-client/client/master_session.h"
#include "fuse-client/client/wire.h"

namespace cairn {

// ---- calls --------------------------------------------------------------------------------------

Task<Result<MasterSession::Executed>> MasterSession::execute(kj::Own<OpDraft> op, bool holds) {
  auto promise = executeHard(kj::mv(op), holds).promise();
  return context_.limited(kj::mv(promise), "the master");
}

Task<Result<MasterSession::Read>> MasterSession::query(kj::Own<QueryDraft> query) {
  auto promise = queryHard(kj::mv(query)).promise();
  return context_.limited(kj::mv(promise), "the master");
}

Task<Result<MasterSession::Acquired>> MasterSession::acquire(InodeId inode, bool write) {
  auto promise = acquireHard(inode, write).promise();
  return context_.limited(kj::mv(promise), "the master");
}

namespace {

// Of what was written here, or given back, which others may wait for. Nobody waits to be told of access times; they may
// wait for others themselves, so they mustn't stand in the way of such a report.
bool isReport(wire::Op::Reader op) {
  return op.isGiveBack() || (op.isWritten() && op.getWritten().size() > 0 && !op.getWritten()[0].hasAccessed());
}

}  // namespace

InodeId MasterSession::inodeOf(wire::Op::Reader op) {
  switch (op.which()) {
    case wire::Op::MAKE:
      return InodeId{op.getMake().getParent()};
    case wire::Op::LINK:
      return InodeId{op.getLink().getInode()};
    case wire::Op::UNLINK:
      return InodeId{op.getUnlink().getParent()};
    case wire::Op::RENAME:
      return InodeId{op.getRename().getParent()};
    case wire::Op::SET_ATTRIBUTES:
      return InodeId{op.getSetAttributes().getInode()};
    case wire::Op::SET_XATTR:
      return InodeId{op.getSetXattr().getInode()};
    case wire::Op::REMOVE_XATTR:
      return InodeId{op.getRemoveXattr().getInode()};
    case wire::Op::LOCK:
      return InodeId{op.getLock().getInode()};
    case wire::Op::DETACH:
      return InodeId{op.getDetach().getParent()};
    case wire::Op::RESERVE:
      return InodeId{op.getReserve().getRoot()};
    case wire::Op::GIVE_BACK:
      return InodeId{op.getGiveBack().getRoot()};
    case wire::Op::WRITTEN:  // of many files: each has a wait of its own
      break;
  }
  return {};
}

InodeId MasterSession::inodeOf(wire::Query::Reader query) {
  switch (query.which()) {
    case wire::Query::LOOKUP:
      return InodeId{query.getLookup().getParent()};
    case wire::Query::ATTRIBUTES:
      return InodeId{query.getAttributes()};
    case wire::Query::READ_DIRECTORY:
      return InodeId{query.getReadDirectory().getInode()};
    case wire::Query::READ_LINK:
      return InodeId{query.getReadLink()};
    case wire::Query::GET_XATTR:
      return InodeId{query.getGetXattr().getInode()};
    case wire::Query::LIST_XATTR:
      return InodeId{query.getListXattr()};
    case wire::Query::SPACE:
      return InodeId{query.getSpace()};
    case wire::Query::TEST_LOCK:
      return InodeId{query.getTestLock().getInode()};
  }
  return {};
}

Task<Result<MasterSession::Executed>> MasterSession::executeHard(kj::Own<OpDraft> op, bool holds) {
  InodeId inode = inodeOf((*op)->asReader());
  Waits::Note note(context_.waits, [this, inode](Wait& out) {
    out.inodes = {inode};
    describe(out);
  });
  Place place;
  KJ_IF_MAYBE(earlier, earlierPlace(*op)) {
    place = *earlier;
  } else {
    place.slot = co_await takeSlot(isReport((*op)->asReader()));
  }
  // In the background, so that a caller who gives up doesn't leave the slot's sequence in doubt.
  auto paf = kj::newPromiseAndFulfiller<Result<Executed>>();
  tasks_.add(runSlot(place, kj::mv(op), kj::mv(paf.fulfiller), holds).promise());
  co_return co_await kj::mv(paf.promise);
}

void MasterSession::fill(wire::ClientSession::ExecuteParams::Builder request, const Place& place,
                         wire::Op::Reader op) {
  request.setSlot(place.slot);
  request.setSequence(place.sequence);
  request.setOp(op);
  request.setRequest(context_.nextRequest(id_));
  ++context_.stats.masterCalls;
}

void MasterSession::noteAnswer(InodeId inode, Nanos began, kj::StringPtr told) {
  context_.noteAnswer(inode, began, "master " + cluster_.masters[master_].name, told);
}

void MasterSession::notePlace(uint64_t term, uint64_t index) {
  context_.stats.term = term;
  context_.stats.index = index;
}

// ---- of a predecessor -----------------------------------------------------------------------------

void MasterSession::takeUp(const Inheritance& from) {
  id_ = earlierSession_ = from.session;
  attempts_ = from.attempts;
  uncertain_.insert(REPORT_SLOT);  // at least one is overtaken
  for (const SentChange& change : from.sent) {
    sequences_[change.slot] = change.sequence;
    if (change.request != 0 && change.slot != REPORT_SLOT) {
      earlier_[change.slot] = change;
      std::erase(freeSlots_, change.slot);
    } else if (change.sequence != 0 && !change.answered) {
      uncertain_.insert(change.slot);
    }
  }
}

// A change that the predecessor sent, and that nobody asks for again, may still be on its way: a size, told after this
// client has made the file shorter, or a lock given back after it was taken anew. The master refuses it once it has
// seen a later number in its slot. The holds go first, for the first call says that they are all known.
Task<bool> MasterSession::overtake(wire::ClientSession::Client client) {
  client_ = client;
  resendHolds();
  while (!uncertain_.empty()) {
    uint8_t slot = *uncertain_.begin();
    OpDraft nothing;  // but that what quotas granted to the predecessor is given back
    nothing->initCaller();
    nothing->initGiveBack();
    auto request = client.executeRequest();
    request.setSlot(slot);
    request.setSequence(nextSequence(slot, nothing));
    request.setOp(*nothing);
    kj::Promise<capnp::Response<wire::ClientSession::ExecuteResults>> sent = request.send();
    auto reply = co_await withDeadline(context_.clock, CONNECT_LIMIT, kj::mv(sent), "overtake");
    Status outcome = readOutcome(reply.getReply().getOutcome());
    if (!outcome.ok()) {
      spdlog::warn("session {}: can't overtake what was sent before: {}", raw(id_), outcome.error().why);
      co_return false;
    }
    context_.ledger->answered(slot);
    uncertain_.erase(slot);
  }
  co_return true;
}

void MasterSession::expectOnly(const std::set<uint64_t>& requests) {
  for (auto at = earlier_.begin(); at != earlier_.end();) {
    auto [slot, change] = *at++;
    if (!requests.contains(change.request)) {
      earlier_.erase(slot);
      releaseSlot(slot);
    }
  }
}

uint64_t MasterSession::nextSequence(uint8_t slot, OpDraft& op) {
  uint64_t sequence = ++sequences_[slot];
  context_.ledger->sending({slot, sequence, op.request, static_cast<uint16_t>(op->which()), false});
  return sequence;
}

kj::Maybe<MasterSession::Place> MasterSession::earlierPlace(OpDraft& op) {
  if (op.request == 0) {
    return nullptr;
  }
  for (auto& [slot, change] : earlier_) {
    if (change.request == op.request && change.kind == static_cast<uint16_t>(op->which())) {
      Place place{slot, earlierSession_, change.sequence};
      earlier_.erase(slot);
      return place;
    }
  }
  return nullptr;
}

Task<uint8_t> MasterSession::takeSlot(bool othersWait) {
  while (freeSlots_.empty()) {
    if (othersWait && reportSlotFree_) {
      reportSlotFree_ = false;
      co_return REPORT_SLOT;
    }
    co_await slotFreed_.wait();
  }
  uint8_t slot = freeSlots_.back();
  freeSlots_.pop_back();
  co_return slot;
}

void MasterSession::releaseSlot(uint8_t slot) {
  if (slot == REPORT_SLOT) {
    reportSlotFree_ = true;
  } else {
    freeSlots_.push_back(slot);
  }
  slotFreed_.raise();
}

Task<void> MasterSession::runSlot(Place place, kj::Own<OpDraft> op,
                                  kj::Own<kj::PromiseFulfiller<Result<Executed>>> done, bool holds) {
  Doubt doubt(listener_, (*op)->asReader());
  const bool inherited = raw(place.sentIn) != 0;
  const Nanos began = context_.clock.monotonic();
  for (unsigned tries = 0;; ++tries) {
    context_.stats.masterRetries += tries > 0;
    while (!attached_) {  // the link may break again before this task goes on
      co_await untilAttached();
    }
    if (raw(place.sentIn) != 0 && place.sentIn != id_) {
      done->fulfill(Error{EIO, "the session was evicted while the change was under way; it may have happened"});
      break;
    }
    if (raw(place.sentIn) == 0) {
      place.sentIn = id_;
      place.sequence = nextSequence(place.slot, *op);
    }
    uint64_t generation = generation_;
    try {
      flushHolds();
      flushUnwanted();
      auto request = KJ_ASSERT_NONNULL(client_).executeRequest();
      fill(request, place, **op);
      Call call(*this);
      Grant grant{0, leases_.link(), leases_.nextCall(), 0};
      auto response = co_await request.send();
      heard();
      auto reply = response.getReply();
      notePlace(reply.getTerm(), reply.getIndex());
      noteAnswer(inodeOf((*op)->asReader()), began, response.getSlow());
      context_.ledger->answered(place.slot);
      Status outcome = readOutcome(reply.getOutcome());
      if (outcome.ok()) {
        grant.bits = response.getLeased();
        grant.index = reply.getIndex();
        listener_.executed((*op)->asReader(), reply, grant);
        deliver(Executed{kj::mv(response), grant}, *done, holds, inherited || tries > 0);
        break;
      }
      if (outcome.code() != EAGAIN || (*op)->isLock()) {
        done->fulfill(outcome.error());
        break;
      }
      place.sentIn = SessionId{};  // the next try is a request of its own: this one has its answer
    } catch (kj::Exception& e) {
      if (!isRetryable(e)) {
        spdlog::error("the master failed a call: {}", e.getDescription().cStr());
        done->fulfill(Error{EIO, e.getDescription().cStr()});
        break;
      }
      if (e.getType() == kj::Exception::Type::DISCONNECTED) {
        linkFailed(generation);
        continue;
      }
    }
    co_await context_.clock.after(BUSY_DELAY);
  }
  releaseSlot(place.slot);
}

void MasterSession::deliver(Result<Executed> result, kj::PromiseFulfiller<Result<Executed>>& done, bool holds,
                            bool resent) {
  if (!holds) {
    done.fulfill(kj::mv(result));
    return;
  }
  InodeId inode{result.value().getReply().getAttributes().getInode()};
  Hold& hold = holds_[inode];
  ++hold.count;
  // A master that answers a second time may have lost the hold that the first time made.
  hold.known = hold.known || !resent;
  if (resent) {
    holdChanged(inode, false);
  }
  if (done.isWaiting()) {
    done.fulfill(kj::mv(result));
  } else {
    drop(inode);
  }
}

// What the master must know before it answers goes first. REQUIRES: attached.
void MasterSession::beforeAsking() {
  if (takesWait_) {
    flushHolds();
  }
  flushUnwanted();
  ++context_.stats.masterCalls;
}

// After a question that failed: false when asking again is of no use.
Task<bool> MasterSession::mayRepeat(const kj::Exception& e, uint64_t generation) {
  if (!isRetryable(e)) {
    spdlog::error("the master failed a question: {}", e.getDescription().cStr());
    co_return false;
  }
  ++context_.stats.masterRetries;
  if (e.getType() == kj::Exception::Type::DISCONNECTED) {
    linkFailed(generation);
  } else {
    co_await context_.clock.after(BUSY_DELAY);
  }
  co_return true;
}

Task<Result<MasterSession::Read>> MasterSession::queryHard(kj::Own<QueryDraft> query) {
  InodeId inode = inodeOf((*query)->asReader());
  Waits::Note note(context_.waits, [this, inode](Wait& out) {
    out.inodes = {inode};
    describe(out);
  });
  const Nanos began = context_.clock.monotonic();
  for (;;) {
    while (!attached_) {  // the link may break again before this task goes on
      co_await untilAttached();
    }
    beforeAsking();
    uint64_t generation = generation_;
    kj::Maybe<kj::Exception> failure;
    try {
      auto request = KJ_ASSERT_NONNULL(client_).readRequest();
      request.setQuery(**query);
      request.setRequest(context_.nextRequest(id_));
      Call call(*this);
      Grant grant{0, leases_.link(), leases_.nextCall(), 0};
      auto response = co_await request.send();
      heard();
      auto answer = response.getAnswer();
      notePlace(answer.getTerm(), answer.getIndex());
      noteAnswer(inode, began, response.getSlow());
      Status outcome = readOutcome(answer.getOutcome());
      grant.bits = response.getLeased();
      grant.index = answer.getIndex();
      if (outcome.ok()) {
        Result<Read> result(Read{kj::mv(response), grant});
        co_return result;
      }
      listener_.refused(**query, outcome.code(), grant);
      if (outcome.code() != EAGAIN) {
        co_return outcome.error();
      }
      failure = KJ_EXCEPTION(OVERLOADED, "the master is busy");
    } catch (kj::Exception& e) {
      failure = kj::mv(e);
    }
    const kj::Exception& why = KJ_ASSERT_NONNULL(failure);
    bool again = co_await mayRepeat(why, generation);
    if (!again) {
      co_return Error{EIO, why.getDescription().cStr()};
    }
  }
}

// May wait for others for long, so this call doesn't count as one that the master leaves unanswered.
Task<Result<MasterSession::Acquired>> MasterSession::acquireHard(InodeId inode, bool write) {
  Waits::Note note(context_.waits, [this, inode, write](Wait& out) {
    describe(out);
    out.inodes = {inode};
    if (attached_) {
      out.what = "lease";
      out.text = fmt::format("the right to {} the file's bytes, which other mounts may have", write ? "write" : "read");
      out.end = "those giving it back, or the end of the session of one that doesn't answer";
    }
  });
  for (;;) {
    while (!attached_) {
      co_await untilAttached();
    }
    beforeAsking();
    uint64_t generation = generation_;
    kj::Maybe<kj::Exception> failure;
    try {
      auto request = KJ_ASSERT_NONNULL(client_).acquireRequest();
      request.setInode(raw(inode));
      request.setWrite(write);
      Grant grant{0, leases_.link(), leases_.nextCall(), 0};
      const Nanos began = context_.clock.monotonic();
      auto response = co_await request.send();
      heard();
      auto answer = response.getAnswer();
      notePlace(answer.getTerm(), answer.getIndex());
      context_.noteAnswer(inode, began, "other mounts, which had the file,", nullptr);
      Status outcome = readOutcome(answer.getOutcome());
      if (!outcome.ok()) {
        co_return outcome.error();
      }
      grant.bits = response.getLeased();
      grant.index = answer.getIndex();
      Result<Acquired> result(Acquired{kj::mv(response), grant});
      co_return result;
    } catch (kj::Exception& e) {
      failure = kj::mv(e);
    }
    const kj::Exception& why = KJ_ASSERT_NONNULL(failure);
    bool again = co_await mayRepeat(why, generation);
    if (!again) {
      co_return Error{EIO, why.getDescription().cStr()};
    }
  }
}

// What this client no longer believes, the master needn't ask it for. Sent before the next call, for that may bring a
// lease on one of these again.
void MasterSession::flushUnwanted(bool all) {
  if (!all && !leases_.manyUnwanted()) {
    return;
  }
  std::vector<InodeId> inodes = leases_.takeUnwanted();
  std::erase_if(inodes, [this](InodeId inode) { return listener_.believes(inode); });
  if (inodes.empty()) {
    return;
  }
  flushHolds();  // some may wait for the leases' sake
  auto request = KJ_ASSERT_NONNULL(client_).forgetRequest();
  auto list = request.initInodes(static_cast<unsigned>(inodes.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    list.set(i, raw(inodes[i]));
  }
  uint64_t generation = generation_;
  tasks_.add(request.send().ignoreResult().catch_([this, generation](kj::Exception&& e) {
    spdlog::info("session {}: leases not given up: {}", raw(id_), e.getDescription().cStr());
    linkFailed(generation);
  }));
}

// ---- holds --------------------------------------------------------------------------------------

void MasterSession::take(InodeId inode, bool leased) {
  if (++holds_[inode].count == 1) {
    holdChanged(inode, leased);
  }
}

void MasterSession::drop(InodeId inode) {
  Hold& hold = holds_[inode];
  KJ_ASSERT(hold.count > 0, "a hold dropped twice", raw(inode));
  if (--hold.count == 0) {
    holdChanged(inode, true);
  }
}

void MasterSession::holdChanged(InodeId inode, bool mayWait) {
  holdsChanged_.insert(inode);
  if (!mayWait && !takesWait_) {
    takesWait_ = true;
    tasks_.add(kj::evalLast([this] { flushHolds(); }));
  } else if (mayWait && !changesWait_) {
    changesWait_ = true;
    tasks_.add(context_.clock.after(HOLD_DELAY).then([this] {
      changesWait_ = false;
      flushHolds();
    }));
  }
}

void MasterSession::flushHolds() {
  takesWait_ = false;
  if (holdsChanged_.empty() || !attached_) {
    return;
  }
  std::vector<InodeId> taken, dropped;
  for (InodeId inode : holdsChanged_) {
    Hold& hold = holds_[inode];
    if (hold.count > 0 && !hold.known) {
      taken.push_back(inode);
      hold.known = true;
    } else if (hold.count == 0) {
      if (hold.known) {
        dropped.push_back(inode);
      }
      holds_.erase(inode);
    }
  }
  holdsChanged_.clear();
  sendHolds(kj::mv(taken), kj::mv(dropped));
}

void MasterSession::resendHolds() {
  std::set<InodeId> dropped(holdsChanged_.begin(), holdsChanged_.end());
  for (auto& [batch, inodes] : dropsUnderWay_) {
    dropped.insert(inodes.begin(), inodes.end());
  }
  dropsUnderWay_.clear();
  holdsChanged_.clear();
  std::vector<InodeId> taken;
  for (auto it = holds_.begin(); it != holds_.end();) {
    if (it->second.count == 0) {
      it = holds_.erase(it);
      continue;
    }
    it->second.known = true;
    taken.push_back(it->first);
    dropped.erase(it->first);
    ++it;
  }
  sendHolds(kj::mv(taken), std::vector<InodeId>(dropped.begin(), dropped.end()));
}

void MasterSession::sendHolds(std::vector<InodeId> taken, std::vector<InodeId> dropped) {
  if (taken.empty() && dropped.empty()) {
    return;
  }
  auto request = KJ_ASSERT_NONNULL(client_).holdRequest();
  auto takenList = request.initTaken(static_cast<unsigned>(taken.size()));
  for (unsigned i = 0; i < takenList.size(); ++i) {
    takenList.set(i, raw(taken[i]));
  }
  auto droppedList = request.initDropped(static_cast<unsigned>(dropped.size()));
  for (unsigned i = 0; i < droppedList.size(); ++i) {
    droppedList.set(i, raw(dropped[i]));
  }
  uint64_t batch = nextHoldBatch_++;
  if (!dropped.empty()) {
    dropsUnderWay_[batch] = kj::mv(dropped);
  }
  uint64_t generation = generation_;
  tasks_.add(request.send().ignoreResult().then(
      [this, batch] { dropsUnderWay_.erase(batch); },
      [this, generation](kj::Exception&& e) {
        // Only a new attachment makes the master's holds certain again.
        spdlog::info("session {}: holds not delivered: {}", raw(id_), e.getDescription().cStr());
        linkFailed(generation);
      }));
}

}  // namespace cairn
