#include "chunkserver/work.h"

#include <capnp/message.h>

#include <algorithm>

#include "common/log.h"

namespace cairn {
namespace {

constexpr Nanos RETRY_DELAY = 100 * MILLISECOND;
constexpr Nanos RETRY_DELAY_MAX = 2 * SECOND;

}  // namespace

WorkRunner::WorkRunner(Clock& clock, Membership& membership, Replicator& replicator)
    : clock_(clock), membership_(membership), replicator_(replicator), tasks_(*this) {}

WorkRunner::~WorkRunner() noexcept(false) = default;

void WorkRunner::taskFailed(kj::Exception&& e) {
  spdlog::error("clean-up work ended: {}", kj::str(e).cStr());
}

void WorkRunner::start(uint64_t id, Item item) {
  if (work_.emplace(id, item).second) {
    tasks_.add(run(id).promise());
  }
}

void WorkRunner::take(wire::Work::Reader work) {
  for (auto reclaim : work.getReclaim()) {
    Item item;
    item.object = ObjectId{reclaim.getObject()};
    item.cls = ClassId{reclaim.getClass()};
    item.chunks = reclaim.getChunks();
    start(reclaim.getId(), item);
  }
  for (auto cut : work.getCuts()) {
    Item item;
    item.object = ObjectId{cut.getObject()};
    item.cls = ClassId{cut.getClass()};
    item.chunks = cut.getChunks();
    item.cut = true;
    item.chunkBits = cut.getChunkBits();
    item.generation = cut.getGeneration();
    item.firstDead = cut.getFirstDead();
    item.first = static_cast<uint32_t>(std::min<uint64_t>(cut.getFirstDead() >> cut.getChunkBits(), UINT32_MAX));
    start(cut.getId(), item);
  }
}

std::vector<uint64_t> WorkRunner::done() {
  std::vector<uint64_t> out;
  for (auto& [id, item] : work_) {
    if (!item.ended) {
      continue;
    }
    if (item.doneAt == membership_.map.version) {
      out.push_back(id);
    } else {
      item.ended = false;
      tasks_.add(run(id).promise());
    }
  }
  return out;
}

void WorkRunner::reported(const std::vector<uint64_t>& ids) {
  for (uint64_t id : ids) {
    auto it = work_.find(id);
    if (it != work_.end() && it->second.ended) {
      work_.erase(it);
    }
  }
}

Task<void> WorkRunner::run(uint64_t id) {
  Item item = work_.at(id);
  auto permit = co_await items_.take();
  Nanos delay = RETRY_DELAY;
  for (uint32_t tries = 0; tries < TRIES_MAX; ++tries) {
    MapVersion version = membership_.map.version;
    bool all = co_await runOnce(item);
    if (all && version == membership_.map.version) {
      work_.at(id).ended = true;
      work_.at(id).doneAt = version;
      finished.raise();
      co_return;
    }
    if (!all) {
      co_await clock_.after(delay);
      delay = std::min(delay * 2, RETRY_DELAY_MAX);
    }
  }
  work_.erase(id);  // the master hands it out again
}

bool WorkRunner::collectOf(const Item& item, ShardId shard, std::vector<std::pair<ReplicaUnit*, ChunkId>>& found) {
  const ShardRecord* record = membership_.map.shard(shard);
  const ServerRecord* leader = record == nullptr ? nullptr : membership_.map.serverOf(record->primary);
  if (leader == nullptr || leader->id != membership_.self().server) {
    return true;  // somebody else's
  }
  // The map may still name an earlier process of this server: what that one has left to do isn't done.
  ReplicaUnit* unit = replicator_.primaryOf(shard);
  if (unit == nullptr || !unit->state.ready || unit->state.volume.failed) {
    return false;
  }
  auto chunks = unit->state.store().chunksOf(shard, item.object);
  if (!chunks.ok()) {
    return false;
  }
  for (ChunkId chunk : chunks.value()) {
    if (chunk.index >= item.first) {
      found.push_back({unit, chunk});
    }
  }
  return true;
}

bool WorkRunner::collect(const Item& item, std::vector<std::pair<ReplicaUnit*, ChunkId>>& found) {
  auto cls = membership_.map.classes.find(item.cls);
  if (cls == membership_.map.classes.end()) {
    return false;
  }
  std::set<ShardId> shards;
  uint32_t shardCount = 1u << cls->second.shardBits;
  if (item.chunks <= SINGLE_LOOKUPS_MAX) {
    for (uint32_t index = item.first; index < item.chunks; ++index) {
      shards.insert(shardOf(item.cls, cls->second.shardBits, {item.object, index}));
    }
  } else {
    for (uint32_t position = 0; position < shardCount; ++position) {
      shards.insert(makeShardId(item.cls, position));
    }
  }
  for (ShardId shard : shards) {
    if (!collectOf(item, shard, found)) {
      return false;
    }
  }
  return true;
}

Task<bool> WorkRunner::runOnce(Item item) {
  std::vector<std::pair<ReplicaUnit*, ChunkId>> found;
  if (!collect(item, found)) {
    co_return false;
  }
  bool all = true;
  while (!found.empty()) {
    size_t count = std::min<size_t>(CHUNKS_AT_ONCE, found.size());
    std::vector<std::pair<ReplicaUnit*, ChunkId>> part(found.end() - static_cast<ptrdiff_t>(count), found.end());
    found.resize(found.size() - count);
    bool changed = co_await changeAll(item, kj::mv(part));
    all = all && changed;
  }
  co_return all;
}

Task<bool> WorkRunner::remove(ShardId shard, ObjectId object) {
  ReplicaUnit* unit = replicator_.primaryOf(shard);
  if (unit == nullptr || !unit->state.ready || unit->state.volume.failed) {
    co_return false;
  }
  auto chunks = unit->state.store().chunksOf(shard, object);
  if (!chunks.ok()) {
    co_return false;
  }
  Item item;
  item.object = object;
  item.cls = shardClass(shard);
  bool all = true;
  for (ChunkId chunk : chunks.value()) {
    bool removed = co_await change(item, *unit, chunk);
    all = all && removed;
  }
  co_return all;
}

Task<bool> WorkRunner::changeAll(Item item, std::vector<std::pair<ReplicaUnit*, ChunkId>> found) {
  std::vector<Task<bool>> changes;
  for (auto& [unit, chunk] : found) {
    changes.push_back(change(item, *unit, chunk));
  }
  bool all = true;
  for (auto& task : changes) {
    bool changed = co_await kj::mv(task);
    all = all && changed;
  }
  co_return all;
}

Task<bool> WorkRunner::change(Item item, ReplicaUnit& unit, ChunkId chunk) {
  auto permit = co_await mutations_.take();
  if (unit.state.role != Role::PRIMARY || !unit.state.ready) {
    co_return false;
  }
  capnp::MallocMessageBuilder message(32);
  auto target = message.initRoot<wire::Target>();
  target.setShard(raw(unit.state.shard));
  target.setEpoch(raw(unit.state.epoch()));
  target.setMapVersion(raw(membership_.map.version));
  target.setObject(raw(chunk.object));
  target.setIndex(chunk.index);
  target.setChunkBits(item.chunkBits);
  target.setGeneration(item.generation);
  if (item.cut) {
    auto cut = target.initCuts(1)[0];
    cut.setGeneration(item.generation);
    cut.setFirstDead(item.firstDead);
  }
  MutationSpec spec;
  spec.kind = item.cut ? MutationSpec::Kind::CUT : MutationSpec::Kind::REMOVE;
  spec.target = target.asReader();
  spec.durable = true;
  spec.by = MutationSpec::By::MASTER;
  auto result = co_await unit.primary.mutate(spec);
  // A newer generation than the cut's has had this cut, or a later one.
  co_return result.verdict == wire::Verdict::OK || result.verdict == wire::Verdict::STALE_LAYOUT;
}

}  // namespace cairn
