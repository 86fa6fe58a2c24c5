// Files on their way into another replication class: what begins, ends and gives up a move, and what is left of it.
#include <gtest/gtest.h>

#include "master/namespace/records.h"
#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

constexpr uint32_t FILE_MODE = S_IFREG | 0644;
constexpr uint32_t DIRECTORY_MODE = S_IFDIR | 0755;
constexpr uint64_t MIB = 1 << 20;
constexpr ClassId OTHER{1};

class Moves : public testing::Test {
 protected:
  Moves() {
    ReplicationClass cls{OTHER, 2, 2, 4};
    ns.apply([&](auto command) {
      auto change = command.initCluster();
      change.setExpected(raw(ns.reader().map().version));
      writeClass(cls, change.initClasses(1)[0]);
    });
    file = ns.make(ROOT_INODE, "f", FILE_MODE).inode();
    from = ObjectId{ns.object(file)};
    ns.written(file, raw(from), 9 * MIB, 9 * MIB);
  }
  int change(const std::function<void(wire::ClassChange::Builder)>& fill) {
    auto applied = ns.apply([&](auto command) { fill(command.initClassChange()); });
    return ns.outcome(applied);
  }
  int begin(std::vector<InodeId> inodes, ClassId cls = OTHER, uint64_t task = 0) {
    return change([&](auto out) {
      auto begin = out.initBegin();
      begin.setClass(raw(cls));
      begin.setTask(task);
      auto list = begin.initInodes(static_cast<unsigned>(inodes.size()));
      for (unsigned i = 0; i < list.size(); ++i) {
        list.set(i, raw(inodes[i]));
      }
    });
  }
  void seal(InodeId inode, bool on = true) {
    change([&](auto out) {
      out.initSeal().setOn(on);
      out.getSeal().initInodes(1).set(0, raw(inode));
    });
  }
  void finish(InodeId inode, ObjectId to, uint32_t chunks) {
    change([&](auto out) {
      auto end = out.initFinish(1)[0];
      end.setInode(raw(inode));
      end.setTo(raw(to));
      end.setChunks(chunks);
    });
  }
  void reclaimed(uint64_t id) {
    ns.apply([&](auto command) { command.initReclaimed(1).set(0, id); });
  }
  const std::set<ObjectId>& sealed() { return ns.reader().map().sealed; }
  std::vector<ReclaimItem> reclaims() { return ns.reader().reclaims(0, 1000); }
  // Begun: the object to come.
  ObjectId begun() {
    EXPECT_EQ(begin({file}), 0);
    return ns.reader().move(file).value().to;
  }

  TestNamespace ns;
  InodeId file{};
  ObjectId from{};
};

TEST_F(Moves, AFileGetsTheNewObjectWhenItIsFinished) {
  MapVersion before = ns.reader().map().version;
  ObjectId to = begun();
  EXPECT_EQ(sealed(), std::set<ObjectId>{to}) << "nobody but what copies may write there";
  EXPECT_GT(ns.reader().map().version, before);
  EXPECT_EQ(ns.object(file), raw(from));
  finish(file, to, 3);
  EXPECT_EQ(ns.object(file), raw(from)) << "finished though clients may change the old object";
  seal(file);
  EXPECT_EQ(sealed(), (std::set<ObjectId>{from, to}));
  finish(file, to, 3);
  auto layout = ns.stat(file).getLayout();
  EXPECT_EQ(layout.getObject(), raw(to));
  EXPECT_EQ(layout.getMovedFrom(), raw(from));
  EXPECT_EQ(layout.getClass(), raw(OTHER));
  EXPECT_EQ(sealed(), std::set<ObjectId>{from}) << "until its chunks are gone";
  EXPECT_FALSE(ns.reader().move(file).has_value());
  ASSERT_EQ(reclaims().size(), 1u);
  EXPECT_EQ(reclaims()[0].object, from);
  EXPECT_EQ(reclaims()[0].cls, ClassId{0});
  EXPECT_EQ(reclaims()[0].chunks, 3u);
  EXPECT_TRUE(reclaims()[0].left);
  before = ns.reader().map().version;
  reclaimed(reclaims()[0].id);
  EXPECT_TRUE(sealed().empty());
  EXPECT_GT(ns.reader().map().version, before);
}

TEST_F(Moves, SizesToldOfTheOldObjectCount) {
  ObjectId to = begun();
  seal(file);
  finish(file, to, 5);
  EXPECT_EQ(ns.written(file, raw(from), 17 * MIB).get().getWritten()[0].getErrno(), 0);
  EXPECT_EQ(ns.stat(file).getSize(), 17 * MIB);
  ns.unlink(ROOT_INODE, "f");
  ASSERT_EQ(reclaims().size(), 2u);
  EXPECT_EQ(reclaims()[1].object, to);
  EXPECT_EQ(reclaims()[1].chunks, 5u) << "as many chunks as were copied";
}

TEST_F(Moves, ATruncationLeavesTheFileWhereItIs) {
  ObjectId to = begun();
  seal(file);
  ns.truncate(file, 5 * MIB);
  EXPECT_TRUE(sealed().empty());
  EXPECT_EQ(ns.object(file), raw(from));
  ASSERT_EQ(reclaims().size(), 1u);
  EXPECT_EQ(reclaims()[0].object, to);
  EXPECT_EQ(reclaims()[0].cls, OTHER);
  finish(file, to, 3);
  EXPECT_EQ(ns.object(file), raw(from));
  begin({file});
  EXPECT_FALSE(ns.reader().move(file).has_value()) << "the chunkservers have still to be told what is dead";
  ns.truncate(file, 0);
  EXPECT_EQ(ns.stat(file).getLayout().getMovedFrom(), 0u);
  to = begun();
  ns.truncate(file, 0);
  EXPECT_TRUE(sealed().empty());
  EXPECT_FALSE(ns.reader().move(file).has_value());
}

TEST_F(Moves, AFileThatGoesTakesItsCopyWithIt) {
  ObjectId to = begun();
  ns.unlink(ROOT_INODE, "f");
  EXPECT_TRUE(sealed().empty());
  EXPECT_TRUE(ns.reader().moves().empty());
  ASSERT_EQ(reclaims().size(), 2u);
  EXPECT_EQ(std::set<ObjectId>({reclaims()[0].object, reclaims()[1].object}), (std::set<ObjectId>{from, to}));
}

// Who knows a file by the object before the last one would take it for truncated.
TEST_F(Moves, NoneIsBegunBeforeTheLastOnesObjectIsGone) {
  ObjectId to = begun();
  seal(file);
  finish(file, to, 3);
  begin({file}, ClassId{0});
  EXPECT_FALSE(ns.reader().move(file).has_value());
  reclaimed(reclaims()[0].id);
  begin({file}, ClassId{0});
  EXPECT_TRUE(ns.reader().move(file).has_value());
}

TEST_F(Moves, WhatHasNoBytesJustGetsTheClass) {
  auto directory = ns.make(ROOT_INODE, "d", DIRECTORY_MODE).inode();
  EXPECT_EQ(begin({directory, file, file, InodeId{4711}}), 0);
  EXPECT_EQ(ns.reader().record(directory)->cls, OTHER);
  EXPECT_EQ(ns.reader().moves().size(), 1u);
  EXPECT_EQ(begin({file}, ClassId{9}), EINVAL);
}

TEST_F(Moves, TasksCountWhatIsDone) {
  ASSERT_EQ(change([](auto out) {
              auto task = out.initBeginTask();
              task.setInode(raw(ROOT_INODE));
              task.setClass(raw(OTHER));
            }),
            0);
  ASSERT_EQ(ns.reader().moveTasks().size(), 1u);
  uint64_t id = ns.reader().moveTasks()[0].id;
  begin({file}, OTHER, id);
  ObjectId to = ns.reader().move(file)->to;
  seal(file);
  finish(file, to, 3);
  EXPECT_EQ(ns.reader().moveTasks()[0].filesDone, 1u);
  EXPECT_EQ(ns.reader().moveTasks()[0].bytesDone, 9 * MIB);
  EXPECT_EQ(change([id](auto out) { out.setEndTask(id); }), 0);
  EXPECT_EQ(change([id](auto out) { out.setEndTask(id); }), ENOENT);
}

TEST_F(Moves, TheNewestTaskHasTheLastWord) {
  auto directory = ns.make(ROOT_INODE, "d", DIRECTORY_MODE).inode();
  auto below = ns.make(directory, "below", DIRECTORY_MODE).inode();
  auto set = [this](InodeId root) {
    change([root](auto out) {
      auto task = out.initBeginTask();
      task.setInode(raw(root));
      task.setClass(raw(OTHER));
    });
  };
  set(directory);
  set(below);
  ASSERT_EQ(ns.reader().moveTasks().size(), 2u);
  EXPECT_EQ(ns.reader().moveTasks()[0].except, std::vector<InodeId>{below});
  EXPECT_TRUE(ns.reader().moveTasks()[1].except.empty());
  set(directory);
  ASSERT_EQ(ns.reader().moveTasks().size(), 1u) << "all that was about parts of it";
  EXPECT_EQ(ns.reader().moveTasks()[0].root, directory);
}

TEST_F(Moves, ARestartKnowsWhatIsUnderWay) {
  ObjectId to = begun();
  seal(file);
  ns.reopen();
  EXPECT_EQ(sealed(), (std::set<ObjectId>{from, to}));
  EXPECT_EQ(ns.reader().moves().size(), 1u);
  seal(file, false);
  EXPECT_EQ(sealed(), std::set<ObjectId>{to});
}

}  // namespace
}  // namespace cairn
