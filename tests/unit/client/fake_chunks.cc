#include "tests/unit/client/fake_chunks.h"

#include <algorithm>
#include <cstring>

#include "common/checksum.h"

namespace cairn {

using Fate = FakeMaster::Fate;
using wire::Verdict;

class FakeChunkService final : public wire::ChunkService::Server {
 public:
  explicit FakeChunkService(FakeServer& server) : server_(server) {}

  kj::Promise<void> write(WriteContext context) override {
    return around("write", [this, context]() mutable {
      auto params = context.getParams();
      auto verdict = before("write", params.getTarget(), true);
      if (verdict == Verdict::OK) {
        verdict = server_.applyWrite(params.getTarget(), params.getPieces(), params.getDurable());
        ++server_.writes;
        server_.durableWrites += params.getDurable() ? 1 : 0;
        vouch(params.getTarget(), context.getResults());
        context.getResults().setAllocatedDelta(4096);
      }
      context.getResults().initAnswer().setVerdict(verdict);
      context.getResults().getAnswer().setMapVersion(raw(server_.master_.map.version));
    });
  }

  kj::Promise<void> read(ReadContext context) override {
    return around("read", [this, context]() mutable { readNow(context); });
  }

  kj::Promise<void> sync(SyncContext context) override {
    return around("sync", [this, context]() mutable {
      auto target = context.getParams().getTarget();
      auto verdict = before("sync", target, true);
      if (verdict == Verdict::OK) {
        server_.applySync(target);
        ++server_.syncs;
        vouch(target, context.getResults());
      }
      context.getResults().initAnswer().setVerdict(verdict);
      context.getResults().getAnswer().setMapVersion(raw(server_.master_.map.version));
    });
  }

  kj::Promise<void> punch(PunchContext context) override {
    return around("punch", [this, context]() mutable {
      auto params = context.getParams();
      auto verdict = before("punch", params.getTarget(), true);
      if (verdict == Verdict::OK) {
        server_.applyPunch(params.getTarget(), params.getOffset(), params.getLength());
        ++server_.punches;
        vouch(params.getTarget(), context.getResults());
      }
      context.getResults().initAnswer().setVerdict(verdict);
      context.getResults().getAnswer().setMapVersion(raw(server_.master_.map.version));
    });
  }

  kj::Promise<void> allocated(AllocatedContext context) override {
    auto target = context.getParams().getTarget();
    auto& chunk = server_.open(server_.now_, target);
    std::vector<kj::byte> bitmap((chunk.sums.size() + 7) / 8);
    for (size_t i = 0; i < chunk.sums.size(); ++i) {
      bitmap[i / 8] |= static_cast<kj::byte>((chunk.sums[i] != 0 ? 1 : 0) << (i % 8));
    }
    context.getResults().initAnswer();
    context.getResults().setBitmap(kj::arrayPtr(bitmap.data(), bitmap.size()));
    return kj::READY_NOW;
  }

  kj::Promise<void> reportBad(ReportBadContext context) override {
    server_.reports += context.getParams().getBlocks().size();
    return kj::READY_NOW;
  }

 private:
  // Breaks and slowness around the work of a call. The work is done when the call arrives, as a chunkserver applies
  // what it gets in the order of arrival; it is the answer that is late.
  template <typename F>
  kj::Promise<void> around(const char* kind, F work) {
    Nanos wait = server_.slowness ? server_.slowness(kind) : 0;
    Fate fate = server_.fate ? server_.fate(kind) : Fate::NORMAL;
    if (fate != Fate::BREAK_BEFORE) {
      work();
    }
    auto answer = [this, fate]() -> kj::Promise<void> {
      if (fate != Fate::NORMAL) {
        server_.world_.network().reset(server_.host());
        return KJ_EXCEPTION(DISCONNECTED, "the test broke the link");
      }
      return kj::READY_NOW;
    };
    if (wait == 0) {
      return answer();
    }
    return server_.world_.clock().after(wait).then(kj::mv(answer));
  }

  Verdict before(const char* kind, wire::Target::Reader target, bool primary) {
    Verdict told = server_.verdict ? server_.verdict(kind) : Verdict::OK;
    return told != Verdict::OK ? told : server_.check(target, primary);
  }

  template <typename R>
  void vouch(wire::Target::Reader target, R results) {
    auto members = server_.members(target.getShard());
    auto list = results.initVerifiers(members.size());
    for (unsigned i = 0; i < members.size(); ++i) {
      list[i].setVolume(raw(members[i]->volume()));
      toWire(members[i]->incarnation, list[i].initIncarnation());
      list[i].setSince(members[i]->since);
    }
  }

  void readNow(ReadContext& context) {
    auto params = context.getParams();
    auto answer = context.getResults().initAnswer();
    auto verdict = before("read", params.getTarget(), false);
    answer.setVerdict(verdict);
    answer.setMapVersion(raw(server_.master_.map.version));
    if (verdict != Verdict::OK) {
      return;
    }
    ++server_.reads;
    server_.readBytes += params.getLength();
    auto& chunk = server_.open(server_.now_, params.getTarget());
    size_t from = std::min<size_t>(params.getOffset(), chunk.bytes.size());
    size_t to = std::min<size_t>(chunk.bytes.size(), params.getOffset() + params.getLength());
    if (server_.checksItself) {
      for (size_t at = from; at < to; at += BLOCK_BYTES) {
        auto block = kj::arrayPtr(chunk.bytes.data() + at, BLOCK_BYTES);
        if (chunk.sums[at / BLOCK_BYTES] != 0 && blockChecksum(block) != chunk.sums[at / BLOCK_BYTES]) {
          answer.setVerdict(Verdict::CORRUPT);
          return;
        }
      }
    }
    context.getResults().setData(kj::arrayPtr(chunk.bytes.data() + from, to - from));
    auto sums = context.getResults().initSums((to - from) / BLOCK_BYTES);
    for (unsigned i = 0; i < sums.size(); ++i) {
      sums.set(i, chunk.sums[from / BLOCK_BYTES + i]);
    }
  }

  FakeServer& server_;
};

class FakeChunkDoor final : public wire::ChunkDoor::Server {
 public:
  explicit FakeChunkDoor(FakeServer& server) : server_(server) {}

  kj::Promise<void> enter(EnterContext context) override {
    if (fromWire<ServerTag>(context.getParams().getServer()) != server_.id_) {
      context.getResults().getOutcome().setErrno(ESTALE);
    } else {
      context.getResults().setChunks(kj::heap<FakeChunkService>(server_));
    }
    return kj::READY_NOW;
  }

 private:
  FakeServer& server_;
};

FakeServer::FakeServer(World& world, FakeMaster& master, std::vector<FakeServer*>& all, unsigned number)
    : incarnation{number, 1}, world_(world), master_(master), all_(all), number_(number), id_{7, number} {
  serve();
}

void FakeServer::serve() {
  auto door = [this](const PeerIdentity&) { return capnp::Capability::Client(kj::heap<FakeChunkDoor>(*this)); };
  server_ = serveRpc(world_.network().host(host()).listen(host() + ":7100").value(), kj::mv(door));
}

ServerRecord FakeServer::record() const {
  ServerRecord out;
  out.id = id_;
  out.name = host();
  out.incarnation = incarnation;
  out.address = host() + ":7100";
  out.online = true;
  return out;
}

void FakeServer::crash() {
  server_ = nullptr;
  world_.network().reset(host());
  now_ = synced_;
  ++incarnation.low;
  serve();
}

void FakeServer::rejoin() {
  now_ = synced_;
  ++since;
}

void FakeServer::powerOff() {
  world_.network().powerOff(host());
  server_ = nullptr;
}

void FakeServer::powerOn() {
  world_.network().powerOn(host());
  now_ = synced_;
  ++incarnation.low;
  serve();
}

void FakeServer::corrupt(uint64_t object, uint32_t index, uint32_t offset) {
  now_.at({object, index}).bytes.at(offset) ^= 1;
}

FakeChunk* FakeServer::chunk(uint64_t object, uint32_t index) {
  auto it = now_.find({object, index});
  return it == now_.end() ? nullptr : &it->second;
}

std::vector<FakeServer*> FakeServer::members(uint32_t shard) const {
  std::vector<FakeServer*> out;
  for (VolumeNumber volume : master_.map.shard(ShardId{shard})->inSync) {
    out.push_back(all_.at(raw(volume) - 1));
  }
  return out;
}

Verdict FakeServer::check(wire::Target::Reader target, bool primary) const {
  auto* shard = master_.map.shard(ShardId{target.getShard()});
  if (shard == nullptr || target.getEpoch() != raw(shard->epoch)) {
    return Verdict::STALE_EPOCH;
  }
  if (primary ? shard->primary != volume() : !shard->isInSync(volume())) {
    return Verdict::NOT_PRIMARY;
  }
  if (master_.map.fenced.count(SessionId{target.getSession()}) > 0) {
    return Verdict::FENCED;
  }
  auto it = now_.find({target.getObject(), target.getIndex()});
  return it != now_.end() && it->second.generation > target.getGeneration() ? Verdict::STALE_LAYOUT : Verdict::OK;
}

// Applies cuts that the chunk hasn't seen.
FakeChunk& FakeServer::open(Store& store, wire::Target::Reader target) {
  auto& chunk = store[{target.getObject(), target.getIndex()}];
  uint64_t start = uint64_t{target.getIndex()} << target.getChunkBits();
  for (auto cut : target.getCuts()) {
    if (cut.getGeneration() <= chunk.generation) {
      continue;
    }
    uint64_t dead = cut.getFirstDead() > start ? cut.getFirstDead() - start : 0;
    for (uint64_t at = dead; at < chunk.bytes.size(); ++at) {
      chunk.bytes[at] = 0;
    }
    for (size_t block = dead / BLOCK_BYTES; block < chunk.sums.size(); ++block) {
      bool whole = block * BLOCK_BYTES >= dead;
      auto bytes = kj::arrayPtr(chunk.bytes.data() + block * BLOCK_BYTES, BLOCK_BYTES);
      chunk.sums[block] = whole || chunk.sums[block] == 0 ? 0 : blockChecksum(bytes);
    }
  }
  chunk.generation = std::max(chunk.generation, target.getGeneration());
  return chunk;
}

void FakeServer::writePieces(FakeChunk& chunk, capnp::List<wire::Piece>::Reader pieces) {
  for (auto piece : pieces) {
    auto data = piece.getData();
    size_t end = piece.getOffset() + data.size();
    size_t blocks = (end + BLOCK_BYTES - 1) / BLOCK_BYTES;
    if (chunk.sums.size() < blocks) {
      chunk.sums.resize(blocks);
      chunk.bytes.resize(blocks * BLOCK_BYTES);
    }
    memcpy(chunk.bytes.data() + piece.getOffset(), data.begin(), data.size());
    for (size_t block = piece.getOffset() / BLOCK_BYTES; block < blocks; ++block) {
      chunk.sums[block] = blockChecksum(kj::arrayPtr(chunk.bytes.data() + block * BLOCK_BYTES, BLOCK_BYTES));
    }
  }
}

Verdict FakeServer::applyWrite(wire::Target::Reader target, capnp::List<wire::Piece>::Reader pieces, bool durable) {
  for (auto piece : pieces) {
    auto data = piece.getData();
    uint32_t at = piece.getOffset();
    for (uint64_t sum : piece.getSums()) {
      size_t now = std::min<size_t>(BLOCK_BYTES - at % BLOCK_BYTES, data.size());
      if (blockChecksum(data.slice(0, now)) != sum) {
        return Verdict::BAD_REQUEST;
      }
      data = data.slice(now, data.size());
      at += now;
    }
    if (data.size() > 0) {
      return Verdict::BAD_REQUEST;
    }
  }
  for (auto* member : members(target.getShard())) {
    writePieces(member->open(member->now_, target), pieces);
    if (durable) {
      writePieces(member->open(member->synced_, target), pieces);
    }
  }
  return Verdict::OK;
}

void FakeServer::applyPunch(wire::Target::Reader target, uint32_t offset, uint32_t length) {
  for (auto* member : members(target.getShard())) {
    auto& chunk = member->open(member->now_, target);
    for (uint64_t at = offset; at < std::min<uint64_t>(chunk.bytes.size(), uint64_t{offset} + length); ++at) {
      chunk.bytes[at] = 0;
    }
    for (size_t block = offset / BLOCK_BYTES; block < chunk.sums.size() && block * BLOCK_BYTES < offset + length;
         ++block) {
      bool whole = block * BLOCK_BYTES >= offset && (block + 1) * BLOCK_BYTES <= offset + length;
      auto bytes = kj::arrayPtr(chunk.bytes.data() + block * BLOCK_BYTES, BLOCK_BYTES);
      chunk.sums[block] = whole || chunk.sums[block] == 0 ? 0 : blockChecksum(bytes);
    }
  }
}

void FakeServer::applySync(wire::Target::Reader target) {
  for (auto* member : members(target.getShard())) {
    member->synced_[{target.getObject(), target.getIndex()}] = member->open(member->now_, target);
  }
}

}  // namespace cairn
