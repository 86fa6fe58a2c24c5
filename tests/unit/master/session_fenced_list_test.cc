#include <gtest/gtest.h>

#include "master/session/fenced_list.h"

namespace cairn {
namespace {

constexpr Nanos START = 1000 * SECOND;
const ServerId S1{1, 1}, S2{2, 2}, IDLE{3, 3};

class FencedListTest : public testing::Test {
 protected:
  FencedListTest() {
    map.version = MapVersion{10};
    map.volumes[VolumeNumber{1}] = {VolumeNumber{1}, VolumeId{1, 1}, S1};
    map.volumes[VolumeNumber{2}] = {VolumeNumber{2}, VolumeId{2, 2}, S2};
    map.volumes[VolumeNumber{3}] = {VolumeNumber{3}, VolumeId{3, 3}, IDLE};
    ShardRecord shard;
    shard.inSync = {VolumeNumber{1}};
    shard.joining = {VolumeNumber{2}};
    map.shards[shard.id] = shard;
  }
  ShardMap map;
  FencedList fences;
};

TEST_F(FencedListTest, GoesWhenAllHaveConfirmedAndTimeHasPassed) {
  map.version = MapVersion{11};
  map.fenced = {SessionId{7}};
  fences.update(map, START);
  Nanos late = START + FencedList::KEEP;
  std::map<ServerId, MapVersion> drained{{S1, MapVersion{11}}, {S2, MapVersion{11}}};
  EXPECT_TRUE(fences.removable(map, drained, late - 1).empty()) << "too early";
  EXPECT_EQ(fences.removable(map, drained, late), (std::vector<SessionId>{SessionId{7}}));
  drained[S2] = MapVersion{10};
  EXPECT_TRUE(fences.removable(map, drained, late).empty()) << "a joining member hasn't confirmed";
  drained.erase(S2);
  EXPECT_TRUE(fences.removable(map, drained, late).empty()) << "never heard of";
  map.shards.begin()->second.joining.clear();
  EXPECT_EQ(fences.removable(map, drained, late).size(), 1) << "out of the acting sets";
}

TEST_F(FencedListTest, EachEntryCountsFromItsOwnVersion) {
  map.version = MapVersion{11};
  map.fenced = {SessionId{7}};
  fences.update(map, START);
  map.version = MapVersion{15};
  map.fenced.insert(SessionId{8});
  fences.update(map, START);
  std::map<ServerId, MapVersion> drained{{S1, MapVersion{12}}, {S2, MapVersion{20}}};
  EXPECT_EQ(fences.removable(map, drained, START + FencedList::KEEP), (std::vector<SessionId>{SessionId{7}}));
  map.fenced = {SessionId{8}};
  fences.update(map, START);
  EXPECT_TRUE(fences.removable(map, drained, START + FencedList::KEEP).empty());
}

}  // namespace
}  // namespace cairn
