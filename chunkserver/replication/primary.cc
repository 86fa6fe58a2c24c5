#include "chunkserver/replication/primary.h"

#include <capnp/message.h>

#include "chunkserver/replication/mutation.h"
#include "common/log.h"

namespace cairn {
namespace {

constexpr Nanos RETRY_DELAY = 20 * MILLISECOND;
constexpr Nanos RETRY_DELAY_MAX = 500 * MILLISECOND;
constexpr uint64_t FORWARD_HEAD_WORDS = 96;

// Somebody refuses this very mutation, for good.
bool isRefusal(wire::Verdict verdict) {
  return verdict == wire::Verdict::FENCED || verdict == wire::Verdict::NO_SPACE || verdict == wire::Verdict::CORRUPT ||
         verdict == wire::Verdict::BAD_REQUEST || verdict == wire::Verdict::STALE_LAYOUT;
}

MutationResult refusal(wire::Verdict verdict, std::string why) {
  MutationResult result;
  result.verdict = verdict;
  result.why = std::move(why);
  return result;
}

}  // namespace

Primary::Primary(Surroundings& around, ShardReplica& state, kj::TaskSet& tasks)
    : around_(around), state_(state), tasks_(tasks), equalizer_(around, state) {}

Primary::~Primary() noexcept(false) = default;

// ---- members ------------------------------------------------------------------------------------

unsigned Primary::freeSlot() {
  for (unsigned i = 0; i < members_.size(); ++i) {
    if (members_[i].gone) {
      return i + 1;
    }
  }
  KJ_REQUIRE(members_.size() + 1 < PrimaryWindow::SLOTS_MAX, "too many members of one shard");
  members_.emplace_back();
  return static_cast<unsigned>(members_.size());
}

void Primary::addMember(VolumeNumber volume, bool inSync) {
  const VolumeRecord* record = around_.membership.map.volume(volume);
  if (record == nullptr || volume == state_.number()) {
    return;
  }
  unsigned slot = freeSlot();
  Member& member = members_[slot - 1];
  member = Member();
  member.name = {volume, record->server};
  member.inSync = inSync;
  member.streaming = inSync;
  if (inSync) {
    window_.track(slot, true);
  }
}

void Primary::epochChanged() {
  auto carried = kj::mv(inFlight_);
  inFlight_.clear();
  frozen_.clear();
  resolving_.clear();
  members_.clear();
  window_.reset();
  bool isPrimary = state_.role == Role::PRIMARY;
  primarySince_ = isPrimary && wasPrimary_ ? primarySince_ : state_.turn;
  wasPrimary_ = isPrimary;
  if (state_.role == Role::PRIMARY) {
    for (VolumeNumber volume : state_.record.inSync) {
      addMember(volume, true);
    }
    for (VolumeNumber volume : state_.record.joining) {
      addMember(volume, false);
    }
  }
  for (auto& [sequence, mutation] : carried) {
    mutation->carried = true;
    mutation->answered->fulfill();
    if (mutation->isKept()) {
      mutation->end();
    }
  }
  moved_.raise();
}

void Primary::joiningChanged() {
  for (unsigned slot = 1; slot <= members_.size(); ++slot) {
    if (!members_[slot - 1].inSync && !members_[slot - 1].gone) {
      giveUpOn(slot);
      members_[slot - 1].gone = true;
    }
  }
  for (VolumeNumber volume : state_.record.joining) {
    addMember(volume, false);
  }
  moved_.raise();
}

void Primary::giveUpOn(unsigned slot) {
  Member& member = members_[slot - 1];
  member.streaming = false;
  member.participant = false;
  std::vector<uint64_t> answered;
  window_.release(slot, answered);
  finish(answered);
}

std::optional<uint64_t> Primary::startStream(VolumeNumber volume) {
  for (unsigned slot = 1; slot <= members_.size(); ++slot) {
    Member& member = members_[slot - 1];
    if (member.name.volume == volume && !member.inSync && !member.gone) {
      if (!member.participant) {
        giveUpOn(slot);
        window_.track(slot, false);
      }
      member.streaming = true;
      return window_.next();
    }
  }
  return std::nullopt;
}

Task<bool> Primary::takeIn(VolumeNumber volume) {
  uint64_t turn = state_.turn;
  for (unsigned slot = 1; slot <= members_.size(); ++slot) {
    if (members_[slot - 1].name.volume != volume || !members_[slot - 1].streaming || members_[slot - 1].gone) {
      continue;
    }
    uint64_t limit = window_.next();
    members_[slot - 1].participant = true;
    window_.track(slot, true);
    while (turn == state_.turn && members_[slot - 1].participant && !window_.acknowledgedBelow(slot, limit)) {
      co_await moved_.next();
    }
    co_return turn == state_.turn&& members_[slot - 1].participant&& members_[slot - 1].name.volume == volume;
  }
  co_return false;
}

std::vector<Primary::Untold> Primary::untold() const {
  std::vector<Untold> out;
  if (state_.role != Role::PRIMARY || !state_.ready) {
    return out;
  }
  for (unsigned slot = 1; slot <= members_.size(); ++slot) {
    const Member& member = members_[slot - 1];
    if (!member.gone && member.streaming && member.toldBelow < window_.completeBelow()) {
      out.push_back({member.name, slot, window_.completeBelow()});
    }
  }
  return out;
}

void Primary::told(unsigned slot, uint64_t turn, uint64_t completeBelow) {
  if (turn == state_.turn && slot <= members_.size()) {
    members_[slot - 1].toldBelow = kj::max(members_[slot - 1].toldBelow, completeBelow);
  }
}

void Primary::tick() {
  Nanos now = around_.clock.monotonic();
  for (auto& [sequence, mutation] : inFlight_) {
    Nanos age = now - mutation->started;
    if (age < SILENCE_LIMIT) {
      return;  // in order of age
    }
    for (unsigned slot = 1; slot <= members_.size(); ++slot) {
      bool refusedIt = mutation->refusals.count(slot) != 0;
      if (members_[slot - 1].gone || refusedIt || !window_.awaits(sequence, slot)) {
        continue;
      }
      around_.membership.suspects.report(members_[slot - 1].name.server);
      if (age > RELINK_LIMIT) {
        around_.peers.reset(members_[slot - 1].name.server);
      }
    }
  }
}

// ---- mutations ----------------------------------------------------------------------------------

bool Primary::stalled() const {
  if (inFlight_.empty()) {
    return false;
  }
  Nanos age = around_.clock.monotonic() - inFlight_.begin()->second->started;
  return inFlight_.size() >= IN_FLIGHT_MAX || age > STALL_LIMIT;
}

bool Primary::current(const Mutation& mutation) const {
  return !mutation.over && mutation.turn == state_.turn;
}

Task<MutationResult> Primary::mutate(MutationSpec spec) {
  ChunkId chunk = chunkOf(spec.target);
  uint64_t turn = state_.turn;
  while (turn == state_.turn && isFrozen(chunk)) {
    co_await moved_.next();
  }
  if (turn != state_.turn || stalled()) {
    co_return refusal(wire::Verdict::NOT_READY, "the shard is stalled or gets a new epoch");
  }
  bool sealed = around_.fences.isSealed(chunk.object);
  if (spec.by == MutationSpec::By::MASTER ? false : sealed != (spec.by == MutationSpec::By::COPIER)) {
    co_return refusal(wire::Verdict::STALE_LAYOUT, "the file is on its way into another replication class, or there");
  }
  auto mutation = kj::refcounted<Mutation>(spec, chunk, turn, around_);
  auto answered = kj::newPromiseAndFulfiller<void>();
  mutation->answered = kj::mv(answered.fulfiller);
  begin(*mutation);
  auto here = applyHere(kj::addRef(*mutation));
  forwardToAll(*mutation);
  co_await answered.promise.exclusiveJoin(around_.clock.after(WAIT_LIMIT));
  co_await kj::mv(here);
  if (mutation->carried) {
    co_return co_await concludeCarried(*mutation);
  }
  if (!mutation->answeredAll) {
    mutation->keep();
    co_return refusal(wire::Verdict::NOT_READY, "a member doesn't answer");
  }
  mutation->end();
  co_return resultOf(*mutation);
}

void Primary::forwardToAll(Mutation& mutation) {
  for (unsigned slot = 1; slot <= members_.size(); ++slot) {
    if (members_[slot - 1].streaming && !members_[slot - 1].gone) {
      tasks_.add(deliver(kj::addRef(mutation), slot).promise());
    }
  }
}

void Primary::begin(Mutation& mutation) {
  mutation.sequence = window_.begin();
  mutation.started = around_.clock.monotonic();
  state_.pending.add(mutation.chunk, mutation.sequence, mutation.spec.kind != MutationSpec::Kind::NOTHING);
  inFlight_.emplace(mutation.sequence, kj::addRef(mutation));
}

Task<void> Primary::applyHere(kj::Own<Mutation> mutation) {
  auto running = state_.applies.begin();
  const Nanos began = around_.clock.monotonic();
  auto applied = co_await mutation->apply(state_);
  if (applied.ok()) {
    mutation->allocatedDelta = applied.value().allocatedDelta;
  }
  int code = applied.code();
  if (code == 0 && mutation->spec.durable) {
    auto synced = co_await state_.store().sync(state_.key(mutation->chunk));
    code = synced.code();
  }
  noteSlow(mutation->slow, around_.membership.self().name, began, {});
  mutation->here = verdictOf(code);
  if (!applied.ok()) {
    mutation->why = applied.error().why;
  }
  if (!current(*mutation)) {
    co_return;
  }
  if (code == 0) {
    mutation->verifiers[0] = around_.membership.self().incarnation;
    acknowledge(*mutation, 0);
  } else if (isRefusal(*mutation->here)) {
    refused(*mutation, 0, *mutation->here);
  }
  // A failed volume can't say anything any more: the mutation waits for the epoch without it.
}

Task<void> Primary::deliver(kj::Own<Mutation> mutation, unsigned slot) {
  Nanos delay = RETRY_DELAY;
  for (;;) {
    auto reply = co_await forwardOnce(*mutation, slot);
    if (mutation->turn != state_.turn || !window_.awaits(mutation->sequence, slot)) {
      co_return;
    }
    const Member& member = members_[slot - 1];
    if (reply == Reply::OK) {
      acknowledge(*mutation, slot);
      co_return;
    }
    // One that is over has its answer, and can't be sent again: only a joining member may still be missing.
    if (mutation->over || (!member.inSync && !member.participant)) {
      giveUpOn(slot);  // it has missed this one: it must look at everything again
      co_return;
    }
    if (reply == Reply::REFUSED) {
      refused(*mutation, slot, mutation->refusals[slot]);
      co_return;
    }
    if (reply == Reply::SILENT) {
      around_.membership.suspects.report(member.name.server);
    }
    co_await around_.clock.after(delay);
    delay = kj::min(delay * 2, RETRY_DELAY_MAX);
    if (!current(*mutation) || !window_.awaits(mutation->sequence, slot)) {
      co_return;
    }
  }
}

Task<Primary::Reply> Primary::forwardOnce(Mutation& mutation, unsigned slot) {
  bool joiner = !members_[slot - 1].inSync && !members_[slot - 1].participant;
  ServerId server = members_[slot - 1].name.server;
  try {
    auto peer = around_.peers.now(server);
    if (peer == nullptr) {
      if (joiner) {
        co_return Reply::AGAIN;
      }
      auto connected = around_.peers.connected(server);
      auto dialled = co_await withDeadline(around_.clock, SILENCE_LIMIT, kj::mv(connected), "reaching a member");
      peer = kj::mv(dialled);
      if (!current(mutation)) {
        co_return Reply::AGAIN;
      }
    }
    KJ_IF_MAYBE (client, peer) {
      auto request = client->forwardRequest(capnp::MessageSize{FORWARD_HEAD_WORDS + mutation.words, 0});
      fillForward(mutation, slot, request);
      const Nanos began = around_.clock.monotonic();
      kj::Promise<capnp::Response<wire::PeerService::ForwardResults>> sent = request.send();
      if (joiner) {
        sent = withDeadline(around_.clock, JOINER_LIMIT, kj::mv(sent), "forwarding to a joining member");
      }
      auto response = co_await kj::mv(sent);
      noteSlow(mutation.slow, nameOf(server), began, response.getAnswer().getSlow());
      co_return takeReply(mutation, slot, response.getAnswer(), fromWire<IncarnationTag>(response.getIncarnation()));
    }
  } catch (const kj::Exception& e) {
    spdlog::debug("shard {:x}: forward to volume {}: {}", raw(state_.shard), raw(members_[slot - 1].name.volume),
                  e.getDescription().cStr());
    if (e.getType() == kj::Exception::Type::OVERLOADED) {
      co_return Reply::SILENT;
    }
  }
  co_return Reply::AGAIN;
}

// `told`: by the member itself, of where its time went.
void Primary::noteSlow(std::string& slow, const std::string& who, Nanos began, kj::StringPtr told) const {
  Nanos took = around_.clock.monotonic() - began;
  if (around_.slow > 0 && took >= around_.slow) {
    slow += (slow.empty() ? "" : ", ") + who + " " + milliseconds(took);
    slow += told.size() == 0 ? "" : " (" + std::string(told.cStr()) + ")";
  }
}

std::string Primary::nameOf(ServerId server) const {
  auto& servers = around_.membership.map.servers;
  auto found = servers.find(server);
  return found == servers.end() ? toText(server) : found->second.name;
}

Primary::Reply Primary::takeReply(Mutation& mutation, unsigned slot, wire::Answer2::Reader answer,
                                  Incarnation incarnation) {
  if (mutation.turn != state_.turn) {
    return Reply::AGAIN;
  }
  around_.membership.suspects.clear(members_[slot - 1].name.server);
  wire::Verdict verdict = answer.getVerdict();
  if (verdict == wire::Verdict::OK) {
    mutation.verifiers[slot] = incarnation;
    return Reply::OK;
  }
  if (isRefusal(verdict)) {
    mutation.refusals[slot] = verdict;
    return Reply::REFUSED;
  }
  return Reply::AGAIN;  // a failed volume is its own server's to report
}

void Primary::fillForward(const Mutation& mutation, unsigned slot, wire::PeerService::ForwardParams::Builder out) {
  Member& member = members_[slot - 1];
  const MutationSpec& spec = mutation.spec;
  out.setVolume(raw(member.name.volume));
  out.setTarget(spec.target);
  // The sender's epoch, whatever the client's message says.
  out.getTarget().setEpoch(raw(state_.epoch()));
  out.setSequence(mutation.sequence);
  out.setCompleteBelow(window_.completeBelow());
  member.toldBelow = kj::max(member.toldBelow, state_.ready && member.toldBelow > 0 ? window_.completeBelow() : 0);
  auto change = out.initChange();
  change.setDurable(spec.durable);
  switch (spec.kind) {
    case MutationSpec::Kind::WRITE:
      change.setWrite(spec.pieces);
      break;
    case MutationSpec::Kind::PUNCH: {
      auto punch = change.initPunch();
      punch.setOffset(spec.offset);
      punch.setLength(spec.length);
      break;
    }
    case MutationSpec::Kind::CUT:
      change.setCut();
      break;
    case MutationSpec::Kind::REMOVE:
      change.setRemove();
      break;
    case MutationSpec::Kind::NOTHING:
      change.setNothing();
      break;
  }
}

void Primary::acknowledge(Mutation& mutation, unsigned slot) {
  std::vector<uint64_t> answered;
  window_.acknowledge(mutation.sequence, slot, answered);
  finish(answered);
}

void Primary::finish(const std::vector<uint64_t>& answered) {
  for (uint64_t sequence : answered) {
    auto it = inFlight_.find(sequence);
    if (it != inFlight_.end()) {
      it->second->answeredAll = true;
      it->second->answered->fulfill();
      if (it->second->isKept()) {
        it->second->end();
      }
      inFlight_.erase(it);
    }
  }
  state_.pending.completeBelow(window_.completeBelow());
  moved_.raise();
  if (window_.idle()) {
    around_.fellQuiet.raise();
  }
}

MutationResult Primary::resultOf(const Mutation& mutation) const {
  MutationResult result{mutation.verdict, mutation.why, {}, mutation.allocatedDelta, mutation.slow};
  if (mutation.verdict != wire::Verdict::OK) {
    result.allocatedDelta = 0;
    return result;
  }
  for (auto& [slot, incarnation] : mutation.verifiers) {
    bool here = slot == 0;
    if (here || (slot <= members_.size() && members_[slot - 1].inSync)) {
      VolumeNumber volume = here ? state_.number() : members_[slot - 1].name.volume;
      result.verifiers.push_back({volume, incarnation, sinceOf(volume)});
    }
  }
  return result;
}

// REQUIRES: an in-sync member of the epoch, which is reconciled.
Epoch Primary::sinceOf(VolumeNumber volume) const {
  return volume == state_.number() ? state_.since : state_.othersSince.at(volume);
}

std::vector<MemberAck> Primary::currentVerifiers() const {
  std::vector<MemberAck> out;
  for (VolumeNumber volume : state_.record.inSync) {
    if (const ServerRecord* server = around_.membership.map.serverOf(volume)) {
      out.push_back({volume, server->incarnation, sinceOf(volume)});
    }
  }
  return out;
}

Task<MutationResult> Primary::concludeCarried(Mutation& mutation) {
  Nanos deadline = mutation.started + WAIT_LIMIT;
  while (state_.role == Role::PRIMARY && !state_.ready && !state_.volume.failed &&
         around_.clock.monotonic() < deadline) {
    co_await state_.changed.nextOr(around_.clock, deadline);
  }
  mutation.end();
  if (mutation.here != wire::Verdict::OK) {
    co_return refusal(mutation.here.value_or(wire::Verdict::FAILED), mutation.why);
  }
  if (around_.fences.isFenced(mutation.session)) {
    co_return refusal(wire::Verdict::FENCED, "the session was evicted");
  }
  // Under another primary in between, the mutation may have been undone.
  if (state_.role != Role::PRIMARY || !state_.ready || primarySince_ > mutation.turn) {
    auto verdict = state_.role == Role::PRIMARY ? wire::Verdict::NOT_READY : wire::Verdict::STALE_EPOCH;
    co_return refusal(verdict, "the shard's members changed during the mutation");
  }
  auto givenUp = state_.givenUp.find(mutation.chunk);
  if (givenUp != state_.givenUp.end() && givenUp->second >= mutation.started) {
    co_return refusal(wire::Verdict::NOT_READY, "a member had no room for the mutation");
  }
  MutationResult result;
  result.verifiers = currentVerifiers();
  result.allocatedDelta = mutation.allocatedDelta;
  if (!mutation.spec.durable) {
    co_return kj::mv(result);
  }
  auto synced = co_await sync(mutation.chunk, mutation.request);
  synced.allocatedDelta = result.allocatedDelta;
  co_return kj::mv(synced);
}

// ---- sync ---------------------------------------------------------------------------------------

Task<bool> Primary::syncHere(ChunkId chunk) {
  auto synced = co_await state_.store().sync(state_.key(chunk));
  co_return synced.ok();
}

Task<std::optional<MemberAck>> Primary::syncOn(MemberName member, wire::Target::Reader target, std::string& slow) {
  std::optional<MemberAck> out;
  const Nanos began = around_.clock.monotonic();
  try {
    auto connected = around_.peers.connected(member.server);
    auto peer = co_await withDeadline(around_.clock, SILENCE_LIMIT, kj::mv(connected), "reaching a member");
    auto request = peer.syncRequest();
    request.setVolume(raw(member.volume));
    request.setTarget(target);
    kj::Promise<capnp::Response<wire::PeerService::SyncResults>> sent = request.send();
    auto response = co_await withDeadline(around_.clock, SYNC_LIMIT, kj::mv(sent), "syncing on a member");
    noteSlow(slow, nameOf(member.server), began, response.getAnswer().getSlow());
    if (response.getAnswer().getVerdict() == wire::Verdict::OK) {
      out = MemberAck{member.volume, fromWire<IncarnationTag>(response.getIncarnation()), {}};
    }
  } catch (const kj::Exception& e) {
    if (e.getType() == kj::Exception::Type::OVERLOADED) {
      around_.membership.suspects.report(member.server);
    }
    spdlog::debug("shard {:x}: sync on volume {}: {}", raw(state_.shard), raw(member.volume),
                  e.getDescription().cStr());
  }
  co_return out;
}

Task<bool> Primary::syncOnce(ChunkId chunk, uint64_t request, MutationResult& result) {
  capnp::MallocMessageBuilder message(16);
  auto target = message.initRoot<wire::Target>();
  target.setShard(raw(state_.shard));
  target.setEpoch(raw(state_.epoch()));
  target.setObject(raw(chunk.object));
  target.setIndex(chunk.index);
  target.setRequest(request);
  std::vector<Task<std::optional<MemberAck>>> others;
  std::vector<bool> reported;
  for (auto& member : members_) {
    if (!member.gone && (member.inSync || member.participant)) {
      others.push_back(syncOn(member.name, target.asReader(), result.slow));
      reported.push_back(member.inSync);
    }
  }
  uint64_t turn = state_.turn;
  result.verifiers.clear();
  const Nanos began = around_.clock.monotonic();
  bool complete = co_await syncHere(chunk);
  noteSlow(result.slow, around_.membership.self().name, began, {});
  result.verifiers.push_back({state_.number(), around_.membership.self().incarnation, state_.since});
  for (size_t i = 0; i < others.size(); ++i) {
    auto acknowledged = co_await kj::mv(others[i]);
    complete = complete && acknowledged.has_value();
    if (acknowledged && reported[i] && turn == state_.turn) {
      acknowledged->since = sinceOf(acknowledged->volume);
      result.verifiers.push_back(*acknowledged);
    }
  }
  co_return complete&& turn == state_.turn;
}

Task<MutationResult> Primary::sync(ChunkId chunk, uint64_t request) {
  Nanos deadline = around_.clock.monotonic() + WAIT_LIMIT;
  MutationResult result;
  for (;;) {
    if (state_.role != Role::PRIMARY || state_.volume.failed) {
      co_return refusal(wire::Verdict::NOT_PRIMARY, "the shard has another primary now");
    }
    if (state_.ready) {
      bool complete = co_await syncOnce(chunk, request, result);
      if (complete) {
        co_return kj::mv(result);
      }
    }
    if (around_.clock.monotonic() >= deadline) {
      co_return refusal(wire::Verdict::NOT_READY, "a member doesn't answer");
    }
    Nanos again = around_.clock.monotonic() + RETRY_DELAY;
    co_await state_.changed.nextOr(around_.clock, kj::min(deadline, again));
  }
}

}  // namespace cairn
