// Replication classes in the namespace: who has which, and what a change of it does.
#include <gtest/gtest.h>

#include "master/namespace/records.h"
#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

constexpr uint32_t FILE_MODE = S_IFREG | 0644;
constexpr uint32_t DIRECTORY_MODE = S_IFDIR | 0755;
constexpr ClassId RACKS{1};

class Classes : public testing::Test {
 protected:
  Classes() {
    ReplicationClass cls{RACKS, 2, 2, 4, wire::FailureDomain::RACK};
    ns.apply([&](auto command) {
      auto change = command.initCluster();
      change.setExpected(raw(ns.reader().map().version));
      writeClass(cls, change.initClasses(1)[0]);
    });
  }
  int set(InodeId inode, ClassId cls) {
    auto applied = ns.apply([&](auto command) {
      auto out = command.initClassChange().initSet();
      out.setInode(raw(inode));
      out.setClass(raw(cls));
    });
    return ns.outcome(applied);
  }
  ClassId classOf(InodeId inode) { return ns.reader().classOf(inode).value(); }

  TestNamespace ns;
};

TEST_F(Classes, WhatIsMadeInADirectoryIsOfItsClass) {
  auto directory = ns.make(ROOT_INODE, "d", DIRECTORY_MODE).inode();
  auto before = ns.make(directory, "before", FILE_MODE).inode();
  ns.tick();
  ASSERT_EQ(set(directory, RACKS), 0);
  auto file = ns.make(directory, "f", FILE_MODE).inode();
  auto below = ns.make(directory, "sub", DIRECTORY_MODE).inode();
  auto deep = ns.make(below, "f", FILE_MODE).inode();
  EXPECT_EQ(ns.stat(file).getLayout().getClass(), raw(RACKS));
  EXPECT_EQ(ns.stat(deep).getLayout().getClass(), raw(RACKS));
  EXPECT_EQ(ns.stat(before).getLayout().getClass(), 0);
  EXPECT_EQ(classOf(ns.make(ROOT_INODE, "other", FILE_MODE).inode()), ClassId{0});
  EXPECT_EQ(ns.stat(directory).getChanged().getSeconds(), ns.now());
  EXPECT_LT(ns.stat(before).getChanged().getSeconds(), ns.now());
}

TEST_F(Classes, AChangeOutlivesARestart) {
  auto directory = ns.make(ROOT_INODE, "d", DIRECTORY_MODE).inode();
  ASSERT_EQ(set(directory, RACKS), 0);
  ns.reopen();
  EXPECT_EQ(classOf(directory), RACKS);
  EXPECT_EQ(ns.reader().map().classes.at(RACKS).level, wire::FailureDomain::RACK);
}

TEST_F(Classes, WhatCantBeIsRefused) {
  auto directory = ns.make(ROOT_INODE, "d", DIRECTORY_MODE).inode();
  auto file = ns.make(directory, "f", FILE_MODE).inode();
  EXPECT_EQ(set(directory, ClassId{9}), EINVAL);
  EXPECT_EQ(set(InodeId{12345}, RACKS), ESTALE);
  EXPECT_EQ(set(file, RACKS), ENOTDIR);
  EXPECT_EQ(classOf(file), ClassId{0});
  EXPECT_FALSE(ns.reader().classOf(InodeId{12345}).ok());
}

// Records of before racks and levels were known.
TEST_F(Classes, ShorterRecordsOfOlderStatesDecode) {
  ReplicationClass cls{RACKS, 3, 2, 4, wire::FailureDomain::ZONE};
  std::string text = encode(cls);
  ReplicationClass read;
  decode(std::string_view(text).substr(0, text.size() - sizeof(wire::FailureDomain)), read);
  EXPECT_EQ(read.copies, 3);
  EXPECT_EQ(read.level, wire::FailureDomain::SERVER);
  decode(text, read);
  EXPECT_EQ(read, cls);

  ServerRecord server;
  server.name = "c1";
  server.rack = "r1";
  server.zone = "z1";
  text = encode(server);
  ServerRecord readServer;
  decode(text, readServer);
  EXPECT_EQ(readServer, server);
  size_t names = 2 * (sizeof(uint32_t) + 2);
  readServer = {};
  decode(std::string_view(text).substr(0, text.size() - names), readServer);
  EXPECT_EQ(readServer.name, "c1");
  EXPECT_EQ(readServer.rack, "");
}

}  // namespace
}  // namespace cairn
