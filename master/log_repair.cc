#include "master/log_repair.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "common/checksum.h"
#include "common/log.h"
#include "master/namespace/snapshot.h"
#include "master/raft_entries.h"
#include "master/raft_store.h"
#include "master/state_recovery.h"

namespace cairn {

namespace {

constexpr char DAMAGE_FILE[] = "damage";
constexpr uint64_t SEED = 0x44616d616765;

struct DamageRecord {
  uint64_t term = 0;
  uint64_t index = 0;
  uint64_t since = 0;
  uint64_t sum = 0;
};

uint64_t sumOf(const DamageRecord& record) {
  return hash64(kj::arrayPtr(reinterpret_cast<const kj::byte*>(&record), offsetof(DamageRecord, sum)), SEED);
}

Status writeDamage(Disk& disk, const raft::Damage& damage) {
  DamageRecord record{raw(damage.last.term), raw(damage.last.index), raw(damage.since), 0};
  record.sum = sumOf(record);
  return replaceFile(disk, DAMAGE_FILE, kj::arrayPtr(reinterpret_cast<const kj::byte*>(&record), sizeof(record)));
}

// The last entry that this member may have acknowledged. Its term isn't known: at most the current one.
Result<raft::Damage> findDamage(Disk& disk, const LogOptions& options) {
  auto earlier = readDamage(disk);
  if (!earlier.ok()) {
    return earlier.error();
  }
  auto hard = RaftStore::readHardState(disk);
  if (!hard.ok()) {
    return hard.error();
  }
  auto last = findLastTrace(disk, options);
  if (!last.ok()) {
    return last.error();
  }
  Term term = hard.value().term;
  LogIndex index = last.value();
  if (earlier.value()) {
    index = std::max(index, earlier.value()->last.index);
  }
  return raft::Damage{{term, index}, term};
}

bool hasOthers(const NamespaceReader& state, bool joined) {
  auto memberships = state.memberships();
  if (memberships.empty()) {
    return joined;  // a power cut can take the whole state
  }
  auto membership = membershipOf(memberships.back().second);
  auto isVoter = [](const raft::MemberRecord& member) { return member.voter; };
  const auto& members = membership.members();
  return std::count_if(members.begin(), members.end(), isVoter) > 1;
}

Task<Status> ensureSnapshot(ReplicaSeams seams, Store& store) {
  auto snapshots = findSnapshots(seams.disk);
  if (!snapshots.ok()) {
    co_return snapshots.error();
  }
  const auto& list = snapshots.value();
  LogIndex index = store.writtenHead().index;
  if (raw(index) == 0 || std::find(list.begin(), list.end(), index) != list.end()) {
    co_return Status();
  }
  co_return co_await writeSnapshot(seams.disk, seams.workers, store.image());
}

}  // namespace

Result<std::optional<raft::Damage>> readDamage(Disk& disk) {
  auto read = readWholeFile(disk, DAMAGE_FILE, sizeof(DamageRecord));
  if (read.code() == ENOENT) {
    return std::optional<raft::Damage>();
  }
  if (!read.ok()) {
    return read.error();
  }
  DamageRecord record;
  bool whole = read.value().size() == sizeof(record);
  if (whole) {
    memcpy(&record, read.value().begin(), sizeof(record));
    whole = record.sum == sumOf(record);
  }
  if (!whole) {
    return Error{EIO, disk.hostPath(DAMAGE_FILE) +
                          ": the record of what this member's log has lost is damaged itself: run `dfsadmin raft "
                          "remove` for this master, then start it with --join in an empty directory"};
  }
  return std::optional<raft::Damage>({{Term{record.term}, LogIndex{record.index}}, Term{record.since}});
}

Status clearDamage(Disk& disk) {
  auto removed = disk.remove(DAMAGE_FILE);
  return removed.ok() ? disk.syncDirectoryNow(".") : removed;
}

// The damage is noted down first, and the log begun anew last: a start in between finds the log damaged still.
Task<Result<kj::Own<Log>>> repairLog(ReplicaSeams seams, LogOptions options, uint64_t cacheBytes, bool joined,
                                      Error why) {
  auto store = openTrustedState(seams.disk, seams.env, cacheBytes);
  if (!store.ok()) {
    co_return Error{why.code, why.why + ". And " + store.error().why};
  }
  auto machine = kj::heap<StateMachine>(kj::mv(store.value()));
  if (!hasOthers(machine->reader(), joined)) {
    co_return why;
  }
  auto damage = findDamage(seams.disk, options);
  if (!damage.ok()) {
    co_return damage.error();
  }
  const Head head = machine->store().writtenHead();
  spdlog::error("{}", why.why);
  spdlog::warn("what follows on entry {} is fetched from the other masters; until entry {} is there, this one "
               "withholds its vote from those who lack it",
               raw(head.index), raw(damage.value().last.index));
  auto noted = writeDamage(seams.disk, damage.value());
  if (!noted.ok()) {
    co_return noted.error();
  }
  auto kept = co_await ensureSnapshot(seams, machine->store());
  if (!kept.ok()) {
    co_return kept.error();
  }
  machine = nullptr;  // who starts next opens LevelDB
  co_return Log::beginAfter(seams.disk, options, head.index, head.term);
}

}  // namespace cairn
