#include "master/cleanup.h"

#include "common/log.h"
#include "master/propose.h"

namespace cairn {

Cleanup::Cleanup(Clock& clock, Replica& replica)
    : clock_(clock), replica_(replica), queue_(replica.reader().map().version), tasks_(*this) {}

Cleanup::~Cleanup() noexcept(false) = default;

void Cleanup::taskFailed(kj::Exception&& e) {
  spdlog::error("cleaning up: {}", kj::str(e).cStr());
}

void Cleanup::queued() {
  moreReclaims_ = moreCuts_ = true;
}

void Cleanup::tick(bool hurry) {
  hurry_ = hurry;
  refill();
  confirmSoon();
}

void Cleanup::refill() {
  if (moreCuts_) {
    refillCuts();
  }
  if (moreReclaims_) {
    refillReclaims();
  }
}

void Cleanup::refillReclaims() {
  while (queue_.hasRoom()) {
    auto found = replica_.reader().reclaims(lastReclaim_, READ_AT_ONCE);
    for (auto& item : found) {
      if (!queue_.hasRoom()) {
        return;
      }
      Nanos delay = item.left ? LEFT_DELAY : RECLAIM_DELAY;
      queue_.add({item.id, item.object, item.cls, item.chunks, clock_.monotonic() + delay, item.left}, map());
      reclaims_.emplace(item.id, item);
      lastReclaim_ = item.id;
    }
    if (found.size() < READ_AT_ONCE) {
      moreReclaims_ = false;
      return;
    }
  }
}

void Cleanup::refillCuts() {
  while (queue_.hasRoom()) {
    auto found = replica_.reader().cuts(lastCut_, READ_AT_ONCE);
    for (auto& item : found) {
      if (!queue_.hasRoom()) {
        return;
      }
      queue_.add({item.id, item.object, item.cls, item.chunks}, map());
      cuts_.emplace(item.id, item);
      lastCut_ = item.id;
    }
    if (found.size() < READ_AT_ONCE) {
      moreCuts_ = false;
      return;
    }
  }
}

void Cleanup::handOut(ServerId server, wire::Work::Builder out) {
  refill();
  std::vector<const ReclaimItem*> reclaims;
  std::vector<const CutItem*> cuts;
  size_t most = hurry_ ? HAND_OUT_MAX : HAND_OUT_SLOWLY;
  for (uint64_t id : queue_.handOut(server, map(), clock_.monotonic(), most, hurry_)) {
    auto reclaim = reclaims_.find(id);
    if (reclaim != reclaims_.end()) {
      reclaims.push_back(&reclaim->second);
    } else {
      cuts.push_back(&cuts_.at(id));
    }
  }
  if (!reclaims.empty()) {
    auto list = out.initReclaim(reclaims.size());
    for (uint32_t i = 0; i < reclaims.size(); ++i) {
      list[i].setId(reclaims[i]->id);
      list[i].setObject(raw(reclaims[i]->object));
      list[i].setClass(raw(reclaims[i]->cls));
      list[i].setChunks(reclaims[i]->chunks);
    }
  }
  if (!cuts.empty()) {
    auto list = out.initCuts(cuts.size());
    for (uint32_t i = 0; i < cuts.size(); ++i) {
      list[i].setId(cuts[i]->id);
      list[i].setObject(raw(cuts[i]->object));
      list[i].setClass(raw(cuts[i]->cls));
      list[i].setChunkBits(cuts[i]->chunkBits);
      list[i].setGeneration(cuts[i]->generation);
      list[i].setFirstDead(cuts[i]->firstDead);
      list[i].setChunks(cuts[i]->chunks);
    }
  }
}

void Cleanup::done(ServerId server, MapVersion mapVersion, capnp::List<uint64_t>::Reader ids) {
  for (uint64_t id : ids) {
    queue_.done(server, id, mapVersion, map());
  }
  if (queue_.finished(CONFIRM_SOON).size() >= CONFIRM_SOON) {
    confirmSoon();
  }
}

void Cleanup::forget(ServerId server) {
  queue_.forget(server);
}

void Cleanup::confirmSoon() {
  if (!confirming_ && !queue_.finished(1).empty()) {
    confirming_ = true;
    tasks_.add(confirm().promise());
  }
}

Task<void> Cleanup::confirm() {
  KJ_DEFER(confirming_ = false);
  for (bool more = true; more;) {
    bool again = co_await confirmOnce();
    more = again;
  }
}

Task<bool> Cleanup::confirmOnce() {
  auto ids = queue_.finished(CONFIRM_MAX);
  std::vector<uint64_t> reclaimed, cutsApplied;
  for (uint64_t id : ids) {
    (reclaims_.contains(id) ? reclaimed : cutsApplied).push_back(id);
  }
  for (auto* list : {&cutsApplied, &reclaimed}) {
    if (list->empty()) {
      continue;
    }
    bool cuts = list == &cutsApplied;
    auto fill = [list, cuts](wire::Command::Builder command) {
      auto out = cuts ? command.initCutsApplied(list->size()) : command.initReclaimed(list->size());
      for (uint32_t i = 0; i < list->size(); ++i) {
        out.set(i, (*list)[i]);
      }
    };
    auto applied = co_await propose(replica_, fill);
    Status outcome = outcomeOf(applied);
    if (!outcome.ok()) {
      spdlog::warn("finished clean-up can't be recorded, so it will be again: {}", outcome.error().why);
      co_return false;
    }
    for (uint64_t id : *list) {
      queue_.remove(id);
      reclaims_.erase(id);
      cuts_.erase(id);
    }
  }
  refill();
  co_return queue_.finished(CONFIRM_SOON).size() >= CONFIRM_SOON;
}

}  // namespace cairn
