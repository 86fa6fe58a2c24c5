// A fake cluster and clients of it in a simulated world, with synchronous helpers for tests.
#pragma once
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <vector>

#include "fuse-client/client/client.h"
#include "tests/sim/world/world.h"
#include "tests/unit/client/fake_chunks.h"
#include "tests/unit/client/fake_master.h"

namespace cairn {

class ClientWorld {
 public:
  static constexpr Nanos LIMIT = 120 * SECOND;
  static constexpr Nanos SLOWEST = 60 * SECOND;  // call of a server
  static constexpr uint8_t SHARD_BITS = 2;

  explicit ClientWorld(uint64_t seed, unsigned serverCount = 3) : world(seed), master(world, CLUSTER, "m1") {
    for (unsigned i = 1; i <= serverCount; ++i) {
      servers.push_back(std::make_unique<FakeServer>(world, master, all, i));
      all.push_back(servers.back().get());
    }
    master.map.classes[ClassId{1}] = ReplicationClass{ClassId{1}, 3, 2, SHARD_BITS};
    for (uint32_t position = 0; position < 1u << SHARD_BITS; ++position) {
      ShardRecord shard;
      shard.id = makeShardId(ClassId{1}, position);
      shard.epoch = Epoch{1};
      for (auto& server : servers) {
        shard.inSync.push_back(server->volume());
      }
      shard.primary = servers[position % serverCount]->volume();
      master.map.shards[shard.id] = shard;
    }
    publish();
  }

  // Lets calls that servers hold back come to their end: their timers must not outlive the world's.
  ~ClientWorld() noexcept(false) { world.runFor(SLOWEST); }

  // The map tells the servers' present incarnations.
  void publish() {
    for (auto& server : servers) {
      master.map.servers[server->record().id] = server->record();
      VolumeRecord volume;
      volume.number = server->volume();
      volume.id = VolumeId{9, raw(server->volume())};
      volume.server = server->record().id;
      master.map.volumes[volume.number] = volume;
    }
    master.push();
  }
  // Every shard gets a new epoch with these members, the first of them as the primary.
  void setMembers(std::vector<unsigned> numbers) {
    for (auto& [id, shard] : master.map.shards) {
      shard.epoch = next(shard.epoch);
      shard.inSync.clear();
      for (unsigned number : numbers) {
        shard.inSync.push_back(VolumeNumber{number});
      }
      shard.primary = shard.inSync.empty() ? VolumeNumber{} : shard.inSync[0];
    }
    publish();
  }

  std::unique_ptr<Client> newClient(const std::string& host = "k1", ClientOptions options = {}) {
    ClusterFile file;
    file.cluster = CLUSTER;
    file.masters.push_back({"m1", master.address(), "/run/m1.sock"});
    options.name = host;
    randoms.push_back(world.random(host));
    auto client = std::make_unique<Client>(world.clock(), world.network().host(host), *randoms.back(), file, options);
    expectOk(world.await(client->start(), LIMIT));
    return client;
  }

  // ---- operations that must succeed
  template <typename T>
  T done(Task<Result<T>> task) {
    auto result = world.await(kj::mv(task), LIMIT);
    if (!result.ok()) {
      throw std::runtime_error(std::to_string(result.code()) + ": " + result.error().why);
    }
    return kj::mv(result).value();
  }
  void done(Task<Status> task) { expectOk(world.await(kj::mv(task), LIMIT)); }
  template <typename T>
  int code(Task<Result<T>> task) {
    return world.await(kj::mv(task), LIMIT).code();
  }
  HandleId create(Client& client, const std::string& name, uint32_t bits = OPEN_WRITE) {
    return done(client.create(ROOT_INODE, name, S_IFREG | 0644, bits, Caller{})).handle;
  }
  HandleId open(Client& client, const std::string& name, uint32_t bits = OPEN_WRITE) {
    return client.open(done(client.lookup(ROOT_INODE, name, Caller{})).inode, bits);
  }
  void write(Client& client, HandleId handle, uint64_t offset, const std::string& text) {
    auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
    EXPECT_EQ(done(client.write(handle, offset, bytes)), text.size());
  }
  std::string read(Client& client, HandleId handle, uint64_t offset, uint32_t length) {
    auto bytes = done(client.read(handle, offset, length)).joined();
    return std::string(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
  }
  uint64_t sizeOf(Client& client, const std::string& name) {
    return done(client.lookup(ROOT_INODE, name, Caller{})).sizeBytes;
  }

  static void expectOk(const Status& status) { EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().why); }
  static constexpr ClusterId CLUSTER{0x1234, 0x5678};

  World world;
  FakeMaster master;
  std::vector<std::unique_ptr<FakeServer>> servers;
  std::vector<FakeServer*> all;
  std::vector<kj::Own<SimRandom>> randoms;
};

inline std::string pattern(size_t size, unsigned salt = 0) {
  std::string out(size, '\0');
  for (size_t i = 0; i < size; ++i) {
    out[i] = static_cast<char>((i * 131 + i / 4096 * 17 + salt * 7919) >> 3);
  }
  return out;
}

}  // namespace cairn
