// A large cluster: 10,000 volumes of mixed size, 65,536 shards. Prints balance, movement and the time it takes.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <set>

#include "master/placement/ring.h"
#include "tests/unit/master/seeded_random.h"

namespace cairn {
namespace {

constexpr ClassId CLASS{0};
constexpr uint32_t SHARDS = 1u << 16;
constexpr uint32_t COPIES = 3;
constexpr uint32_t VOLUMES = 10000;
constexpr uint32_t VOLUMES_PER_SERVER = 10;
constexpr uint32_t WEIGHT_MAX = 8;

struct Figures {
  double worst = 0;   // fullest volume, of its fair share
  double spread = 0;  // standard deviation of that
};

Figures balance(const std::vector<RingVolume>& volumes, const Placement& placement) {
  std::map<VolumeNumber, uint32_t> load;
  for (auto& shard : placement) {
    for (VolumeNumber volume : shard) {
      ++load[volume];
    }
  }
  auto fair = fairShares(volumes, placement.size(), COPIES);
  Figures out;
  double squares = 0;
  for (size_t i = 0; i < volumes.size(); ++i) {
    double part = load[volumes[i].number] / fair[i];
    EXPECT_LE(load[volumes[i].number], std::ceil(LOAD_BOUND * fair[i])) << "volume " << i;
    out.worst = std::max(out.worst, part);
    squares += (part - 1) * (part - 1);
  }
  out.spread = std::sqrt(squares / volumes.size());
  return out;
}

class Scale : public testing::Test {
 protected:
  Placement place(const char* what, const std::vector<RingVolume>& volumes, const Placement& before, size_t changed) {
    auto began = std::chrono::steady_clock::now();
    Placement after = placeShards(volumes, CLASS, SHARDS, COPIES, before);
    std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    Figures figures = balance(volumes, after);
    uint32_t moved = before.empty() ? 0 : replicasMoved(before, after);
    double share = static_cast<double>(SHARDS) * COPIES * changed / VOLUMES;
    printf("%-28s %6zu volumes: fullest %.2f of its share, deviation %.3f, %u copies moved (%.2f shares), %.2f s\n",
           what, volumes.size(), figures.worst, figures.spread, moved, moved / std::max(share, 1.0), took.count());
    return after;
  }
};

TEST_F(Scale, TenThousandVolumes) {
  SeededRandom random(1);
  std::vector<RingVolume> volumes;
  Domain server;
  auto add = [&](uint32_t number) {
    if (number % VOLUMES_PER_SERVER == 1) {
      server = toText(random.uuid<ServerId>());
    }
    uint32_t weight = 1 + static_cast<uint32_t>(random.below(WEIGHT_MAX));
    volumes.push_back({VolumeNumber{number}, random.uuid<VolumeId>(), server, weight});
  };
  for (uint32_t number = 1; number <= VOLUMES; ++number) {
    add(number);
  }
  auto first = place("first placement", volumes, {}, 0);
  EXPECT_EQ(place("nothing changes", volumes, first, 0), first);
  for (uint32_t i = 1; i <= VOLUMES_PER_SERVER; ++i) {
    add(VOLUMES + i);
  }
  auto added = place("a server is added", volumes, first, VOLUMES_PER_SERVER);
  auto fair = fairShares(volumes, SHARDS, COPIES);
  EXPECT_LE(replicasMoved(first, added), 1.25 * std::accumulate(fair.end() - VOLUMES_PER_SERVER, fair.end(), 0.0));
  std::vector<RingVolume> fewer(volumes.begin() + VOLUMES_PER_SERVER, volumes.end());
  auto removed = place("a server is lost", fewer, added, VOLUMES_PER_SERVER);
  size_t lost = 0;
  for (auto& shard : added) {
    lost += std::count_if(shard.begin(), shard.end(), [](auto v) { return raw(v) <= VOLUMES_PER_SERVER; });
  }
  EXPECT_EQ(replicasMoved(added, removed), lost) << "only what was lost";
}

// The same volumes in 50 racks, and in three.
TEST_F(Scale, TenThousandVolumesInRacks) {
  for (uint32_t racks : {50u, 3u}) {
    SeededRandom random(racks);
    std::vector<RingVolume> volumes;
    for (uint32_t number = 1; number <= VOLUMES; ++number) {
      uint32_t weight = 1 + static_cast<uint32_t>(random.below(WEIGHT_MAX));
      Domain rack = "rack " + std::to_string(number * racks / (VOLUMES + 1));
      volumes.push_back({VolumeNumber{number}, random.uuid<VolumeId>(), rack, weight});
    }
    auto first = place(racks == 3 ? "three racks" : "racks", volumes, {}, 0);
    std::vector<RingVolume> fewer(volumes.begin() + VOLUMES_PER_SERVER, volumes.end());
    auto removed = place("a server is lost", fewer, first, VOLUMES_PER_SERVER);
    size_t lost = 0;
    for (auto& shard : first) {
      lost += std::count_if(shard.begin(), shard.end(), [](auto v) { return raw(v) <= VOLUMES_PER_SERVER; });
    }
    EXPECT_LE(replicasMoved(first, removed), lost + lost / 4) << "hardly more than what was lost";
    for (auto& shard : removed) {
      std::set<Domain> used;
      for (VolumeNumber number : shard) {
        EXPECT_TRUE(used.insert(volumes[raw(number) - 1].domain).second) << "two replicas in one rack";
      }
      EXPECT_EQ(used.size(), COPIES);
    }
  }
}

}  // namespace
}  // namespace cairn
