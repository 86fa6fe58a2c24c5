// Known pitfalls of replicated state machines, by their numbers in the list of DESIGN 4.1; those of Raft itself are in
// tests/unit/master/raft/pitfalls_test.cc.
#include <gtest/gtest.h>

#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

void fillDirectory(wire::Op::Builder op) {
  auto make = op.initMake();
  make.setParent(raw(ROOT_INODE));
  make.setName(kj::StringPtr("d").asBytes());
  make.setMode(S_IFDIR | 0755);
}

TEST(Pitfalls, P2_StateAndAppliedIndexAreWrittenTogether) {
  TestNamespace space;
  space.make(ROOT_INODE, "written", S_IFREG | 0644);
  space.writeOut();
  LogIndex written = space.machine().appliedIndex();
  space.make(ROOT_INODE, "lost", S_IFREG | 0644);
  auto job = space.machine().beginWrite();  // begun, and not done: the process ends
  (void)job;
  EXPECT_EQ(space.machine().store().writtenHead().index, written);
  job();
  space.machine().store().endWrite();
  EXPECT_EQ(space.machine().store().writtenHead().index, next(written));
}

TEST(Pitfalls, P12_ARepeatedRequestIsAnsweredAndNotDoneAgain) {
  TestNamespace space;
  auto first = space.send(space.session, 3, 1, fillDirectory);
  EXPECT_EQ(first.code(), 0);
  space.writeOut();
  auto again = space.send(space.session, 3, 1, fillDirectory);
  EXPECT_EQ(again.code(), 0) << "not EEXIST";
  EXPECT_EQ(again.inode(), first.inode());
  EXPECT_TRUE(again.applied().repeated);
}

TEST(Pitfalls, P13_TheSameEntriesGiveTheSameDigest) {
  TestNamespace space, other{TestNamespace::Bare()};
  space.make(ROOT_INODE, "a", S_IFREG | 0644);
  space.rename(ROOT_INODE, "a", ROOT_INODE, "b");
  for (const auto& words : space.log()) {
    other.applyWords(words);
  }
  EXPECT_EQ(space.reader().digest(), other.reader().digest());
  other.make(ROOT_INODE, "odd", S_IFREG | 0644);
  EXPECT_NE(space.reader().digest(), other.reader().digest());
}

}  // namespace
}  // namespace cairn
