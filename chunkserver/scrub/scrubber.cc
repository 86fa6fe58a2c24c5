#include "chunkserver/scrub/scrubber.h"

#include <algorithm>

#include "chunkserver/store/index.h"
#include "common/log.h"

namespace cairn {
namespace {

const char* const PLACE_NOTE = "scrub";

ThrottleRules scrubRules() {
  ThrottleRules rules;
  rules.floor = 1 << 20;
  rules.start = 16 << 20;
  return rules;
}

}  // namespace

Scrubber::Scrubber(Clock& clock, Replicator& replicator, LocalVolume& volume, Nanos period)
    : clock_(clock),
      replicator_(replicator),
      volume_(volume),
      period_(period),
      throttle_(clock, replicator.around().load, scrubRules()),
      place_(ScrubPlace::parse(volume.store->note(PLACE_NOTE))) {}

void Scrubber::startNow() {
  asked_ = true;
  if (place_.running) {
    place_.fast = true;
  }
  hurry_.raise();
}

void Scrubber::setPeriod(Nanos period) {
  period_ = period;
  hurry_.raise();  // it may be due now
}

void Scrubber::save() {
  volume_.store->setNote(PLACE_NOTE, place_.text());
}

void Scrubber::begin() {
  ScrubPlace next;
  next.running = true;
  next.fast = asked_;
  next.begun = wallSeconds();
  next.lastBegun = place_.lastBegun;
  next.lastEnded = place_.lastEnded;
  next.bytesTotal = volume_.store->space().usedBytes;
  place_ = next;
  save();
}

// Of the next pass, or of the next byte of this one.
Nanos Scrubber::untilDue() const {
  Nanos since = std::max<Nanos>(clock_.wall() - (place_.running ? place_.begun : place_.lastBegun) * SECOND, 0);
  if (!place_.running) {
    return place_.lastBegun == 0 ? 0 : period_ - since;
  }
  double share = place_.bytesTotal == 0 ? 1 : static_cast<double>(place_.bytesDone) / double(place_.bytesTotal);
  return place_.fast ? 0 : static_cast<Nanos>(static_cast<double>(period_) * std::min(share, 1.0)) - since;
}

Task<void> Scrubber::run() {
  for (;;) {
    Nanos wait = volume_.failed ? RETRY : untilDue();
    if (!place_.running && wait > 0 && !asked_) {
      co_await hurry_.nextOr(clock_, clock_.monotonic() + std::min(wait, WAIT_MAX));
      continue;
    }
    if (!place_.running) {
      begin();
    }
    asked_ = false;
    bool whole = co_await pass();
    if (!whole) {
      co_await clock_.after(RETRY);
      continue;
    }
    place_.running = false;
    place_.lastBegun = place_.begun;
    place_.lastEnded = wallSeconds();
    save();
    auto counters = volume_.store->counters();
    spdlog::info("volume {}: scrubbed; since the start {} bad blocks found, {} mended; {} are bad now",
                 toText(volume_.id), counters.badBlocksFound, counters.mendedBlocks, counters.badBlocks);
  }
}

// False: not now; the place stays.
Task<bool> Scrubber::pass() {
  if (volume_.failed || !volume_.number) {
    co_return false;
  }
  if (!place_.inShard && place_.shard == ShardId{}) {
    bool sound = co_await scrubIndex();
    if (!sound) {
      co_return false;
    }
  }
  auto shards = volume_.store->shards();
  if (!shards.ok()) {
    co_return false;
  }
  for (ShardId shard : shards.value()) {
    if (shard < place_.shard) {
      continue;
    }
    if (shard != place_.shard) {
      place_.shard = shard;
      place_.inShard = false;
    }
    bool done = co_await scrubShard(shard);
    if (!done) {
      co_return false;
    }
    save();
  }
  co_return true;
}

Task<bool> Scrubber::scrubIndex() {
  std::string from;
  do {
    auto next = co_await volume_.store->scrubIndex(from);
    if (!next.ok()) {
      co_return false;
    }
    from = next.value();
    co_await throttle_.take(Index::VERIFY_BYTES);
  } while (!from.empty());
  co_return true;
}

ReplicaUnit* Scrubber::unitOf(ShardId shard) {
  ReplicaUnit* unit = volume_.number ? replicator_.find(*volume_.number, shard) : nullptr;
  bool serves = unit != nullptr && unit->state.serving() && unit->state.ready;
  return serves && !volume_.failed ? unit : nullptr;
}

Task<bool> Scrubber::scrubShard(ShardId shard) {
  for (bool more = true; more;) {
    ReplicaUnit* unit = unitOf(shard);
    if (unit == nullptr) {
      co_return !volume_.failed;  // no copy that counts
    }
    const ChunkId* after = place_.inShard ? &place_.chunk : nullptr;
    auto page = co_await volume_.store->enumerate(shard, Epoch(0), after, PAGE_CHUNKS);
    if (!page.ok()) {
      co_return false;
    }
    std::vector<ChunkId> chunks;
    for (auto& summary : page.value().chunks) {
      chunks.push_back(summary.chunk);
      bool going = co_await scrubChunk(*unit, summary.chunk);
      if (!going) {
        co_return false;
      }
      place_.chunk = summary.chunk;
      place_.inShard = true;
    }
    co_await compare(*unit, kj::mv(chunks));
    save();
    more = !page.value().end;
  }
  co_return true;
}

Task<bool> Scrubber::scrubChunk(ReplicaUnit& unit, ChunkId chunk) {
  uint32_t first = 0;
  ScrubPart found;
  do {
    auto part = co_await volume_.store->scrub(unit.state.key(chunk), first, PART_BLOCKS);
    if (!part.ok()) {
      co_return false;
    }
    found = part.value();
    first += PART_BLOCKS;
    uint64_t bytes = uint64_t{found.blocksRead} * BLOCK_BYTES;
    place_.bytesDone += bytes;
    co_await pace(bytes);
  } while (found.present && !found.skipped && first < found.lengthBlocks);
  if (found.badBlocks > 0) {
    spdlog::error("shard {:x}: object {:x} chunk {} (inode {}, {}): the scrub found {} bad blocks",
                  raw(unit.state.shard), raw(chunk.object), chunk.index, raw(found.hints.inode), found.hints.path,
                  found.badBlocks);
    co_await replicator_.mend(unit, chunk);
  }
  co_return !volume_.failed;
}

kj::Promise<void> Scrubber::pace(uint64_t bytes) {
  auto hurried = hurry_.next();
  Nanos wait = std::min(untilDue(), WAIT_MAX);
  if (wait > 0) {
    return clock_.after(wait).exclusiveJoin(kj::mv(hurried));
  }
  return throttle_.take(bytes, SECOND);
}

Task<void> Scrubber::compare(ReplicaUnit& unit, std::vector<ChunkId> chunks) {
  for (unsigned look = 0; look < LOOKS && !chunks.empty(); ++look) {
    if (unit.state.role != Role::PRIMARY || !unit.state.ready) {
      co_return;
    }
    if (look > 0) {
      co_await clock_.after(LOOK_AGAIN);
    }
    auto differing = co_await unit.primary.differing(kj::mv(chunks));
    chunks = kj::mv(differing);
  }
  for (ChunkId chunk : chunks) {
    spdlog::error("shard {:x}: object {:x} chunk {}: the copies' digests differ", raw(unit.state.shard),
                  raw(chunk.object), chunk.index);
    co_await replicator_.mend(unit, chunk);
  }
}

// Whoever found them: a reader, a check after a crash, a scrub whose repair failed.
Task<void> Scrubber::mendLeftovers() {
  Nanos wait = MEND_MIN;
  for (;;) {
    co_await clock_.after(wait);
    uint64_t before = volume_.store->counters().badBlocks;
    auto bad = volume_.store->badChunks(MEND_CHUNKS);
    if (!bad.ok()) {
      continue;
    }
    for (ChunkKey key : bad.value()) {
      ReplicaUnit* unit = unitOf(key.shard);
      if (unit != nullptr) {
        co_await replicator_.mend(*unit, key.chunk);
      }
    }
    bool vain = before > 0 && volume_.store->counters().badBlocks >= before;
    wait = vain ? std::min(2 * wait, MEND_MAX) : MEND_MIN;
  }
}

void Scrubber::fill(wire::ScrubState::Builder out) const {
  auto counters = volume_.store->counters();
  toWire(volume_.id, out.initVolume());
  out.setRunning(place_.running);
  out.setFast(place_.running && place_.fast);
  out.setBytesDone(place_.bytesDone);
  out.setBytesTotal(std::max(place_.bytesTotal, place_.bytesDone));
  out.setBegun(place_.begun);
  out.setLastPassBegun(place_.lastBegun);
  out.setLastPassEnded(place_.lastEnded);
  out.setBadBlocks(counters.badBlocksFound);
  out.setMended(counters.mendedBlocks);
  out.setUnmended(counters.badBlocks);
  out.setDiffering(volume_.differingChunks);
  out.setBytesPerSecond(place_.fast ? throttle_.rate() : place_.bytesTotal / std::max<Nanos>(period_ / SECOND, 1));
}

}  // namespace cairn
