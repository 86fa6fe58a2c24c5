#include "chunkserver/replication/backup.h"

#include <kj/debug.h>

namespace cairn {
namespace {

Backup::Outcome refusal(wire::Verdict verdict, std::string why) {
  Backup::Outcome out;
  out.verdict = verdict;
  out.why = std::move(why);
  return out;
}

Backup::Outcome outcomeOf(const Result<Mutated>& applied) {
  return applied.ok() ? Backup::Outcome() : refusal(verdictOf(applied.code()), applied.error().why);
}

// Counts a session's mutation while it is under way.
class FenceHold {
 public:
  FenceHold(Fences& fences, SessionId session, ObjectId object) : fences_(fences), session_(session), object_(object) {
    fences_.enter(session_, object_);
  }
  ~FenceHold() noexcept(false) { fences_.leave(session_, object_); }
  KJ_DISALLOW_COPY(FenceHold);

 private:
  Fences& fences_;
  const SessionId session_;
  const ObjectId object_;
};

Task<Result<Mutated>> start(VolumeStore& store, wire::Change::Reader change, ChunkId chunk, const ChunkContext& context,
                            const PieceList& pieces) {
  switch (change.which()) {
    case wire::Change::WRITE:
      return store.write(chunk, context, pieces.pieces());
    case wire::Change::PUNCH:
      return store.punch(chunk, context, change.getPunch().getOffset(), change.getPunch().getLength());
    case wire::Change::CUT:
      return store.applyCuts(chunk, context);
    case wire::Change::REMOVE:
      return store.retire({context.shard, chunk});
    case wire::Change::NOTHING:
      break;
  }
  return kj::Promise<Result<Mutated>>(Result<Mutated>(Mutated()));
}

}  // namespace

void Backup::epochChanged() {
  resetOrder();
  if (state_.role == Role::IN_SYNC) {
    startOrder(1);
  }
  moved_.raise();
}

void Backup::resetOrder() {
  order_.reset();
  while (!held_.empty()) {
    releaseHeld(held_.begin()->first, wire::Verdict::STALE_EPOCH);
  }
}

void Backup::startOrder(uint64_t first) {
  order_.start(first);
  moved_.raise();
}

Task<Backup::Outcome> Backup::forward(Params params) {
  const uint64_t turn = state_.turn;
  const uint64_t sequence = params.getSequence();
  const Nanos deadline = around_.clock.monotonic() + EARLY_LIMIT;
  while (order_.place(sequence) == decltype(order_)::Place::EARLY) {
    if (early_ >= EARLY_MAX || around_.clock.monotonic() >= deadline) {
      co_return refusal(wire::Verdict::NOT_READY, "a forward before this one is missing");
    }
    ++early_;
    auto countDown = kj::defer([this]() { --early_; });
    co_await moved_.nextOr(around_.clock, deadline);
    if (turn != state_.turn) {
      co_return refusal(wire::Verdict::STALE_EPOCH, "the epoch ended");
    }
  }
  if (order_.place(sequence) == decltype(order_)::Place::REPEATED) {
    complete(params.getCompleteBelow());
    auto known = order_.result(sequence);
    if (known == nullptr) {
      co_return Outcome();
    }
    co_return co_await known->addBranch();
  }
  auto taken = take(params).promise().fork();
  auto branch = taken.addBranch();
  order_.take(sequence, kj::mv(taken));
  complete(params.getCompleteBelow());
  moved_.raise();
  co_return co_await kj::mv(branch);
}

void Backup::complete(uint64_t below) {
  state_.pending.completeBelow(below);
  order_.forgetBelow(below);
}

Task<Backup::Outcome> Backup::take(Params params) {
  auto target = params.getTarget();
  ChunkId chunk = chunkOf(target);
  if (around_.fences.isFenced(SessionId{target.getSession()})) {
    co_return refusal(wire::Verdict::FENCED, "the session was evicted");
  }
  bool changes = !params.getChange().isNothing();
  if (state_.role == Role::JOINING) {
    auto action = catchUp_.forward(chunk);
    if (action == CatchUp::Action::DROP) {
      co_return Outcome();
    }
    state_.pending.add(chunk, params.getSequence(), changes);
    if (action == CatchUp::Action::WAIT) {
      co_return co_await hold(chunk, params);
    }
  } else {
    state_.pending.add(chunk, params.getSequence(), changes);
  }
  co_return co_await apply(params);
}

Task<Backup::Outcome> Backup::hold(ChunkId chunk, Params params) {
  auto released = kj::newPromiseAndFulfiller<kj::Promise<Outcome>>();
  held_[chunk].push_back({params, kj::mv(released.fulfiller)});
  co_return co_await kj::mv(released.promise);
}

void Backup::endFetch(ChunkId chunk) {
  catchUp_.endFetch(chunk);
  auto it = held_.find(chunk);
  if (it == held_.end()) {
    return;
  }
  auto queue = kj::mv(it->second);
  held_.erase(it);
  for (auto& held : queue) {
    held.fulfiller->fulfill(apply(held.params).promise());
  }
}

void Backup::abandonFetch(ChunkId chunk) {
  catchUp_.retryFetch(chunk);
  releaseHeld(chunk, wire::Verdict::OK);
}

void Backup::releaseHeld(ChunkId chunk, wire::Verdict verdict) {
  auto it = held_.find(chunk);
  if (it == held_.end()) {
    return;
  }
  auto queue = kj::mv(it->second);
  held_.erase(it);
  for (auto& held : queue) {
    held.fulfiller->fulfill(kj::Promise<Outcome>(refusal(verdict, "the chunk wasn't fetched")));
  }
}

Task<Backup::Outcome> Backup::apply(Params params) {
  auto running = state_.applies.begin();
  auto target = params.getTarget();
  auto change = params.getChange();
  FenceHold fence(around_.fences, SessionId{target.getSession()}, ObjectId{target.getObject()});
  ChunkContext context = contextOf(target);
  PieceList pieces(change.isWrite() ? change.getWrite() : capnp::List<wire::Piece>::Reader());
  auto applied = co_await start(state_.store(), change, chunkOf(target), context, pieces);
  if (applied.ok() && change.getDurable()) {
    auto synced = co_await state_.store().sync(state_.key(chunkOf(target)));
    if (!synced.ok()) {
      co_return refusal(verdictOf(synced.code()), synced.error().why);
    }
  }
  co_return outcomeOf(applied);
}

Task<Backup::Outcome> Backup::sync(ChunkId chunk) {
  auto synced = co_await state_.store().sync(state_.key(chunk));
  co_return synced.ok() ? Outcome() : refusal(verdictOf(synced.code()), synced.error().why);
}

Task<Backup::Outcome> Backup::install(wire::ChunkImage::Reader image, uint64_t sequence) {
  ChunkId chunk = chunkOf(image.getName());
  const uint64_t turn = state_.turn;
  auto permit = co_await around_.heavy.take();
  // The primary may have given up on it while it waited, and let writes through that it would undo.
  if (turn != state_.turn || (sequence != 0 && state_.pending.isPast(chunk, sequence))) {
    co_return refusal(wire::Verdict::STALE_EPOCH, "the chunk has changed meanwhile");
  }
  auto running = state_.applies.begin();
  if (sequence == 0) {
    state_.pending.carry(chunk);
  } else {
    state_.pending.add(chunk, sequence, !image.getKeepOld());  // what mends a copy may be read at once
  }
  if (!image.getPresent()) {
    ChunkKey key = state_.key(chunk);
    auto gone = image.getDiscard() ? state_.store().remove(key) : state_.store().quarantine(key);
    auto removed = co_await kj::mv(gone);
    co_return outcomeOf(removed);
  }
  ImageParts parts(image);
  ImageView view = parts.view();
  view.keepOld = image.getKeepOld();
  auto installed = co_await state_.store().install(state_.key(chunk), view);
  co_return outcomeOf(installed);
}

bool Backup::settled(uint64_t completeBelow) {
  complete(completeBelow);
  if (state_.role != Role::IN_SYNC || state_.ready) {
    return false;
  }
  state_.pending.settle();
  state_.restarted = false;
  state_.ready = true;
  state_.changed.raise();
  return true;
}

}  // namespace cairn
