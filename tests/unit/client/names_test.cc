// Names, attributes, sessions and holds, against a fake master.
#include "tests/unit/client/client_world.h"

namespace cairn {
namespace {

TEST(ClientNames, EveryKindOfNameAndItsEnd) {
  ClientWorld w(1);
  auto client = w.newClient();
  Caller me{10, 20, {30}};
  auto dir = w.done(client->makeDirectory(ROOT_INODE, "d", 0755, me));
  EXPECT_TRUE(S_ISDIR(dir.mode));
  auto file = w.done(client->makeNode(dir.inode, "f", S_IFREG | 0600, 0, me));
  auto pipe = w.done(client->makeNode(dir.inode, "p", S_IFIFO | 0600, 0, me));
  EXPECT_TRUE(S_ISFIFO(pipe.mode));
  auto link = w.done(client->symlink(dir.inode, "s", std::string("../some\xffwhere"), me));
  EXPECT_EQ(w.done(client->readLink(link.inode, me)), "../some\xffwhere");
  EXPECT_EQ(w.done(client->link(file.inode, ROOT_INODE, "g", me)).links, 2u);
  EXPECT_EQ(w.code(client->makeNode(dir.inode, "f", S_IFREG | 0600, 0, me)), EEXIST);
  w.done(client->rename(dir.inode, "f", ROOT_INODE, "h", 0, me));
  EXPECT_EQ(w.code(client->lookup(dir.inode, "f", me)), ENOENT);
  EXPECT_EQ(w.done(client->lookup(ROOT_INODE, "h", me)).inode, file.inode);
  EXPECT_EQ(w.world.await(client->rename(ROOT_INODE, "h", ROOT_INODE, "g", 1, me), SECOND).code(), EEXIST);
  EXPECT_EQ(w.world.await(client->removeDirectory(ROOT_INODE, "d", me), SECOND).code(), ENOTEMPTY);
  w.done(client->unlink(dir.inode, "s", me));
  w.done(client->unlink(dir.inode, "p", me));
  w.done(client->removeDirectory(ROOT_INODE, "d", me));
  EXPECT_EQ(w.code(client->lookup(ROOT_INODE, "d", me)), ENOENT);
}

TEST(ClientNames, DirectoryInPages) {
  ClientWorld w(1);
  auto client = w.newClient();
  for (int i = 0; i < 25; ++i) {
    w.create(*client, "file" + std::to_string(i));
  }
  std::vector<std::string> names;
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = w.done(client->readDirectory(ROOT_INODE, cookie, 10, true, Caller{}));
    for (auto& entry : page.entries) {
      names.push_back(entry.name);
      EXPECT_TRUE(entry.hasAttributes);
      EXPECT_EQ(entry.attributes.inode, entry.inode);
      cookie = entry.next;
    }
    end = page.end;
  }
  ASSERT_EQ(names.size(), 25u);
  EXPECT_EQ(names[24], "file24");
}

TEST(ClientNames, ExtendedAttributesAndSpace) {
  ClientWorld w(1);
  auto client = w.newClient();
  w.create(*client, "f");
  InodeId inode = w.done(client->lookup(ROOT_INODE, "f", Caller{})).inode;
  std::string value("a\0b", 3);
  w.done(client->setXattr(inode, "user.a", value, 0, Caller{}));
  EXPECT_EQ(w.done(client->getXattr(inode, "user.a", Caller{})), value);
  EXPECT_EQ(w.done(client->listXattr(inode, Caller{})), std::string("user.a\0", 7));
  w.done(client->removeXattr(inode, "user.a", Caller{}));
  EXPECT_EQ(w.code(client->getXattr(inode, "user.a", Caller{})), ENODATA);
  EXPECT_EQ(w.done(client->space(ROOT_INODE)).totalBytes, 1u << 30);
}

TEST(ClientNames, OneCallEach) {
  ClientWorld w(1);
  auto client = w.newClient();
  w.create(*client, "f");
  uint64_t before = client->stats().masterCalls;
  auto found = w.done(client->lookup(ROOT_INODE, "f", Caller{}));
  EXPECT_EQ(client->stats().masterCalls, before + 1);
  w.done(client->attributes(found.inode));
  EXPECT_EQ(client->stats().masterCalls, before + 1) << "they came with the name, under a lease";
  auto handle = client->open(found.inode, 0);
  EXPECT_EQ(w.read(*client, handle, 0, 100), "");
  EXPECT_EQ(client->stats().masterCalls, before + 1) << "open and read of a file just looked up ask nobody";
  EXPECT_EQ(client->stats().chunkCalls, 0u);
}

// The n-th call breaks, before or after it took effect; whatever n is, each change takes place once.
void breakAt(unsigned n, FakeMaster::Fate fate) {
  SCOPED_TRACE(testing::Message() << "call " << n << ", fate " << static_cast<int>(fate));
  ClientWorld w(n);
  unsigned calls = 0;
  w.master.fate = [&](const char*) { return ++calls == n ? fate : FakeMaster::Fate::NORMAL; };
  auto client = w.newClient();
  Caller me;
  auto dir = w.done(client->makeDirectory(ROOT_INODE, "d", 0755, me));
  auto handle = w.done(client->create(dir.inode, "f", S_IFREG | 0644, OPEN_WRITE, me)).handle;
  w.write(*client, handle, 0, "hello");
  w.done(client->fsync(handle, false));
  auto file = w.done(client->lookup(dir.inode, "f", me));
  EXPECT_EQ(file.sizeBytes, 5u);
  w.done(client->link(file.inode, dir.inode, "g", me));
  w.done(client->rename(dir.inode, "g", dir.inode, "h", 0, me));
  EXPECT_EQ(w.done(client->attributes(file.inode)).links, 2u);
  w.done(client->unlink(dir.inode, "f", me));
  w.done(client->unlink(dir.inode, "h", me));
  EXPECT_EQ(w.read(*client, handle, 0, 10), "hello") << "held open without a name";
  client->release(handle);
  w.done(client->removeDirectory(ROOT_INODE, "d", me));
  w.world.runFor(SECOND);
  EXPECT_EQ(w.master.find(raw(file.inode)), nullptr) << "dropped by the last holder";
  std::vector<std::string> once = {"make", "make", "written", "link", "rename", "unlink", "unlink", "unlink"};
  EXPECT_EQ(w.master.log, once);
  w.done(client->stop());
  EXPECT_EQ(w.master.sessionCount(), 0u);
}

TEST(ClientSession, ExactlyOnceWhereverTheLinkBreaks) {
  for (unsigned n = 1; n <= 18; ++n) {
    breakAt(n, FakeMaster::Fate::BREAK_BEFORE);
    breakAt(n, FakeMaster::Fate::BREAK_AFTER);
  }
}

TEST(ClientSession, RetriesGetTheFirstReply) {
  ClientWorld w(1);
  auto client = w.newClient();
  bool broken = false;
  w.master.fate = [&](const char* kind) {
    bool now = !broken && std::string(kind) == "execute";
    broken = broken || now;
    return now ? FakeMaster::Fate::BREAK_AFTER : FakeMaster::Fate::NORMAL;
  };
  w.done(client->makeDirectory(ROOT_INODE, "d", 0755, Caller{}));
  EXPECT_EQ(w.master.replayed, 1u);
  EXPECT_EQ(w.master.executed, 1u);
  EXPECT_GE(client->stats().masterRetries, 1u);
}

TEST(ClientSession, HardMountWaitsForTheMaster) {
  ClientWorld w(1);
  auto client = w.newClient();
  w.master.stop();
  auto lookup = client->lookup(ROOT_INODE, "nothing", Caller{}).promise();
  w.world.runFor(100 * SECOND);
  EXPECT_FALSE(lookup.poll(w.world.waitScope()));
  ASSERT_EQ(client->waits().size(), 1u);
  Wait wait = client->waits()[0];
  EXPECT_STREQ(wait.what, "master");
  EXPECT_EQ(wait.inodes, std::vector<InodeId>{ROOT_INODE});
  EXPECT_GE(wait.nanos, 99 * SECOND);
  EXPECT_EQ(client->master().name, "m1");
  EXPECT_FALSE(client->master().attached);
  EXPECT_GE(client->master().silentNanos, 90 * SECOND);
  w.master.start();
  EXPECT_EQ(w.world.await(kj::mv(lookup), 10 * SECOND).code(), ENOENT);
  EXPECT_TRUE(client->waits().empty());
}

TEST(ClientSession, AWaitCanBeGivenUp) {
  ClientWorld w(1);
  auto client = w.newClient();
  w.master.stop();
  auto lookup = kj::heap(client->lookup(ROOT_INODE, "nothing", Caller{}).promise());
  w.world.runFor(SECOND);
  lookup = nullptr;
  w.world.runFor(SECOND);
  EXPECT_TRUE(client->waits().empty());
}

TEST(ClientSession, SoftMountGivesUp) {
  ClientWorld w(1);
  ClientOptions soft;
  soft.softTimeoutNanos = 3 * SECOND;
  auto client = w.newClient("k1", soft);
  w.master.stop();
  Nanos began = w.world.clock().monotonic();
  EXPECT_EQ(w.code(client->lookup(ROOT_INODE, "x", Caller{})), EIO);
  EXPECT_EQ(w.code(client->makeDirectory(ROOT_INODE, "x", 0755, Caller{})), EIO);
  EXPECT_LE(w.world.clock().monotonic() - began, 7 * SECOND);
}

TEST(ClientSession, HoldsAreGatheredAndSurviveABrokenLink) {
  ClientWorld w(1);
  auto client = w.newClient();
  std::vector<InodeId> inodes;
  for (int i = 0; i < 10; ++i) {
    inodes.push_back(w.done(client->makeNode(ROOT_INODE, "f" + std::to_string(i), S_IFREG, 0, Caller{})).inode);
  }
  uint64_t before = w.master.holdCalls;
  std::vector<HandleId> handles;
  for (InodeId inode : inodes) {
    handles.push_back(client->open(inode, 0));
  }
  w.world.runFor(SECOND);
  EXPECT_EQ(w.master.holdCalls, before + 1);
  EXPECT_EQ(w.master.holds(1).size(), 10u);
  w.master.breakLinks();
  client->release(handles[0]);
  w.world.runFor(SECOND);
  EXPECT_EQ(w.master.holds(1).size(), 9u);
  w.done(client->unlink(ROOT_INODE, "f1", Caller{}));
  EXPECT_NE(w.master.find(raw(inodes[1])), nullptr);
}

TEST(ClientSession, AnEvictedSessionLosesItsDataAndSaysSo) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto dirty = w.create(*client, "dirty");
  auto clean = w.create(*client, "clean");
  w.write(*client, clean, 0, "safe");
  w.done(client->fsync(clean, false));
  w.write(*client, dirty, 0, "lost");
  w.master.evict(SessionId{1});
  w.world.runFor(2 * SECOND);
  EXPECT_EQ(client->stats().session, 2u);
  EXPECT_EQ(w.world.await(client->fsync(dirty, false), SECOND).code(), EIO);
  w.done(client->fsync(dirty, false));  // told once
  w.done(client->fsync(clean, false));
  w.write(*client, dirty, 0, "again");
  w.done(client->fsync(dirty, false));
  EXPECT_EQ(w.master.holds(2).size(), 2u) << "open files are held under the new session";
  EXPECT_EQ(w.read(*client, dirty, 0, 10), "again");
}

TEST(ClientSession, AChangeUnderAnEvictedSessionIsNotRepeated) {
  ClientWorld w(1);
  auto client = w.newClient();
  w.master.fate = [&](const char* kind) {
    if (std::string(kind) != "execute" || w.master.executed > 0) {
      return FakeMaster::Fate::NORMAL;
    }
    return FakeMaster::Fate::BREAK_AFTER;
  };
  auto make = client->makeDirectory(ROOT_INODE, "d", 0755, Caller{}).promise();
  w.world.runUntil([&] { return w.master.executed == 1; }, SECOND);
  w.master.evict(SessionId{1});
  EXPECT_EQ(w.world.await(kj::mv(make), 10 * SECOND).code(), EIO);
  EXPECT_EQ(w.master.executed, 1u);
}

TEST(ClientSession, TheSocketIsUsedAsSoonAsItIsThere) {
  ClientWorld w(1);
  auto client = w.newClient("m1");
  EXPECT_EQ(w.master.socketConnections, 0u);
  w.master.listenOn("/run/m1.sock");
  w.world.runFor(10 * SECOND);
  EXPECT_GE(w.master.socketConnections, 1u);
  EXPECT_EQ(client->stats().session, 1u);
  w.create(*client, "f");
  auto remote = w.newClient("k1");
  w.create(*remote, "g");
}

TEST(ClientSession, ACreateGivenUpLeavesNothingOpen) {
  ClientWorld w(1);
  auto client = w.newClient();
  auto create = kj::heap(client->create(ROOT_INODE, "f", S_IFREG | 0644, OPEN_WRITE, Caller{}).promise());
  w.world.runFor(10 * MICROSECOND);  // sent, not answered
  create = nullptr;
  w.world.runFor(SECOND);
  ASSERT_NE(w.master.at("f"), nullptr);
  EXPECT_TRUE(w.master.holds(1).empty());
  EXPECT_EQ(client->stats().openHandles, 0u);
}

TEST(ClientSession, AnotherClusterIsRefusedAtOnce) {
  ClientWorld w(1);
  ClusterFile file;
  file.cluster = ClusterId{1, 1};
  file.masters.push_back({"m1", w.master.address(), ""});
  auto random = w.world.random("x");
  Client client(w.world.clock(), w.world.network().host("k1"), *random, file, {});
  EXPECT_EQ(w.world.await(client.start(), 5 * SECOND).code(), ESTALE);
}

}  // namespace
}  // namespace cairn
