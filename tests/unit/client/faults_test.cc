// What the library does when chunkservers die, lose, rot, stall or refuse.
#include "tests/unit/client/client_world.h"

namespace cairn {
namespace {

using Fate = FakeMaster::Fate;
using wire::Verdict;

// A file of one chunk, and the server that is its primary.
struct OneChunk {
  explicit OneChunk(ClientWorld& w, Client& client, const std::string& name = "f") : handle(w.create(client, name)) {
    object = w.master.at(name)->object;
    auto* shard = w.master.map.shard(ClassId{1}, ChunkId{ObjectId{object}, 0});
    primary = w.all[raw(shard->primary) - 1];
    for (auto* server : w.all) {
      if (server != primary) {
        others.push_back(server);
      }
    }
  }
  HandleId handle;
  uint64_t object = 0;
  FakeServer* primary = nullptr;
  std::vector<FakeServer*> others;
};

TEST(ClientFaults, UnsyncedBytesAreSentAgainAfterAPowerCut) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  std::string text = pattern(300000);
  w.write(*client, handle, 0, text);
  w.world.runFor(2 * SECOND);  // acknowledged, not synced
  ASSERT_EQ(client->stats().dirtyBytes, 0u);
  ASSERT_EQ(client->stats().unsyncedBytes, text.size());
  for (auto& server : w.servers) {
    server->crash();
  }
  w.setMembers({1, 2, 3});
  w.done(client->fsync(handle, false));
  EXPECT_GE(client->stats().bytesResent, text.size());
  EXPECT_EQ(client->stats().unsyncedBytes, 0u);
  for (auto& server : w.servers) {
    server->crash();
  }
  w.setMembers({1, 2, 3});
  EXPECT_TRUE(w.read(*client, handle, 0, 300000) == text);
}

TEST(ClientFaults, ASurvivorVouchesForTheBytes) {
  ClientWorld w(1);
  auto client = w.newClient();
  OneChunk f(w, *client);
  w.write(*client, f.handle, 0, pattern(50000));
  w.world.runFor(2 * SECOND);
  f.primary->crash();
  w.setMembers({static_cast<unsigned>(raw(f.others[0]->volume()))});
  w.done(client->fsync(f.handle, false));
  EXPECT_EQ(client->stats().bytesResent, 0u);
}

TEST(ClientFaults, WhatMembersLostWhileTheyWereLeftOutIsSentAgain) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  w.write(*client, handle, 0, pattern(300000));
  w.world.runFor(3 * SECOND);  // sent and acknowledged by itself
  ASSERT_GT(client->stats().unsyncedBytes, 0u);
  for (auto& server : w.servers) {
    server->rejoin();
  }
  w.done(client->fsync(handle, false));
  EXPECT_EQ(client->stats().bytesResent, 300000u);
  for (auto& server : w.servers) {
    server->crash();
  }
  w.setMembers({1, 2, 3});
  EXPECT_TRUE(w.read(*client, handle, 0, 300000) == pattern(300000));
}

TEST(ClientFaults, WhatNoMemberInSyncVouchesForIsSentAgainAtOnce) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  w.setMembers({1, 2});
  w.write(*client, handle, 0, pattern(300000));
  w.world.runFor(3 * SECOND);
  w.setMembers({3});  // those that had it aren't members any more, and this one hasn't got it
  w.world.runFor(3 * SECOND);
  EXPECT_EQ(client->stats().bytesResent, 300000u);
  EXPECT_TRUE(w.read(*client, handle, 0, 300000) == pattern(300000));
}

TEST(ClientFaults, APunchLostInAPowerCutIsRepeated) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  w.write(*client, handle, 0, pattern(100000));
  w.done(client->fsync(handle, false));
  w.done(client->allocate(handle, AllocateMode::PUNCH, 10000, 80000));
  for (auto& server : w.servers) {
    server->crash();
  }
  w.setMembers({1, 2, 3});
  w.done(client->fsync(handle, false));
  std::string expected = pattern(100000);
  expected.replace(10000, 80000, std::string(80000, '\0'));
  for (auto& server : w.servers) {
    server->crash();
  }
  w.setMembers({1, 2, 3});
  EXPECT_TRUE(w.read(*client, handle, 0, 100000) == expected);
}

// The punch is found lost while newer bytes over it are on their way and another punch keeps everything else waiting.
TEST(ClientFaults, APunchThatIsRepeatedLateSparesNewerBytes) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  w.setMembers({1});
  w.write(*client, handle, 0, pattern(100000));
  w.done(client->fsync(handle, false));
  w.done(client->allocate(handle, AllocateMode::PUNCH, 10000, 80000));
  w.servers[0]->slowness = [](const char* kind) { return std::string(kind) == "write" ? 2 * SECOND : 0; };
  std::string newer = pattern(10000);
  w.write(*client, handle, 20000, newer);
  w.world.runFor(SECOND);
  auto punching = client->allocate(handle, AllocateMode::PUNCH, 95000, 4000).promise();
  w.world.runFor(100 * MILLISECOND);
  w.setMembers({2, 3});  // neither has any of it
  EXPECT_TRUE(w.world.await(kj::mv(punching), 60 * SECOND).ok());
  EXPECT_TRUE(w.read(*client, handle, 20000, 10000) == newer);
  w.done(client->fsync(handle, false));
  w.world.runFor(SECOND);
  EXPECT_TRUE(w.read(*client, handle, 20000, 10000) == newer);
  EXPECT_TRUE(w.read(*client, handle, 40000, 10000) == std::string(10000, '\0'));
  EXPECT_GT(w.servers[1]->punches, 1u) << "the lost punch wasn't repeated";
}

TEST(ClientFaults, AMemberThatKeepsLosingIsAnError) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  w.write(*client, handle, 0, pattern(300000));
  for (auto& server : w.servers) {
    auto* one = server.get();
    server->verdict = [one, &w](const char* kind) {
      if (std::string(kind) == "sync") {
        for (auto* other : w.all) {
          ++other->incarnation.low;  // whoever is asked to sync has just restarted
        }
      }
      return Verdict::OK;
    };
  }
  EXPECT_EQ(w.world.await(client->fsync(handle, false), 60 * SECOND).code(), EIO);
  EXPECT_EQ(client->stats().unsyncedBytes, 0u);
}

TEST(ClientFaults, ABadBlockIsReadFromAnotherMember) {
  for (bool checksItself : {true, false}) {
    SCOPED_TRACE(checksItself);
    ClientWorld w(1);
    auto client = w.newClient();
    OneChunk f(w, *client);
    w.write(*client, f.handle, 0, pattern(60000));
    w.done(client->fsync(f.handle, false));
    f.primary->checksItself = checksItself;
    f.primary->corrupt(f.object, 0, 20000);
    f.primary->corrupt(f.object, 0, 40000);
    EXPECT_TRUE(w.read(*client, f.handle, 0, 60000) == pattern(60000));
    w.world.runFor(SECOND);
    EXPECT_EQ(f.primary->reports, checksItself ? 0u : 2u);
    EXPECT_EQ(client->stats().badBlocks, checksItself ? 0u : 2u);
  }
}

TEST(ClientFaults, DifferentBadBlocksOnEveryMemberStillMakeAWhole) {
  for (bool checksItself : {true, false}) {
    SCOPED_TRACE(checksItself);
    ClientWorld w(1);
    auto client = w.newClient();
    OneChunk f(w, *client);
    w.write(*client, f.handle, 0, pattern(60000));
    w.done(client->fsync(f.handle, false));
    uint32_t at = 5000;
    for (auto* server : w.all) {
      server->checksItself = checksItself;
      server->corrupt(f.object, 0, at);
      at += 16384;
    }
    EXPECT_TRUE(w.read(*client, f.handle, 0, 60000) == pattern(60000));
  }
}

TEST(ClientFaults, WithoutAGoodCopyTheRangeIsNamed) {
  for (bool checksItself : {true, false}) {
    SCOPED_TRACE(checksItself);
    ClientWorld w(1);
    auto client = w.newClient();
    OneChunk f(w, *client);
    w.write(*client, f.handle, 0, pattern(60000));
    w.done(client->fsync(f.handle, false));
    for (auto* server : w.all) {
      server->checksItself = checksItself;
      server->corrupt(f.object, 0, 20481);
    }
    auto failed = w.world.await(client->read(f.handle, 0, 60000), 60 * SECOND);
    ASSERT_EQ(failed.code(), EIO);
    EXPECT_NE(failed.error().why.find("bytes 20480 to 24575"), std::string::npos) << failed.error().why;
    EXPECT_TRUE(w.read(*client, f.handle, 0, 20480) == pattern(60000).substr(0, 20480));
    EXPECT_TRUE(w.read(*client, f.handle, 24576, 30000) == pattern(60000).substr(24576, 30000));
  }
}

TEST(ClientFaults, ABrokenChecksumOfAHoleIsNotBelieved) {
  ClientWorld w(1);
  auto client = w.newClient();
  OneChunk f(w, *client);
  w.write(*client, f.handle, 0, pattern(8192));
  w.done(client->fsync(f.handle, false));
  f.primary->checksItself = false;
  f.primary->chunk(f.object, 0)->sums[1] = 0;
  EXPECT_TRUE(w.read(*client, f.handle, 0, 8192) == pattern(8192));
  EXPECT_EQ(client->stats().badBlocks, 1u);
}

TEST(ClientFaults, ASlowPrimaryIsHedged) {
  ClientWorld w(1);
  auto client = w.newClient();
  OneChunk f(w, *client);
  w.write(*client, f.handle, 0, pattern(4096));
  w.done(client->fsync(f.handle, false));
  f.primary->slowness = [](const char*) { return ClientWorld::SLOWEST; };
  Nanos began = w.world.clock().monotonic();
  EXPECT_TRUE(w.read(*client, f.handle, 0, 4096) == pattern(4096));
  EXPECT_LT(w.world.clock().monotonic() - began, 500 * MILLISECOND);
  EXPECT_EQ(client->stats().hedgedReads, 1u);
}

TEST(ClientFaults, ADeadPrimaryIsReplacedUnderAWriter) {
  ClientWorld w(1);
  auto client = w.newClient();
  OneChunk f(w, *client);
  w.write(*client, f.handle, 0, pattern(4096));
  w.done(client->fsync(f.handle, false));
  f.primary->powerOff();
  EXPECT_TRUE(w.read(*client, f.handle, 0, 4096) == pattern(4096)) << "others serve reads";
  w.write(*client, f.handle, 0, pattern(4096, 5));
  auto sync = client->fsync(f.handle, false).promise();
  w.world.runFor(3 * SECOND);
  EXPECT_FALSE(sync.poll(w.world.waitScope()));
  EXPECT_FALSE(client->waits().empty());
  w.setMembers({static_cast<unsigned>(raw(f.others[0]->volume())), static_cast<unsigned>(raw(f.others[1]->volume()))});
  ClientWorld::expectOk(w.world.await(kj::mv(sync), 5 * SECOND));
  EXPECT_TRUE(w.read(*client, f.handle, 0, 4096) == pattern(4096, 5));
}

// Whatever call to a chunkserver breaks, before or after its work, nobody notices.
TEST(ClientFaults, LinksMayBreakAtAnyStep) {
  for (unsigned n = 1; n <= 16; ++n) {
    for (Fate fate : {Fate::BREAK_BEFORE, Fate::BREAK_AFTER}) {
      SCOPED_TRACE(testing::Message() << "call " << n << " fate " << static_cast<int>(fate));
      ClientWorld w(n);
      auto client = w.newClient();
      unsigned calls = 0;
      for (auto* server : w.all) {
        server->fate = [&](const char*) { return ++calls == n ? fate : Fate::NORMAL; };
      }
      auto handle = w.create(*client, "f");
      std::string text = pattern(400000);
      w.write(*client, handle, 0, text);
      w.done(client->fsync(handle, false));
      w.write(*client, handle, 1000, "overwritten");
      text.replace(1000, 11, "overwritten");
      w.done(client->fsync(handle, false));
      w.done(client->allocate(handle, AllocateMode::PUNCH, 100000, 50000));
      text.replace(100000, 50000, std::string(50000, '\0'));
      EXPECT_TRUE(w.read(*client, handle, 0, 400000) == text);
      w.done(client->stop());
    }
  }
}

TEST(ClientFaults, RefusalsAreWaitedOut) {
  for (Verdict refusal : {Verdict::STALE_EPOCH, Verdict::NOT_PRIMARY, Verdict::NOT_READY, Verdict::FAILED,
                          Verdict::BAD_REQUEST, Verdict::STALE_LAYOUT}) {
    SCOPED_TRACE(static_cast<int>(refusal));
    ClientWorld w(1);
    auto client = w.newClient();
    OneChunk f(w, *client);
    int left = 2;
    f.primary->verdict = [&](const char*) { return left-- > 0 ? refusal : Verdict::OK; };
    w.write(*client, f.handle, 0, pattern(30000));
    w.done(client->fsync(f.handle, false));
    left = refusal == Verdict::BAD_REQUEST ? 0 : 2;
    EXPECT_TRUE(w.read(*client, f.handle, 0, 30000) == pattern(30000));
  }
}

TEST(ClientFaults, NoSpaceIsToldOnceToEachOpenFile) {
  ClientWorld w(1);
  auto client = w.newClient();
  OneChunk f(w, *client);
  auto second = w.open(*client, "f");
  bool full = true;
  for (auto* server : w.all) {
    server->verdict = [&](const char* kind) {
      return full && std::string(kind) == "write" ? Verdict::NO_SPACE : Verdict::OK;
    };
  }
  w.write(*client, f.handle, 0, pattern(30000));
  EXPECT_EQ(w.world.await(client->fsync(f.handle, false), SECOND).code(), ENOSPC);
  w.done(client->fsync(f.handle, false));
  EXPECT_EQ(w.world.await(client->flush(second), SECOND).code(), ENOSPC);
  w.done(client->flush(second));
  auto third = w.open(*client, "f");
  w.done(client->flush(third));  // told already
  EXPECT_EQ(w.code(client->write(third, 0, kj::StringPtr("x").asBytes())), ENOSPC) << "while it lasts, at once";
  full = false;
  EXPECT_EQ(w.code(client->write(third, 0, kj::StringPtr("x").asBytes())), 0);
  EXPECT_EQ(w.world.await(client->fsync(third, false), SECOND).code(), ENOSPC) << "the kernel may have swallowed it";
  w.done(client->fsync(third, false));
  EXPECT_EQ(w.read(*client, third, 0, 1), "x");
}

TEST(ClientFaults, AnErrorAfterTheLastCloseWaitsForTheNextOpener) {
  ClientWorld w(1);
  auto client = w.newClient();
  OneChunk f(w, *client);
  w.write(*client, f.handle, 0, pattern(3000));
  f.primary->verdict = [](const char* kind) {
    return std::string(kind) == "write" ? Verdict::NO_SPACE : Verdict::OK;
  };
  w.done(client->flush(f.handle));
  client->release(f.handle);
  w.world.runFor(SECOND);
  auto again = w.open(*client, "f");
  EXPECT_EQ(w.world.await(client->fsync(again, false), SECOND).code(), ENOSPC);
  w.done(client->fsync(again, false));
}

TEST(ClientFaults, MemoryIsBounded) {
  ClientWorld w(1);
  w.master.chunkBits = 20;
  ClientOptions options;
  options.limits.dirtyBytesMax = 4u << 20;
  options.limits.unsyncedBytesMax = 4u << 20;
  auto client = w.newClient("k1", options);
  for (auto* server : w.all) {
    server->slowness = [](const char*) { return 20 * MILLISECOND; };
  }
  auto handle = w.create(*client, "f");
  std::string step = pattern(1u << 20);
  uint64_t dirty = 0, unsynced = 0;
  for (unsigned i = 0; i < 40; ++i) {
    w.write(*client, handle, uint64_t{i} << 20, step);
    dirty = std::max(dirty, client->stats().dirtyBytes);
    unsynced = std::max(unsynced, client->stats().unsyncedBytes);
  }
  EXPECT_LE(dirty, 4u << 20);
  EXPECT_LE(unsynced, 4u << 20);
  EXPECT_GT(unsynced, 1u << 20);
  w.done(client->fsync(handle, false));
  EXPECT_EQ(client->stats().dirtyBytes, 0u);
  EXPECT_EQ(client->stats().unsyncedBytes, 0u);
}

TEST(ClientFaults, AStalledWriterDoesNotStopReaders) {
  ClientWorld w(1);
  ClientOptions options;
  options.limits.dirtyBytesMax = 1u << 20;
  auto client = w.newClient("k1", options);
  OneChunk f(w, *client);
  w.write(*client, f.handle, 0, pattern(4096));
  w.done(client->fsync(f.handle, false));
  for (auto* server : w.all) {
    server->verdict = [](const char* kind) {
      return std::string(kind) == "write" ? Verdict::NOT_READY : Verdict::OK;
    };
  }
  std::string big = pattern(1u << 20);
  w.write(*client, f.handle, 1u << 20, big);
  auto bytes = kj::StringPtr(big.c_str(), big.size()).asBytes();
  auto stuck = client->write(f.handle, 2u << 20, bytes).promise();
  w.world.runFor(SECOND);
  EXPECT_FALSE(stuck.poll(w.world.waitScope()));
  EXPECT_TRUE(w.read(*client, f.handle, 0, 4096) == pattern(4096));
  for (auto* server : w.all) {
    server->verdict = nullptr;
  }
  EXPECT_TRUE(w.world.await(kj::mv(stuck), 5 * SECOND).ok());
}

TEST(ClientFaults, ASoftMountGivesUpOnChunkservers) {
  ClientWorld w(1);
  ClientOptions soft;
  soft.softTimeoutNanos = 5 * SECOND;
  auto client = w.newClient("k1", soft);
  OneChunk f(w, *client);
  w.write(*client, f.handle, 0, pattern(4096));
  w.done(client->fsync(f.handle, false));
  for (auto& server : w.servers) {
    server->powerOff();
  }
  EXPECT_EQ(w.code(client->read(f.handle, 0, 4096)), EIO);
  w.write(*client, f.handle, 0, pattern(4096, 1));
  EXPECT_EQ(w.world.await(client->fsync(f.handle, false), 20 * SECOND).code(), EIO);
}

// A truncation whose caller has gone away is done whole or not at all.
TEST(ClientFaults, AnAbandonedTruncationLeavesNoHalfs) {
  for (unsigned after = 0; after < 6; ++after) {
    SCOPED_TRACE(after);
    ClientWorld w(1);
    auto client = w.newClient();
    OneChunk f(w, *client);
    InodeId inode = w.done(client->lookup(ROOT_INODE, "f", Caller{})).inode;
    w.write(*client, f.handle, 0, pattern(60000));
    AttributeChange change;
    change.which = SET_SIZE;
    change.sizeBytes = 1000;
    auto truncate = kj::heap(client->setAttributes(inode, change, Caller{}).promise());
    auto punch = kj::heap(client->allocate(f.handle, AllocateMode::PUNCH, 100, 50).promise());
    w.world.runFor(after * 100 * MICROSECOND);
    truncate = nullptr;
    punch = nullptr;
    w.world.runFor(2 * SECOND);
    w.done(client->fsync(f.handle, false));
    uint64_t size = w.sizeOf(*client, "f");
    EXPECT_EQ(size, 1000u);
    std::string expected = pattern(60000).substr(0, 1000);
    std::string got = w.read(*client, f.handle, 0, 60000);
    ASSERT_EQ(got.size(), size);
    EXPECT_EQ(got.substr(0, 100), expected.substr(0, 100));
    EXPECT_EQ(got.substr(150), expected.substr(150));
    w.write(*client, f.handle, 2000, "x");
    EXPECT_EQ(w.read(*client, f.handle, 1000, 2000), std::string(1000, '\0') + "x");
    w.done(client->fsync(f.handle, false));
    EXPECT_EQ(w.read(*client, f.handle, 1000, 2000), std::string(1000, '\0') + "x");
  }
}

TEST(ClientFaults, AFencedSessionsWritesFail) {
  ClientWorld w(1);
  auto client = w.newClient();
  OneChunk f(w, *client);
  w.master.map.fenced.insert(SessionId{1});
  w.master.push();
  w.write(*client, f.handle, 0, "late");
  EXPECT_EQ(w.world.await(client->fsync(f.handle, false), SECOND).code(), EIO);
}

}  // namespace
}  // namespace cairn
