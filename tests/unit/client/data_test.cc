// Reading and writing through buffers, against fake chunkservers.
#include "tests/unit/client/client_world.h"

namespace cairn {
namespace {

constexpr uint32_t MIB = 1u << 20;

unsigned totalWrites(ClientWorld& w) {
  unsigned out = 0;
  for (auto& server : w.servers) {
    out += server->writes;
  }
  return out;
}
unsigned totalReads(ClientWorld& w) {
  unsigned out = 0;
  for (auto& server : w.servers) {
    out += server->reads;
  }
  return out;
}
unsigned totalSyncs(ClientWorld& w) {
  unsigned out = 0;
  for (auto& server : w.servers) {
    out += server->syncs;
  }
  return out;
}

TEST(ClientData, BufferedBytesAreSeenAtOnce) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  w.write(*client, handle, 100000, "far");
  EXPECT_EQ(totalWrites(w), 0u);
  EXPECT_EQ(w.sizeOf(*client, "f"), 100003u);
  auto page = w.done(client->readDirectory(ROOT_INODE, 0, 10, true, Caller{}));
  EXPECT_EQ(page.entries[0].attributes.sizeBytes, 100003u);
  EXPECT_EQ(w.read(*client, handle, 99998, 100), std::string(2, '\0') + "far");
  auto shown = w.done(client->lookup(ROOT_INODE, "f", Caller{}));
  EXPECT_GE(shown.modified, fileTime(w.world.clock().wall() - SECOND));
  w.world.runFor(2 * SECOND);
  EXPECT_GT(totalWrites(w), 0u) << "leaves by itself";
  EXPECT_EQ(w.master.at("f")->size, 100003u);
  EXPECT_EQ(w.sizeOf(*client, "f"), 100003u);
}

TEST(ClientData, ALargeFileReadsBackEverywhere) {
  ClientWorld w(1);
  w.master.chunkBits = 22;
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  std::string text = pattern(11 * MIB + 12345);
  for (size_t at = 0; at < text.size(); at += MIB) {
    w.write(*client, handle, at, text.substr(at, MIB));
  }
  w.done(client->flush(handle));
  EXPECT_LE(totalWrites(w), 13u) << "a message carries 1 MiB";
  EXPECT_EQ(w.sizeOf(*client, "f"), text.size());
  client->release(handle);
  w.done(client->syncAll());
  auto other = w.newClient("k2");
  auto reader = w.open(*other, "f", 0);
  std::string back;
  for (size_t at = 0; at < text.size(); at += MIB) {
    back += w.read(*other, reader, at, MIB);
  }
  EXPECT_TRUE(back == text);
  EXPECT_EQ(w.read(*other, reader, text.size() - 3, 100), text.substr(text.size() - 3));
}

TEST(ClientData, AWarmReadIsOneCall) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  w.write(*client, handle, 0, pattern(300000));
  w.done(client->fsync(handle, false));
  uint64_t chunkCalls = client->stats().chunkCalls, masterCalls = client->stats().masterCalls;
  EXPECT_EQ(w.read(*client, handle, 8192, 4096), pattern(300000).substr(8192, 4096));
  EXPECT_EQ(w.read(*client, handle, 200704, 4096), pattern(300000).substr(200704, 4096));
  EXPECT_EQ(client->stats().chunkCalls, chunkCalls + 2);
  EXPECT_EQ(client->stats().masterCalls, masterCalls);
  EXPECT_EQ(client->stats().readAheadBytes, 0u) << "no read-ahead for random reads";
}

TEST(ClientData, SequentialReadsAreReadAhead) {
  ClientWorld w(1);
  w.master.chunkBits = 22;
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  std::string text = pattern(24 * MIB);
  for (size_t at = 0; at < text.size(); at += MIB) {
    w.write(*client, handle, at, text.substr(at, MIB));
  }
  w.done(client->fsync(handle, false));
  unsigned most = 0;
  uint64_t ahead = 0;
  std::string back;
  for (size_t at = 0; at < text.size(); at += 128 * 1024) {
    back += w.read(*client, handle, at, 128 * 1024);
    ahead = std::max(ahead, client->stats().readAheadBytes);
    most = std::max(most, totalReads(w));
  }
  EXPECT_TRUE(back == text);
  EXPECT_GE(ahead, 4 * MIB) << "the window grows";
  EXPECT_LE(totalReads(w), 40u) << "in large pieces, none twice";
  EXPECT_LE(client->stats().readAheadBytes, 1 * MIB) << "what was read is forgotten";
  client->release(handle);
  w.world.runFor(SECOND);
  EXPECT_EQ(client->stats().readAheadBytes, 0u);
}

TEST(ClientData, ReadAheadNeverShowsBytesOlderThanAWrite) {
  ClientWorld w(1);
  w.master.chunkBits = 22;
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  std::string text = pattern(6 * MIB);
  w.write(*client, handle, 0, text);
  w.done(client->fsync(handle, false));
  for (size_t at = 0; at < 2 * MIB; at += 256 * 1024) {
    w.read(*client, handle, at, 256 * 1024);
  }
  ASSERT_GT(client->stats().readAheadBytes, 0u);
  size_t at = 2 * MIB + 5000;
  text.replace(at, 20000, pattern(20000, 9));
  w.write(*client, handle, at, text.substr(at, 20000));
  EXPECT_TRUE(w.read(*client, handle, 2 * MIB, MIB) == text.substr(2 * MIB, MIB));
  w.done(client->fsync(handle, false));
  EXPECT_TRUE(w.read(*client, handle, 2 * MIB, MIB) == text.substr(2 * MIB, MIB));
}

TEST(ClientData, OneSmallSyncedWriteIsOneRoundTripToEach) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  w.write(*client, handle, 0, pattern(4096));
  uint64_t masterCalls = client->stats().masterCalls;
  w.done(client->fsync(handle, false));
  EXPECT_EQ(totalWrites(w), 1u);
  EXPECT_EQ(totalSyncs(w), 0u) << "durable at once";
  EXPECT_EQ(client->stats().masterCalls, masterCalls + 1);
  EXPECT_EQ(client->stats().unsyncedBytes, 0u);
  w.write(*client, handle, 0, pattern(4096, 1));
  masterCalls = client->stats().masterCalls;
  w.done(client->fsync(handle, true));
  EXPECT_EQ(client->stats().masterCalls, masterCalls) << "fdatasync within the size needs no master";
}

TEST(ClientData, SmallFilesShareCalls) {
  ClientWorld w(1);
  auto client = w.newClient();
  for (int i = 0; i < 100; ++i) {
    auto handle = w.create(*client, "f" + std::to_string(i));
    w.write(*client, handle, 0, pattern(3000, static_cast<unsigned>(i)));
    w.done(client->flush(handle));
    client->release(handle);
  }
  w.world.runFor(SECOND);
  unsigned reports = 0;
  for (auto& op : w.master.log) {
    reports += op == "written" ? 1 : 0;
  }
  EXPECT_LE(reports, 20u);
  EXPECT_EQ(w.master.written, 100u);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(w.master.at("f" + std::to_string(i))->size, 3000u);
  }
}

TEST(ClientData, BytesOfARemovedFileAreNotSent) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  w.write(*client, handle, 0, pattern(3000));
  w.done(client->unlink(ROOT_INODE, "f", Caller{}));
  EXPECT_EQ(w.read(*client, handle, 0, 10), pattern(3000).substr(0, 10));
  client->release(handle);
  w.world.runFor(2 * SECOND);
  EXPECT_EQ(totalWrites(w), 0u);
  EXPECT_EQ(client->stats().dirtyBytes, 0u);
}

TEST(ClientData, SmallPiecesTravelTogether) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  std::string model(60000, '\0');
  for (unsigned i = 0; i < 50; ++i) {
    std::string piece = pattern(100 + i, i);
    w.write(*client, handle, i * 1171, piece);
    model.replace(i * 1171, piece.size(), piece);
  }
  w.done(client->fsync(handle, false));
  EXPECT_EQ(totalWrites(w), 1u);
  uint64_t size = w.sizeOf(*client, "f");
  EXPECT_TRUE(w.read(*client, handle, 0, 70000) == model.substr(0, size));
}

TEST(ClientData, AppendsGoToTheEnd) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto one = w.create(*client, "f", OPEN_WRITE | OPEN_APPEND);
  auto two = w.open(*client, "f", OPEN_WRITE | OPEN_APPEND);
  w.write(*client, one, 0, "one ");
  w.write(*client, two, 0, "two ");
  w.done(client->fsync(one, false));
  w.write(*client, one, 0, "three");
  EXPECT_EQ(w.read(*client, two, 0, 100), "one two three");
}

TEST(ClientData, SynchronousHandlesWriteDurably) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f", OPEN_WRITE | OPEN_SYNC);
  w.write(*client, handle, 0, pattern(5000));
  EXPECT_EQ(w.master.at("f")->size, 5000u);
  for (auto& server : w.servers) {
    server->crash();
  }
  w.publish();
  EXPECT_TRUE(w.read(*client, handle, 0, 5000) == pattern(5000));
}

TEST(ClientData, TimesSetByHandOutliveEarlierWrites) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  InodeId inode = w.done(client->lookup(ROOT_INODE, "f", Caller{})).inode;
  w.write(*client, handle, 0, pattern(5000));
  AttributeChange change;
  change.which = SET_MODIFIED;
  change.modified = FileTime{1000, 5};
  EXPECT_EQ(w.done(client->setAttributes(inode, change, Caller{})).modified, change.modified);
  w.done(client->flush(handle));
  client->release(handle);
  w.done(client->syncAll());
  EXPECT_EQ(w.done(client->attributes(inode)).modified, change.modified);
  EXPECT_EQ(w.master.at("f")->modifiedSeconds, 1000);
  EXPECT_EQ(w.sizeOf(*client, "f"), 5000u);
}

TEST(ClientData, TruncationDropsWhatIsBeyond) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  InodeId inode = w.done(client->lookup(ROOT_INODE, "f", Caller{})).inode;
  AttributeChange change;
  change.which = SET_SIZE;
  for (bool synced : {false, true}) {
    SCOPED_TRACE(synced);
    w.write(*client, handle, 0, pattern(150000));
    if (synced) {
      w.done(client->fsync(handle, false));
    }
    change.sizeBytes = 70001;
    EXPECT_EQ(w.done(client->setAttributes(inode, change, Caller{})).sizeBytes, 70001u);
    change.sizeBytes = 150000;
    EXPECT_EQ(w.done(client->setAttributes(inode, change, Caller{})).sizeBytes, 150000u);
    std::string expected = pattern(150000).substr(0, 70001) + std::string(79999, '\0');
    EXPECT_TRUE(w.read(*client, handle, 0, 150000) == expected);
    w.done(client->fsync(handle, false));
    EXPECT_TRUE(w.read(*client, handle, 0, 150000) == expected);
    change.sizeBytes = 0;
    w.done(client->setAttributes(inode, change, Caller{}));
    EXPECT_EQ(w.read(*client, handle, 0, 10), "");
    w.write(*client, handle, 5, "x");
    EXPECT_EQ(w.read(*client, handle, 0, 10), std::string(5, '\0') + "x");
    w.done(client->setAttributes(inode, change, Caller{}));
  }
}

TEST(ClientData, HolesAndDataAreFound) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  w.write(*client, handle, 3 * 65536 + 8192, pattern(4096));
  w.done(client->allocate(handle, AllocateMode::ALLOCATE, 0, 10 * 65536));
  EXPECT_EQ(w.sizeOf(*client, "f"), 10u * 65536);
  EXPECT_EQ(w.done(client->seek(handle, 0, Whence::DATA)), 3u * 65536 + 8192);
  EXPECT_EQ(w.done(client->seek(handle, 3 * 65536 + 8193, Whence::DATA)), 3u * 65536 + 8193);
  EXPECT_EQ(w.done(client->seek(handle, 3 * 65536 + 8193, Whence::HOLE)), 3u * 65536 + 12288);
  EXPECT_EQ(w.code(client->seek(handle, 4 * 65536, Whence::DATA)), ENXIO);
  EXPECT_EQ(w.code(client->seek(handle, 10 * 65536, Whence::HOLE)), ENXIO);
  w.done(client->allocate(handle, AllocateMode::PUNCH, 0, 10 * 65536));
  EXPECT_EQ(w.code(client->seek(handle, 0, Whence::DATA)), ENXIO);
  EXPECT_EQ(w.done(client->seek(handle, 77, Whence::HOLE)), 77u);
}

TEST(ClientData, PunchedBytesAreZeroAndTheSizeStays) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f");
  w.write(*client, handle, 0, pattern(200000));
  w.done(client->allocate(handle, AllocateMode::PUNCH, 5000, 190000));
  std::string expected = pattern(200000);
  expected.replace(5000, 190000, std::string(190000, '\0'));
  EXPECT_TRUE(w.read(*client, handle, 0, 200000) == expected);
  w.done(client->fsync(handle, false));
  EXPECT_EQ(w.sizeOf(*client, "f"), 200000u);
  EXPECT_TRUE(w.read(*client, handle, 0, 200000) == expected);
  w.done(client->allocate(handle, AllocateMode::ZERO, 190000, 50000));
  EXPECT_EQ(w.sizeOf(*client, "f"), 240000u);
  expected.replace(190000, 10000, std::string(10000, '\0'));
  expected.resize(240000);
  EXPECT_TRUE(w.read(*client, handle, 0, 240000) == expected);
  // All that a file had was dirty and is punched: its size is not forgotten.
  auto fresh = w.create(*client, "fresh");
  w.write(*client, fresh, 0, "data");
  w.done(client->allocate(fresh, AllocateMode::PUNCH, 0, 100));
  w.done(client->fsync(fresh, false));
  EXPECT_EQ(w.master.at("fresh")->size, 4u);
}

TEST(ClientData, RangesAreCopied) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto from = w.create(*client, "from");
  auto to = w.create(*client, "to");
  w.write(*client, from, 0, pattern(3 * MIB));
  EXPECT_EQ(w.done(client->copyRange(from, 1000, to, 500, 2 * MIB)), 2u * MIB);
  EXPECT_EQ(w.done(client->copyRange(from, 3 * MIB - 10, to, 0, 100)), 10u);
  EXPECT_TRUE(w.read(*client, to, 500, 2 * MIB) == pattern(3 * MIB).substr(1000, 2 * MIB));
}

TEST(ClientData, AnotherMountSeesTheSyncedData) {
  ClientWorld w(1);
  auto one = w.newClient("k1");
  auto two = w.newClient("k2");
  auto writer = w.create(*one, "f");
  w.write(*one, writer, 0, "first");
  w.done(one->fsync(writer, false));
  auto reader = w.open(*two, "f", 0);
  EXPECT_EQ(w.read(*two, reader, 0, 100), "first");
  w.write(*one, writer, 0, "second!");
  w.done(one->fsync(writer, false));
  w.world.runFor(SECOND);
  EXPECT_EQ(w.read(*two, reader, 0, 100), "second!");
  AttributeChange change;
  change.which = SET_SIZE;
  change.sizeBytes = 0;
  InodeId inode = w.done(one->lookup(ROOT_INODE, "f", Caller{})).inode;
  w.done(one->setAttributes(inode, change, Caller{}));
  w.write(*one, writer, 0, "3rd");
  w.done(one->fsync(writer, false));
  w.world.runFor(SECOND);
  EXPECT_EQ(w.read(*two, reader, 0, 100), "3rd");
}

TEST(ClientData, ATruncationOvertakesAnFsync) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto handle = w.create(*client, "f", OPEN_WRITE);
  auto inode = w.done(client->lookup(ROOT_INODE, "f", Caller{})).inode;
  w.write(*client, handle, 0, std::string(1 << 20, 'x'));  // too much to be sent with the fsync
  kj::Promise<Status> synced = client->fsync(handle, false);
  AttributeChange change;
  change.which = SET_SIZE | SET_MODIFIED_NOW;
  w.done(client->setAttributes(inode, change, Caller{}));
  EXPECT_TRUE(w.world.await(kj::mv(synced), ClientWorld::LIMIT).ok());
  w.world.runFor(SECOND);
  EXPECT_EQ(w.done(client->attributes(inode)).sizeBytes, 0u);
}

}  // namespace
}  // namespace cairn
