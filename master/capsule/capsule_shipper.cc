#include "master/capsule/capsule_shipper.h"

#include <algorithm>
#include <cerrno>

#include "common/log.h"
#include "master/group.h"
#include "rpc/connection.h"

namespace cairn {

CapsuleShipper::CapsuleShipper(Clock& clock, Workers& workers, Replica& replica, ClusterId cluster)
    : clock_(clock),
      workers_(workers),
      replica_(replica),
      source_(replica.copies()),
      cluster_(cluster),
      began_(clock.monotonic()),
      frames_(workers),
      tasks_(*this) {
  tasks_.add(run());
}

uint64_t CapsuleShipper::add(ServerId server, std::string name, wire::CapsuleKeeper::Client client) {
  for (auto& [number, keeper] : keepers_) {
    if (keeper->server == server) {
      remove(number);
      break;
    }
  }
  auto keeper = kj::refcounted<Keeper>(server, std::move(name), kj::mv(client));
  tasks_.add(follow(kj::addRef(*keeper)));
  keepers_[++keepersMade_] = kj::mv(keeper);
  return keepersMade_;
}

void CapsuleShipper::remove(uint64_t number) {
  auto keeper = keepers_.find(number);
  if (keeper != keepers_.end()) {
    keeper->second->gone = true;
    keepers_.erase(keeper);
  }
}

std::optional<Nanos> CapsuleShipper::age() const {
  if (keepers_.empty()) {
    bool isEmpty = replica_.reader().map().volumes.empty();
    return isEmpty ? std::nullopt : std::optional<Nanos>(clock_.monotonic() - began_);
  }
  std::vector<Nanos> covered;
  for (auto& [number, keeper] : keepers_) {
    covered.push_back(std::max(keeper->covered, began_));
  }
  std::sort(covered.rbegin(), covered.rend());
  return clock_.monotonic() - covered[std::min(covered.size(), KEEPERS_WANTED) - 1];
}

std::string CapsuleShipper::trouble() const {
  for (auto& [number, keeper] : keepers_) {
    if (!keeper->trouble.empty()) {
      return keeper->name + ": " + keeper->trouble;
    }
  }
  return "";
}

Task<void> CapsuleShipper::run() {
  for (;;) {
    roundBegan_ = clock_.monotonic();
    roundIndex_ = replica_.reader().appliedIndex();
    FrameHead head = headFor({replica_.group().epoch()});
    co_await frames_.cut(head);
    wantSnapshot();
    for (auto& follower : std::exchange(waiting_, {})) {
      follower->fulfill();
    }
    co_await clock_.after(ROUND);
  }
}

kj::Promise<void> CapsuleShipper::nextRound() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiting_.push_back(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

void CapsuleShipper::wantSnapshot() {
  LogIndex newest = source_.newestSnapshot();
  bool wanted = raw(newest) == 0;
  for (auto& [number, keeper] : keepers_) {
    bool isLatest = keeper->known && isOurs(*keeper) && keeper->capsule.index >= newest;
    wanted = wanted || (isLatest && hasOutgrown(*keeper));
  }
  Nanos now = clock_.monotonic();
  bool isEarly = snapshotAsked_ != 0 && now - snapshotAsked_ < SNAPSHOT_EVERY;
  if (wanted && !isEarly && raw(replica_.reader().appliedIndex()) > 0) {
    snapshotAsked_ = now;
    source_.snapshotSoon();
  }
}

Task<void> CapsuleShipper::follow(kj::Own<Keeper> keeper) {
  while (!keeper->gone) {
    auto round = nextRound();
    co_await round;
    if (keeper->gone) {
      break;
    }
    Status served;
    try {
      auto result = co_await serve(*keeper);
      served = result;
    } catch (const kj::Exception& e) {
      served = Error{EIO, e.getDescription().cStr()};
    }
    if (!served.ok()) {
      keeper->known = false;
      spdlog::debug("chunkserver {} has no new copy of the state: {}", keeper->name, served.error().why);
    }
    // Busy with what a master began that leads no longer: not worth a word to people.
    keeper->trouble = served.ok() || served.code() == EBUSY ? "" : served.error().why;
  }
}

Task<Status> CapsuleShipper::serve(Keeper& keeper) {
  LogIndex upTo = roundIndex_;
  Nanos began = roundBegan_;
  if (!isChosen(keeper)) {
    keeper.covered = 0;
    co_return Status();
  }
  if (!keeper.known) {
    auto asked = co_await ask(keeper);
    if (!asked.ok()) {
      co_return asked;
    }
  }
  if (wantsCapsule(keeper) && !sending_) {
    auto sent = co_await sendCapsule(keeper);
    if (!sent.ok()) {
      co_return sent;
    }
  }
  if (!isOurs(keeper)) {
    co_return Status();  // there is nothing yet, or it isn't its turn
  }
  auto sent = co_await sendTail(keeper, upTo);
  if (sent.ok() && keeper.tailEnd >= upTo) {
    keeper.covered = began;
  }
  co_return sent;
}

Task<Status> CapsuleShipper::ask(Keeper& keeper) {
  using Response = capnp::Response<wire::CapsuleKeeper::StateResults>;
  kj::Promise<Response> sent = keeper.client.stateRequest().send();
  auto response = co_await withDeadline(clock_, CALL_LIMIT, kj::mv(sent), "asking for the copy of the state");
  auto outcome = response.getOutcome();
  if (outcome.getErrno() != 0) {
    co_return Error{outcome.getErrno(), outcome.getWhy().cStr()};
  }
  take(keeper, response.getState());
  keeper.known = true;
  keeper.lacks = false;
  co_return Status();
}

void CapsuleShipper::take(Keeper& keeper, wire::CapsuleState::Reader state) {
  auto capsule = state.getCapsule();
  keeper.capsule = {GroupEpoch{capsule.getEpoch()}, LogIndex{capsule.getIndex()}, Term{capsule.getTerm()}};
  keeper.capsuleBytes = state.getCapsuleBytes();
  keeper.tailEnd = LogIndex{state.getTailEnd()};
  keeper.tailBytes = state.getTailBytes();
}

bool CapsuleShipper::isOurs(const Keeper& keeper) const {
  return raw(keeper.capsule.index) > 0 && keeper.capsule.epoch == replica_.group().epoch();
}

bool CapsuleShipper::hasOutgrown(const Keeper& keeper) const {
  return keeper.lacks || keeper.tailBytes > std::max(keeper.capsuleBytes, TAIL_BYTES_MIN);
}

bool CapsuleShipper::wantsCapsule(const Keeper& keeper) const {
  LogIndex newest = source_.newestSnapshot();
  return raw(newest) > 0 && (!isOurs(keeper) || (hasOutgrown(keeper) && newest > keeper.capsule.index));
}

// The same ones each time, whichever order they come in.
bool CapsuleShipper::isChosen(const Keeper& keeper) const {
  uint64_t room = std::max(KEEPERS_MIN, SPREAD_BYTES / std::max<uint64_t>(snapshotBytes_, 1));
  size_t before = 0;
  for (auto& [number, other] : keepers_) {
    before += other->server < keeper.server;
  }
  return before < room;
}

FrameHead CapsuleShipper::headFor(const CapsuleId& capsule) const {
  FrameHead head;
  head.cluster = cluster_;
  head.capsule = capsule;
  head.seconds = clock_.wall() / SECOND;
  return head;
}

// ---- a snapshot ----

Task<Status> CapsuleShipper::sendCapsule(Keeper& keeper) {
  auto opened = source_.openSnapshot();
  if (!opened.ok()) {
    co_return opened.error();
  }
  sending_ = true;
  KJ_DEFER(sending_ = false);
  auto snapshot = kj::mv(opened.value());
  snapshotBytes_ = snapshot.bytes;
  Nanos began = clock_.monotonic();
  auto sent = co_await sendPieces(keeper, snapshot);
  if (!sent.ok()) {
    co_return sent;
  }
  spdlog::info("chunkserver {} has a copy of the state at entry {}: {} KiB in {} ms", keeper.name, raw(snapshot.index),
               snapshot.bytes >> 10, (clock_.monotonic() - began) / MILLISECOND);
  co_return co_await ask(keeper);
}

Task<Status> CapsuleShipper::sendPieces(Keeper& keeper, StateSource::Snapshot& snapshot) {
  FrameHead head = headFor({replica_.group().epoch(), snapshot.index, snapshot.term});
  head.last = snapshot.bytes;
  for (uint64_t offset = 0; offset < snapshot.bytes;) {
    std::string content(std::min<uint64_t>(CAPSULE_PIECE_BYTES, snapshot.bytes - offset), '\0');
    auto into = kj::arrayPtr(reinterpret_cast<kj::byte*>(content.data()), content.size());
    auto got = co_await snapshot.file->read(offset, into);
    if (!got.ok() || got.value() != content.size()) {
      co_return got.ok() ? Error{EIO, "the snapshot has become shorter"} : got.error();
    }
    offset += content.size();
    auto sent = co_await put(keeper, head, std::move(content));
    if (!sent.ok()) {
      co_return sent;
    }
    ++head.first;
    co_await clock_.after(PIECE_PAUSE);
  }
  head.kind = FrameKind::END;
  co_return co_await put(keeper, head, std::string());
}

Task<Status> CapsuleShipper::put(Keeper& keeper, FrameHead head, std::string content) {
  if (keeper.gone) {
    co_return Error{ECANCELED, "the chunkserver has gone"};
  }
  auto bytes = co_await encodeFrameAside(workers_, head, std::move(content));
  auto request = keeper.client.putRequest();
  request.setFrame(kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()));
  using Response = capnp::Response<wire::CapsuleKeeper::PutResults>;
  kj::Promise<Response> sent = request.send();
  auto response = co_await withDeadline(clock_, CALL_LIMIT, kj::mv(sent), "sending a copy of the state");
  auto outcome = response.getOutcome();
  co_return outcome.getErrno() == 0 ? Status() : Error{outcome.getErrno(), outcome.getWhy().cStr()};
}

// ---- the log after it ----

Task<Status> CapsuleShipper::sendTail(Keeper& keeper, LogIndex upTo) {
  while (keeper.tailEnd < upTo && !keeper.gone) {
    LogIndex before = keeper.tailEnd;
    auto frame = frames_.find(next(before));
    if (frame.get() == nullptr) {
      auto read = co_await readFrame(keeper);
      frame = kj::mv(read);
    }
    if (frame.get() == nullptr) {
      co_return Status();  // it gets a new snapshot instead
    }
    auto sent = co_await appendFrame(keeper, kj::arrayPtr(frame->bytes.data(), frame->bytes.size()));
    if (!sent.ok()) {
      co_return sent;
    }
    if (keeper.tailEnd <= before) {
      co_return Error{ESTALE, "the copy doesn't take what follows"};
    }
  }
  co_return Status();
}

Task<Status> CapsuleShipper::appendFrame(Keeper& keeper, kj::ArrayPtr<const char> bytes) {
  auto request = keeper.client.appendRequest();
  request.setFrame(bytes.asBytes());
  using Response = capnp::Response<wire::CapsuleKeeper::AppendResults>;
  kj::Promise<Response> sent = request.send();
  auto response = co_await withDeadline(clock_, CALL_LIMIT, kj::mv(sent), "sending the log's tail");
  auto outcome = response.getOutcome();
  if (outcome.getErrno() != 0) {
    co_return Error{outcome.getErrno(), outcome.getWhy().cStr()};
  }
  take(keeper, response.getState());
  co_return Status();
}

// What is no longer, or wasn't ever, among the frames: after a fail-over, or for one that was away.
Task<kj::Own<SharedFrame>> CapsuleShipper::readFrame(Keeper& keeper) {
  std::string content;
  LogIndex first = next(keeper.tailEnd);
  LogIndex last = keeper.tailEnd;
  auto read = source_.readApplied(first, [&](const LogEntry& entry) {
    appendTailEntry(content, entry.index, entry.term, entry.payload);
    last = entry.index;
    return content.size() < CATCH_UP_BYTES;
  });
  if (!read.ok() || content.empty()) {
    keeper.lacks = read.code() == ENOENT;
    co_return kj::Own<SharedFrame>();
  }
  FrameHead head = headFor({replica_.group().epoch()});
  head.kind = FrameKind::TAIL;
  head.first = raw(first);
  head.last = raw(last);
  auto bytes = co_await encodeFrameAside(workers_, head, std::move(content));
  co_return kj::refcounted<SharedFrame>(first, last, std::move(bytes));
}

void CapsuleShipper::taskFailed(kj::Exception&& exception) {
  spdlog::error("copies of the state are no longer kept on chunkservers: {}", kj::str(exception).cStr());
}

}  // namespace cairn
