#include "tests/sim/cluster/probe.h"

#include <kj/debug.h>

#include <algorithm>
#include <cerrno>

#include "common/checksum.h"
#include "rpc/connection.h"

namespace cairn {
namespace {

constexpr uint32_t CHUNK_BLOCK_MASK = BLOCK_BYTES - 1;

void fillHello(const ClusterFile& cluster, wire::Role role, wire::Hello::Builder hello) {
  toWire(cluster.cluster, hello.initCluster());
  hello.setRole(role);
  hello.setProtocol(wire::PROTOCOL);
  hello.setName("probe");
}

std::vector<uint32_t> blocksOf(capnp::List<uint32_t>::Reader list) {
  std::vector<uint32_t> out;
  for (uint32_t block : list) {
    out.push_back(block);
  }
  return out;
}

void takeBytes(wire::ChunkService::ReadResults::Reader reply, uint32_t length, ProbeRead& out) {
  auto data = reply.getData();
  auto sums = reply.getSums();
  out.bytes.assign(length, 0);
  std::copy_n(data.begin(), std::min<size_t>(data.size(), length), out.bytes.begin());
  for (uint32_t i = 0; i < sums.size() && (i + 1) * BLOCK_BYTES <= length; ++i) {
    auto block = kj::arrayPtr(out.bytes.data() + i * BLOCK_BYTES, BLOCK_BYTES);
    out.matches = out.matches && (sums[i] == 0 || blockChecksum(block) == sums[i]);
  }
}

}  // namespace

Task<kj::Own<Probe::Door>> Probe::enter(std::string server) {
  auto& network = cluster_.network().host(from_);
  const Address address = cluster_.addressOf(server);
  auto link = co_await dial(network, cluster_.world().clock(), address, ANSWER_LIMIT, PeerRole::CHUNKSERVER);
  auto request = link->bootstrap().castAs<wire::ChunkDoor>().enterRequest();
  fillHello(cluster_.clusterFile(), wire::Role::CHUNKSERVER, request.initHello());
  auto sent = request.send();
  kj::Promise<capnp::Response<wire::ChunkDoor::EnterResults>> answered = kj::mv(sent);
  auto response = co_await kj::mv(answered);
  KJ_REQUIRE(response.getOutcome().getErrno() == 0, response.getOutcome().getWhy());
  co_return kj::heap<Door>(Door{kj::mv(link), response.getChunks(), response.getPeer()});
}

void Probe::fillTarget(const Attributes& file, uint32_t chunk, const As& as, wire::Target::Builder target) {
  const ShardMap& map = as.map == nullptr ? cluster_.map() : *as.map;
  const Layout& layout = file.layout;
  const ShardRecord* record = map.shard(layout.cls, ChunkId{layout.object, chunk});
  KJ_REQUIRE(record != nullptr, "the map has no such shard");
  target.setShard(raw(record->id));
  target.setEpoch(raw(record->epoch));
  target.setMapVersion(raw(map.version));
  target.setSession(raw(as.session));
  target.setObject(raw(layout.object));
  target.setIndex(chunk);
  target.setChunkBits(layout.chunkBits);
  target.setGeneration(layout.generation);
  auto cuts = target.initCuts(static_cast<unsigned>(layout.cuts.size()));
  for (uint32_t i = 0; i < layout.cuts.size(); ++i) {
    cuts[i].setGeneration(layout.cuts[i].generation);
    cuts[i].setFirstDead(layout.cuts[i].firstDead);
  }
}

Task<ProbeRead> Probe::readNow(std::string server, Attributes file, uint64_t offset, uint32_t length, As as) {
  ProbeRead out;
  try {
    auto door = co_await enter(kj::mv(server));
    auto request = door->chunks.readRequest();
    uint64_t chunkBytes = uint64_t{1} << file.layout.chunkBits;
    fillTarget(file, static_cast<uint32_t>(offset / chunkBytes), as, request.initTarget());
    request.setOffset(static_cast<uint32_t>(offset % chunkBytes));
    request.setLength(length);
    kj::Promise<capnp::Response<wire::ChunkService::ReadResults>> sent = request.send();
    auto reply = co_await kj::mv(sent);
    out.answered = true;
    out.verdict = reply.getAnswer().getVerdict();
    out.why = reply.getAnswer().getWhy().cStr();
    takeBytes(reply, length, out);
  } catch (const kj::Exception& e) {
    out.why = e.getDescription().cStr();
  }
  co_return kj::mv(out);
}

Task<ProbeRead> Probe::read(std::string server, Attributes file, uint64_t offset, uint32_t length, As as) {
  KJ_REQUIRE((offset & CHUNK_BLOCK_MASK) == 0 && (length & CHUNK_BLOCK_MASK) == 0);
  auto late = cluster_.world().clock().after(as.limit).then([]() { return ProbeRead(); });
  auto reading = readNow(kj::mv(server), kj::mv(file), offset, length, as).promise();
  co_return co_await reading.exclusiveJoin(kj::mv(late));
}

ProbeRead Probe::read(const std::string& server, const Attributes& file, uint64_t offset, uint32_t length) {
  return cluster_.wait(read(server, file, offset, length, As()));
}

Task<wire::Verdict> Probe::writeNow(std::string server, Attributes file, uint64_t block, kj::Array<kj::byte> bytes,
                                    As as) {
  KJ_REQUIRE(bytes.size() == BLOCK_BYTES);
  auto door = co_await enter(kj::mv(server));
  auto request = door->chunks.writeRequest();
  uint64_t chunkBytes = uint64_t{1} << file.layout.chunkBits;
  uint64_t offset = block * BLOCK_BYTES;
  fillTarget(file, static_cast<uint32_t>(offset / chunkBytes), as, request.initTarget());
  auto piece = request.initPieces(1)[0];
  piece.setOffset(static_cast<uint32_t>(offset % chunkBytes));
  piece.setData(bytes);
  piece.initSums(1).set(0, blockChecksum(bytes));
  kj::Promise<capnp::Response<wire::ChunkService::WriteResults>> sent = request.send();
  auto reply = co_await kj::mv(sent);
  co_return reply.getAnswer().getVerdict();
}

Task<wire::Verdict> Probe::write(std::string server, Attributes file, uint64_t block, kj::Array<kj::byte> bytes,
                                 As as) {
  auto writing = writeNow(kj::mv(server), kj::mv(file), block, kj::mv(bytes), as).promise();
  co_return co_await withDeadline(cluster_.world().clock(), as.limit, kj::mv(writing), "the probe's write");
}

// ---- as another member --------------------------------------------------------------------------

Task<ProbeCopy> Probe::describeNow(std::string server, ShardId shard, ChunkId chunk) {
  ProbeCopy out;
  try {
    VolumeNumber volume = cluster_.volumeOf(server);
    auto door = co_await enter(kj::mv(server));
    auto request = door->peer.describeRequest();
    request.setVolume(raw(volume));
    request.setShard(raw(shard));
    request.setEpoch(raw(cluster_.map().shard(shard)->epoch));
    auto name = request.initChunks(1)[0];
    name.setObject(raw(chunk.object));
    name.setIndex(chunk.index);
    request.setDeep(true);
    kj::Promise<capnp::Response<wire::PeerService::DescribeResults>> sent = request.send();
    auto reply = co_await withDeadline(cluster_.world().clock(), ANSWER_LIMIT, kj::mv(sent), "describing");
    out.answered = true;
    out.verdict = reply.getAnswer().getVerdict();
    if (out.ok()) {
      auto state = reply.getChunks()[0];
      out.present = state.getPresent();
      out.digest = state.getDigest();
      out.bad = blocksOf(state.getBad());
      out.torn = blocksOf(state.getTorn());
    }
  } catch (const kj::Exception&) {
    out.answered = false;
  }
  co_return kj::mv(out);
}

ProbeCopy Probe::describe(const std::string& server, ShardId shard, ChunkId chunk) {
  return cluster_.wait(describeNow(server, shard, chunk));
}

Task<std::vector<ChunkId>> Probe::listNow(ShardRecord record) {
  auto door = co_await enter(cluster_.hostOf(record.primary));
  std::vector<ChunkId> out;
  ChunkId after;
  for (bool end = false; !end;) {
    auto request = door->peer.changedRequest();
    request.setVolume(raw(record.primary));
    request.setShard(raw(record.id));
    request.setEpoch(raw(record.epoch));
    auto name = request.initAfter();
    name.setObject(raw(after.object));
    name.setIndex(after.index);
    kj::Promise<capnp::Response<wire::PeerService::ChangedResults>> sent = request.send();
    auto reply = co_await withDeadline(cluster_.world().clock(), ANSWER_LIMIT * 10, kj::mv(sent), "listing");
    KJ_REQUIRE(reply.getAnswer().getVerdict() == wire::Verdict::OK, reply.getAnswer().getWhy());
    for (auto chunk : reply.getChunks()) {
      out.push_back({ObjectId{chunk.getName().getObject()}, chunk.getName().getIndex()});
    }
    end = reply.getEnd() || out.empty();
    after = out.empty() ? after : out.back();
  }
  co_return kj::mv(out);
}

std::vector<ChunkId> Probe::chunksAtPrimary(ShardId shard) {
  return cluster_.wait(listNow(*cluster_.map().shard(shard)));
}

// ---- as an administrator ------------------------------------------------------------------------

Task<wire::Admin::Client> Probe::enterAdmin(kj::Own<Link>& link) {
  auto& network = cluster_.network().host(from_);
  auto address = cluster_.addressOf(cluster_.leaderNow());
  auto dialled = co_await dial(network, cluster_.world().clock(), address, ANSWER_LIMIT, PeerRole::MASTER);
  link = kj::mv(dialled);
  auto request = link->bootstrap().castAs<wire::MasterDoor>().enterRequest();
  fillHello(cluster_.clusterFile(), wire::Role::ADMIN, request.initHello());
  auto entering = request.send();
  auto asking = entering.getMaster().adminRequest().send();
  co_return asking.getAdmin();
}

Task<void> Probe::evictNow(SessionId session) {
  kj::Own<Link> link;
  auto admin = co_await enterAdmin(link);
  auto request = admin.evictRequest();
  request.setSession(raw(session));
  kj::Promise<capnp::Response<wire::Admin::EvictResults>> sent = request.send();
  auto reply = co_await kj::mv(sent);
  KJ_REQUIRE(reply.getOutcome().getErrno() == 0, reply.getOutcome().getWhy());
}

Task<int> Probe::changeServerNow(std::string name, wire::ServerChange change, uint32_t seconds) {
  kj::Own<Link> link;
  auto admin = co_await enterAdmin(link);
  auto request = admin.changeServerRequest();
  request.setName(name);
  request.setChange(change);
  request.setSeconds(seconds);
  kj::Promise<capnp::Response<wire::Admin::ChangeServerResults>> sent = request.send();
  auto reply = co_await kj::mv(sent);
  co_return reply.getOutcome().getErrno();
}

Task<int> Probe::forceShardNow(ShardId shard, VolumeNumber volume, bool apply) {
  kj::Own<Link> link;
  auto admin = co_await enterAdmin(link);
  auto request = admin.forceShardRequest();
  request.setShard(raw(shard));
  request.setVolume(raw(volume));
  request.setApply(apply);
  kj::Promise<capnp::Response<wire::Admin::ForceShardResults>> sent = request.send();
  auto reply = co_await kj::mv(sent);
  co_return reply.getOutcome().getErrno();
}

Task<int> Probe::setReplicasNow(std::string path, uint8_t copies, wire::FailureDomain level, bool existing) {
  kj::Own<Link> link;
  auto admin = co_await enterAdmin(link);
  auto request = admin.setReplicasRequest();
  request.setPath(kj::StringPtr(path.c_str()).asBytes());
  request.setCopies(copies);
  request.setLevel(level);
  request.setExisting(existing);
  request.setApply(true);
  kj::Promise<capnp::Response<wire::Admin::SetReplicasResults>> sent = request.send();
  auto reply = co_await kj::mv(sent);
  co_return reply.getOutcome().getErrno();
}

Task<int> Probe::copying(std::string path, uint8_t copies) {
  if (cluster_.leaderNow().empty()) {
    co_return EIO;
  }
  try {
    auto set = setReplicasNow(kj::mv(path), copies, wire::FailureDomain::SERVER, true).promise();
    co_return co_await withDeadline(cluster_.world().clock(), 10 * ANSWER_LIMIT, kj::mv(set), "setting replicas");
  } catch (const kj::Exception&) {
  }
  co_return EIO;
}

Task<int> Probe::setQuotaNow(std::string path, uint64_t bytesMax, uint64_t filesMax) {
  kj::Own<Link> link;
  auto admin = co_await enterAdmin(link);
  auto request = admin.setQuotaRequest();
  request.setPath(kj::StringPtr(path.c_str()).asBytes());
  request.setBytesMax(bytesMax);
  request.setFilesMax(filesMax);
  kj::Promise<capnp::Response<wire::Admin::SetQuotaResults>> sent = request.send();
  auto reply = co_await kj::mv(sent);
  co_return reply.getOutcome().getErrno();
}

Task<Probe::Quota> Probe::quotasNow() {
  kj::Own<Link> link;
  auto admin = co_await enterAdmin(link);
  kj::Promise<capnp::Response<wire::Admin::QuotasResults>> sent = admin.quotasRequest().send();
  auto reply = co_await kj::mv(sent);
  Quota sum;
  for (auto quota : reply.getQuotas()) {
    sum.bytesUsed += quota.getBytesUsed();
    sum.bytesGranted += quota.getBytesGranted();
  }
  co_return sum;
}

Task<size_t> Probe::copyTasksNow() {
  kj::Own<Link> link;
  auto admin = co_await enterAdmin(link);
  kj::Promise<capnp::Response<wire::Admin::CopyTasksResults>> sent = admin.copyTasksRequest().send();
  auto reply = co_await kj::mv(sent);
  co_return reply.getTasks().size();
}

int Probe::setReplicas(std::string path, uint8_t copies, wire::FailureDomain level) {
  return cluster_.wait(setReplicasNow(kj::mv(path), copies, level));
}

int Probe::changeServer(std::string name, wire::ServerChange change, uint32_t seconds) {
  return cluster_.wait(changeServerNow(kj::mv(name), change, seconds));
}

int Probe::forceShard(ShardId shard, const std::string& server, bool apply) {
  return cluster_.wait(forceShardNow(shard, cluster_.volumeOf(server), apply));
}

Task<uint64_t> Probe::adoptedNow() {
  kj::Own<Link> link;
  auto admin = co_await enterAdmin(link);
  kj::Promise<capnp::Response<wire::Admin::StatusResults>> sent = admin.statusRequest().send();
  auto reply = co_await kj::mv(sent);
  uint64_t adopted = 0;
  for (auto server : reply.getStatus().getServers()) {
    for (auto volume : server.getVolumes()) {
      adopted += volume.getAdoptedBlocks();
    }
  }
  co_return adopted;
}

uint64_t Probe::adoptedBlocks() { return cluster_.wait(adoptedNow()); }

void Probe::evict(SessionId session) { cluster_.wait(evictNow(session)); }

std::string Probe::difference(ShardId shard, ChunkId chunk) {
  ShardRecord record = *cluster_.map().shard(shard);
  std::string name = "chunk " + std::to_string(raw(chunk.object)) + "-" + std::to_string(chunk.index);
  std::optional<ProbeCopy> first;
  for (VolumeNumber volume : record.inSync) {
    std::string host = cluster_.hostOf(volume);
    ProbeCopy copy = describe(host, shard, chunk);
    if (!copy.ok()) {
      return name + ": " + host + " doesn't describe it: verdict " + std::to_string(static_cast<int>(copy.verdict));
    }
    if (!copy.bad.empty() || !copy.torn.empty()) {
      return name + ": on " + host + " " + std::to_string(copy.bad.size()) + " blocks are bad and " +
             std::to_string(copy.torn.size()) + " torn";
    }
    if (first && (first->present != copy.present || (copy.present && first->digest != copy.digest))) {
      return name + ": " + host + "'s copy differs from " + cluster_.hostOf(record.inSync[0]) + "'s";
    }
    first = first ? first : copy;
  }
  return {};
}

}  // namespace cairn
