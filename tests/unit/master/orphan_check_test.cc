// Which objects no file has: only those are, and what is on its way out is none of them.
#include "master/orphan_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sim/world/world.h"
#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Asked {
  std::vector<ObjectId> orphans(std::vector<ObjectId> objects) {
    return world.await(findOrphans(world.clock(), state.reader(), std::move(objects)), 60 * SECOND);
  }
  InodeId file(const std::string& name) {
    InodeId inode = state.make(ROOT_INODE, name, S_IFREG | 0644).inode();
    state.written(inode, state.object(inode), 5000);
    return inode;
  }
  ObjectId objectOf(InodeId inode) { return ObjectId{state.object(inode)}; }

  World world{1};
  TestNamespace state;
};

TEST(OrphanCheck, WhatAFileHasIsNone) {
  Asked asked;
  std::vector<ObjectId> objects;
  for (int i = 0; i < 3000; ++i) {  // more than are looked at at once
    objects.push_back(asked.objectOf(asked.file("f" + std::to_string(i))));
  }
  std::reverse(objects.begin(), objects.end());
  EXPECT_THAT(asked.orphans(objects), IsEmpty());
  EXPECT_THAT(asked.orphans({}), IsEmpty());
}

TEST(OrphanCheck, WhatIsDeletedIsOneWhenItsChunksShouldBeGone) {
  Asked asked;
  ObjectId kept = asked.objectOf(asked.file("kept"));
  ObjectId deleted = asked.objectOf(asked.file("deleted"));
  InodeId cleared = asked.file("cleared");
  ObjectId replaced = asked.objectOf(cleared);
  ASSERT_EQ(asked.state.truncate(cleared, 0).code(), 0);
  asked.state.unlink(ROOT_INODE, "deleted");
  ObjectId ahead{raw(asked.state.reader().nextObject()) + 5};
  EXPECT_THAT(asked.orphans({kept, deleted, replaced, ahead}), IsEmpty()) << "they wait to be deleted";
  auto waiting = asked.state.reader().reclaims(0, 10);
  ASSERT_EQ(waiting.size(), 2u);
  asked.state.apply([&](wire::Command::Builder command) {
    auto ids = command.initReclaimed(2);
    ids.set(0, waiting[0].id);
    ids.set(1, waiting[1].id);
  });
  EXPECT_THAT(asked.orphans({ahead, replaced, kept, deleted, deleted}), ElementsAre(deleted, replaced));
}

TEST(OrphanCheck, AFileWithoutANameIsAFile) {
  Asked asked;
  InodeId inode = asked.file("open");
  asked.state.holders = {{inode, {asked.state.session}}};
  asked.state.unlink(ROOT_INODE, "open");
  EXPECT_THAT(asked.orphans({asked.objectOf(inode)}), IsEmpty());
}

}  // namespace
}  // namespace cairn
