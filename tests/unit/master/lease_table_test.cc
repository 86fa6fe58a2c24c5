// Who may believe what: grants, changes under way, bounds.
#include "master/session/lease_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr SessionId A{1}, B{2}, C{3};
constexpr InodeId X{10}, Y{11};

TEST(LeaseTable, HoldersAreThoseToBeAsked) {
  LeaseTable table;
  EXPECT_FALSE(table.anyHolderBut(A));
  EXPECT_TRUE(table.grant(C, X));
  EXPECT_TRUE(table.grant(B, X));
  EXPECT_TRUE(table.grant(B, X)) << "again";
  EXPECT_TRUE(table.grant(A, Y));
  EXPECT_THAT(table.holdersBut(A, X), ElementsAre(B, C));
  EXPECT_THAT(table.holdersBut(B, X), ElementsAre(C));
  EXPECT_THAT(table.holdersBut(A, Y), IsEmpty());
  EXPECT_EQ(table.count(B), 1u);
  EXPECT_TRUE(table.anyHolderBut(A));

  table.release(B, X);
  table.release(B, Y);
  EXPECT_THAT(table.holdersBut(A, X), ElementsAre(C));
  table.releaseAll(C);
  EXPECT_THAT(table.holdersBut(A, X), IsEmpty());
  EXPECT_FALSE(table.anyHolderBut(A));
  EXPECT_TRUE(table.anyHolderBut(B));
}

TEST(LeaseTable, NobodyElseIsGrantedWhatIsBeingChanged) {
  LeaseTable table;
  table.beginChange(A, X);
  table.beginChange(A, X);
  EXPECT_FALSE(table.grant(B, X));
  EXPECT_TRUE(table.grant(A, X)) << "who changes it knows";
  EXPECT_TRUE(table.grant(B, Y));
  table.beginChange(B, X);
  EXPECT_FALSE(table.grant(A, X)) << "now another changes it too";
  table.endChange(A, X);
  EXPECT_FALSE(table.grant(B, X)) << "one of two is still under way";
  table.endChange(A, X);
  EXPECT_TRUE(table.grant(B, X));
  EXPECT_FALSE(table.grant(A, X));
  table.endChange(B, X);
  EXPECT_TRUE(table.grant(A, X));
}

TEST(LeaseTable, AWriterIsAlone) {
  LeaseTable table;
  EXPECT_TRUE(table.grant(A, X));
  EXPECT_TRUE(table.grant(B, X));
  EXPECT_FALSE(table.grantWriting(A, X, 5)) << "another reads";
  table.release(B, X);
  EXPECT_TRUE(table.grantWriting(A, X, 5));
  EXPECT_TRUE(table.grantWriting(A, X, 5)) << "again";
  EXPECT_FALSE(table.grant(B, X));
  EXPECT_FALSE(table.grantWriting(B, X, 5));
  EXPECT_EQ(table.writerBut(B, X), A);
  EXPECT_EQ(table.writerBut(A, X), std::nullopt);
  EXPECT_THAT(table.writtenBy(A), ElementsAre(X));
  EXPECT_THAT(table.holdersBut(B, X), ElementsAre(A)) << "a change asks it too";

  table.endWriting(B, X);
  EXPECT_TRUE(table.isWriting(A, X)) << "of another";
  table.endWriting(A, X, 4);
  EXPECT_TRUE(table.isWriting(A, X)) << "granted after the question that was answered";
  table.endWriting(A, X);
  EXPECT_TRUE(table.grant(B, X));
  EXPECT_THAT(table.holdersBut(B, X), ElementsAre(A)) << "who wrote goes on reading";
  EXPECT_FALSE(table.takeUpWriting(A, X)) << "others have leases by now";
  table.releaseAll(B);
  EXPECT_TRUE(table.takeUpWriting(A, X));
  table.release(A, X);
  EXPECT_FALSE(table.isWriting(A, X));
  EXPECT_THAT(table.writtenBy(A), IsEmpty());
  table.beginChange(C, X);
  EXPECT_FALSE(table.grantWriting(A, X, 5)) << "what another is changing";
  table.endChange(C, X);
}

TEST(LeaseTable, OneSessionCantTakeAllTheRoom) {
  LeaseTable table;
  for (uint64_t i = 0; i < LeaseTable::OF_ONE_MAX; ++i) {
    ASSERT_TRUE(table.grant(A, InodeId{i}));
  }
  EXPECT_FALSE(table.grant(A, InodeId{LeaseTable::OF_ONE_MAX}));
  EXPECT_TRUE(table.grant(A, InodeId{0})) << "it has that one";
  EXPECT_TRUE(table.grant(B, InodeId{LeaseTable::OF_ONE_MAX}));
  table.release(A, InodeId{5});
  EXPECT_TRUE(table.grant(A, InodeId{LeaseTable::OF_ONE_MAX}));
}

}  // namespace
}  // namespace cairn
