// Whom the master asks before a change, and what becomes of those who don't answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/master/service_world.h"

namespace cairn {
namespace {

using testing::Contains;
using testing::IsEmpty;
using Recalls = TestClient::Recalls;

constexpr Nanos AT_ONCE = 100 * MILLISECOND;
constexpr Nanos LEASE = 5 * SECOND;

struct Stage {
  explicit Stage(Recalls recalls) : one(world, "k1", Recalls::ANSWERED), two(world, "k2", recalls) {
    world.start();
    EXPECT_EQ(one.attach(), 0);
    EXPECT_EQ(two.attach(), 0);
    EXPECT_EQ(two.make("two"), 0);
  }
  // How long `one` takes to make a file in the root, while `two` renews its session every second.
  Nanos make(const std::string& name, bool renews) {
    auto& clock = world.world.clock();
    Nanos begun = clock.monotonic();
    int code = EINPROGRESS;
    auto making = one.start([&](wire::Op::Builder op) {
      op.initCaller();
      auto make = op.initMake();
      make.setParent(raw(ROOT_INODE));
      make.setName(kj::StringPtr(name.c_str()).asBytes());
      make.setMode(0100644);
    }).then([&](int result) { code = result; }).eagerlyEvaluate(nullptr);
    for (unsigned i = 0; i < 10 && code == EINPROGRESS; ++i) {
      world.world.runUntil([&] { return code != EINPROGRESS; }, SECOND);
      if (renews && code == EINPROGRESS) {
        two.renew();
        one.renew();
      }
    }
    EXPECT_EQ(code, 0);
    return clock.monotonic() - begun;
  }

  MasterWorld world;
  TestClient one, two;
};

TEST(MasterLeases, WhoDropsALeaseIsNotAskedAgain) {
  Stage stage(Recalls::ANSWERED);
  EXPECT_NE(stage.two.leased & wire::LEASED_NAMES, 0);
  EXPECT_LT(stage.make("a", false), AT_ONCE);
  EXPECT_THAT(stage.two.recalled, Contains(ROOT_INODE));
  stage.two.recalled.clear();
  EXPECT_LT(stage.make("b", false), AT_ONCE);
  EXPECT_THAT(stage.two.recalled, IsEmpty());
  EXPECT_THAT(stage.one.recalled, IsEmpty()) << "nobody is asked for its own change";
}

TEST(MasterLeases, WhoTakesNoneIsNotAsked) {
  Stage stage(Recalls::NONE);
  EXPECT_EQ(stage.two.leased, 0);
  EXPECT_LT(stage.make("a", false), AT_ONCE);
}

TEST(MasterLeases, WhoCantAnswerIsEvicted) {
  Stage stage(Recalls::REFUSED);
  EXPECT_LT(stage.make("a", false), AT_ONCE);
  EXPECT_EQ(stage.two.make("b"), -1);
  EXPECT_EQ(stage.two.attach(), ESTALE);
}

TEST(MasterLeases, WhoRenewsAndDoesNotAnswerIsEvicted) {
  Stage stage(Recalls::IGNORED);
  Nanos waited = stage.make("a", true);
  EXPECT_GE(waited, LEASE);
  EXPECT_LT(waited, LEASE + 2 * SECOND);
  EXPECT_EQ(stage.two.attach(), ESTALE);
}

std::string holdersText(Stage& stage, InodeId inode) {
  TestLink link(stage.world.world, "admin", stage.world.address);
  auto request = link.admin(MasterWorld::CLUSTER).leasesRequest();
  request.setInode(raw(inode));
  auto reply = stage.world.world.await(request.send(), LIMIT);
  std::string out;
  for (auto holder : reply.getHolders()) {
    bool asked = holder.getRecalledNanos() >= SECOND;
    out += std::string(holder.getSessionName().cStr()) + (holder.getWrite() ? " writes" : "") +
           (asked ? " asked for a second" : "") + "; ";
  }
  return out;
}

TEST(MasterLeases, WhoHasThemAndIsAskedForThemIsTold) {
  Stage stage(Recalls::IGNORED);
  std::string before = holdersText(stage, ROOT_INODE);
  EXPECT_NE(before.find("k2"), std::string::npos) << before;
  EXPECT_EQ(before.find("asked"), std::string::npos) << before;
  auto making = stage.one.start([](wire::Op::Builder op) {
    op.initCaller();
    auto make = op.initMake();
    make.setParent(raw(ROOT_INODE));
    make.setName(kj::StringPtr("a").asBytes());
    make.setMode(0100644);
  });
  stage.world.world.runFor(1500 * MILLISECOND);
  std::string meanwhile = holdersText(stage, ROOT_INODE);
  EXPECT_NE(meanwhile.find("k2 asked for a second"), std::string::npos) << meanwhile;
  stage.one.renew();
  stage.world.world.runFor(3 * SECOND);
  stage.one.renew();
  EXPECT_EQ(stage.world.world.await(kj::mv(making), LIMIT), 0);
  EXPECT_EQ(holdersText(stage, ROOT_INODE).find("k2"), std::string::npos);
}

// The unlink must name the holders of what the rename has put there, though both came at the same time.
TEST(MasterLeases, TwoChangesOfOneNameInOneTurn) {
  Stage stage(Recalls::NONE);
  EXPECT_EQ(stage.two.make("target"), 0);
  EXPECT_EQ(stage.two.make("moved"), 0);
  InodeId moved = stage.two.inode;
  EXPECT_TRUE(stage.two.hold({moved}, {}));
  auto renaming = stage.two.start([](wire::Op::Builder op) {
    op.initCaller();
    auto rename = op.initRename();
    rename.setParent(raw(ROOT_INODE));
    rename.setName(kj::StringPtr("moved").asBytes());
    rename.setNewParent(raw(ROOT_INODE));
    rename.setNewName(kj::StringPtr("target").asBytes());
  });
  auto removing = stage.two.start([](wire::Op::Builder op) {
    op.initCaller();
    auto unlink = op.initUnlink();
    unlink.setParent(raw(ROOT_INODE));
    unlink.setName(kj::StringPtr("target").asBytes());
  });
  EXPECT_EQ(stage.world.world.await(kj::mv(renaming), LIMIT), 0);
  EXPECT_EQ(stage.world.world.await(kj::mv(removing), LIMIT), 0);
  EXPECT_EQ(stage.two.exists(moved), 0) << "somebody has it open";
}

TEST(MasterLeases, AReplyGivenAgainIsNotLeased) {
  Stage stage(Recalls::ANSWERED);
  EXPECT_EQ(stage.two.make("c"), 0);
  EXPECT_NE(stage.two.leased, 0);
  EXPECT_EQ(stage.two.repeat(), 0);
  EXPECT_EQ(stage.two.leased, 0) << "it tells how things were";
}

}  // namespace
}  // namespace cairn
