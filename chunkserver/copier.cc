#include "chunkserver/copier.h"

#include <capnp/message.h>

#include <algorithm>

#include "common/log.h"

namespace cairn {
namespace {

constexpr Nanos RETRY_DELAY = 50 * MILLISECOND;
constexpr Nanos RETRY_DELAY_MAX = SECOND;
constexpr Nanos ASK_LIMIT = 30 * SECOND;
constexpr uint64_t HEAD_WORDS = 64;

}  // namespace

Copier::Copier(Clock& clock, Membership& membership, Replicator& replicator)
    : clock_(clock), membership_(membership), replicator_(replicator), tasks_(*this) {}

Copier::~Copier() noexcept(false) = default;

void Copier::taskFailed(kj::Exception&& e) {
  spdlog::error("copying into another class ended: {}", kj::str(e).cStr());
}

// ---- items --------------------------------------------------------------------------------------

void Copier::take(capnp::List<wire::CopyObject>::Reader copies) {
  for (auto copy : copies) {
    if (work_.count(copy.getId()) != 0) {
      continue;
    }
    auto item = kj::heap<Item>();
    item->from = ObjectId{copy.getFrom()};
    item->to = ObjectId{copy.getTo()};
    item->fromClass = ClassId{copy.getFromClass()};
    item->toClass = ClassId{copy.getToClass()};
    item->chunkBits = copy.getChunkBits();
    item->chunks = copy.getChunks();
    if (raw(item->to) != 0) {
      abandon(item->to);  // what an earlier item has read may be older
    }
    work_.emplace(copy.getId(), kj::mv(item));
    start(copy.getId());
  }
}

void Copier::abandon(ObjectId to) {
  for (auto it = work_.begin(); it != work_.end();) {
    Item& item = *it->second;
    item.abandoned |= item.to == to;
    it = item.abandoned && !item.running ? work_.erase(it) : std::next(it);
  }
}

void Copier::start(uint64_t id) {
  work_.at(id)->running = true;
  tasks_.add(run(id).promise());
}

std::vector<uint64_t> Copier::done() {
  std::vector<uint64_t> out;
  for (auto& [id, item] : work_) {
    if (!item->ended) {
      continue;
    }
    Led now;
    if (item->outcome == WORK_FAILED || (findLed(*item, now) && now == item->led)) {
      out.push_back(id | item->outcome);
    } else {
      item->ended = false;
      start(id);
    }
  }
  return out;
}

void Copier::reported(const std::vector<uint64_t>& ids) {
  for (uint64_t id : ids) {
    auto it = work_.find(id & ~WORK_RESULT);
    if (it != work_.end() && it->second->ended) {
      work_.erase(it);
    }
  }
}

Task<void> Copier::run(uint64_t id) {
  Item& item = *work_.at(id);
  {
    auto permit = co_await items_.take();
    Nanos delay = RETRY_DELAY;
    // What an abandoned one has under way still lands.
    while (isOccupied(item) && !item.abandoned) {
      co_await clock_.after(RETRY_DELAY);
    }
    for (uint32_t tries = 0; tries < TRIES_MAX && !item.ended && !item.abandoned; ++tries) {
      End end = co_await runOnce(item);
      if (end == End::AGAIN) {
        co_await clock_.after(delay);
        delay = std::min(delay * 2, RETRY_DELAY_MAX);
      } else {
        item.outcome = end == End::ROTTEN ? WORK_FAILED : item.outcome;
        item.ended = !item.abandoned;
      }
    }
  }
  item.running = false;
  if (item.ended) {
    finished.raise();
  } else {
    work_.erase(id);  // the master hands it out again, if it still wants it
  }
}

bool Copier::isOccupied(const Item& item) const {
  return std::any_of(work_.begin(), work_.end(), [&item](auto& entry) {
    const Item& other = *entry.second;
    return raw(item.to) != 0 && other.to == item.to && other.running && other.abandoned;
  });
}

// By the map. `usable`: whether it can be worked on now.
bool Copier::leads(ShardId shard, bool& usable, Led& led) {
  const ShardRecord* record = membership_.map.shard(shard);
  const ServerRecord* leader = record == nullptr ? nullptr : membership_.map.serverOf(record->primary);
  if (leader == nullptr || leader->id != membership_.self().server) {
    return false;
  }
  ReplicaUnit* unit = replicator_.primaryOf(shard);
  usable = unit != nullptr && unit->state.ready && !unit->state.volume.failed;
  if (usable) {
    led[shard] = unit->state.turn;
  }
  return true;
}

bool Copier::findLed(const Item& item, Led& led) {
  bool survey = raw(item.to) == 0;
  ClassId id = survey ? item.fromClass : item.toClass;
  auto cls = membership_.map.classes.find(id);
  if (cls == membership_.map.classes.end()) {
    return false;
  }
  uint32_t shards = 1u << cls->second.shardBits;
  bool all = survey || item.chunks / 4 >= shards;
  for (uint32_t i = 0; i < (all ? shards : item.chunks); ++i) {
    ShardId shard = all ? makeShardId(id, i) : shardOf(id, cls->second.shardBits, {item.to, i});
    bool usable = true;
    if (led.count(shard) == 0 && leads(shard, usable, led) && !usable) {
      return false;
    }
  }
  return true;
}

Task<Copier::End> Copier::runOnce(Item& item) {
  co_await clock_.after(0);  // many may have come together
  item.led.clear();
  item.outcome = 0;
  if (!findLed(item, item.led)) {
    co_return End::AGAIN;
  }
  if (raw(item.to) == 0) {
    co_return survey(item);
  }
  auto cls = membership_.map.classes.find(item.toClass);
  std::vector<Task<End>> copies;
  End worst = End::DONE;
  for (uint32_t index = 0; index < item.chunks; ++index) {
    if (item.led.count(shardOf(item.toClass, cls->second.shardBits, {item.to, index})) != 0) {
      copies.push_back(copyChunk(item, index));
    }
    bool last = index + 1 == item.chunks;
    if (copies.size() < LOOKS_AT_ONCE && !last) {
      continue;
    }
    for (auto& copy : copies) {
      End end = co_await kj::mv(copy);
      worst = std::max(worst, end);
    }
    copies.clear();
    cls = membership_.map.classes.find(item.toClass);
    if (worst == End::ROTTEN || item.abandoned) {
      break;
    }
  }
  co_return worst;
}

Copier::End Copier::survey(Item& item) {
  for (auto& [shard, turn] : item.led) {
    auto chunks = replicator_.primaryOf(shard)->state.store().chunksOf(shard, item.from);
    if (!chunks.ok()) {
      return End::AGAIN;
    }
    if (!chunks.value().empty()) {
      item.outcome = std::max(item.outcome, chunks.value().back().index + 1);
    }
  }
  return End::DONE;
}

// ---- one chunk ----------------------------------------------------------------------------------

bool Copier::isCurrent(const Item& item, const ReplicaUnit& unit, uint64_t turn) const {
  const ShardReplica& state = unit.state;
  return !item.abandoned && state.turn == turn && state.role == Role::PRIMARY && state.ready && !state.volume.failed;
}

Task<Copier::Source> Copier::look(const Item& item, uint32_t index) {
  Source out;
  ChunkId chunk{item.from, index};
  const ShardRecord* record = membership_.map.shard(item.fromClass, chunk);
  const VolumeRecord* volume = record == nullptr ? nullptr : membership_.map.volume(record->primary);
  if (volume == nullptr) {
    co_return out;
  }
  out.member = {record->primary, volume->server};
  out.shard = record->id;
  out.epoch = record->epoch;
  try {
    auto connected = replicator_.around().peers.connected(out.member.server);
    auto peer = co_await withDeadline(clock_, ASK_LIMIT, kj::mv(connected), "reaching a chunk's primary");
    auto request = peer.describeRequest();
    request.setVolume(raw(out.member.volume));
    request.setShard(raw(out.shard));
    request.setEpoch(raw(out.epoch));
    writeName(chunk, request.initChunks(1)[0]);
    kj::Promise<capnp::Response<wire::PeerService::DescribeResults>> sent = request.send();
    auto response = co_await withDeadline(clock_, ASK_LIMIT, kj::mv(sent), "asking about a chunk to be copied");
    if (response.getAnswer().getVerdict() == wire::Verdict::OK && response.getChunks().size() == 1) {
      auto state = response.getChunks()[0];
      out.known = true;
      // One without bytes is as good as none.
      out.present = state.getPresent() && state.getAllocatedBytes() > 0;
      out.digest = state.getDigest();
      out.allocatedBytes = state.getAllocatedBytes();
    }
  } catch (const kj::Exception& e) {
    spdlog::debug("chunk {:x}-{}: {}", raw(item.from), index, e.getDescription().cStr());
  }
  co_return out;
}

Task<Copier::End> Copier::copyChunk(Item& item, uint32_t index) {
  auto permit = co_await looks_.take();
  const ShardRecord* record = membership_.map.shard(item.toClass, {item.to, index});
  ReplicaUnit* found = record == nullptr ? nullptr : replicator_.primaryOf(record->id);
  if (found == nullptr || !isCurrent(item, *found, item.led[record->id])) {
    co_return End::AGAIN;
  }
  ReplicaUnit& unit = *found;
  const uint64_t turn = unit.state.turn;
  ChunkId chunk{item.to, index};
  auto source = co_await look(item, index);
  auto own = co_await unit.state.store().summary(unit.state.key(chunk));
  if (!source.known || !own.ok() || !isCurrent(item, unit, turn)) {
    co_return End::AGAIN;
  }
  bool present = own.value().present && own.value().allocatedBytes > 0;
  bool equal = source.present == present && (!present || source.digest == own.value().digest);
  if (!equal && !source.present) {
    const uint32_t chunkBytes = 1u << item.chunkBits;
    bool emptied = co_await empty(item, unit, turn, chunk, own.value().generation, 0, chunkBytes);
    if (!emptied) {
      co_return End::AGAIN;
    }
  } else if (!equal) {
    End fetched = co_await fetch(item, unit, turn, index, source);
    if (fetched != End::DONE) {
      co_return fetched;
    }
  }
  // Also what an earlier try has left: it may never have been synced.
  auto synced = co_await unit.primary.sync(chunk);
  co_return synced.verdict == wire::Verdict::OK && isCurrent(item, unit, turn) ? End::DONE : End::AGAIN;
}

Task<Copier::End> Copier::fetch(Item& item, ReplicaUnit& unit, uint64_t turn, uint32_t index, Source source) {
  co_await replicator_.around().joins.take(source.allocatedBytes);
  auto permit = co_await chunks_.take();
  try {
    auto connected = replicator_.around().peers.connected(source.member.server);
    auto peer = co_await withDeadline(clock_, ASK_LIMIT, kj::mv(connected), "reaching a chunk's primary");
    auto request = peer.fetchRequest();
    request.setVolume(raw(source.member.volume));
    request.setShard(raw(source.shard));
    request.setEpoch(raw(source.epoch));
    writeName({item.from, index}, request.initChunk());
    request.setBackground(true);
    kj::Promise<capnp::Response<wire::PeerService::FetchResults>> sent = request.send();
    auto response = co_await withDeadline(clock_, ASK_LIMIT, kj::mv(sent), "fetching a chunk to be copied");
    if (response.getAnswer().getVerdict() != wire::Verdict::OK || !response.getImage().getPresent()) {
      co_return End::AGAIN;
    }
    auto image = response.getImage();
    if (image.getBad().size() > 0) {
      spdlog::error("object {:x} chunk {}: {} blocks have no good copy, so its file stays in the class that it is in",
                    raw(item.from), index, image.getBad().size());
      co_return End::ROTTEN;
    }
    ChunkId chunk{item.to, index};
    auto own = co_await unit.state.store().summary(unit.state.key(chunk));
    if (!own.ok()) {
      co_return End::AGAIN;
    }
    uint32_t ownLength = own.value().present ? own.value().lengthBytes : 0;
    co_return co_await write(item, unit, turn, chunk, image, ownLength);
  } catch (const kj::Exception& e) {
    spdlog::debug("chunk {:x}-{}: {}", raw(item.from), index, e.getDescription().cStr());
  }
  co_return End::AGAIN;
}

void Copier::fillTarget(const Item& item, const ReplicaUnit& unit, ChunkId chunk, uint32_t generation,
                        wire::Target::Builder target) const {
  target.setShard(raw(unit.state.shard));
  target.setEpoch(raw(unit.state.epoch()));
  target.setMapVersion(raw(membership_.map.version));
  target.setObject(raw(chunk.object));
  target.setIndex(chunk.index);
  target.setChunkBits(item.chunkBits);
  target.setGeneration(generation);
}

Task<bool> Copier::mutate(Item& item, ReplicaUnit& unit, uint64_t turn, MutationSpec spec) {
  if (!isCurrent(item, unit, turn)) {
    co_return false;
  }
  spec.by = MutationSpec::By::COPIER;
  auto result = co_await unit.primary.mutate(spec);
  if (result.verdict != wire::Verdict::OK) {
    spdlog::debug("object {:x}: a copy isn't taken: {}", raw(item.to), result.why);
  }
  co_return result.verdict == wire::Verdict::OK;
}

// Zeros [from, to) of the copy.
Task<bool> Copier::empty(Item& item, ReplicaUnit& unit, uint64_t turn, ChunkId chunk, uint32_t generation,
                         uint32_t from, uint32_t to) {
  if (from >= to) {
    co_return true;
  }
  capnp::MallocMessageBuilder message(HEAD_WORDS);
  auto target = message.initRoot<wire::Target>();
  fillTarget(item, unit, chunk, generation, target);
  MutationSpec spec;
  spec.kind = MutationSpec::Kind::PUNCH;
  spec.target = target.asReader();
  spec.offset = from;
  spec.length = to - from;
  co_return co_await mutate(item, unit, turn, spec);
}

// Runs of blocks with data, and holes where the copy may have something.
Task<Copier::End> Copier::write(Item& item, ReplicaUnit& unit, uint64_t turn, ChunkId chunk,
                                wire::ChunkImage::Reader image, uint32_t ownLength) {
  auto sums = image.getSums();
  auto data = image.getData();
  size_t used = 0;
  for (uint32_t block = 0; block < sums.size();) {
    uint32_t from = block;
    bool hole = sums[block] == 0;
    const uint32_t most = hole ? UINT32_MAX : RUN_BYTES_MAX / BLOCK_BYTES;
    while (block < sums.size() && (sums[block] == 0) == hole && block - from < most) {
      ++block;
    }
    if (hole) {
      uint32_t end = std::min(block * BLOCK_BYTES, ownLength);
      bool emptied = co_await empty(item, unit, turn, chunk, image.getGeneration(), from * BLOCK_BYTES, end);
      if (!emptied) {
        co_return End::AGAIN;
      }
      continue;
    }
    size_t bytes = size_t{block - from} * BLOCK_BYTES;
    if (used + bytes > data.size()) {
      co_return End::AGAIN;
    }
    capnp::MallocMessageBuilder message(static_cast<unsigned>(bytes / sizeof(capnp::word) + block - from + HEAD_WORDS));
    auto forward = message.initRoot<wire::PeerService::ForwardParams>();
    auto target = forward.initTarget();
    fillTarget(item, unit, chunk, image.getGeneration(), target);
    target.setInode(image.getInode());
    target.setMode(image.getMode());
    target.setUid(image.getUid());
    target.setGid(image.getGid());
    target.setPath(image.getPath());
    auto pieces = forward.initChange().initWrite(1);
    pieces[0].setOffset(from * BLOCK_BYTES);
    pieces[0].setData(data.slice(used, used + bytes));
    auto pieceSums = pieces[0].initSums(block - from);
    for (uint32_t i = 0; i < pieceSums.size(); ++i) {
      pieceSums.set(i, sums[from + i]);
    }
    used += bytes;
    MutationSpec spec;
    spec.kind = MutationSpec::Kind::WRITE;
    spec.target = target.asReader();
    spec.pieces = pieces.asReader();
    bool written = co_await mutate(item, unit, turn, spec);
    if (!written) {
      co_return End::AGAIN;
    }
  }
  uint32_t length = sums.size() * BLOCK_BYTES;
  bool emptied = co_await empty(item, unit, turn, chunk, image.getGeneration(), length, ownLength);
  co_return emptied ? End::DONE : End::AGAIN;
}

}  // namespace cairn
