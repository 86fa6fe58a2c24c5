#include "chunkserver/census.h"

#include <algorithm>
#include <cerrno>

#include "common/checksum.h"
#include "common/log.h"

namespace cairn {
namespace {

constexpr Epoch ALL_EPOCHS{};

template <typename Number>
void append(std::string& out, Number number) {
  out += std::to_string(number) + " ";
}

}  // namespace

Census::Census(Clock& clock, Membership& membership, Replicator& replicator, WorkRunner& work,
               Registration& registration, std::vector<VolumeStanding>& volumes, Nanos grace)
    : clock_(clock),
      membership_(membership),
      replicator_(replicator),
      work_(work),
      registration_(registration),
      volumes_(volumes),
      grace_(grace) {}

Task<void> Census::run() {
  for (;;) {
    co_await registration_.agreement.nextOr(clock_, clock_.monotonic() + std::min(LOOK_EVERY, grace_ / LOOKS));
    for (auto& standing : volumes_) {
      if (registration_.registered() && standing.failed.empty() && standing.local != nullptr &&
          standing.local->number && !standing.local->failed) {
        co_await look(standing);
      }
    }
  }
}

bool Census::isMember(const LocalVolume& volume, const ShardRecord& record) const {
  VolumeNumber self = *volume.number;
  bool wanted = std::find(record.target.begin(), record.target.end(), self) != record.target.end();
  return wanted || record.isInSync(self) || record.isJoining(self);
}

bool Census::isWholeElsewhere(const ShardRecord& record) const {
  auto cls = membership_.map.classes.find(shardClass(record.id));
  auto online = [&](VolumeNumber volume) {
    const ServerRecord* server = membership_.map.serverOf(volume);
    return server != nullptr && server->online;
  };
  return cls != membership_.map.classes.end() && record.joining.empty() &&
         record.inSync.size() >= cls->second.copies && std::all_of(record.inSync.begin(), record.inSync.end(), online);
}

// People want it empty.
bool Census::leaves(const LocalVolume& volume) const {
  const ServerRecord* self = membership_.map.serverOf(*volume.number);
  return self != nullptr && (self->state == wire::ServerState::DRAINING || self->state == wire::ServerState::DRAINED);
}

// What has left a volume is whole elsewhere, and goes to quarantine first: so it needn't wait for as long as what may
// be somebody's only copy, least of all where the room is wanted.
Nanos Census::surplusGrace(LocalVolume& volume) const {
  VolumeSpace space = volume.store->space();
  bool isFilling = space.takenBytes / FILLING_PERCENT >= space.totalBytes / 100;
  return std::min(grace_, isFilling || leaves(volume) ? SURPLUS_GRACE_HURRIED : SURPLUS_GRACE);
}

void Census::noteSurplus(LocalVolume& volume, ShardId shard, uint64_t chunks, Found& found, Memory& memory) {
  Nanos now = clock_.monotonic();
  auto before = memory.surplusSince.find(shard);
  Nanos since = before == memory.surplusSince.end() ? now : before->second;
  found.surplusSince[shard] = since;
  if (now - since >= surplusGrace(volume)) {
    found.surplus.push_back(shard);
    found.surplusChunks += chunks;
  }
}

Task<Status> Census::countShard(LocalVolume& volume, ShardId shard, Found& found, Memory& memory) {
  const ShardRecord* record = membership_.map.shard(shard);
  bool surplus = record != nullptr && !isMember(volume, *record) && isWholeElsewhere(*record);
  ReplicaUnit* unit = replicator_.primaryOf(shard);
  bool leads = unit != nullptr && &unit->state.volume == &volume && unit->state.ready;
  if (found.whole && record != nullptr && record->primary == *volume.number && !leads) {
    co_return Error{EAGAIN, "a shard gets a new epoch"};  // a look at some would find few, and let them go
  }
  if (!found.whole && !surplus) {
    co_return Status();
  }
  uint64_t chunks = 0;
  ChunkId after{};
  for (bool end = false; !end;) {
    auto page = co_await volume.store->enumerate(shard, ALL_EPOCHS, chunks == 0 ? nullptr : &after, CHUNKS_AT_ONCE);
    if (!page.ok()) {
      co_return page.error();
    }
    for (auto& chunk : page.value().chunks) {
      after = chunk.chunk;
      ++chunks;
      if (leads && found.whole) {
        ++found.asking[{chunk.chunk.object, shard}];
      }
    }
    end = page.value().end || page.value().chunks.empty();
    co_await clock_.after(0);
  }
  found.chunks += found.whole ? chunks : 0;
  if (surplus && chunks > 0) {
    noteSurplus(volume, shard, chunks, found, memory);
  }
  if (found.asking.size() >= OBJECTS_AT_ONCE) {
    co_return co_await ask(found, memory);
  }
  co_return Status();
}

Task<Status> Census::ask(Found& found, Memory& memory) {
  auto asking = std::exchange(found.asking, {});
  std::vector<ObjectId> objects;
  for (auto& [owned, chunks] : asking) {
    if (objects.empty() || objects.back() != owned.first) {
      objects.push_back(owned.first);
    }
  }
  std::vector<ObjectId> unknown;
  for (size_t from = 0; from < objects.size(); from += OBJECTS_AT_ONCE) {
    size_t to = std::min(from + OBJECTS_AT_ONCE, objects.size());
    std::vector<ObjectId> part(objects.begin() + static_cast<ptrdiff_t>(from),
                               objects.begin() + static_cast<ptrdiff_t>(to));
    auto answer = co_await registration_.unknown(kj::mv(part));
    if (!answer.ok()) {
      co_return answer.error();
    }
    unknown.insert(unknown.end(), answer.value().begin(), answer.value().end());
  }
  Nanos now = clock_.monotonic();
  for (auto& [owned, chunks] : asking) {
    if (!std::binary_search(unknown.begin(), unknown.end(), owned.first)) {
      continue;
    }
    auto before = memory.unknownSince.find(owned);
    Nanos since = before == memory.unknownSince.end() ? now : before->second;
    found.unknownSince[owned] = since;
    if (now - since >= grace_) {
      found.unknown.push_back(owned);
      found.unknownChunks += chunks;
    }
  }
  co_return Status();
}

// Plan 0: it isn't so much that anybody must be asked.
HeldRemoval Census::weigh(const VolumeStanding& standing, const Found& found, Memory& memory) {
  Nanos now = clock_.monotonic();
  while (!memory.removed.empty() && now - memory.removed.front().at > REMOVED_WITHIN) {
    memory.removed.pop_front();
  }
  HeldRemoval held{0, found.unknownChunks, found.surplusChunks, found.chunks};
  RemovalCount recent;
  for (auto& removed : memory.removed) {
    recent.unknown += removed.count.unknown;
    recent.surplus += removed.count.surplus;
  }
  RemovalCount count{found.unknownChunks, found.surplusChunks};
  if (mustBeAgreed(count, recent, found.chunks, leaves(*standing.local))) {
    std::string what = toText(standing.id) + " ";
    for (auto& [object, shard] : found.unknown) {
      append(what, raw(object));
      append(what, raw(shard));
    }
    for (ShardId shard : found.surplus) {
      append(what, raw(shard));
    }
    held.plan = hash64(what) | 1;
  }
  return held;
}

Task<void> Census::look(VolumeStanding& standing) {
  LocalVolume& volume = *standing.local;
  Memory& memory = memories_[volume.id];
  Nanos now = clock_.monotonic();
  Found found;
  found.whole = memory.askedAt == 0 || now - memory.askedAt >= grace_ / LOOKS;
  if (!found.whole) {
    found.chunks = memory.chunks;
    found.unknown = memory.unknown;
    found.unknownChunks = memory.unknownChunks;
    found.unknownSince = memory.unknownSince;
  }
  auto shards = volume.store->shards();
  Status status = shards.ok() ? Status() : Status(shards.error());
  for (size_t i = 0; status.ok() && i < shards.value().size(); ++i) {
    auto counted = co_await countShard(volume, shards.value()[i], found, memory);
    status = counted;
  }
  if (status.ok() && !found.asking.empty()) {
    auto asked = co_await ask(found, memory);
    status = asked;
  }
  if (!status.ok()) {
    spdlog::info("volume {}: what no file has isn't known now: {}", toText(volume.id), status.error().why);
    co_return;
  }
  memory.askedAt = found.whole ? now : memory.askedAt;
  memory.chunks = found.chunks;
  memory.unknownSince = std::move(found.unknownSince);
  memory.surplusSince = std::move(found.surplusSince);
  HeldRemoval held = weigh(standing, found, memory);
  bool agreed = held.plan == 0 || registration_.hasAgreed(held.plan);
  if (!agreed && standing.held.plan != held.plan) {
    spdlog::warn("volume {}: {} of {} chunks are no file's and {} belong elsewhere: that is so much that they stay "
                 "until somebody agrees, with `dfsadmin removal apply {:016x}`",
                 toText(volume.id), held.unknownChunks, held.ofChunks, held.surplusChunks, held.plan);
  }
  standing.held = agreed ? HeldRemoval() : held;
  memory.unknown = found.unknown;
  memory.unknownChunks = found.unknownChunks;
  if (agreed && !found.whole && !found.unknown.empty()) {
    memory.askedAt = 0;  // the right master may be back since it was asked
    co_await look(standing);
    co_return;
  }
  if (agreed && (!found.unknown.empty() || !found.surplus.empty())) {
    co_await remove(volume, found, memory);
  }
}

Task<void> Census::remove(LocalVolume& volume, Found& found, Memory& memory) {
  uint64_t objects = 0, shards = 0;
  for (auto& [object, shard] : found.unknown) {
    bool removed = co_await work_.remove(shard, object);
    objects += removed;
  }
  for (ShardId shard : found.surplus) {
    bool removed = co_await removeShard(volume, shard);
    shards += removed;
  }
  memory.unknown.clear();
  memory.unknownChunks = 0;
  memory.removed.push_back({clock_.monotonic(), {found.unknownChunks, found.surplusChunks}});
  spdlog::info("volume {}: into quarantine went {} objects that no file has, and {} shards that are whole elsewhere",
               toText(volume.id), objects, shards);
}

Task<bool> Census::removeShard(LocalVolume& volume, ShardId shard) {
  volume.emptied.insert(shard);
  KJ_DEFER(volume.emptied.erase(shard));
  co_return co_await emptyShard(volume, shard);
}

// Whoever joins the shard again must not believe that it still has what it had: so that is forgotten first.
Task<bool> Census::emptyShard(LocalVolume& volume, ShardId shard) {
  std::vector<VolumeStore::InSyncMark> marks{{shard, ALL_EPOCHS}};
  auto forgotten = co_await volume.store->setInSync(kj::mv(marks));
  bool fine = forgotten.ok();
  for (bool more = true; fine && more;) {
    const ShardRecord* record = membership_.map.shard(shard);
    if (record == nullptr || isMember(volume, *record) || !isWholeElsewhere(*record)) {
      co_return false;
    }
    auto page = co_await volume.store->enumerate(shard, ALL_EPOCHS, nullptr, CHUNKS_AT_ONCE);
    record = membership_.map.shard(shard);
    if (!page.ok() || record == nullptr || isMember(volume, *record)) {
      co_return false;
    }
    more = !page.value().chunks.empty();
    std::vector<Task<Result<Mutated>>> retiring;
    for (auto& chunk : page.value().chunks) {
      retiring.push_back(volume.store->retire({shard, chunk.chunk}));
    }
    for (auto& task : retiring) {
      auto retired = co_await kj::mv(task);
      fine = fine && retired.ok();
    }
    if (fine && more) {
      ChunkKey last{shard, page.value().chunks.back().chunk};
      auto synced = co_await volume.store->sync(last);
      fine = synced.ok();
    }
  }
  co_return fine;
}

}  // namespace cairn
