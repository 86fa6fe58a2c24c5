#include "common/cluster_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cerrno>
#include <fstream>

namespace cairn {
namespace {

using testing::HasSubstr;

const char* const GOOD = R"(cluster = "0123456789abcdef0123456789abcdef"
[[master]]
name = "m1"
address = "127.0.0.1:7000"
socket = "run/m1.sock"
[[master]]
name = "m2"
address = "host.example:7001"
socket = "/run/m2.sock"
[[master]]
name = "m3"
address = "[::1]:7002"
[defaults]
copies = 5
min_copies = 3
servers = 6
)";

// GOOD with `from` replaced by `to`.
std::string with(const std::string& from, const std::string& to) {
  std::string text = GOOD;
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ClusterFile, ReadsAllThatItSays) {
  auto read = parseClusterFile(GOOD, "/srv/c/cluster.toml");
  ASSERT_TRUE(read.ok()) << read.error().why;
  const ClusterFile& file = read.value();
  EXPECT_EQ(toText(file.cluster), "0123456789abcdef0123456789abcdef");
  ASSERT_EQ(file.masters.size(), 3u);
  EXPECT_EQ(file.masters[0].name, "m1");
  EXPECT_EQ(file.masters[0].address, "127.0.0.1:7000");
  EXPECT_EQ(file.masters[0].socket, "/srv/c/run/m1.sock");
  EXPECT_EQ(file.masters[1].socket, "/run/m2.sock");
  EXPECT_EQ(file.masters[2].address, "[::1]:7002");
  EXPECT_EQ(file.masters[2].socket, "");
  EXPECT_EQ(file.copies, 5u);
  EXPECT_EQ(file.minCopies, 3u);
  EXPECT_EQ(file.servers, 6u);
}

TEST(ClusterFile, DefaultsFitTheCopies) {
  struct Case {
    const char* defaults;
    uint32_t copies, minCopies, servers;
  };
  for (const Case& c : {Case{"", 3, 2, 3}, Case{"[defaults]\ncopies = 1\n", 1, 1, 1},
                        Case{"[defaults]\ncopies = 5\n", 5, 2, 3}, Case{"[defaults]\nservers = 9\n", 3, 2, 9}}) {
    std::string text = std::string(GOOD).substr(0, std::string(GOOD).find("[defaults]")) + c.defaults;
    auto read = parseClusterFile(text, "cluster.toml");
    ASSERT_TRUE(read.ok()) << read.error().why;
    EXPECT_EQ(read.value().copies, c.copies) << c.defaults;
    EXPECT_EQ(read.value().minCopies, c.minCopies) << c.defaults;
    EXPECT_EQ(read.value().servers, c.servers) << c.defaults;
  }
}

struct Bad {
  const char* name;
  std::string text;
  const char* place;   // how the message begins
  const char* reason;  // what it must say
};

class BadClusterFile : public testing::TestWithParam<Bad> {};

TEST_P(BadClusterFile, NamesPlaceAndCause) {
  auto read = parseClusterFile(GetParam().text, "c.toml");
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, EINVAL);
  EXPECT_EQ(read.error().why.rfind(GetParam().place, 0), 0u) << read.error().why;
  EXPECT_THAT(read.error().why, HasSubstr(GetParam().reason));
}

const std::string M1 = "name = \"m1\"";
INSTANTIATE_TEST_SUITE_P(
    All, BadClusterFile,
    testing::Values(
        Bad{"NotToml", "cluster = \n", "c.toml:1: ", "not valid TOML"},
        Bad{"UnfinishedTable", with("[[master]]", "[[master]"), "c.toml:2: ", "not valid TOML"},
        Bad{"DuplicateKey", with(M1, M1 + "\n" + M1), "c.toml:4: ", "not valid TOML"},
        Bad{"Empty", "", "c.toml: ", "has no 'cluster'; write cluster = "},
        Bad{"NoCluster", with("cluster = \"0123456789abcdef0123456789abcdef\"\n", ""), "c.toml: ", "has no 'cluster'"},
        Bad{"ClusterNoText", with("\"0123456789abcdef0123456789abcdef\"", "12"), "c.toml:1: ", "must be a text"},
        Bad{"ClusterShort", with("0123456789abcdef\"", "\""), "c.toml:1: ", "is no cluster id"},
        Bad{"ClusterNull", with("0123456789abcdef0123456789abcdef", std::string(32, '0')),
            "c.toml:1: ", "no cluster id"},
        Bad{"UnknownKey", with("cluster =", "colour = 1\ncluster ="), "c.toml:1: ", "unknown key 'colour' in the file"},
        Bad{"UnknownMasterKey", with(M1, M1 + "\nport = 3"), "c.toml:4: ", "unknown key 'port' in [[master]]"},
        Bad{"UnknownDefault", with("copies = 5", "copys = 5"), "c.toml:14: ",
            "copies, min_copies, servers, repair_delay"},
        Bad{"NoMaster", "cluster = \"0123456789abcdef0123456789abcdef\"\n",
            "c.toml: ", "names no master; add [[master]]"},
        Bad{"MasterNoList", "cluster = \"0123456789abcdef0123456789abcdef\"\nmaster = 1\n",
            "c.toml:2: ", "list of tables"},
        Bad{"MasterSingle", "cluster = \"0123456789abcdef0123456789abcdef\"\n[master]\n",
            "c.toml:2: ", "write [[master]]"},
        Bad{"MasterEmptyList", "cluster = \"0123456789abcdef0123456789abcdef\"\nmaster = []\n",
            "c.toml:2: ", "[[master]]"},
        Bad{"MasterNoName", with(M1 + "\n", ""), "c.toml:2: ", "[[master]] has no 'name'; write name = \"m1\""},
        Bad{"MasterNoAddress", with("address = \"127.0.0.1:7000\"\n", ""),
            "c.toml:2: ", "master 'm1' has no 'address'"},
        Bad{"MasterBadName", with("\"m1\"", "\"m/1\""), "c.toml:3: ", "letters, digits"},
        Bad{"MasterEmptyName", with("\"m1\"", "\"\""), "c.toml:3: ", "must be a text in quotes"},
        Bad{"AddressNoPort", with("127.0.0.1:7000", "127.0.0.1"), "c.toml:4: ", "must be \"host:port\""},
        Bad{"AddressPortZero", with(":7000", ":0"), "c.toml:4: ", "port of 1 to 65535"},
        Bad{"AddressPortHigh", with(":7000", ":65536"), "c.toml:4: ", "port of 1 to 65535"},
        Bad{"AddressPortText", with(":7000", ":http"), "c.toml:4: ", "port of 1 to 65535"},
        Bad{"AddressNoHost", with("127.0.0.1:7000", ":7000"), "c.toml:4: ", "must be \"host:port\""},
        Bad{"SocketNumber", with("\"run/m1.sock\"", "4"), "c.toml:5: ", "'socket' of master 'm1' must be a text"},
        Bad{"TwoNames", with("\"m2\"", "\"m1\""), "c.toml:6: ", "has the name, address or socket of master 'm1'"},
        Bad{"TwoAddresses", with("host.example:7001", "127.0.0.1:7000"), "c.toml:6: ", "each needs its own"},
        Bad{"DefaultsNoTable", with("[defaults]\ncopies = 5\nmin_copies = 3\nservers = 6\n", "[[defaults]]\n"),
            "c.toml:13: ", "write [defaults]"},
        Bad{"CopiesText", with("copies = 5", "copies = \"5\""), "c.toml:14: ", "'copies' must be a whole number"},
        Bad{"CopiesZero", with("copies = 5", "copies = 0"), "c.toml:14: ", "from 1 to 16"},
        Bad{"CopiesHuge", with("copies = 5", "copies = 4294967299"), "c.toml:14: ", "from 1 to 16"},
        Bad{"CopiesFraction", with("copies = 5", "copies = 2.5"), "c.toml:14: ", "whole number"},
        Bad{"MinAboveCopies", with("copies = 5", "copies = 2"), "c.toml:13: ", "min_copies (3) is above copies (2)"},
        Bad{"ServersBelowMin", with("servers = 6", "servers = 2"),
            "c.toml:13: ", "servers (2) is below min_copies (3)"}),
    [](const auto& info) { return std::string(info.param.name); });

class ClusterFileOnDisk : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/cairn-cluster-file-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override {
    unlink((directory_ + "/cluster.toml").c_str());
    rmdir(directory_.c_str());
  }
  std::string directory_;
};

TEST_F(ClusterFileOnDisk, IsFoundAndItsSocketsBesideIt) {
  std::ofstream(directory_ + "/cluster.toml") << GOOD;
  auto read = readClusterFile(directory_ + "/cluster.toml");
  ASSERT_TRUE(read.ok()) << read.error().why;
  EXPECT_EQ(read.value().masters[0].socket, directory_ + "/run/m1.sock");
}

TEST_F(ClusterFileOnDisk, MissingSaysWhereAndWhatNext) {
  auto read = readClusterFile(directory_ + "/cluster.toml");
  ASSERT_EQ(read.code(), ENOENT);
  EXPECT_THAT(read.error().why, HasSubstr(directory_ + "/cluster.toml: No such file"));
  EXPECT_THAT(read.error().why, HasSubstr("tools/dfs up"));
}

TEST_F(ClusterFileOnDisk, DirectoryIsRefused) {
  auto read = readClusterFile(directory_);
  ASSERT_EQ(read.code(), EINVAL);
  EXPECT_THAT(read.error().why, HasSubstr("not a regular file"));
}

TEST_F(ClusterFileOnDisk, HugeFileIsRefused) {
  std::ofstream(directory_ + "/cluster.toml") << std::string(2 << 20, '#');
  EXPECT_EQ(readClusterFile(directory_ + "/cluster.toml").code(), EFBIG);
}

TEST_F(ClusterFileOnDisk, ErrorsNameTheFile) {
  std::ofstream(directory_ + "/cluster.toml") << "cluster = 1\n";
  auto read = readClusterFile(directory_ + "/cluster.toml");
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().why.rfind(directory_ + "/cluster.toml:1: ", 0), 0u) << read.error().why;
}

TEST(ClusterFile, AnEpochIsWhatRecoverPrints) {
  auto read = parseClusterFile("epoch = \"3-5f3a9c21\"\n" + std::string(GOOD), "c");
  ASSERT_TRUE(read.ok()) << read.error().why;
  EXPECT_EQ(toText(read.value().epoch), "3-5f3a9c21");
  EXPECT_EQ(parseClusterFile(GOOD, "c").value().epoch, GroupEpoch{});
  auto wrong = parseClusterFile("epoch = \"3\"\n" + std::string(GOOD), "c");
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().why, HasSubstr("c:1: '3' is no epoch"));
}

TEST(ClusterFile, upkeepIsSetOrLeftToItself) {
  auto plain = parseClusterFile(GOOD, "/etc/c.toml");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain.value().scrubDays, 14u);
  EXPECT_EQ(plain.value().repairMibPerSecond, 0u);
  std::string text = std::string(GOOD) + "[upkeep]\nscrub_days = 3\nrepair_mib_per_second = 200\n";
  auto set = parseClusterFile(text, "/etc/c.toml");
  ASSERT_TRUE(set.ok()) << set.error().why;
  EXPECT_EQ(set.value().scrubDays, 3u);
  EXPECT_EQ(set.value().repairMibPerSecond, 200u);
  auto wrong = parseClusterFile(std::string(GOOD) + "[upkeep]\nscrub_days = 0\n", "/etc/c.toml");
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().why, HasSubstr("scrub_days"));
}

}  // namespace
}  // namespace cairn
