#include "master/space.h"

#include <sys/stat.h>

#include <algorithm>

#include "common/log.h"

namespace cairn {

uint64_t refuseBytes(uint64_t totalBytes) {
  return totalBytes / 100 * REFUSE_PERCENT;
}

uint64_t RawSpace::availableBytes() const {
  uint64_t limit = refuseBytes(totalBytes);
  return limit > usedBytes ? limit - usedBytes : 0;
}

RawSpace rawSpace(const Roster& roster) {
  RawSpace out;
  for (auto& [id, member] : roster.members()) {
    for (auto& [volume, state] : member.volumes) {
      if (state.usable) {
        out.totalBytes += state.totalBytes;
        out.usedBytes += std::min(state.usedBytes, state.totalBytes);
        out.retiredBytes += state.retiredBytes;
      }
    }
  }
  return out;
}

RawSpace rawSpace(const Roster& roster, const ShardMap& map, ClassId cls) {
  RawSpace out = rawSpace(roster);
  std::map<VolumeNumber, uint64_t> held;
  size_t count = 0;
  for (auto at = map.shards.lower_bound(makeShardId(cls, 0)); at != map.shards.end(); ++at) {
    if (shardClass(at->first) != cls) {
      break;
    }
    ++count;
    for (VolumeNumber number : at->second.inSync) {
      ++held[number];
    }
  }
  for (auto& [number, shards] : held) {
    const VolumeRecord* volume = map.volume(number);
    const Roster::Member* member = volume == nullptr ? nullptr : roster.member(volume->server);
    bool known = member != nullptr && member->volumes.contains(volume->id);
    if (!known || !member->volumes.at(volume->id).usable) {
      continue;
    }
    const VolumeState& state = member->volumes.at(volume->id);
    uint64_t limit = refuseBytes(state.totalBytes);
    uint64_t room = limit - std::min(limit, state.usedBytes);
    // Chunks spread evenly over the shards, and it has `shards` of them.
    out.boundBytes = std::min(out.boundBytes, room / shards * count);
  }
  return out;
}

bool isFilling(const Roster& roster) {
  for (auto& [id, member] : roster.members()) {
    for (auto& [volume, state] : member.volumes) {
      if (state.usable && state.usedBytes * 100 >= state.totalBytes * FILLING_PERCENT) {
        return true;
      }
    }
  }
  return false;
}

namespace {

// What is in the trash gives way to what is written, so there is room for it. Not where that is happening already: then
// there is as much room as the disks say, and more each moment.
void giveWay(const NamespaceReader& reader, const Roster& roster, uint8_t copies, RawSpace& raw) {
  uint64_t kept = isFilling(roster) ? 0 : reader.counters().trashAllocatedBytes;
  uint64_t keptRaw = std::min(kept * copies, raw.usedBytes);
  raw.usedBytes -= keptRaw;
  raw.retiredBytes += keptRaw;
  raw.boundBytes += std::min(kept, UINT64_MAX - raw.boundBytes);
}

uint64_t less(uint64_t from, uint64_t what) {
  return from > what ? from - what : 0;
}

// Where a quota counts, its limits are what there is, and what is used is what it counts: of several the one that
// leaves least.
void narrow(const NamespaceReader& reader, InodeId inode, wire::Space::Builder out) {
  if (!reader.hasQuotas()) {
    return;
  }
  auto record = reader.record(inode);
  InodeId directory = record && !S_ISDIR(record->mode) ? record->parent : inode;
  uint64_t bytes = UINT64_MAX;
  uint64_t files = UINT64_MAX;
  const uint64_t available = out.getAvailableBytes();
  const uint64_t filesLeft = less(out.getFilesMax(), out.getFiles());
  for (auto& quota : reader.quotasAbove(directory)) {
    const Account& account = quota.account;
    uint64_t bytesFree = less(account.bytesMax, account.bytes);
    if (account.bytesMax > 0 && bytesFree < bytes) {
      bytes = bytesFree;
      out.setAvailableBytes(std::min(bytesFree, available));
      out.setTotalBytes(account.bytes + out.getAvailableBytes());
    }
    const uint64_t inodes = account.files + account.directories;
    uint64_t filesFree = less(account.filesMax, inodes);
    if (account.filesMax > 0 && filesFree < files) {
      files = filesFree;
      out.setFiles(inodes);
      out.setFilesMax(inodes + std::min(filesFree, filesLeft));
    }
  }
}

}  // namespace

void writeSpace(const NamespaceReader& reader, const Roster& roster, InodeId inode, wire::Space::Builder out) {
  auto& map = reader.map();
  auto found = reader.classOf(inode);
  auto cls = found.ok() ? map.classes.find(found.value()) : map.classes.begin();
  uint8_t copies = cls == map.classes.end() ? 1 : cls->second.copies;
  RawSpace raw = cls == map.classes.end() ? rawSpace(roster) : rawSpace(roster, map, cls->first);
  giveWay(reader, roster, copies, raw);
  uint64_t files = reader.counters().inodes;
  // Every file needs some room of its own: a guess that makes `df -i` useful.
  constexpr uint64_t BYTES_PER_FILE = 4096;
  uint64_t divisor = std::max<uint64_t>(copies, 1);
  out.setTotalBytes(raw.totalBytes / divisor);
  uint64_t available = std::min(raw.availableBytes() / divisor, raw.boundBytes);
  out.setAvailableBytes(available);
  out.setFiles(files);
  out.setFilesMax(files + available / BYTES_PER_FILE);
  out.setCopies(copies);
  out.setRawTotalBytes(raw.totalBytes);
  out.setRawUsedBytes(raw.usedBytes);
  out.setRetiredBytes(raw.retiredBytes);
  narrow(reader, inode, out);
}

uint64_t OwnSpace::reserveBytes() const {
  return std::min(RESERVE_BYTES_MAX, space_.totalBytes / RESERVE_PART);
}

void OwnSpace::refresh() {
  auto space = disk_.space();
  if (!space.ok()) {
    spdlog::warn("the free space of the data directory is not known: {}", space.error().why);
    return;
  }
  bool wasShort = isShort();
  space_ = space.value();
  if (isShort() != wasShort) {
    spdlog::warn("{} MiB are left on this master's disk: new names are {}", space_.availableBytes >> 20,
                 isShort() ? "refused until some is freed" : "accepted again");
  }
}

}  // namespace cairn
