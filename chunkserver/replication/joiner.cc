#include "chunkserver/replication/joiner.h"

#include <algorithm>
#include <cerrno>

#include "common/epochs.h"
#include "common/log.h"

namespace cairn {
namespace {

constexpr unsigned TRIES_LOGGED = 8;

PrimaryPage readPage(wire::PeerService::ChangedResults::Reader in) {
  PrimaryPage page;
  for (auto state : in.getChunks()) {
    page.changed[chunkOf(state.getName())] = state.getDigest();
    page.sizes[chunkOf(state.getName())] = state.getAllocatedBytes();
  }
  for (auto name : in.getUnchanged()) {
    page.unchanged.insert(chunkOf(name));
  }
  if (!page.changed.empty()) {
    page.last = page.changed.rbegin()->first;
  }
  if (!page.unchanged.empty()) {
    page.last = kj::max(page.last, *page.unchanged.rbegin());
  }
  page.end = in.getEnd();
  return page;
}

}  // namespace

MemberName Joiner::primary() const {
  const VolumeRecord* record = around_.membership.map.volume(state_.record.primary);
  return {state_.record.primary, record == nullptr ? ServerId() : record->server};
}

Task<void> Joiner::run() {
  const uint64_t turn = state_.turn;
  auto permit = co_await rounds_.take();
  for (unsigned tries = 0; current(turn) && !state_.caughtUp; ++tries) {
    co_await around_.clock.after(backoffDelay(around_.random, tries));
    if (!current(turn)) {
      co_return;
    }
    bool done = co_await round(turn);
    if (!done && tries + 1 == TRIES_LOGGED) {
      spdlog::warn("shard {:x}: volume {} can't catch up yet and keeps trying", raw(state_.shard),
                   raw(state_.number()));
    }
  }
}

Task<bool> Joiner::round(uint64_t turn) {
  if (state_.volume.emptied.contains(state_.shard) || state_.lacksRoom()) {
    co_return false;
  }
  try {
    co_await state_.applies.drain();
    backup_.resetOrder();
    backup_.catchUp().start(comparesFrom());
    bool scanned = co_await scan(turn);
    if (!scanned) {
      co_return false;
    }
    bool confirmed = co_await confirm(turn);
    if (!confirmed) {
      co_return false;
    }
    bool synced = co_await syncAll();
    if (!synced || !current(turn)) {
      co_return false;
    }
    state_.restarted = false;
    state_.caughtUp = true;
    state_.roomWanted = 0;
    state_.changed.raise();
    caughtUp_.raise();
    co_return true;
  } catch (const kj::Exception& e) {
    spdlog::debug("shard {:x}: catching up: {}", raw(state_.shard), e.getDescription().cStr());
  }
  co_return false;
}

// What was being written when the process ended may lack something, however old it is at the primary: only a digest
// tells, and else it would be fetched whole each time that a server which comes and goes is back. And what was in sync
// in another history may be newer here than what counts now, which no mark tells.
Epoch Joiner::comparesFrom() const {
  bool mayLack = state_.restarted && !state_.store().dirtyChunks(state_.shard).empty();
  Epoch mark = state_.store().inSync(state_.shard);
  return !mayLack && ofOneHistory(mark, state_.epoch()) ? mark : Epoch{};
}

Task<Joiner::Changed> Joiner::askPage(bool first) {
  auto connected = around_.peers.connected(primary().server);
  auto peer = co_await withDeadline(around_.clock, PAGE_LIMIT, kj::mv(connected), "reaching the primary");
  auto request = peer.changedRequest();
  request.setVolume(raw(state_.record.primary));
  request.setShard(raw(state_.shard));
  request.setEpoch(raw(state_.epoch()));
  request.setMapVersion(raw(around_.membership.map.version));
  request.setSince(raw(backup_.catchUp().since()));
  if (!first) {
    writeName(*backup_.catchUp().cursor(), request.initAfter());
  }
  request.setMember(raw(state_.number()));
  kj::Promise<Changed> sent = request.send();
  co_return co_await withDeadline(around_.clock, PAGE_LIMIT, kj::mv(sent), "listing changed chunks");
}

Task<bool> Joiner::scan(uint64_t turn) {
  CatchUp& catchUp = backup_.catchUp();
  for (bool first = true; first || !catchUp.scanned(); first = false) {
    auto response = co_await askPage(first);
    if (!current(turn) || response.getAnswer().getVerdict() != wire::Verdict::OK) {
      co_return false;
    }
    if (first) {
      backup_.startOrder(response.getNext());
      bytesWanted_ = response.getBytes();
    }
    PrimaryPage page = readPage(response);
    auto local = co_await localRange(page);
    if (!current(turn) || catchUp.dropped() > CatchUp::DROPPED_MAX) {
      co_return false;
    }
    auto surplus = catchUp.takePage(page, local);
    bool removed = co_await removeSurplus(kj::mv(surplus));
    if (!removed) {
      co_return false;
    }
    bool fetched = co_await fetchAll(turn);
    if (!fetched) {
      co_return false;
    }
  }
  co_return catchUp.complete();
}

Task<std::map<ChunkId, LocalChunk>> Joiner::localRange(const PrimaryPage& page) {
  std::map<ChunkId, LocalChunk> out;
  std::optional<ChunkId> after = backup_.catchUp().cursor();
  for (;;) {
    const ChunkId* start = after ? &*after : nullptr;
    auto listed = co_await state_.store().enumerate(state_.shard, Epoch(0), start, LOCAL_PAGE);
    KJ_REQUIRE(listed.ok(), "listing this volume's chunks", listed.error().why);
    for (auto& summary : listed.value().chunks) {
      if (!page.end && page.last < summary.chunk) {
        co_return kj::mv(out);
      }
      auto state = co_await localState(summary);
      out[summary.chunk] = state;
      after = summary.chunk;
    }
    if (listed.value().end) {
      co_return kj::mv(out);
    }
  }
}

Task<LocalChunk> Joiner::localState(ChunkSummary summary) {
  LocalChunk out{summary.present, summary.digest, summary.lastEpoch};
  if (summary.present && summary.dirty && state_.restarted) {
    auto permit = co_await around_.heavy.take();
    auto found = co_await state_.store().describe(state_.key(summary.chunk));
    out.mayLack = true;
    out.suspect = !found.ok() || !found.value().bad.empty() || !found.value().torn.empty();
    out.digest = found.ok() ? found.value().digest : 0;
  }
  co_return out;
}

Task<bool> Joiner::removeSurplus(std::vector<ChunkId> surplus) {
  // All get their place in their chunks' queues now, before any forward of these chunks is applied.
  std::vector<Task<Result<Mutated>>> removed;
  for (ChunkId chunk : surplus) {
    removed.push_back(state_.store().quarantine(state_.key(chunk)));
  }
  for (auto& task : removed) {
    auto result = co_await kj::mv(task);
    if (!result.ok()) {
      co_return false;
    }
  }
  co_return true;
}

Task<bool> Joiner::fetchAll(uint64_t turn) {
  std::vector<Task<bool>> fetchers;
  for (uint32_t i = 0; i < FETCHES_PER_SHARD; ++i) {
    fetchers.push_back(fetchSome(turn));
  }
  bool all = true;
  for (auto& fetcher : fetchers) {
    bool fetched = co_await kj::mv(fetcher);
    all = all && fetched;
  }
  co_return all;
}

JoinProgress Joiner::progress() const {
  const CatchUp& catchUp = backup_.catchUp();
  uint64_t unlisted = catchUp.scanned() ? 0 : bytesWanted_ - std::min(bytesWanted_, catchUp.listedBytes());
  return {state_.caughtUp ? 0 : unlisted + catchUp.todoBytes(), bytesMoved_};
}

Task<bool> Joiner::fetchSome(uint64_t turn) {
  for (;;) {
    auto fetch = co_await beginFetch(turn);
    if (!fetch) {
      co_return current(turn);
    }
    bool fetched = co_await fetchOne(turn, fetch->chunk);
    if (!fetched) {
      co_return false;
    }
  }
}

// Waits for the throttle before a chunk is chosen: while it is being fetched its forwards wait. Each fetcher waits for
// a chunk of its own, or one would be paid for several times. Nothing: those that wait already are enough.
Task<std::optional<Joiner::Fetch>> Joiner::beginFetch(uint64_t turn) {
  auto bytes = backup_.catchUp().nextBytes(waiting_);
  if (!current(turn) || !bytes) {
    co_return std::nullopt;
  }
  ++waiting_;
  KJ_DEFER(--waiting_);
  co_await around_.joins.take(*bytes);
  auto permit = co_await around_.fetches.take();
  auto chunk = current(turn) ? backup_.catchUp().beginFetch() : std::nullopt;
  if (!chunk) {
    co_return std::nullopt;
  }
  Fetch fetch{kj::mv(permit), *chunk};
  co_return kj::mv(fetch);
}

Task<bool> Joiner::fetchOne(uint64_t turn, ChunkId chunk) {
  try {
    auto connected = around_.peers.connected(primary().server);
    auto peer = co_await withDeadline(around_.clock, FETCH_LIMIT, kj::mv(connected), "reaching the primary");
    auto request = peer.fetchRequest();
    request.setVolume(raw(state_.record.primary));
    request.setShard(raw(state_.shard));
    request.setEpoch(raw(state_.epoch()));
    writeName(chunk, request.initChunk());
    request.setBackground(true);
    kj::Promise<capnp::Response<wire::PeerService::FetchResults>> sent = request.send();
    auto response = co_await withDeadline(around_.clock, FETCH_LIMIT, kj::mv(sent), "fetching a chunk");
    if (current(turn) && response.getAnswer().getVerdict() == wire::Verdict::OK) {
      bytesMoved_ += response.getImage().getData().size();
      co_return co_await place(turn, chunk, response.getImage());
    }
  } catch (const kj::Exception& e) {
    spdlog::debug("shard {:x}: fetching a chunk: {}", raw(state_.shard), e.getDescription().cStr());
  }
  if (current(turn)) {
    backup_.abandonFetch(chunk);
  }
  co_return false;
}

// Blocks that are bad in all in-sync copies may be whole in the old one here: those with the very checksum that they
// should have are taken from it. Gives those that stay bad.
Task<std::vector<uint32_t>> Joiner::rescue(ChunkId chunk, MergedChunk& merged, std::vector<uint32_t> bad) {
  BufferTarget target;
  auto permit = co_await around_.heavy.take();
  auto head = co_await state_.store().image(state_.key(chunk), target);
  if (!head.ok()) {
    co_return kj::mv(bad);
  }
  MergedChunk own;
  own.load(head.value(), target.take());
  std::vector<uint32_t> failing = head.value().bad;
  failing.insert(failing.end(), head.value().torn.begin(), head.value().torn.end());
  std::vector<uint32_t> left;
  for (uint32_t block : bad) {
    bool whole = std::find(failing.begin(), failing.end(), block) == failing.end();
    if (whole && merged.sum(block) != LOST_SUM && merged.sum(block) == own.sum(block)) {
      merged.patch(block, own, false);
      spdlog::warn("shard {:x}: chunk {:x}-{}: block {} is bad in every copy in sync, and whole in an older one",
                   raw(state_.shard), raw(chunk.object), chunk.index, block);
    } else {
      left.push_back(block);
    }
  }
  co_return kj::mv(left);
}

Task<bool> Joiner::place(uint64_t turn, ChunkId chunk, wire::ChunkImage::Reader image) {
  ImageParts parts(image);
  ImageView view = parts.view();
  MergedChunk merged;
  if (view.badBlocks.size() > 0) {
    merged.load(image);
    std::vector<uint32_t> bad(view.badBlocks.begin(), view.badBlocks.end());
    auto left = co_await rescue(chunk, merged, kj::mv(bad));
    if (!current(turn)) {
      co_return false;
    }
    merged.setBad(kj::mv(left));
    view = merged.view(view.lastEpoch);
  }
  auto running = state_.applies.begin();
  auto placing =
      parts.present() ? state_.store().install(state_.key(chunk), view) : state_.store().quarantine(state_.key(chunk));
  backup_.endFetch(chunk);
  around_.takenOverBytes += view.bytes.size();
  auto placed = co_await kj::mv(placing);
  if (!placed.ok()) {
    spdlog::warn("shard {:x}: chunk {:x}-{} can't be taken over: {}", raw(state_.shard), raw(chunk.object), chunk.index,
                 placed.error().why);
  }
  if (placed.code() == ENOSPC && current(turn)) {
    state_.roomWanted = view.bytes.size();
  }
  co_return placed.ok() && current(turn);
}

Task<bool> Joiner::confirm(uint64_t turn) {
  auto connected = around_.peers.connected(primary().server);
  auto peer = co_await withDeadline(around_.clock, PAGE_LIMIT, kj::mv(connected), "reaching the primary");
  auto request = peer.takenRequest();
  request.setVolume(raw(state_.record.primary));
  request.setShard(raw(state_.shard));
  request.setEpoch(raw(state_.epoch()));
  request.setMapVersion(raw(around_.membership.map.version));
  request.setMember(raw(state_.number()));
  kj::Promise<capnp::Response<wire::PeerService::TakenResults>> sent = request.send();
  auto response = co_await withDeadline(around_.clock, PAGE_LIMIT, kj::mv(sent), "joining");
  co_return current(turn) && response.getAnswer().getVerdict() == wire::Verdict::OK;
}

Task<bool> Joiner::syncAll() {
  auto dirty = state_.store().dirtyChunks(state_.shard);
  bool all = true;
  for (size_t first = 0; first < dirty.size(); first += SYNCS_AT_ONCE) {
    std::vector<Task<Status>> syncing;
    for (size_t i = first; i < dirty.size() && i < first + SYNCS_AT_ONCE; ++i) {
      syncing.push_back(state_.store().sync(state_.key(dirty[i])));
    }
    for (auto& task : syncing) {
      auto synced = co_await kj::mv(task);
      all = all && synced.ok();
    }
  }
  co_return all;
}

}  // namespace cairn
