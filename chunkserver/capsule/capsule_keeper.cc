#include "chunkserver/capsule/capsule_keeper.h"

#include <cerrno>

#include "common/log.h"

namespace cairn {

namespace {

class Service final : public wire::CapsuleKeeper::Server {
 public:
  Service(ServiceGate& gate, CapsuleKeeper& keeper) : gate_(kj::addRef(gate)), keeper_(keeper) {}
  kj::Promise<void> state(StateContext context) override {
    return gate_->pass(keeper_, &CapsuleKeeper::state, kj::mv(context));
  }
  kj::Promise<void> put(PutContext context) override {
    return gate_->pass(keeper_, &CapsuleKeeper::put, kj::mv(context));
  }
  kj::Promise<void> append(AppendContext context) override {
    return gate_->pass(keeper_, &CapsuleKeeper::append, kj::mv(context));
  }

 private:
  kj::Own<ServiceGate> gate_;
  CapsuleKeeper& keeper_;
};

void writeOutcome(const Status& status, wire::Outcome::Builder out) {
  out.setErrno(status.code());
  if (!status.ok()) {
    out.setWhy(status.error().why);
  }
}

void writeState(const CapsuleShelf::State& state, wire::CapsuleState::Builder out) {
  auto capsule = out.initCapsule();
  capsule.setEpoch(raw(state.capsule.epoch));
  capsule.setTerm(raw(state.capsule.term));
  capsule.setIndex(raw(state.capsule.index));
  out.setCapsuleBytes(state.capsuleBytes);
  out.setTailEnd(raw(state.tailEnd));
  out.setTailBytes(state.tailBytes);
}

Error busy() { return {EBUSY, "another call is under way"}; }

}  // namespace

CapsuleKeeper::CapsuleKeeper(ClusterId cluster, std::vector<CapsulePlace> places) : cluster_(cluster) {
  for (auto& place : places) {
    places_.push_back({place.path, kj::heap<CapsuleShelf>(*place.disk)});
  }
}

Task<void> CapsuleKeeper::state(StateContext context) {
  auto results = context.getResults();
  if (busy_) {
    writeOutcome(busy(), results.initOutcome());
    co_return;
  }
  busy_ = true;
  KJ_DEFER(busy_ = false);
  co_await openAll();
  writeState(best(), results.initState());
}

Task<void> CapsuleKeeper::put(PutContext context) {
  auto bytes = context.getParams().getFrame();
  auto frame = check(bytes, false);
  auto results = context.getResults();
  if (!frame.ok() || busy_) {
    writeOutcome(busy_ ? busy() : frame.error(), results.initOutcome());
    co_return;
  }
  busy_ = true;
  KJ_DEFER(busy_ = false);
  auto done = co_await putEverywhere(frame.value(), bytes);
  writeOutcome(done, results.initOutcome());
}

Task<void> CapsuleKeeper::append(AppendContext context) {
  auto bytes = context.getParams().getFrame();
  auto frame = check(bytes, true);
  auto results = context.getResults();
  if (!frame.ok() || busy_) {
    writeOutcome(busy_ ? busy() : frame.error(), results.initOutcome());
    co_return;
  }
  busy_ = true;
  KJ_DEFER(busy_ = false);
  auto done = co_await appendEverywhere(frame.value(), bytes);
  writeOutcome(done, results.initOutcome());
  writeState(best(), results.initState());
}

Result<Frame> CapsuleKeeper::check(kj::ArrayPtr<const kj::byte> bytes, bool tail) const {
  auto frame = checkFrame(bytes);
  if (!frame.ok()) {
    return frame;
  }
  if (frame.value().head.cluster != cluster_ || frame.value().bytes != bytes.size() ||
      (frame.value().head.kind == FrameKind::TAIL) != tail) {
    return Error{EINVAL, "a frame that doesn't belong here"};
  }
  return frame;
}

Task<void> CapsuleKeeper::openAll() {
  for (auto& place : places_) {
    if (!place.shelf->isOpen()) {
      auto opened = co_await place.shelf->open();
      note(place, opened);
    }
  }
}

// One volume that takes it is enough: the others get the next one.
Task<Status> CapsuleKeeper::putEverywhere(Frame frame, kj::ArrayPtr<const kj::byte> bytes) {
  co_await openAll();
  Status result = Error{EIO, "no volume can be written"};
  bool taken = false;
  for (auto& place : places_) {
    if (place.shelf->isOpen()) {
      auto put = co_await place.shelf->put(frame, bytes);
      note(place, put);
      taken = taken || put.ok();
      result = taken ? Status() : put;
    }
  }
  co_return result;
}

Task<Status> CapsuleKeeper::appendEverywhere(Frame frame, kj::ArrayPtr<const kj::byte> bytes) {
  Status result = Error{ESTALE, "no volume has a capsule"};
  bool taken = false;
  for (auto& place : places_) {
    if (place.shelf->isOpen()) {
      auto appended = co_await place.shelf->append(frame, bytes);
      note(place, appended);
      taken = taken || appended.ok();
      result = taken ? Status() : appended;
    }
  }
  co_return result;
}

void CapsuleKeeper::note(Place& place, const Status& status) {
  if (!status.ok() && status.code() != ESTALE) {
    spdlog::warn("volume {} keeps no new copy of the masters' state: {}", place.path, status.error().why);
  }
}

CapsuleShelf::State CapsuleKeeper::best() const {
  CapsuleShelf::State best;
  for (auto& place : places_) {
    const auto& state = place.shelf->state();
    bool newer = state.capsule > best.capsule || (state.capsule == best.capsule && state.tailEnd > best.tailEnd);
    best = newer ? state : best;
  }
  return best;
}

wire::CapsuleKeeper::Client newCapsuleKeeper(ServiceGate& gate, CapsuleKeeper& keeper) {
  return kj::heap<Service>(gate, keeper);
}

}  // namespace cairn
