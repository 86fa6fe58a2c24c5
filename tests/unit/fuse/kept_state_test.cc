// What a mount's process leaves behind: written by one KeptState, read by another over the same memory.
#include "fuse-client/fuse/kept_state.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <map>

#include "fuse-client/fuse/holder.h"

namespace cairn {
namespace {

class KeptStates : public testing::Test {
 protected:
  KeptStates() : descriptors_(KeptState::make()) {}
  ~KeptStates() override {
    for (int descriptor : descriptors_) {
      ::close(descriptor);
    }
  }
  // As another process would see it now.
  std::unique_ptr<KeptState> open() {
    KeptState::Descriptors copies{};
    for (size_t i = 0; i < copies.size(); ++i) {
      copies[i] = ::dup(descriptors_.at(i));
    }
    return std::make_unique<KeptState>(copies);
  }

 private:
  std::vector<int> descriptors_;
};

TEST_F(KeptStates, BeginsEmpty) {
  auto state = open();
  EXPECT_TRUE(state->isNew());
  EXPECT_FALSE(state->isUnderstood());
  state->begin(InodeId{5}, "request");
  auto next = open();
  EXPECT_FALSE(next->isNew());
  EXPECT_TRUE(next->isUnderstood());
  EXPECT_EQ(next->root(), InodeId{5});
  EXPECT_EQ(next->firstRequest(), "request");
}

TEST_F(KeptStates, ASuccessorFindsAllThatWasNoted) {
  auto state = open();
  state->attaching(SessionId{3}, 9);
  state->sending({63, 17, 100, 2, false});
  state->sending({4, 1, 7, 1, false});
  state->answered(4);
  state->sending({4, 2, 8, 3, false});
  state->answered(63);
  state->opened({11, 21, 0, 31, 4, 0});
  state->opened({12, 22, 1, 32, 8, 0});
  state->closed(HandleId{12});
  state->locksLost(HandleId{11});
  state->mayHaveLocks({InodeId{21}, true, 77, HandleId{11}});
  state->mayHaveLocks({InodeId{21}, true, 77, HandleId{13}});
  state->mayHaveLocks({InodeId{21}, false, 77, HandleId{11}});
  state->hasNoLocks({InodeId{21}, false, 77, HandleId{}});
  state->safety(InodeId{21}, Safety::UNSENT);
  state->safety(InodeId{21}, Safety::UNSYNCED);
  state->safety(InodeId{22}, Safety::UNSENT);
  state->safety(InodeId{22}, Safety::SAFE);

  auto next = open();
  auto left = next->inheritance();
  EXPECT_EQ(left.session, SessionId{3});
  EXPECT_EQ(left.attempts, 9u);
  EXPECT_EQ(left.sent.at(63).sequence, 17u);
  EXPECT_EQ(left.sent.at(4).request, 8u);
  EXPECT_FALSE(left.sent.at(4).answered);
  EXPECT_TRUE(left.sent.at(63).answered);
  EXPECT_EQ(left.sent.at(4).kind, 3u);
  EXPECT_EQ(left.lastHandle, 12u) << "numbers of closed ones aren't given again";
  ASSERT_EQ(left.files.size(), 1u);
  EXPECT_EQ(left.files[0].inode, InodeId{21});
  EXPECT_TRUE(left.files[0].locksLost);
  ASSERT_EQ(left.locks.size(), 1u);
  EXPECT_EQ(left.locks[0].handle, HandleId{13});
  ASSERT_EQ(left.unsafe.size(), 1u);
  EXPECT_EQ(left.unsafe[0].safety, Safety::UNSYNCED);
  next->hasNoLocks({InodeId{21}, true, 77, HandleId{}});
  EXPECT_TRUE(open()->inheritance().locks.empty());
}

TEST_F(KeptStates, WhatTheKernelKnowsAgreesWithAModel) {
  std::map<uint64_t, uint64_t> model;
  uint64_t seed = 1;
  for (int round = 0; round < 3; ++round) {
    auto state = open();
    for (int i = 0; i < 20000; ++i) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      uint64_t inode = 1 + (seed >> 33) % 5000;
      uint64_t lookups = (seed >> 20) % 3;
      state->knows({inode, lookups, 1, 2});
      lookups == 0 ? model.erase(inode) : (model[inode] = lookups, 0);
    }
    std::map<uint64_t, uint64_t> found;
    open()->forEachKnown([&](const KeptState::Known& known) { found[known.key] = known.lookups; });
    EXPECT_EQ(found, model);
  }
}

TEST(Worker, ItsPlaceAsText) {
  WorkerPlace place{3, -1, 5, {6, 7, 8, 9, 10}};
  WorkerPlace out;
  ASSERT_TRUE(parseWorkerPlace(toText(place), out));
  EXPECT_EQ(out.holder, 3);
  EXPECT_EQ(out.fuse, -1);
  EXPECT_EQ(out.parent, 5);
  EXPECT_EQ(out.kept, place.kept);
  for (const char* wrong :
       {"", "3", "3,-1,5,6,7,8,9", "3,-1,5,6,7,8,9,10,11", "3,-1,5,6,7,8,9,x", "3;-1,5,6,7,8,9,10"}) {
    EXPECT_FALSE(parseWorkerPlace(wrong, out)) << wrong;
  }
}

}  // namespace
}  // namespace cairn
