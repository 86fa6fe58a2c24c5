#include "master/placement/ring.h"

#include <kj/debug.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "common/checksum.h"

namespace cairn {
namespace {

// A fresh replica is placed below this first, so that the rest up to LOAD_BOUND is left for when shares shrink.
constexpr double FRESH_BOUND = 1.03;
// A volume below this part of its fair share is filled from fuller ones: it is new, or has grown. In the first
// placement, where moving costs nothing, all come close to their share.
constexpr double STARVED = 0.5;
constexpr double STARVED_AT_FIRST = 0.95;
// Of the shards before each of a volume's tokens, so many are tried first.
constexpr size_t TRIED_FIRST = 8;
// Bounds on a volume's tokens, against weights that differ wildly.
constexpr uint32_t TOKENS_MIN = 8;
constexpr uint32_t TOKENS_MAX = 16 * TOKENS_PER_WEIGHT;

using Slot = uint32_t;  // position in the list of volumes, sorted by number
constexpr Slot NO_SLOT = ~0u;

uint64_t hashWords(uint64_t a, uint64_t b, uint64_t c) {
  kj::byte bytes[24];
  memcpy(bytes, &a, 8);
  memcpy(bytes + 8, &b, 8);
  memcpy(bytes + 16, &c, 8);
  return hash64(kj::arrayPtr(bytes, sizeof(bytes)));
}

struct Token {
  uint64_t hash;
  Slot slot;
  auto operator<=>(const Token&) const = default;
};

std::vector<Token> makeTokens(const std::vector<RingVolume>& volumes) {
  double mean = 0;
  for (auto& volume : volumes) {
    mean += double(volume.weight) / volumes.size();
  }
  std::vector<Token> tokens;
  for (Slot slot = 0; slot < volumes.size(); ++slot) {
    auto& volume = volumes[slot];
    auto wanted = static_cast<uint32_t>(std::lround(TOKENS_PER_WEIGHT * volume.weight / mean));
    uint32_t count = std::clamp(wanted, TOKENS_MIN, TOKENS_MAX);
    for (uint32_t i = 0; i < count; ++i) {
      tokens.push_back({hashWords(volume.id.high, volume.id.low, i), slot});
    }
  }
  std::sort(tokens.begin(), tokens.end());
  return tokens;
}

class Placer {
 public:
  Placer(std::vector<RingVolume> volumes, ClassId cls, uint32_t shardCount, uint32_t copies);
  Placement place(const Placement& previous);

 private:
  struct Replica {
    Slot slot;
    bool fresh;  // placed by this run: moving it again costs nothing
  };
  struct Move {
    uint32_t shard = 0;
    Slot from = NO_SLOT;  // NO_SLOT: a replica that the shard lacks
  };

  uint64_t startOf(uint32_t shard) const { return starts_[shard]; }
  uint64_t distance(uint32_t shard, Slot slot) const;
  std::vector<std::pair<uint64_t, uint32_t>> nearest(Slot slot, const std::vector<uint32_t>& shards) const;
  std::vector<uint32_t> before(Slot slot) const;
  template <typename Accept>
  Slot walk(uint32_t shard, Accept&& accept) const;
  bool holds(uint32_t shard, Slot slot) const;
  bool allowed(uint32_t shard, Slot slot, Slot leaving = NO_SLOT) const;
  double fullness(Slot slot) const { return load_[slot] / fair_[slot]; }
  uint32_t bound(Slot slot, double factor) const { return static_cast<uint32_t>(std::ceil(factor * fair_[slot])); }
  bool hasRoom(Slot slot, double factor) const { return volumes_[slot].takes && load_[slot] < bound(slot, factor); }
  void add(uint32_t shard, Slot slot);
  void move(uint32_t shard, Slot from, Slot to);
  Slot walkTo(uint32_t shard, Slot leaving, double factor);

  void keep(const Placement& previous);
  void fill(uint32_t shard);
  bool fillAnywhere(uint32_t shard);
  bool fillByChain(uint32_t shard, bool freshOnly);
  static bool chainIsSimple(const std::vector<Move>& cameBy, Slot end);
  void feedStarved(Slot slot, double starved);
  void feedBy(Slot slot, const std::vector<std::pair<uint64_t, uint32_t>>& byRank);
  bool feedFrom(Slot slot, uint32_t shard, double donorsAbove);
  void shed(Slot slot);

  const std::vector<RingVolume> volumes_;
  const ClassId class_;
  uint32_t copies_ = 0;
  std::vector<uint32_t> domains_;  // of the slots
  std::vector<Token> tokens_;
  std::vector<std::vector<uint64_t>> tokensOf_;  // sorted
  std::vector<uint64_t> starts_;                 // where the shards' walks begin
  std::vector<uint32_t> order_;                  // shards, by that
  std::vector<double> fair_;
  std::vector<uint32_t> load_;
  std::vector<std::vector<Replica>> shards_;
};

Placer::Placer(std::vector<RingVolume> volumes, ClassId cls, uint32_t shardCount, uint32_t copies)
    : volumes_(std::move(volumes)),
      class_(cls),
      tokens_(makeTokens(volumes_)),
      tokensOf_(volumes_.size()),
      fair_(fairShares(volumes_, shardCount, copies)),
      load_(volumes_.size(), 0),
      shards_(shardCount) {
  std::map<Domain, uint32_t> domains;
  for (auto& volume : volumes_) {
    domains_.push_back(domains.emplace(volume.domain, domains.size()).first->second);
  }
  copies_ = std::min<uint32_t>(copies, domains.size());
  for (auto& token : tokens_) {
    tokensOf_[token.slot].push_back(token.hash);
  }
  for (uint32_t shard = 0; shard < shardCount; ++shard) {
    starts_.push_back(hashWords(raw(class_), shard, ~uint64_t{0}));
    order_.push_back(shard);
  }
  std::sort(order_.begin(), order_.end(), [this](uint32_t a, uint32_t b) { return starts_[a] < starts_[b]; });
}

// How far the shard walks until it meets the volume.
uint64_t Placer::distance(uint32_t shard, Slot slot) const {
  auto& tokens = tokensOf_[slot];
  auto first = std::lower_bound(tokens.begin(), tokens.end(), startOf(shard));
  return (first == tokens.end() ? tokens.front() : *first) - startOf(shard);
}

// Those shards in the order in which they meet the volume, the earliest first.
std::vector<std::pair<uint64_t, uint32_t>> Placer::nearest(Slot slot, const std::vector<uint32_t>& shards) const {
  std::vector<std::pair<uint64_t, uint32_t>> out;
  out.reserve(shards.size());
  for (uint32_t shard : shards) {
    out.push_back({distance(shard, slot), shard});
  }
  std::sort(out.begin(), out.end());
  return out;
}

// The last shards that begin their walk before one of the volume's tokens.
std::vector<uint32_t> Placer::before(Slot slot) const {
  std::set<uint32_t> out;
  auto isEarlier = [this](uint32_t shard, uint64_t hash) { return starts_[shard] < hash; };
  for (uint64_t token : tokensOf_[slot]) {
    auto at = std::lower_bound(order_.begin(), order_.end(), token, isEarlier) - order_.begin() + order_.size();
    for (size_t i = 1; i <= std::min(TRIED_FIRST, order_.size()); ++i) {
      out.insert(order_[(at - i) % order_.size()]);
    }
  }
  return {out.begin(), out.end()};
}

// The first volume that the shard meets and that is accepted. A volume may be met, and asked for, several times.
template <typename Accept>
Slot Placer::walk(uint32_t shard, Accept&& accept) const {
  auto first = std::lower_bound(tokens_.begin(), tokens_.end(), Token{startOf(shard), 0});
  for (size_t i = 0; i < tokens_.size(); ++i, ++first) {
    first = first == tokens_.end() ? tokens_.begin() : first;
    if (accept(first->slot)) {
      return first->slot;
    }
  }
  return NO_SLOT;
}

bool Placer::holds(uint32_t shard, Slot slot) const {
  auto& replicas = shards_[shard];
  return std::any_of(replicas.begin(), replicas.end(), [slot](auto& replica) { return replica.slot == slot; });
}

// May the shard have a replica on `slot` once the one on `leaving` is gone?
bool Placer::allowed(uint32_t shard, Slot slot, Slot leaving) const {
  for (auto& replica : shards_[shard]) {
    if (replica.slot != leaving && domains_[replica.slot] == domains_[slot]) {
      return false;
    }
  }
  return slot != leaving;
}

void Placer::add(uint32_t shard, Slot slot) {
  shards_[shard].push_back({slot, true});
  ++load_[slot];
}

void Placer::move(uint32_t shard, Slot from, Slot to) {
  for (auto& replica : shards_[shard]) {
    if (replica.slot == from) {
      replica = {to, true};
      --load_[from];
      ++load_[to];
      return;
    }
  }
  KJ_FAIL_ASSERT("no such replica", shard, from);
}

// The first volume on the shard's walk that may take a replica and is below `factor` of its fair share.
Slot Placer::walkTo(uint32_t shard, Slot leaving, double factor) {
  return walk(shard, [&](Slot slot) { return hasRoom(slot, factor) && allowed(shard, slot, leaving); });
}

void Placer::keep(const Placement& previous) {
  std::map<VolumeNumber, Slot> slots;
  for (Slot slot = 0; slot < volumes_.size(); ++slot) {
    slots[volumes_[slot].number] = slot;
  }
  for (uint32_t shard = 0; shard < previous.size(); ++shard) {
    for (VolumeNumber number : previous[shard]) {
      auto it = slots.find(number);
      if (it != slots.end() && allowed(shard, it->second) && shards_[shard].size() < copies_) {
        shards_[shard].push_back({it->second, false});
        ++load_[it->second];
      }
    }
  }
}

void Placer::fill(uint32_t shard) {
  while (shards_[shard].size() < copies_) {
    Slot slot = walkTo(shard, NO_SLOT, FRESH_BOUND);
    if (slot == NO_SLOT) {
      slot = walkTo(shard, NO_SLOT, LOAD_BOUND);
    }
    if (slot != NO_SLOT) {
      add(shard, slot);
    } else if (!fillByChain(shard, true) && !fillByChain(shard, false) && !fillAnywhere(shard)) {
      return;
    }
  }
}

// No arrangement under the bound was found: distinct domains matter more than balance. False: none takes it.
bool Placer::fillAnywhere(uint32_t shard) {
  Slot best = NO_SLOT;
  auto consider = [&](Slot slot) {
    if (volumes_[slot].takes && allowed(shard, slot) && (best == NO_SLOT || fullness(slot) < fullness(best))) {
      best = slot;
    }
  };
  for (Slot slot = 0; slot < volumes_.size(); ++slot) {
    consider(slot);
  }
  if (best != NO_SLOT) {
    add(shard, best);
  }
  return best != NO_SLOT;
}

// All volumes that the shard could use are full, while others, in domains that it uses already, have room. Finds the
// shortest chain of replicas to move so that the shard gets its place: shard s takes volume a, whose replica of shard t
// goes to b, ... up to a volume with room. `freshOnly`: only replicas that this run has placed.
bool Placer::fillByChain(uint32_t shard, bool freshOnly) {
  std::vector<std::vector<uint32_t>> movable(volumes_.size());
  for (uint32_t other = 0; other < shards_.size(); ++other) {
    for (auto& replica : shards_[other]) {
      if (other != shard && (replica.fresh || !freshOnly)) {
        movable[replica.slot].push_back(other);
      }
    }
  }
  std::vector<Move> cameBy(volumes_.size());
  std::vector<bool> seen(volumes_.size(), false);
  std::vector<Slot> queue;
  std::vector<std::pair<uint64_t, Slot>> order;
  for (Slot slot = 0; slot < volumes_.size(); ++slot) {
    if (volumes_[slot].takes && allowed(shard, slot)) {
      order.push_back({distance(shard, slot), slot});
    }
  }
  std::sort(order.begin(), order.end());
  for (auto& [far, slot] : order) {
    seen[slot] = true;
    cameBy[slot] = {shard, NO_SLOT};
    queue.push_back(slot);
  }
  for (size_t head = 0; head < queue.size(); ++head) {
    Slot at = queue[head];
    if (hasRoom(at, LOAD_BOUND) && chainIsSimple(cameBy, at)) {
      for (Move step = cameBy[at]; step.from != NO_SLOT; step = cameBy[at]) {
        move(step.shard, step.from, at);
        at = step.from;
      }
      add(shard, at);
      return true;
    }
    for (uint32_t other : movable[at]) {
      for (Slot to = 0; to < volumes_.size(); ++to) {
        if (!seen[to] && volumes_[to].takes && allowed(other, to, at)) {
          seen[to] = true;
          cameBy[to] = {other, at};
          queue.push_back(to);
        }
      }
    }
  }
  return false;
}

// Each shard moves once at most: only then is every step allowed for having been so before the first.
bool Placer::chainIsSimple(const std::vector<Move>& cameBy, Slot end) {
  std::set<uint32_t> shards;
  for (Slot at = end; at != NO_SLOT; at = cameBy[at].from) {
    if (!shards.insert(cameBy[at].shard).second) {
      return false;
    }
  }
  return true;
}

// Moves one of the shard's replicas to `slot`, from its fullest volume if that is fuller than `donorsAbove`.
bool Placer::feedFrom(Slot slot, uint32_t shard, double donorsAbove) {
  Slot donor = NO_SLOT;
  for (auto& replica : shards_[shard]) {
    bool better = donor == NO_SLOT || fullness(replica.slot) > fullness(donor);
    if (better && fullness(replica.slot) > donorsAbove && allowed(shard, slot, replica.slot)) {
      donor = replica.slot;
    }
  }
  if (donor == NO_SLOT) {
    return false;
  }
  move(shard, donor, slot);
  return true;
}

void Placer::feedStarved(Slot slot, double starved) {
  if (!volumes_[slot].takes || load_[slot] >= starved * fair_[slot]) {
    return;
  }
  feedBy(slot, nearest(slot, before(slot)));
  if (load_[slot] < static_cast<uint32_t>(fair_[slot])) {
    feedBy(slot, nearest(slot, order_));
  }
}

void Placer::feedBy(Slot slot, const std::vector<std::pair<uint64_t, uint32_t>>& byRank) {
  uint32_t wanted = static_cast<uint32_t>(fair_[slot]);
  for (double donorsAbove : {LOAD_BOUND, 1.05, FRESH_BOUND, 1.0}) {
    for (auto& [rank, shard] : byRank) {
      if (load_[slot] >= wanted) {
        return;
      }
      feedFrom(slot, shard, donorsAbove);
    }
  }
}

// Brings a volume above the bound back to it: replicas go that the walk likes least there.
void Placer::shed(Slot slot) {
  if (load_[slot] <= bound(slot, LOAD_BOUND)) {
    return;
  }
  std::vector<uint32_t> held;
  for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
    if (holds(shard, slot)) {
      held.push_back(shard);
    }
  }
  auto byRank = nearest(slot, held);
  std::reverse(byRank.begin(), byRank.end());
  for (double factor : {FRESH_BOUND, LOAD_BOUND}) {
    for (auto& [rank, shard] : byRank) {
      if (load_[slot] <= bound(slot, LOAD_BOUND)) {
        return;
      }
      Slot to = holds(shard, slot) ? walkTo(shard, slot, factor) : NO_SLOT;
      if (to != NO_SLOT) {
        move(shard, slot, to);
      }
    }
  }
}

Placement Placer::place(const Placement& previous) {
  keep(previous);
  if (copies_ > 0) {
    for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
      fill(shard);
    }
    for (Slot slot = 0; slot < volumes_.size(); ++slot) {
      feedStarved(slot, previous.empty() ? STARVED_AT_FIRST : STARVED);
    }
    for (Slot slot = 0; slot < volumes_.size(); ++slot) {
      shed(slot);
    }
  }
  Placement out(shards_.size());
  for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
    std::vector<std::pair<uint64_t, Slot>> order;
    for (auto& replica : shards_[shard]) {
      order.push_back({distance(shard, replica.slot), replica.slot});
    }
    std::sort(order.begin(), order.end());
    for (auto& [far, slot] : order) {
      out[shard].push_back(volumes_[slot].number);
    }
  }
  return out;
}

}  // namespace

std::vector<double> fairShares(const std::vector<RingVolume>& volumes, uint32_t shardCount, uint32_t copies) {
  std::map<Domain, double> weights;
  for (auto& volume : volumes) {
    weights[volume.domain] += volume.weight;
  }
  // A domain whose weight asks for more than every shard once gets just that; the others share the rest.
  std::map<Domain, double> shares;
  double replicas = double(shardCount) * std::min<size_t>(copies, weights.size());
  std::map<Domain, double> open = weights;
  bool pinned = true;
  while (pinned && !open.empty()) {
    pinned = false;
    double total = 0;
    for (auto& [domain, weight] : open) {
      total += weight;
    }
    double left = replicas;
    for (auto it = open.begin(); it != open.end();) {
      shares[it->first] = std::min<double>(shardCount, left * it->second / total);
      if (left * it->second / total > shardCount) {
        replicas -= shardCount;
        pinned = true;
        it = open.erase(it);
      } else {
        ++it;
      }
    }
  }
  std::vector<double> out;
  for (auto& volume : volumes) {
    out.push_back(shares[volume.domain] * volume.weight / weights[volume.domain]);
  }
  return out;
}

Placement placeShards(std::vector<RingVolume> volumes, ClassId cls, uint32_t shardCount, uint32_t copies,
                      const Placement& previous) {
  KJ_ASSERT(previous.empty() || previous.size() == shardCount);
  for (auto& volume : volumes) {
    KJ_ASSERT(volume.weight > 0, raw(volume.number));
  }
  std::sort(volumes.begin(), volumes.end(), [](auto& a, auto& b) { return a.number < b.number; });
  return Placer(std::move(volumes), cls, shardCount, copies).place(previous);
}

uint32_t replicasMoved(const Placement& before, const Placement& after) {
  uint32_t moved = 0;
  for (size_t shard = 0; shard < after.size(); ++shard) {
    for (VolumeNumber volume : after[shard]) {
      bool had =
          shard < before.size() && std::find(before[shard].begin(), before[shard].end(), volume) != before[shard].end();
      moved += had ? 0 : 1;
    }
  }
  return moved;
}

}  // namespace cairn
