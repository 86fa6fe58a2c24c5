// Opening: whose directory it is, and what is refused.
#include "tests/unit/chunkserver/store_fixture.h"

namespace cairn {
namespace {

void expectRefused(StoreWorld& w, int code, const std::vector<std::string>& words) {
  auto status = w.tryOpen();
  ASSERT_EQ(status.code(), code) << (status.ok() ? "opened" : status.error().why);
  for (auto& word : words) {
    EXPECT_NE(status.error().why.find(word), std::string::npos) << status.error().why;
  }
}

TEST(StoreOpen, TheSameVolumeEachTime) {
  StoreWorld w(1);
  w.open();
  VolumeIdentity identity = w.store().identity();
  EXPECT_FALSE(identity.volume.isNull());
  EXPECT_EQ(identity.cluster, TEST_CLUSTER);
  w.close();
  w.options.create = false;
  w.open();
  EXPECT_EQ(w.store().identity().volume, identity.volume);
}

TEST(StoreOpen, NothingThereAndNoLeaveToCreate) {
  StoreWorld w(2);
  w.options.create = false;
  expectRefused(w, ENOENT, {"volume.id", "mounted"});
  EXPECT_TRUE(w.volume.open()->list(".").value().empty()) << "left something behind";
}

TEST(StoreOpen, AnotherClustersAndAnotherServers) {
  StoreWorld w(3);
  w.open();
  w.close();
  w.options.cluster = ClusterId{99, 99};
  expectRefused(w, EPERM, {"cluster", toText(TEST_CLUSTER), toText(ClusterId{99, 99})});
  w.options.cluster = TEST_CLUSTER;
  w.options.server = ServerId{98, 98};
  expectRefused(w, EPERM, {"chunkserver", toText(TEST_SERVER)});
}

TEST(StoreOpen, InUse) {
  StoreWorld w(4);
  w.open();
  auto disk = w.volume.open();
  auto env = w.world.newEnv();
  auto workers = w.world.newWorkers("second");
  auto random = w.world.random("second");
  auto second = openVolume(*disk, *env, w.world.clock(), *workers, *random, w.options);
  EXPECT_EQ(second.code(), EWOULDBLOCK);
}

TEST(StoreOpen, ForeignDirectory) {
  StoreWorld w(5);
  auto disk = w.volume.open();
  ASSERT_TRUE(disk->makeDirectory("photos").ok());
  expectRefused(w, ENOTEMPTY, {"photos", "empty directory"});
}

TEST(StoreOpen, MkfsLeavesItsDirectory) {
  StoreWorld w(6);
  ASSERT_TRUE(w.volume.open()->makeDirectory("lost+found").ok());
  w.open();
}

TEST(StoreOpen, VanishedMarker) {
  StoreWorld w(7);
  w.open();
  w.close();
  ASSERT_TRUE(w.volume.open()->remove("volume.id").ok());
  expectRefused(w, ENOENT, {"volume.id", "marker"});
}

TEST(StoreOpen, MarkerVanishesWhileRunning) {
  StoreWorld w(8);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 100)).ok());
  ASSERT_TRUE(w.volume.open()->remove("volume.id").ok());
  EXPECT_EQ(w.await(w.store().maintain()).code(), EIO);
  EXPECT_NE(w.store().health().error().why.find("vanished"), std::string::npos);
  EXPECT_EQ(w.write(keyOf(1), 0, pattern(1, 100)).code(), EIO);
  EXPECT_EQ(w.read(keyOf(1), 0, 4096).code, EIO);
  w.await(Task<void>(w.store().whenFailed()));
}

TEST(StoreOpen, NewerFormat) {
  StoreWorld w(9);
  w.open();
  w.close();
  std::string text = "cairnfs volume 2\nsomething new\n";
  auto disk = w.volume.open();
  ASSERT_TRUE(
      replaceFile(*disk, "volume.id", kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size())).ok());
  expectRefused(w, EPROTONOSUPPORT, {"newer"});
}

TEST(StoreOpen, CreationCutShortAnywhere) {
  for (uint64_t n = 1; n < 200; n++) {
    StoreWorld w(1000 + n);
    w.volume.setTrip(SimTrip{n, EIO, true});
    auto status = w.tryOpen();
    w.volume.setTrip(SimTrip());
    w.cutPower();
    w.open();
    ASSERT_FALSE(HasFailure()) << "power cut at access " << n;
    ASSERT_TRUE(w.write(keyOf(1), 0, pattern(n, 100)).ok());
    if (status.ok()) {
      return;
    }
  }
  FAIL() << "never got through";
}

TEST(StoreOpen, EmptiedBehindOurBack) {
  StoreWorld w(10);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 100'000)).ok());
  std::vector<VolumeStore::InSyncMark> marks{{TEST_SHARD, Epoch{4}}};
  ASSERT_TRUE(w.await(w.store().setInSync(marks)).ok());
  w.close();
  auto disk = w.volume.open();
  for (const char* folder : {"index"}) {
    for (auto& name : disk->list(folder).value()) {
      ASSERT_TRUE(disk->remove(std::string(folder) + "/" + name).ok());
    }
  }
  w.open();
  EXPECT_TRUE(w.store().indexRebuilt());
  EXPECT_EQ(w.store().inSync(TEST_SHARD), Epoch{}) << "an empty volume claims to be in sync";
  auto read = w.read(keyOf(1), 0, 4096);
  EXPECT_TRUE(read.unreadable.empty());
}

}  // namespace
}  // namespace cairn
