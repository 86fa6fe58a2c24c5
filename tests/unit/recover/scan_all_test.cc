// Which disks a scan takes, and which it refuses; what it finds on them, and that an interrupted one goes on.
#include "tools/recover/scan_all.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cerrno>
#include <filesystem>

#include "chunkserver/store/volume_store.h"
#include "common/checksum.h"
#include "common/system/disk.h"
#include "common/system/runtime.h"

namespace cairn::rescue {
namespace {

constexpr ClusterId OURS{1, 2};
constexpr ClusterId OTHERS{3, 4};

class ScanAllTest : public testing::Test {
 protected:
  ~ScanAllTest() noexcept override {}

  void SetUp() override {
    char name[] = "/tmp/cairn-scan-XXXXXX";
    base_ = mkdtemp(name);
    std::filesystem::create_directory(base_ + "/map");
    map_ = openSystemDisk(base_ + "/map", *runtime_.workers).value();
  }
  void TearDown() override {
    map_ = nullptr;
    std::filesystem::remove_all(base_);
  }

  // A volume that is served as long as it lives.
  struct Served {
    kj::Own<Disk> disk;
    kj::Own<VolumeStore> store;
  };
  Served serve(const std::string& name, ClusterId cluster) {
    std::filesystem::create_directory(base_ + "/" + name);
    Served out{openSystemDisk(base_ + "/" + name, *runtime_.workers).value()};
    VolumeOptions options;
    options.cluster = cluster;
    options.server = {5, 6};
    options.create = true;
    auto opened = openVolume(*out.disk, *leveldb::Env::Default(), *runtime_.clock, *runtime_.workers, *runtime_.random,
                             options);
    KJ_ASSERT(opened.ok(), opened.error().why);
    out.store = kj::mv(opened.value());
    return out;
  }
  // With a chunk of so many blocks.
  void make(const std::string& name, ClusterId cluster, uint32_t blocks) {
    auto served = serve(name, cluster);
    ChunkContext context;
    context.shard = ShardId{1};
    context.epoch = Epoch{1};
    std::string bytes(blocks * BLOCK_BYTES, 'x');
    auto content = kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size());
    std::vector<uint64_t> sums(blocks, blockChecksum(content.slice(0, BLOCK_BYTES)));
    WritePiece piece{0, content, kj::arrayPtr(sums.data(), sums.size())};
    KJ_ASSERT(wait(served.store->write({ObjectId{blocks}, 0}, context, kj::arrayPtr(&piece, 1))).ok());
    KJ_ASSERT(wait(served.store->close()).ok());
  }
  template <typename T>
  T wait(Task<T> task) {
    kj::Promise<T> promise = kj::mv(task);
    return promise.wait(runtime_.io.waitScope);
  }
  Result<std::vector<FoundDisk>> scan(std::vector<std::string> names, const std::string& cluster = "") {
    for (auto& name : names) {
      name = base_ + "/" + name;
    }
    auto opener = [this](const std::string& path) { return openSystemDisk(path, *runtime_.workers); };
    return wait(scanAll({names, cluster, map_.get()},
                        {opener, *leveldb::Env::Default(), *runtime_.workers, *runtime_.random}));
  }

  Runtime runtime_;
  std::string base_;
  kj::Own<Disk> map_;
};

TEST_F(ScanAllTest, SmallAndLargeChunksAreFound) {
  make("a", OURS, 3);
  make("b", OURS, 40);
  auto found = scan({"a", "b"});
  ASSERT_TRUE(found.ok()) << found.error().why;
  ASSERT_EQ(found.value().size(), 2u);
  for (auto& disk : found.value()) {
    ASSERT_EQ(disk.copies.size(), 1u) << disk.path;
    EXPECT_TRUE(disk.copies[0].bad.empty());
    EXPECT_EQ(disk.copies[0].sums, FoundCopy::Sums::CONFIRMED);
    EXPECT_TRUE(disk.damage.empty());
  }
  EXPECT_EQ(found.value()[0].copies[0].kind, ChunkKind::INLINE);
  EXPECT_EQ(found.value()[1].copies[0].lengthBlocks, 40u);
}

TEST_F(ScanAllTest, DisksOfTwoClustersAreToldApart) {
  make("a", OURS, 3);
  make("b", OTHERS, 3);
  auto refused = scan({"a", "b"});
  ASSERT_EQ(refused.code(), EINVAL);
  for (auto& part : {toText(OURS), toText(OTHERS), std::string("--cluster"), base_ + "/b"}) {
    EXPECT_NE(refused.error().why.find(part), std::string::npos) << part << " in " << refused.error().why;
  }
  auto chosen = scan({"a", "b"}, toText(OTHERS));
  ASSERT_TRUE(chosen.ok()) << chosen.error().why;
  ASSERT_EQ(chosen.value().size(), 1u);
  EXPECT_EQ(chosen.value()[0].path, base_ + "/b");
  EXPECT_EQ(scan({"a"}).code(), EINVAL) << "the map is the other cluster's by now";
}

TEST_F(ScanAllTest, WhatIsServedIsRefused) {
  auto served = serve("a", OURS);
  auto refused = scan({"a"});
  ASSERT_EQ(refused.code(), EBUSY);
  EXPECT_NE(refused.error().why.find("stop it first"), std::string::npos);
  EXPECT_TRUE(wait(served.store->close()).ok());
}

TEST_F(ScanAllTest, WhatIsNoDiskIsRefused) {
  std::filesystem::create_directory(base_ + "/empty");
  EXPECT_EQ(scan({"empty"}).code(), EINVAL);
  EXPECT_EQ(scan({"absent"}).code(), ENOENT);
}

// The disk's part of the map is cut off at every length: the scan that comes then finds the same.
TEST_F(ScanAllTest, AnInterruptedScanGoesOn) {
  make("a", OURS, 40);
  auto first = scan({"a"});
  ASSERT_TRUE(first.ok());
  std::string part = base_ + "/map/disks/" + toText(first.value()[0].identity.volume);
  for (uint64_t size = std::filesystem::file_size(part); size > 0; size -= std::min<uint64_t>(size, 7)) {
    std::filesystem::resize_file(part, size);
    auto again = scan({"a"});
    ASSERT_TRUE(again.ok()) << again.error().why;
    ASSERT_EQ(again.value()[0].copies.size(), 1u) << "cut at " << size;
    EXPECT_EQ(again.value()[0].copies[0].lengthBlocks, 40u);
    std::filesystem::resize_file(part, size);
  }
}

}  // namespace
}  // namespace cairn::rescue
