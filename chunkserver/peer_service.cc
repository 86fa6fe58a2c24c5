#include "chunkserver/peer_service.h"

#include <cerrno>

#include "common/log.h"

namespace cairn {

void PeerHandlers::answer(wire::Answer2::Builder out, wire::Verdict verdict, kj::StringPtr why) const {
  writeAnswer(out, verdict, membership_.map.version, why);
}

ReplicaUnit* PeerHandlers::member(uint32_t volume, uint32_t shard, uint64_t epoch, wire::Answer2::Builder out) {
  ReplicaUnit* unit = replicator_.find(VolumeNumber{volume}, ShardId{shard});
  if (unit == nullptr || raw(unit->state.epoch()) < epoch) {
    answer(out, wire::Verdict::NOT_READY, "that epoch isn't known here yet");
    return nullptr;
  }
  if (raw(unit->state.epoch()) > epoch || unit->state.role == Role::NONE) {
    answer(out, wire::Verdict::STALE_EPOCH, "the shard has a newer epoch");
    return nullptr;
  }
  if (unit->state.volume.failed) {
    answer(out, wire::Verdict::FAILED, "the volume has failed");
    return nullptr;
  }
  return unit;
}

void PeerHandlers::tellSlow(const char* kind, wire::Target::Reader target, const OperationTimer& timer,
                            wire::Answer2::Builder out) {
  Nanos slow = replicator_.around().slow;
  if (slow == 0 || timer.elapsed() < slow) {
    return;
  }
  ++metrics_.slow;
  std::string path = membership_.self().name + " itself " + milliseconds(timer.elapsed());
  if (metrics_.slowLines.take(clock_.monotonic())) {
    spdlog::warn("slow: {} for a primary, request {:x}: {}", kind, target.getRequest(), path);
  }
  out.setSlow(path);
}

Task<void> PeerHandlers::forward(ForwardContext context) {
  OperationTimer timer(metrics_.forward, clock_);
  auto params = context.getParams();
  auto target = params.getTarget();
  auto results = context.getResults(capnp::MessageSize{32, 0});
  toWire(membership_.self().incarnation, results.initIncarnation());
  ReplicaUnit* unit = member(params.getVolume(), target.getShard(), target.getEpoch(), results.initAnswer());
  if (unit == nullptr) {
    co_return;
  }
  if (unit->state.role == Role::PRIMARY) {
    answer(results.initAnswer(), wire::Verdict::STALE_EPOCH, "this volume is the primary");
    co_return;
  }
  auto outcome = co_await unit->backup.forward(params);
  if (outcome.verdict == wire::Verdict::OK && params.getChange().isWrite()) {
    for (auto piece : params.getChange().getWrite()) {
      metrics_.bytesForwarded += piece.getData().size();
    }
  }
  timer.fail(outcome.verdict == wire::Verdict::FAILED);
  answer(results.initAnswer(), outcome.verdict, outcome.why.c_str());
  tellSlow("forward", target, timer, results.getAnswer());
}

Task<void> PeerHandlers::sync(SyncContext context) {
  OperationTimer timer(metrics_.memberSync, clock_);
  auto params = context.getParams();
  auto target = params.getTarget();
  auto results = context.getResults(capnp::MessageSize{32, 0});
  toWire(membership_.self().incarnation, results.initIncarnation());
  ReplicaUnit* unit = member(params.getVolume(), target.getShard(), target.getEpoch(), results.initAnswer());
  if (unit == nullptr) {
    co_return;
  }
  auto outcome = co_await unit->backup.sync(chunkOf(target));
  timer.fail(outcome.verdict == wire::Verdict::FAILED);
  answer(results.initAnswer(), outcome.verdict, outcome.why.c_str());
  tellSlow("sync", target, timer, results.getAnswer());
}

bool PeerHandlers::allKnown(VolumeNumber volume, capnp::List<wire::ShardEpoch>::Reader shards) {
  for (auto shard : shards) {
    ReplicaUnit* unit = replicator_.find(volume, ShardId{shard.getShard()});
    if (unit == nullptr || raw(unit->state.epoch()) < shard.getEpoch()) {
      return false;
    }
  }
  return true;
}

Task<void> PeerHandlers::pending(PendingContext context) {
  auto params = context.getParams();
  VolumeNumber volume{params.getVolume()};
  auto shards = params.getShards();
  Nanos deadline = clock_.monotonic() + WAIT_LIMIT;
  while (!allKnown(volume, shards) && clock_.monotonic() < deadline) {
    co_await membership_.changed.nextOr(clock_, deadline);
  }
  struct Found {
    ShardId shard;
    bool restarted;
    Epoch since;
    std::vector<ChunkId> chunks;
  };
  std::vector<Found> found;
  for (auto shard : shards) {
    ReplicaUnit* unit = replicator_.find(volume, ShardId{shard.getShard()});
    if (unit == nullptr || unit->state.role != Role::IN_SYNC || unit->state.volume.failed) {
      continue;
    }
    if (!unit->state.applies.idle()) {
      co_await unit->state.applies.drain();
    }
    if (raw(unit->state.epoch()) != shard.getEpoch()) {
      continue;
    }
    std::set<ChunkId> chunks;
    for (ChunkId chunk : unit->state.pending.chunks()) {
      chunks.insert(chunk);
    }
    if (unit->state.restarted) {
      for (ChunkId chunk : unit->state.store().dirtyChunks(unit->state.shard)) {
        chunks.insert(chunk);
      }
    }
    found.push_back(
        {unit->state.shard, unit->state.restarted, unit->state.since, {chunks.begin(), chunks.end()}});
  }
  auto results = context.getResults();
  toWire(membership_.self().incarnation, results.initIncarnation());
  auto list = results.initShards(static_cast<unsigned>(found.size()));
  for (uint32_t i = 0; i < found.size(); ++i) {
    list[i].setShard(raw(found[i].shard));
    list[i].setRestarted(found[i].restarted);
    list[i].setSince(raw(found[i].since));
    writeNames(found[i].chunks, list[i].initChunks(static_cast<unsigned>(found[i].chunks.size())));
  }
  answer(results.initAnswer(), wire::Verdict::OK);
}

Task<void> PeerHandlers::describe(DescribeContext context) {
  auto params = context.getParams();
  auto names = params.getChunks();
  auto results = context.getResults();
  ReplicaUnit* unit = member(params.getVolume(), params.getShard(), params.getEpoch(), results.initAnswer());
  if (unit == nullptr) {
    co_return;
  }
  if (unit->state.role == Role::PRIMARY && !unit->state.ready) {
    answer(results.initAnswer(), wire::Verdict::NOT_READY, "the shard's members are being made equal");
    co_return;
  }
  auto list = results.initChunks(names.size());
  VolumeStore& store = unit->state.store();
  for (uint32_t i = 0; i < names.size(); ++i) {
    ChunkKey key = unit->state.key(chunkOf(names[i]));
    int code = 0;
    if (params.getDeep()) {
      auto permit = co_await replicator_.around().heavy.take();
      auto described = co_await store.describe(key);
      code = described.code();
      if (described.ok()) {
        writeState(described.value(), list[i]);
      }
    } else {
      auto summary = co_await store.summary(key);
      code = summary.code();
      if (summary.ok()) {
        writeState(summary.value(), list[i]);
      }
    }
    if (code != 0) {
      answer(results.initAnswer(), verdictOf(code), "the chunk can't be described");
      co_return;
    }
    writeName(key.chunk, list[i].initName());
  }
  answer(results.initAnswer(), wire::Verdict::OK);
}

// The caller's deadline runs meanwhile.
Task<void> PeerHandlers::giveWay(ReplicaUnit& unit, ChunkId chunk) {
  auto summary = co_await unit.state.store().summary(unit.state.key(chunk));
  uint64_t bytes = summary.ok() ? summary.value().allocatedBytes : 0;
  co_await replicator_.around().gives.take(bytes, GIVE_WAY_MAX);
}

// What a joining member that lists everything will list: chunks changed in `since` or later, or dirty.
Task<uint64_t> PeerHandlers::changedBytes(ReplicaUnit& unit, Epoch since) {
  auto page = co_await unit.state.store().enumerate(unit.state.shard, since, nullptr, UINT32_MAX);
  uint64_t bytes = 0;
  if (!page.ok()) {
    co_return bytes;
  }
  for (auto& summary : page.value().chunks) {
    bytes += summary.allocatedBytes;
  }
  co_return bytes;
}

Task<Status> PeerHandlers::takeImage(ReplicaUnit& unit, ChunkId chunk, wire::ChunkImage::Builder out, size_t& bad) {
  // Every mutation that was forwarded before this call must be in the image.
  co_await unit.state.applies.drain();
  auto permit = co_await replicator_.around().heavy.take();
  ImageTarget target(out);
  auto head = co_await unit.state.store().image(unit.state.key(chunk), target);
  if (!head.ok() && head.code() != ENOENT) {
    co_return head.error();
  }
  bad = 0;
  if (head.ok()) {
    writeImageHead(head.value(), out);
    bad = head.value().bad.size() + head.value().torn.size();
  } else {
    writeName(chunk, out.initName());
  }
  co_return Status();
}

Task<void> PeerHandlers::fetch(FetchContext context) {
  OperationTimer timer(metrics_.fetch, clock_);
  auto params = context.getParams();
  ChunkId chunk = chunkOf(params.getChunk());
  auto results = context.getResults();
  ReplicaUnit* unit = member(params.getVolume(), params.getShard(), params.getEpoch(), results.initAnswer());
  if (unit == nullptr) {
    co_return;
  }
  ShardReplica& state = unit->state;
  if (!state.serving() || (state.role == Role::PRIMARY && !state.ready)) {
    answer(results.initAnswer(), wire::Verdict::NOT_READY, "this member can't give chunks yet");
    co_return;
  }
  if (params.getBackground()) {
    co_await giveWay(*unit, chunk);
  }
  size_t bad = 0;
  auto taken = co_await takeImage(*unit, chunk, results.initImage(), bad);
  if (taken.ok() && bad > 0 && params.getBackground() && state.role == Role::PRIMARY) {
    // The joining member may be to replace one that has the block whole: what is bad here is mended first. Only what is
    // bad everywhere is handed on as bad.
    bool mended = co_await replicator_.mendWithin(*unit, chunk, MEND_LIMIT);
    if (!mended) {
      answer(results.initAnswer(), wire::Verdict::NOT_READY, "its bad blocks are being mended first");
      co_return;
    }
    auto again = co_await takeImage(*unit, chunk, results.initImage(), bad);
    taken = again;
  }
  if (!taken.ok()) {
    answer(results.initAnswer(), verdictOf(taken.code()), taken.error().why.c_str());
    co_return;
  }
  bool current = raw(state.epoch()) == params.getEpoch();
  answer(results.initAnswer(), current ? wire::Verdict::OK : wire::Verdict::STALE_EPOCH);
}

Task<void> PeerHandlers::install(InstallContext context) {
  OperationTimer timer(metrics_.install, clock_);
  auto params = context.getParams();
  auto results = context.getResults();
  toWire(membership_.self().incarnation, results.initIncarnation());
  ReplicaUnit* unit = member(params.getVolume(), params.getShard(), params.getEpoch(), results.initAnswer());
  if (unit == nullptr) {
    co_return;
  }
  if (unit->state.role == Role::PRIMARY) {
    answer(results.initAnswer(), wire::Verdict::STALE_EPOCH, "this volume is the primary");
    co_return;
  }
  auto outcome = co_await unit->backup.install(params.getImage(), params.getSequence());
  answer(results.initAnswer(), outcome.verdict, outcome.why.c_str());
}

Task<ReplicaUnit*> PeerHandlers::readyPrimary(uint32_t volume, uint32_t shard, uint64_t epoch, uint64_t version) {
  Nanos deadline = clock_.monotonic() + WAIT_LIMIT;
  for (;;) {
    ReplicaUnit* unit = replicator_.find(VolumeNumber{volume}, ShardId{shard});
    bool known = raw(membership_.map.version) >= version && unit != nullptr;
    if (known && (raw(unit->state.epoch()) != epoch || unit->state.role != Role::PRIMARY)) {
      co_return nullptr;
    }
    if (known && unit->state.ready && !unit->state.volume.failed) {
      co_return unit;
    }
    if (clock_.monotonic() >= deadline) {
      co_return nullptr;
    }
    if (known) {
      co_await unit->state.changed.nextOr(clock_, deadline);
    } else {
      co_await membership_.changed.nextOr(clock_, deadline);
    }
  }
}

Task<void> PeerHandlers::changed(ChangedContext context) {
  auto params = context.getParams();
  auto unit = co_await readyPrimary(params.getVolume(), params.getShard(), params.getEpoch(), params.getMapVersion());
  auto results = context.getResults();
  if (unit == nullptr) {
    answer(results.initAnswer(), wire::Verdict::NOT_READY, "not the primary, or not ready");
    co_return;
  }
  ShardReplica& state = unit->state;
  ChunkId after;
  const ChunkId* start = nullptr;
  if (params.hasAfter()) {
    after = chunkOf(params.getAfter());
    start = &after;
  } else {
    auto first = unit->primary.startStream(VolumeNumber{params.getMember()});
    if (!first) {
      answer(results.initAnswer(), wire::Verdict::NOT_READY, "the volume isn't joining");
      co_return;
    }
    results.setNext(*first);
  }
  // What was accepted before the member's forwards began must be in the list.
  co_await state.applies.drain();
  if (start == nullptr) {
    uint64_t bytes = co_await changedBytes(*unit, Epoch(params.getSince()));
    results.setBytes(bytes);
  }
  auto page = co_await state.store().enumerate(state.shard, Epoch(0), start, CHUNKS_PER_PAGE);
  if (!page.ok() || raw(state.epoch()) != params.getEpoch()) {
    answer(results.initAnswer(), page.ok() ? wire::Verdict::STALE_EPOCH : verdictOf(page.code()));
    co_return;
  }
  std::vector<const ChunkSummary*> newer;
  std::vector<ChunkId> older;
  for (auto& summary : page.value().chunks) {
    if (raw(summary.lastEpoch) >= params.getSince() || summary.dirty) {
      newer.push_back(&summary);
    } else {
      older.push_back(summary.chunk);
    }
  }
  auto list = results.initChunks(static_cast<unsigned>(newer.size()));
  for (uint32_t i = 0; i < newer.size(); ++i) {
    writeState(*newer[i], list[i]);
  }
  writeNames(older, results.initUnchanged(static_cast<unsigned>(older.size())));
  results.setEnd(page.value().end);
  answer(results.initAnswer(), wire::Verdict::OK);
}

Task<void> PeerHandlers::taken(TakenContext context) {
  auto params = context.getParams();
  auto unit = co_await readyPrimary(params.getVolume(), params.getShard(), params.getEpoch(), params.getMapVersion());
  bool complete = false;
  if (unit != nullptr) {
    bool taken = co_await unit->primary.takeIn(VolumeNumber(params.getMember()));
    complete = taken;
  }
  auto results = context.getResults();
  answer(results.initAnswer(), complete ? wire::Verdict::OK : wire::Verdict::NOT_READY,
         complete ? "" : "the member has missed a forward");
}

Task<void> PeerHandlers::settled(SettledContext context) {
  auto params = context.getParams();
  VolumeNumber volume{params.getVolume()};
  for (auto shard : params.getShards()) {
    ReplicaUnit* unit = replicator_.find(volume, ShardId{shard.getShard()});
    if (unit == nullptr || raw(unit->state.epoch()) != shard.getEpoch() || unit->state.role == Role::PRIMARY) {
      continue;
    }
    if (unit->backup.settled(shard.getCompleteBelow())) {
      replicator_.noteInSync(*unit);
    }
  }
  answer(context.getResults().initAnswer(), wire::Verdict::OK);
  co_return;
}

Task<void> PeerHandlers::repair(RepairContext context) {
  auto params = context.getParams();
  auto unit = co_await readyPrimary(params.getVolume(), params.getShard(), params.getEpoch(), 0);
  bool repaired = false;
  if (unit != nullptr) {
    bool done = co_await unit->primary.repair(chunkOf(params.getChunk()));
    repaired = done;
  }
  answer(context.getResults().initAnswer(), repaired ? wire::Verdict::OK : wire::Verdict::NOT_READY);
}

namespace {

class PeerServiceServer final : public wire::PeerService::Server {
 public:
  PeerServiceServer(kj::Own<ServiceGate> gate, PeerHandlers& handlers) : gate_(kj::mv(gate)), handlers_(handlers) {}
  kj::Promise<void> forward(ForwardContext c) override { return gate_->pass(handlers_, &PeerHandlers::forward, c); }
  kj::Promise<void> sync(SyncContext c) override { return gate_->pass(handlers_, &PeerHandlers::sync, c); }
  kj::Promise<void> pending(PendingContext c) override { return gate_->pass(handlers_, &PeerHandlers::pending, c); }
  kj::Promise<void> describe(DescribeContext c) override { return gate_->pass(handlers_, &PeerHandlers::describe, c); }
  kj::Promise<void> fetch(FetchContext c) override { return gate_->pass(handlers_, &PeerHandlers::fetch, c); }
  kj::Promise<void> install(InstallContext c) override { return gate_->pass(handlers_, &PeerHandlers::install, c); }
  kj::Promise<void> changed(ChangedContext c) override { return gate_->pass(handlers_, &PeerHandlers::changed, c); }
  kj::Promise<void> settled(SettledContext c) override { return gate_->pass(handlers_, &PeerHandlers::settled, c); }
  kj::Promise<void> taken(TakenContext c) override { return gate_->pass(handlers_, &PeerHandlers::taken, c); }
  kj::Promise<void> repair(RepairContext c) override { return gate_->pass(handlers_, &PeerHandlers::repair, c); }

 private:
  kj::Own<ServiceGate> gate_;
  PeerHandlers& handlers_;
};

}  // namespace

wire::PeerService::Client newPeerService(ServiceGate& gate, PeerHandlers& handlers) {
  return kj::heap<PeerServiceServer>(kj::addRef(gate), handlers);
}

}  // namespace cairn
