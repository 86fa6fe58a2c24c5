// How a primary makes a chunk's copies equal inside an epoch: after a refusal, and to replace bad blocks.
#include <algorithm>

#include "chunkserver/replication/mutation.h"
#include "common/log.h"

namespace cairn {
namespace {

constexpr Nanos EQUALIZE_RETRY = 100 * MILLISECOND;

// The mutation must not have taken place anywhere, so the refuser's copy is the right one. Of the others (a bad block
// or damage on the way there) it is the wrong one.
bool undoes(wire::Verdict verdict) {
  return verdict == wire::Verdict::FENCED || verdict == wire::Verdict::NO_SPACE ||
         verdict == wire::Verdict::STALE_LAYOUT;
}

}  // namespace

void Primary::freeze(ChunkId chunk) {
  ++frozen_[chunk];
}

void Primary::thaw(ChunkId chunk) {
  auto it = frozen_.find(chunk);
  if (it != frozen_.end() && --it->second == 0) {
    frozen_.erase(it);
  }
  moved_.raise();
}

void Primary::refused(Mutation& mutation, unsigned slot, wire::Verdict verdict) {
  mutation.refusals[slot] = verdict;
  if (resolving_.insert(mutation.chunk).second) {
    freeze(mutation.chunk);
    tasks_.add(resolveRefusals(mutation.chunk).promise());
  }
  moved_.raise();
}

bool Primary::isRequired(unsigned slot) const {
  return slot == 0 || (!members_[slot - 1].gone && (members_[slot - 1].inSync || members_[slot - 1].participant));
}

bool Primary::allAnsweredOrRefused(ChunkId chunk) const {
  for (auto& [sequence, mutation] : inFlight_) {
    for (unsigned slot = 0; mutation->chunk == chunk && slot <= members_.size(); ++slot) {
      if (isRequired(slot) && window_.awaits(sequence, slot) && mutation->refusals.count(slot) == 0) {
        return false;
      }
    }
  }
  return true;
}

// Some have it and some refused it.
bool Primary::needsEqualizing(ChunkId chunk) const {
  for (auto& [sequence, mutation] : inFlight_) {
    if (mutation->chunk != chunk || mutation->refusals.empty()) {
      continue;
    }
    for (unsigned slot = 0; slot <= members_.size(); ++slot) {
      if (isRequired(slot) && mutation->refusals.count(slot) == 0) {
        return true;
      }
    }
  }
  return false;
}

unsigned Primary::chooseBase(ChunkId chunk) const {
  std::set<unsigned> refusers;
  for (auto& [sequence, mutation] : inFlight_) {
    if (mutation->chunk != chunk) {
      continue;
    }
    for (auto& [slot, verdict] : mutation->refusals) {
      if (undoes(verdict) && isRequired(slot)) {
        return slot;
      }
      refusers.insert(slot);
    }
  }
  for (unsigned slot = 0; slot <= members_.size(); ++slot) {
    if (isRequired(slot) && refusers.count(slot) == 0) {
      return slot;
    }
  }
  return 0;
}

Task<void> Primary::resolveRefusals(ChunkId chunk) {
  uint64_t turn = state_.turn;
  while (turn == state_.turn && !allAnsweredOrRefused(chunk)) {
    co_await moved_.next();
  }
  unsigned base = turn == state_.turn ? chooseBase(chunk) : 0;
  while (turn == state_.turn && needsEqualizing(chunk)) {
    auto next = co_await equalize(chunk, base, Reason::REFUSAL);
    if (next == base) {
      break;
    }
    base = next.value_or(base);
    co_await around_.clock.after(EQUALIZE_RETRY);
  }
  if (turn != state_.turn) {
    co_return;  // reconciliation has it now
  }
  closeRefused(chunk, base);
  resolving_.erase(chunk);
  thaw(chunk);
}

void Primary::closeRefused(ChunkId chunk, unsigned base) {
  std::vector<kj::Own<Mutation>> closing;
  for (auto& [sequence, mutation] : inFlight_) {
    if (mutation->chunk == chunk && !mutation->refusals.empty()) {
      closing.push_back(kj::addRef(*mutation));
    }
  }
  for (auto& mutation : closing) {
    auto refusedAtBase = mutation->refusals.find(base);
    if (refusedAtBase != mutation->refusals.end()) {
      mutation->verdict = refusedAtBase->second;
    }
    for (auto& [slot, verdict] : mutation->refusals) {
      if (slot == 0) {
        mutation->verifiers[0] = around_.membership.self().incarnation;
      } else {
        const ServerRecord* server = around_.membership.map.serverOf(members_[slot - 1].name.volume);
        mutation->verifiers[slot] = server == nullptr ? Incarnation() : server->incarnation;
      }
      acknowledge(*mutation, slot);
    }
  }
}

// A mutation that changes nothing. While it is in flight the chunk counts as pending on every member.
kj::Own<Primary::Mutation> Primary::beginEqualizing(ChunkId chunk) {
  capnp::MallocMessageBuilder message(32);
  auto target = message.initRoot<wire::Target>();
  target.setShard(raw(state_.shard));
  target.setObject(raw(chunk.object));
  target.setIndex(chunk.index);
  MutationSpec spec;
  spec.kind = MutationSpec::Kind::NOTHING;
  spec.target = target.asReader();
  auto mutation = kj::refcounted<Mutation>(spec, chunk, state_.turn, around_);
  mutation->answered = kj::newPromiseAndFulfiller<void>().fulfiller;
  mutation->keep();
  begin(*mutation);
  forwardToAll(*mutation);
  return mutation;
}

// Gives `base` when the copies are equal, another slot when that one must be the base, nothing when it should be tried
// again.
Task<std::optional<unsigned>> Primary::equalize(ChunkId chunk, unsigned base, Reason reason) {
  Equalizer::Job job;
  std::vector<unsigned> slots{0};
  for (unsigned slot = 1; slot <= members_.size(); ++slot) {
    if (isRequired(slot)) {
      job.base = slot == base ? static_cast<uint32_t>(slots.size()) : job.base;
      slots.push_back(slot);
      job.others.push_back(members_[slot - 1].name);
    } else if (members_[slot - 1].streaming && !members_[slot - 1].gone) {
      giveUpOn(slot);  // what happens now is no forward
    }
  }
  auto marker = beginEqualizing(chunk);
  job.chunk = chunk;
  job.discard = reason == Reason::REFUSAL;
  job.mending = reason == Reason::MENDING;
  job.sequence = marker->sequence;
  if (job.base != 0) {
    state_.givenUp[chunk] = around_.clock.monotonic();
  }
  auto outcome = co_await equalizer_.run(job);
  if (current(*marker)) {
    acknowledge(*marker, 0);
  }
  std::optional<unsigned> result;
  if (outcome.end == Equalizer::End::EQUAL) {
    result = base;
  } else if (outcome.end == Equalizer::End::NO_SPACE && slots[outcome.member] != base) {
    result = slots[outcome.member];
  }
  co_return result;
}

Task<bool> Primary::repair(ChunkId chunk) {
  uint64_t turn = state_.turn;
  freeze(chunk);
  while (turn == state_.turn && inFlight(chunk)) {
    co_await moved_.next();
  }
  bool equal = false;
  if (turn == state_.turn) {
    auto base = co_await equalize(chunk, 0, Reason::MENDING);
    equal = base == std::optional<unsigned>(0);
  }
  if (turn == state_.turn) {
    thaw(chunk);
  }
  co_return equal;
}

Task<std::vector<ChunkId>> Primary::differing(std::vector<ChunkId> chunks) {
  std::vector<MemberName> others;
  for (auto& member : members_) {
    if (!member.gone && member.inSync) {
      others.push_back(member.name);
    }
  }
  uint64_t turn = state_.turn;
  auto busy = [this](ChunkId chunk) { return inFlight(chunk) || isFrozen(chunk) || state_.pending.contains(chunk); };
  std::erase_if(chunks, busy);
  std::vector<ChunkId> found;
  try {
    found = co_await equalizer_.differing(kj::mv(chunks), kj::mv(others));
  } catch (const kj::Exception& e) {
    spdlog::debug("shard {:x}: comparing copies: {}", raw(state_.shard), e.getDescription().cStr());
  }
  if (turn != state_.turn) {
    found.clear();
  }
  std::erase_if(found, busy);
  co_return kj::mv(found);
}

// ---- readers ------------------------------------------------------------------------------------

bool Primary::inFlight(ChunkId chunk) const {
  return std::any_of(inFlight_.begin(), inFlight_.end(), [chunk](auto& item) { return item.second->chunk == chunk; });
}

bool Primary::isChanging(ChunkId chunk) const {
  return std::any_of(inFlight_.begin(), inFlight_.end(), [chunk](auto& item) {
    return item.second->chunk == chunk && item.second->spec.kind != MutationSpec::Kind::NOTHING;
  });
}

Task<bool> Primary::ended(ChunkId chunk) {
  uint64_t turn = state_.turn;
  std::vector<kj::Own<Mutation>> waited;
  for (auto& [sequence, mutation] : inFlight_) {
    if (mutation->chunk == chunk && mutation->spec.kind != MutationSpec::Kind::NOTHING) {
      waited.push_back(kj::addRef(*mutation));
    }
  }
  for (auto& mutation : waited) {
    while (turn == state_.turn && inFlight_.count(mutation->sequence) != 0) {
      co_await moved_.next();
    }
    if (turn != state_.turn || mutation->verdict != wire::Verdict::OK) {
      co_return false;
    }
  }
  co_return true;
}

}  // namespace cairn
