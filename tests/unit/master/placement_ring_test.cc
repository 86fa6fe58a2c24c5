#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "master/placement/ring.h"
#include "tests/unit/master/seeded_random.h"

namespace cairn {
namespace {

constexpr ClassId CLASS{0};
constexpr uint32_t SHARDS = 1024;
constexpr uint64_t SEEDS = 12;

RingVolume makeVolume(Random& random, uint32_t number, const Domain& domain, uint32_t weight) {
  return {VolumeNumber{number}, random.uuid<VolumeId>(), domain, weight};
}

Domain newDomain(Random& random) {
  return toText(random.uuid<ServerId>());
}

std::vector<RingVolume> makeCluster(Random& random, uint32_t servers, uint32_t volumesEach, uint32_t weightMax) {
  std::vector<RingVolume> out;
  for (uint32_t s = 0; s < servers; ++s) {
    auto server = newDomain(random);
    for (uint32_t v = 0; v < volumesEach; ++v) {
      out.push_back(makeVolume(random, out.size() + 1, server, 1 + random.below(weightMax)));
    }
  }
  return out;
}

std::map<VolumeNumber, uint32_t> loads(const Placement& placement) {
  std::map<VolumeNumber, uint32_t> out;
  for (auto& shard : placement) {
    for (VolumeNumber volume : shard) {
      ++out[volume];
    }
  }
  return out;
}

// Every shard has `copies` replicas in distinct domains, and no volume more than its bound.
void check(const std::vector<RingVolume>& volumes, const Placement& placement, uint32_t copies) {
  std::map<VolumeNumber, const RingVolume*> byNumber;
  std::set<Domain> domains;
  for (auto& volume : volumes) {
    byNumber[volume.number] = &volume;
    domains.insert(volume.domain);
  }
  for (auto& shard : placement) {
    ASSERT_EQ(shard.size(), std::min<size_t>(copies, domains.size()));
    std::set<Domain> used;
    for (VolumeNumber number : shard) {
      ASSERT_TRUE(byNumber.contains(number)) << raw(number);
      EXPECT_TRUE(used.insert(byNumber[number]->domain).second) << "two replicas in one domain";
    }
  }
  auto fair = fairShares(volumes, placement.size(), copies);
  auto load = loads(placement);
  for (size_t i = 0; i < volumes.size(); ++i) {
    EXPECT_LE(load[volumes[i].number], std::ceil(LOAD_BOUND * fair[i])) << "volume " << i << " of " << volumes.size();
  }
}

TEST(Ring, FairSharesSumUpAndPinBigServers) {
  SeededRandom random(1);
  auto volumes = makeCluster(random, 4, 1, 1);
  volumes[0].weight = 100;
  auto fair = fairShares(volumes, SHARDS, 3);
  EXPECT_DOUBLE_EQ(fair[0], SHARDS);
  EXPECT_DOUBLE_EQ(fair[1], SHARDS * 2.0 / 3);
  EXPECT_NEAR(fair[0] + fair[1] + fair[2] + fair[3], SHARDS * 3.0, 1e-6);
}

TEST(Ring, ThreeServersHoldEverything) {
  SeededRandom random(2);
  auto volumes = makeCluster(random, 3, 1, 1);
  auto placement = placeShards(volumes, CLASS, SHARDS, 3, {});
  check(volumes, placement, 3);
  for (auto& [volume, load] : loads(placement)) {
    EXPECT_EQ(load, SHARDS);
  }
}

TEST(Ring, FewerServersThanCopiesAndNone) {
  SeededRandom random(3);
  auto volumes = makeCluster(random, 2, 3, 1);
  check(volumes, placeShards(volumes, CLASS, SHARDS, 3, {}), 3);
  for (auto& shard : placeShards({}, CLASS, 16, 3, {})) {
    EXPECT_TRUE(shard.empty());
  }
}

TEST(Ring, OrderOfInputDoesNotMatter) {
  SeededRandom random(4);
  auto volumes = makeCluster(random, 7, 2, 5);
  auto placement = placeShards(volumes, CLASS, SHARDS, 3, {});
  std::reverse(volumes.begin(), volumes.end());
  EXPECT_EQ(placeShards(volumes, CLASS, SHARDS, 3, {}), placement);
  EXPECT_EQ(placeShards(volumes, CLASS, SHARDS, 3, placement), placement) << "nothing changed, so nothing moves";
}

TEST(Ring, FirstPlacementIsBalanced) {
  for (uint64_t seed = 1; seed <= SEEDS; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRandom random(seed);
    auto volumes = makeCluster(random, 3 + random.below(30), 1 + random.below(4), 1 + random.below(10));
    auto placement = placeShards(volumes, CLASS, SHARDS, 3, {});
    check(volumes, placement, 3);
    auto fair = fairShares(volumes, SHARDS, 3);
    auto load = loads(placement);
    for (size_t i = 0; i < volumes.size(); ++i) {
      EXPECT_GE(load[volumes[i].number], 0.9 * fair[i] - 1) << "volume " << i << " of " << volumes.size();
    }
  }
}

TEST(Ring, AddingTheNthVolumeMovesLittle) {
  for (uint64_t seed = 1; seed <= SEEDS; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRandom random(seed);
    auto volumes = makeCluster(random, 3, 1, 1);
    auto placement = placeShards(volumes, CLASS, SHARDS, 3, {});
    for (uint32_t n = 4; n <= 24; ++n) {
      volumes.push_back(makeVolume(random, n, newDomain(random), 1));
      auto after = placeShards(volumes, CLASS, SHARDS, 3, placement);
      check(volumes, after, 3);
      EXPECT_LE(replicasMoved(placement, after), 1.25 / n * 3 * SHARDS) << "n = " << n;
      EXPECT_GE(loads(after)[VolumeNumber{n}], 0.9 * 3 * SHARDS / n) << "the new volume gets its share";
      placement = after;
    }
  }
}

TEST(Ring, RemovingAVolumeMovesOnlyItsOwn) {
  for (uint64_t seed = 1; seed <= SEEDS; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRandom random(seed);
    auto volumes = makeCluster(random, 20, 1, 1);
    auto placement = placeShards(volumes, CLASS, SHARDS, 3, {});
    while (volumes.size() > 3) {
      auto gone = volumes.begin() + random.below(volumes.size());
      auto lost = loads(placement)[gone->number];
      volumes.erase(gone);
      auto after = placeShards(volumes, CLASS, SHARDS, 3, placement);
      check(volumes, after, 3);
      EXPECT_EQ(replicasMoved(placement, after), lost) << volumes.size() << " left";
      placement = after;
    }
  }
}

// Any history of arrivals and losses, servers of several volumes, any weights.
TEST(Ring, StaysWithinItsBoundThroughChanges) {
  for (uint64_t seed = 1; seed <= SEEDS; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRandom random(seed);
    auto volumes = makeCluster(random, 4 + random.below(6), 1 + random.below(3), 1 + random.below(4));
    uint32_t number = 1000;
    Placement placement;
    for (int step = 0; step < 12; ++step) {
      placement = placeShards(volumes, CLASS, SHARDS, 3, placement);
      check(volumes, placement, 3);
      auto& near = volumes[random.below(volumes.size())];
      if (volumes.size() > 6 && random.below(2) == 0) {
        volumes.erase(volumes.begin() + random.below(volumes.size()));
      } else {
        auto server = random.below(2) == 0 ? near.domain : newDomain(random);
        volumes.push_back(makeVolume(random, ++number, server, 1 + random.below(4)));
      }
    }
  }
}

// Racks of some servers each, of one or two volumes.
std::vector<RingVolume> addRack(Random& random, std::vector<RingVolume> volumes, uint32_t& number) {
  Domain rack = "rack z/" + std::to_string(number);
  for (uint64_t i = 0, count = 2 + random.below(6); i < count; ++i) {
    volumes.push_back(makeVolume(random, ++number, rack, 1 + random.below(4)));
  }
  return volumes;
}

std::vector<RingVolume> withoutDomain(std::vector<RingVolume> volumes, const Domain& domain) {
  std::erase_if(volumes, [&](auto& volume) { return volume.domain == domain; });
  return volumes;
}

size_t domainsOf(const std::vector<RingVolume>& volumes) {
  std::set<Domain> domains;
  for (auto& volume : volumes) {
    domains.insert(volume.domain);
  }
  return domains.size();
}

// Whole racks and single volumes of them come and go, down to fewer racks than copies.
TEST(Ring, RacksComeAndGo) {
  for (uint64_t seed = 1; seed <= SEEDS; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRandom random(seed);
    uint32_t number = 0;
    std::vector<RingVolume> volumes;
    for (uint64_t i = 0, count = 2 + random.below(6); i < count; ++i) {
      volumes = addRack(random, std::move(volumes), number);
    }
    Placement placement = placeShards(volumes, CLASS, SHARDS, 3, {});
    for (int step = 0; step < 12; ++step) {
      check(volumes, placement, 3);
      auto before = volumes;
      auto& some = volumes[random.below(volumes.size())];
      switch (random.below(4)) {
        case 0:
          volumes = addRack(random, std::move(volumes), number);
          break;
        case 1:
          volumes = domainsOf(volumes) > 2 ? withoutDomain(volumes, Domain(some.domain)) : volumes;
          break;
        case 2:
          volumes.push_back(makeVolume(random, ++number, Domain(some.domain), 1 + random.below(4)));
          break;
        default:
          volumes.erase(volumes.begin() + (&some - volumes.data()));
      }
      placement = placeShards(volumes, CLASS, SHARDS, 3, placement);
    }
  }
}

// A lost rack's copies go to the others and nothing else moves; a new one takes its share.
TEST(Ring, ARackMoreOrLessMovesLittle) {
  for (uint64_t seed = 1; seed <= SEEDS; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRandom random(seed);
    std::vector<RingVolume> volumes;
    for (uint32_t i = 0; i < 32; ++i) {
      volumes.push_back(makeVolume(random, i + 1, "rack " + std::to_string(i / 4), 1));
    }
    auto placement = placeShards(volumes, CLASS, SHARDS, 3, {});
    Domain gone = volumes[random.below(volumes.size())].domain;
    auto fewer = withoutDomain(volumes, gone);
    size_t lost = 0;
    for (auto& volume : volumes) {
      lost += volume.domain == gone ? loads(placement)[volume.number] : 0;
    }
    auto after = placeShards(fewer, CLASS, SHARDS, 3, placement);
    check(fewer, after, 3);
    EXPECT_EQ(replicasMoved(placement, after), lost);
    auto back = placeShards(volumes, CLASS, SHARDS, 3, after);
    check(volumes, back, 3);
    EXPECT_LE(replicasMoved(after, back), 1.25 * 3 * SHARDS / 8) << "of 8 racks one is new";
  }
}

}  // namespace
}  // namespace cairn
