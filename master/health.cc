#include "master/health.h"

#include <algorithm>

#include "master/capsule/capsule_shipper.h"
#include "master/health_domains.h"
#include "master/space.h"
#include "rpc/history.h"

namespace cairn {
namespace {

std::string duration(Nanos time) {
  int64_t seconds = std::max<Nanos>(time, 0) / SECOND;
  if (seconds < 120) {
    return std::to_string(seconds) + " s";
  }
  int64_t minutes = seconds / 60;
  return minutes < 120 ? std::to_string(minutes) + " min" : std::to_string(minutes / 60) + " h";
}

std::string count(uint64_t number, const char* one, const char* many) {
  return std::to_string(number) + " " + (number == 1 ? one : many);
}

class Assessor {
 public:
  explicit Assessor(const HealthInput& input) : in_(input) {}

  Health run() {
    countShards();
    if (in_.map.shards.empty()) {
      notPlaced();
    }
    for (auto& why : in_.disobedience) {
      add("history-short", why, HISTORY_ADVICE, true);
    }
    unavailable();
    masters();
    servers();
    massLoss();
    drains();
    missingCopies();
    assessDomains(in_.map, out_.reasons);
    dataSpace();
    ownSpace();
    capsules();
    std::stable_sort(out_.reasons.begin(), out_.reasons.end(),
                     [](auto& a, auto& b) { return a.critical && !b.critical; });
    return std::move(out_);
  }

 private:
  void add(const char* code, std::string text, std::string action, bool critical = false) {
    out_.reasons.push_back({code, std::move(text), std::move(action), critical});
  }

  bool isLive(VolumeNumber volume) const {
    Presence presence = in_.roster.presence(in_.map, volume);
    return presence == Presence::PRESENT || presence == Presence::PRESUMED;
  }

  void countShards();
  void notPlaced();
  void unavailable();
  void masters();
  void servers();
  void serverDown(const Roster::Member& member);
  void massLoss();
  void drains();
  void volumes(const Roster::Member& member);
  void missingCopies();
  void dataSpace();
  void ownSpace();
  void capsules();

  const HealthInput& in_;
  Health out_;
};

void Assessor::countShards() {
  ShardTally& tally = out_.shards;
  for (auto& [id, shard] : in_.map.shards) {
    auto cls = in_.map.classes.find(shardClass(id));
    uint32_t copies = cls == in_.map.classes.end() ? 1 : cls->second.copies;
    uint32_t minCopies = cls == in_.map.classes.end() ? 1 : cls->second.minCopies;
    auto live = static_cast<uint32_t>(
        std::count_if(shard.inSync.begin(), shard.inSync.end(), [this](VolumeNumber v) { return isLive(v); }));
    ++tally.total;
    tally.joining += shard.joining.size();
    tally.waiting += live > 0 && live < minCopies;
    bool planned = in_.pending != nullptr && in_.pending->contains(id);
    bool surplus = std::any_of(shard.inSync.begin(), shard.inSync.end(), [&](VolumeNumber v) {
      return std::find(shard.target.begin(), shard.target.end(), v) == shard.target.end();
    });
    tally.misplaced += surplus || (planned && live >= copies);
    tally.pending += planned && live < copies;
    if (live == 0) {
      ++tally.unavailable;
    } else if (live >= copies) {
      ++tally.healthy;
    } else if (live == 1) {
      ++tally.atRisk;
    } else {
      ++tally.degraded;
    }
  }
}

void Assessor::notPlaced() {
  size_t here = 0;
  for (auto& [id, member] : in_.roster.members()) {
    here += member.registered && member.alive;
  }
  add("waiting-for-servers",
      "no data can be stored yet: of " + count(in_.serversWanted, "chunkserver", "chunkservers") +
          " that the cluster waits for " + std::to_string(here) + (here == 1 ? " is here" : " are here"),
      "start the missing ones, or lower `servers` in cluster.toml and restart the master", true);
}

void Assessor::unavailable() {
  const ShardTally& tally = out_.shards;
  if (tally.unavailable > 0) {
    add("shards-unavailable",
        count(tally.unavailable, "shard has", "shards have") + " no copy that answers: files in them can't be read",
        "bring back the chunkservers that are down", true);
  }
  if (tally.waiting > 0) {
    add("writes-wait",
        "writes to " + count(tally.waiting, "shard wait", "shards wait") + " until enough copies are in sync",
        "bring back the chunkservers that are down", true);
  }
}

void Assessor::masters() {
  auto votes = [](const MasterStanding& master) { return master.isVoter; };
  auto counts = [](const MasterStanding& master) { return master.isVoter && master.answers; };
  auto voters = std::count_if(in_.masters.begin(), in_.masters.end(), votes);
  auto spare = std::count_if(in_.masters.begin(), in_.masters.end(), counts) - (voters / 2 + 1);
  for (auto& master : in_.masters) {
    std::string name = "master " + master.name + (master.address.empty() ? "" : " at " + master.address);
    if (!master.isMember) {
      add("master-missing", name + " is in cluster.toml and not in the group",
          "start it with --join in an empty directory, or take it out of cluster.toml");
    } else if (!master.answers) {
      std::string rest = spare > 0 ? std::to_string(spare) + " more may fail" : "no other may fail";
      add("master-down", name + " does not answer: " + rest,
          "start it, or look at its log; if its data is lost for good: dfsadmin raft remove " + master.name);
    } else if (!master.isVoter) {
      add("master-joining", name + " is being brought up to date and has no vote yet", "");
    }
  }
}

void Assessor::servers() {
  for (auto& [id, member] : in_.roster.members()) {
    if (!member.alive) {
      serverDown(member);
    } else if (member.revokedBy != 0 || in_.now < member.distrustedUntil) {
      add("server-cut-off", "other chunkservers can't reach " + member.record.name + " at " + member.record.address,
          "look at the network between them");
    }
    volumes(member);
  }
}

// Not worth a word once nothing counts on it: node list shows it.
void Assessor::serverDown(const Roster::Member& member) {
  using State = wire::ServerState;
  auto it = in_.map.servers.find(member.record.id);
  State state = it == in_.map.servers.end() ? State::IN_SERVICE : it->second.state;
  if ((state == State::DEAD || state == State::DRAINED) && shardsUsing(in_.map, member.record.id) == 0) {
    return;
  }
  std::string how = member.left ? " was stopped " : " has not answered for ";
  std::string since = duration(in_.now - member.since) + (member.left ? " ago" : "");
  std::string text = "chunkserver " + member.record.name + " at " + member.record.address + how + since;
  if (state == State::DEAD) {
    text += "; its copies are made elsewhere";
  } else if (state == State::MAINTENANCE && member.maintenanceSince != 0) {
    Nanos end = member.maintenanceSince + it->second.maintenanceSeconds * SECOND;
    text += "; it is waited for, " + duration(end - in_.now) + " more";
  }
  add("server-down", text, "start it, or look at its log");
}

void Assessor::massLoss() {
  if (in_.spared.empty()) {
    return;
  }
  add("mass-loss",
      count(in_.spared.size(), "chunkserver is", "chunkservers are") +
          " gone at once, more than half: no copies are made elsewhere, for hardly all their disks are lost",
      "look at the network and the power between them; give up what is lost for good: dfsadmin node drain NAME");
}

void Assessor::drains() {
  bool moving = out_.shards.joining > 0 || (in_.pending != nullptr && !in_.pending->empty());
  for (auto& [id, server] : in_.map.servers) {
    if (server.state == wire::ServerState::DRAINING && !moving && shardsUsing(in_.map, id) > 0) {
      add("drain-stuck", "chunkserver " + server.name + " can't be drained further: no other can take its copies",
          "add a chunkserver, or end it: dfsadmin node resume " + server.name);
    }
  }
}

void Assessor::volumes(const Roster::Member& member) {
  for (auto& [id, state] : member.volumes) {
    std::string name = "volume " + toText(id) + " of chunkserver " + member.record.name;
    if (!state.usable) {
      add("volume-failed", name + " can't be used: " + state.why, "replace the disk and start the chunkserver again");
    }
    if (state.badBlocks > 0) {
      std::string blocks = count(state.badBlocks, "block", "blocks");
      add("bad-blocks", name + " has had " + blocks + " that did not match their checksum",
          "look at the disk's health; other copies are used instead");
    }
    if (state.unmendedBlocks > 0) {
      add("bad-blocks-unmended", name + " has " + count(state.unmendedBlocks, "block", "blocks") +
                                     " that can't be mended: no other copy is known to be good",
          "bring back chunkservers that are down; `dfsadmin file check` names what of a file is lost");
    }
    if (state.differingChunks > 0) {
      add("copies-differ", name + " had " + count(state.differingChunks, "chunk", "chunks") +
                               " unlike the other copies, though all match their checksums: a disk has lost a write",
          "the chunkserver's log names them, and the replaced copies are in quarantine; look at the disks' health");
    }
    if (state.usable && state.slow) {
      add("volume-slow", name + " takes far longer than a sound disk to read or sync",
          "look at the disk's health; reads are asked of other copies when they take long");
    }
    if (state.held.plan != 0) {
      add("removal-held",
          name + " has " + std::to_string(state.held.unknownChunks) + " chunks that no file has and " +
              std::to_string(state.held.surplusChunks) + " that belong elsewhere, of " +
              std::to_string(state.held.ofChunks) + ": so many that they stay",
          "find out why (has a master come back from earlier?), then let them go with dfsadmin removal apply");
    }
    if (state.usable && state.noRoom) {
      add("copies-no-room", name + " has no room for copies that it should get, and no other takes them yet",
          "delete files, or add chunkservers");
    }
    bool full = state.totalBytes > 0 && state.usedBytes >= refuseBytes(state.totalBytes);
    bool low = state.totalBytes > 0 && state.usedBytes >= state.totalBytes / 100 * WARN_PERCENT;
    if (state.usable && full) {
      add("volume-full", name + " is full: it refuses new data", "delete files, or add chunkservers");
    } else if (state.usable && low) {
      add("volume-nearly-full", name + " is more than " + std::to_string(WARN_PERCENT) + " % full",
          "delete files, or add chunkservers, before new data is refused at " + std::to_string(REFUSE_PERCENT) + " %");
    }
  }
}

void Assessor::missingCopies() {
  const ShardTally& tally = out_.shards;
  uint32_t missing = tally.degraded + tally.atRisk;
  if (missing == 0) {
    return;
  }
  std::string text = count(missing, "shard has", "shards have") + " fewer copies than wanted";
  if (tally.atRisk > 0) {
    text += ", " + std::to_string(tally.atRisk) + " of them only one";
  }
  if (tally.joining > 0) {
    text += "; " + count(tally.joining, "copy is", "copies are") + " being brought up to date";
  }
  if (tally.pending > 0) {
    text += "; " + count(tally.pending, "shard waits", "shards wait") + " for a place elsewhere to be copied to";
  }
  bool mends = tally.joining > 0 || tally.pending > 0;
  add("copies-missing", text, mends ? "" : "bring back the chunkservers that are down");
}

void Assessor::dataSpace() {
  RawSpace raw = rawSpace(in_.roster);
  if (raw.totalBytes == 0) {
    return;
  }
  uint64_t percent = raw.usedBytes * 100 / raw.totalBytes;
  if (percent >= REFUSE_PERCENT) {
    add("space-full", "the cluster is " + std::to_string(percent) + " % full: new data is refused",
        "delete files, or add chunkservers");
  } else if (percent >= WARN_PERCENT) {
    add("space-low", "the cluster is " + std::to_string(percent) + " % full",
        "delete files, or add chunkservers, before new data is refused at " + std::to_string(REFUSE_PERCENT) + " %");
  }
}

void Assessor::ownSpace() {
  std::string left = std::to_string(in_.ownAvailableBytes >> 20) + " MiB are left on the master's disk";
  if (in_.ownSpaceShort) {
    add("master-space-short", left + ": new names are refused", "free space there", true);
  } else if (in_.ownSpaceLow) {
    add("master-space-low", left, "free space there before new names are refused");
  }
}

}  // namespace

const char* Health::level() const {
  if (reasons.empty()) {
    return "healthy";
  }
  return reasons.front().critical ? "critical" : "degraded";
}

void Assessor::capsules() {
  if (!in_.capsuleAge || *in_.capsuleAge < CapsuleShipper::AGE_MAX) {
    return;
  }
  std::string why = in_.capsuleTrouble.empty() ? "" : " (" + in_.capsuleTrouble + ")";
  add("capsule-old",
      "what was changed in the file tree in the last " + duration(*in_.capsuleAge) + " is only on the masters" + why +
          ": if all of them were lost now, dfs-recover would not know of it",
      "Make room on the chunkservers' disks and see that at least two of them are online.");
}

Health assess(const HealthInput& input) {
  return Assessor(input).run();
}

}  // namespace cairn
