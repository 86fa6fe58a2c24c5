// What a joining member takes for equal, and what it fetches.
#include <gtest/gtest.h>

#include "chunkserver/replication/catch_up.h"

namespace cairn {
namespace {

ChunkId chunk(uint64_t object) {
  return {ObjectId{object}, 0};
}

TEST(CatchUp, aChunkThatMayLackSomethingIsTakenForEqualByItsDigestOnly) {
  CatchUp catchUp;
  catchUp.start(Epoch{3});
  PrimaryPage page;
  page.changed[chunk(1)] = 7;
  page.unchanged = {chunk(2), chunk(3)};
  page.end = true;
  std::map<ChunkId, LocalChunk> local;
  local[chunk(1)] = {true, 7, Epoch{2}, false, true};
  local[chunk(2)] = {true, 9, Epoch{2}, false, true};
  local[chunk(3)] = {true, 11, Epoch{2}, false, false};
  EXPECT_TRUE(catchUp.takePage(page, local).empty());
  EXPECT_EQ(1u, catchUp.todo());
  EXPECT_EQ(chunk(2), *catchUp.beginFetch());
}

TEST(CatchUp, aLocalChunkThatCantBeTrustedIsFetched) {
  CatchUp catchUp;
  catchUp.start(Epoch{3});
  PrimaryPage page;
  page.changed[chunk(1)] = 7;
  page.unchanged.insert(chunk(2));
  page.end = true;
  std::map<ChunkId, LocalChunk> local;
  local[chunk(1)] = {true, 7, Epoch{4}, true};
  local[chunk(2)] = {true, 9, Epoch{1}, true};
  EXPECT_TRUE(catchUp.takePage(page, local).empty());
  EXPECT_EQ(2u, catchUp.todo());
  EXPECT_EQ(CatchUp::Action::DROP, catchUp.forward(chunk(1)));
  EXPECT_EQ(chunk(1), *catchUp.beginFetch());
  EXPECT_EQ(CatchUp::Action::WAIT, catchUp.forward(chunk(1)));
  catchUp.endFetch(chunk(1));
  EXPECT_EQ(CatchUp::Action::APPLY, catchUp.forward(chunk(1)));
  EXPECT_FALSE(catchUp.complete());
  catchUp.endFetch(*catchUp.beginFetch());
  EXPECT_TRUE(catchUp.complete());
}

}  // namespace
}  // namespace cairn
