#include "tests/unit/chunkserver/replication_world.h"

#include <algorithm>

#include "common/checksum.h"
#include "common/generator.h"
#include "common/system/leveldb_env.h"

namespace cairn::replication_test {
namespace {

template <typename Results>
void readAnswer(Results& results, Answer& out) {
  out.verdict = results.getAnswer().getVerdict();
  out.why = results.getAnswer().getWhy().cStr();
}

template <typename Results>
void readVerifiers(Results& results, Answer& out) {
  for (auto verifier : results.getVerifiers()) {
    VolumeNumber volume{verifier.getVolume()};
    out.verifiers[volume] = fromWire<IncarnationTag>(verifier.getIncarnation());
    out.since[volume] = Epoch{verifier.getSince()};
  }
}

Answer lostAnswer(kj::Exception&& e) {
  Answer out;
  out.lost = true;
  out.why = e.getDescription().cStr();
  return out;
}

constexpr auto CHANGED = [](auto&& response) {
  Answer out;
  readAnswer(response, out);
  readVerifiers(response, out);
  out.allocatedDelta = response.getAllocatedDelta();
  return out;
};

}  // namespace

ReplicationWorld::ReplicationWorld(uint64_t seed) : world(seed), master(world) {}

ReplicationWorld::~ReplicationWorld() noexcept(false) {
  while (!servers_.empty()) {
    died(servers_.begin()->first);
  }
  links_.clear();
}

void ReplicationWorld::start(const std::string& name) {
  Running& server = servers_[name];
  std::string process = name + "#" + std::to_string(++starts_[name]);
  server.workers = world.newWorkers(process);
  server.random = world.random(process);
  server.bareEnv = world.newEnv();
  server.env = newLogSyncingEnv(*server.bareEnv);
  server.homeDisk = world.volume(name).open();
  server.disk = disk(name).open();
  auto home = ServerHome::open(*server.homeDisk, *server.random, CLUSTER);
  ASSERT_TRUE(home.ok()) << home.error().why;
  server.home = kj::mv(home.value());
  DaemonOptions options;
  options.cluster.cluster = CLUSTER;
  options.cluster.masters.push_back({"m1", "m1:7000", ""});
  options.cluster.repairMibPerSecond = repairMibPerSecond;
  options.name = name;
  options.listen = name + ":7100";
  options.hostId = name;
  VolumePlace place;
  place.path = "v1";
  place.disk = server.disk.get();
  place.env = server.env.get();
  DaemonSeams seams{world.clock(), *server.random, world.network().host(name), *server.workers};
  auto daemon = startDaemon(seams, options, *server.home, {place});
  ASSERT_TRUE(daemon.ok()) << daemon.error().why;
  server.daemon = kj::mv(daemon.value());
  auto note = [this, name](Error&& error) { wantsToEnd[name] = error.why; };
  server.ended = server.daemon->onFatal().then(kj::mv(note)).eagerlyEvaluate(nullptr);
  ASSERT_TRUE(until([&] { return server.daemon->registered(); }));
}

void ReplicationWorld::startAll(const std::vector<std::string>& names) {
  for (auto& name : names) {
    start(name);
  }
}

void ReplicationWorld::died(const std::string& name) {
  links_.erase(name);
  Running& server = servers_.at(name);
  server.ended = nullptr;
  server.daemon = nullptr;
  server.home = nullptr;
  server.workers = nullptr;  // drops jobs that still hold what lies over the environment
  servers_.erase(name);
}

void ReplicationWorld::kill(const std::string& name) {
  world.volume(name).processDied();
  disk(name).processDied();
  died(name);
}

void ReplicationWorld::powerCut(const std::string& name) {
  world.network().powerOff(name);
  world.volume(name).powerCut();
  disk(name).powerCut();
  died(name);
  world.network().powerOn(name);
}

void ReplicationWorld::stop(const std::string& name) {
  world.await(servers_.at(name).daemon->stop(), PATIENCE);
  died(name);
}

void ReplicationWorld::startThree() {
  startAll({"c1", "c2", "c3"});
  for (auto& name : {"c1", "c2", "c3"}) {
    master.admit(name);
  }
  master.setAll({"c1", "c2", "c3"});
  master.publish();
  for (auto& name : {"c1", "c2", "c3"}) {
    ASSERT_TRUE(awaitReady(name)) << name;
  }
}

bool ReplicationWorld::awaitReady(const std::string& name) {
  Nanos deadline = world.clock().monotonic() + PATIENCE;
  for (uint64_t object = 900; object < 940; ++object) {
    while (!read(name, object, 0, BLOCK_BYTES).ok()) {
      if (world.clock().monotonic() > deadline) {
        return false;
      }
      world.runFor(10 * MILLISECOND);
    }
  }
  return true;
}

bool ReplicationWorld::awaitCaughtUp(const std::string& name) {
  return until([&] {
    size_t joining = 0;
    for (auto& [id, shard] : master.map.shards) {
      joining += shard.isJoining(master.volumeOf(name)) ? 1 : 0;
    }
    return master.servers.at(name).caughtUp.size() == joining;
  });
}

ReplicationWorld::Reached& ReplicationWorld::reach(const std::string& server) {
  auto it = links_.find(server);
  if (it != links_.end()) {
    return it->second;
  }
  Reached reached;
  auto& host = world.network().host("client");
  reached.link = settle(dial(host, world.clock(), server + ":7100", 5 * SECOND, PeerRole::CHUNKSERVER));
  auto request = reached.link->bootstrap().castAs<wire::ChunkDoor>().enterRequest();
  auto hello = request.initHello();
  toWire(CLUSTER, hello.initCluster());
  hello.setRole(wire::Role::CHUNKSERVER);
  hello.setProtocol(wire::PROTOCOL);
  hello.setName("test");
  auto response = settle(kj::Promise<capnp::Response<wire::ChunkDoor::EnterResults>>(request.send()));
  EXPECT_EQ(0, response.getOutcome().getErrno());
  reached.chunks = response.getChunks();
  reached.peer = response.getPeer();
  return links_.emplace(server, kj::mv(reached)).first->second;
}

wire::PeerService::Client ReplicationWorld::peer(const std::string& server) {
  return *reach(server).peer;
}

void ReplicationWorld::fillTarget(wire::Target::Builder out, uint64_t object, bool asPeer) {
  ShardId shard = shardOf(object);
  out.setShard(raw(shard));
  out.setEpoch(raw(master.map.shards[shard].epoch));
  out.setMapVersion(asPeer ? 0 : raw(master.map.version));
  out.setSession(session);
  out.setObject(object);
  out.setChunkBits(DEFAULT_CHUNK_BITS);
  out.setGeneration(generation);
  auto list = out.initCuts(static_cast<unsigned>(cuts.size()));
  for (uint32_t i = 0; i < cuts.size(); ++i) {
    list[i].setGeneration(cuts[i].first);
    list[i].setFirstDead(cuts[i].second);
  }
}

std::vector<kj::byte> ReplicationWorld::bytes(uint64_t seed, size_t size) {
  auto generator = Generator::fromSeed(seed);
  std::vector<kj::byte> out(size);
  for (auto& byte : out) {
    byte = static_cast<kj::byte>(generator.next());
  }
  return out;
}

kj::Promise<Answer> ReplicationWorld::sendWrite(const std::string& server, uint64_t object, uint32_t offset,
                                                std::vector<kj::byte> bytes, bool durable) {
  auto request = reach(server).chunks->writeRequest();
  fillTarget(request.initTarget(), object);
  auto piece = request.initPieces(1)[0];
  piece.setOffset(offset);
  piece.setData(kj::arrayPtr(bytes.data(), bytes.size()));
  std::vector<uint64_t> sums;
  for (uint64_t at = offset; at < offset + bytes.size();) {
    uint64_t end = kj::min((at / BLOCK_BYTES + 1) * BLOCK_BYTES, offset + bytes.size());
    sums.push_back(blockChecksum(kj::arrayPtr(bytes.data() + (at - offset), end - at)));
    at = end;
  }
  auto list = piece.initSums(static_cast<unsigned>(sums.size()));
  for (uint32_t i = 0; i < sums.size(); ++i) {
    list.set(i, sums[i]);
  }
  request.setDurable(durable);
  return request.send().then(CHANGED, lostAnswer);
}

Answer ReplicationWorld::write(const std::string& server, uint64_t object, uint32_t offset, std::vector<kj::byte> bytes,
                               bool durable) {
  return settle(sendWrite(server, object, offset, kj::mv(bytes), durable));
}

kj::Promise<Answer> ReplicationWorld::sendRead(const std::string& server, uint64_t object, uint32_t offset,
                                               uint32_t length) {
  auto request = reach(server).chunks->readRequest();
  fillTarget(request.initTarget(), object);
  request.setOffset(offset);
  request.setLength(length);
  return request.send().then(
      [length](auto&& response) {
        Answer out;
        readAnswer(response, out);
        auto data = response.getData();
        auto sums = response.getSums();
        out.data.assign(length, 0);
        std::copy(data.begin(), data.begin() + kj::min(data.size(), size_t{length}), out.data.begin());
        for (uint32_t block = 0; block * BLOCK_BYTES < data.size(); ++block) {
          auto part = data.slice(block * BLOCK_BYTES, kj::min(data.size(), size_t{(block + 1) * BLOCK_BYTES}));
          uint64_t sum = block < sums.size() ? sums[block] : 0;
          bool zeros = std::all_of(part.begin(), part.end(), [](kj::byte b) { return b == 0; });
          out.intact = out.intact && (sum == 0 ? zeros : blockChecksum(part) == sum);
        }
        return out;
      },
      lostAnswer);
}

Answer ReplicationWorld::read(const std::string& server, uint64_t object, uint32_t offset, uint32_t length) {
  return settle(sendRead(server, object, offset, length));
}

Answer ReplicationWorld::sync(const std::string& server, uint64_t object) {
  auto request = reach(server).chunks->syncRequest();
  fillTarget(request.initTarget(), object);
  return settle(request.send().then(
      [](auto&& response) {
        Answer out;
        readAnswer(response, out);
        readVerifiers(response, out);
        return out;
      },
      lostAnswer));
}

Answer ReplicationWorld::punch(const std::string& server, uint64_t object, uint32_t offset, uint32_t length) {
  auto request = reach(server).chunks->punchRequest();
  fillTarget(request.initTarget(), object);
  request.setOffset(offset);
  request.setLength(length);
  return settle(request.send().then(CHANGED, lostAnswer));
}

void ReplicationWorld::reportBad(const std::string& server, uint64_t object, std::vector<uint32_t> blocks) {
  auto request = reach(server).chunks->reportBadRequest();
  fillTarget(request.initTarget(), object);
  auto list = request.initBlocks(static_cast<unsigned>(blocks.size()));
  for (uint32_t i = 0; i < blocks.size(); ++i) {
    list.set(i, blocks[i]);
  }
  settle(request.send().ignoreResult());
}

ReplicationWorld::ScrubSeen ReplicationWorld::scrub(const std::string& server, bool start) {
  auto request = reach(server).chunks->scrubRequest();
  request.setStart(start);
  return settle(request.send().then([](auto&& response) {
    auto state = response.getVolumes()[0];
    return ScrubSeen{state.getRunning(), state.getLastPassEnded(), state.getBadBlocks(),
                     state.getMended(),  state.getUnmended(),      state.getDiffering()};
  }));
}

bool ReplicationWorld::scrubWhole(const std::string& server) {
  int64_t before = scrub(server, false).lastEnded;
  world.runFor(1100 * MILLISECOND);  // ends are told in seconds
  scrub(server, true);
  for (unsigned look = 0; look < 100; ++look) {
    world.runFor(200 * MILLISECOND);
    ScrubSeen seen = scrub(server, false);
    if (!seen.running && seen.lastEnded > before) {
      return true;
    }
  }
  return false;
}

void expectOk(const Answer& answer) {
  EXPECT_FALSE(answer.lost) << answer.why;
  EXPECT_EQ(wire::Verdict::OK, answer.verdict) << answer.why;
}

void expectEverywhere(ReplicationWorld& w, const std::vector<std::string>& servers, uint64_t object, uint32_t offset,
                      const Bytes& bytes) {
  uint32_t begin = offset / BLOCK_BYTES * BLOCK_BYTES;
  uint32_t end = (offset + static_cast<uint32_t>(bytes.size()) + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
  for (auto& server : servers) {
    Answer answer;
    ASSERT_TRUE(w.until([&] {
      answer = Answer();
      return true;
    }));
    for (int tries = 0; tries < 300 && !answer.ok(); ++tries) {
      answer = w.read(server, object, begin, end - begin);
      if (!answer.ok()) {
        w.world.runFor(10 * MILLISECOND);
      }
    }
    ASSERT_TRUE(answer.ok()) << server << ": " << answer.why;
    EXPECT_TRUE(answer.intact) << server;
    Bytes part(answer.data.begin() + (offset - begin), answer.data.begin() + (offset - begin) + bytes.size());
    EXPECT_TRUE(part == bytes) << server;
  }
}

}  // namespace cairn::replication_test
