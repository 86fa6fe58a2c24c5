#include "tools/recover/names.h"

#include <cerrno>

#include "master/entry.h"
#include "master/log/identity.h"
#include "master/namespace/snapshot.h"
#include "master/state_recovery.h"

namespace cairn::rescue {

namespace {

constexpr uint64_t CACHE_BYTES = 64 << 20;
// The state is written out when so much of it is in memory only.
constexpr size_t UNWRITTEN_BYTES = 16 << 20;

LogOptions logOptions(ClusterId cluster) {
  LogOptions options;
  options.cluster = cluster;
  return options;
}

// Entries that share one write.
struct Gathered {
  std::vector<LogEntry> entries;
  std::vector<kj::Array<kj::byte>> payloads;
  size_t bytes = 0;
};

Status takeSnapshot(const Capsules& capsules, const CapsuleId& id, Disk& disk) {
  auto made = disk.makeDirectory(SNAPSHOT_DIRECTORY);
  if (!made.ok()) {
    return made;
  }
  auto file = disk.open(snapshotPath(id.index), Disk::Mode::CREATE);
  return file.ok() ? capsules.writeSnapshot(id, *file.value()) : Status(file.error());
}

Task<Status> appendTail(const Capsules& capsules, Capsules::Choice choice, Log& log) {
  constexpr size_t BYTES_AT_ONCE = 1 << 20;
  std::vector<kj::Own<Gathered>> batches;
  auto read = capsules.readTail(choice, [&](LogIndex index, Term term, kj::ArrayPtr<const kj::byte> payload) {
    if (batches.empty() || batches.back()->bytes > BYTES_AT_ONCE) {
      batches.push_back(kj::heap<Gathered>());
    }
    auto& batch = *batches.back();
    batch.payloads.push_back(kj::heapArray(payload));
    batch.entries.push_back({index, term, batch.payloads.back()});
    batch.bytes += payload.size();
    return Status();
  });
  for (auto& batch : batches) {
    auto entries = kj::arrayPtr(batch->entries.data(), batch->entries.size());
    auto appended = co_await log.append(entries);
    if (!appended.ok()) {
      co_return appended;
    }
  }
  co_return read;
}

}  // namespace

Task<Status> makeMaster(const Capsules& capsules, Capsules::Choice choice, ClusterId cluster, std::string member,
                        Disk& disk, Random& random) {
  auto directory = openDirectory(disk, cluster, member, random);
  if (!directory.ok()) {
    co_return directory.error();
  }
  auto identity = directory.value().identity;
  identity.epoch = choice.capsule.epoch;
  auto made = saveIdentity(disk, identity);
  if (made.ok()) {
    made = takeSnapshot(capsules, choice.capsule, disk);
  }
  if (!made.ok()) {
    co_return made;
  }
  made = disk.makeDirectory("log");
  if (!made.ok()) {
    co_return made;
  }
  auto log = Log::beginAfter(disk, logOptions(cluster), choice.capsule.index, choice.capsule.term);
  if (!log.ok()) {
    co_return log.error();
  }
  auto appended = co_await appendTail(capsules, choice, *log.value());
  if (!appended.ok()) {
    co_return appended;
  }
  co_return co_await log.value()->close();
}

Result<kj::Own<Names>> Names::open(Disk& disk, leveldb::Env& env, ClusterId cluster) {
  auto log = Log::open(disk, logOptions(cluster));
  if (!log.ok()) {
    return log.error();
  }
  auto state = recoverState(disk, env, *log.value(), CACHE_BYTES);
  if (!state.ok()) {
    return state.error();
  }
  auto machine = kj::mv(state.value().machine);
  auto writeOut = [&machine] {
    machine->beginWrite()();
    machine->store().endWrite();
  };
  LogIndex from = next(machine->appliedIndex());
  if (from <= log.value()->lastIndex()) {
    auto read = log.value()->read(from, [&](const LogEntry& entry) {
      CommandEntry command(entry.payload);
      (void)machine->apply(entry.index, entry.term, command.reader());
      if (machine->store().unwrittenBytes() > UNWRITTEN_BYTES) {
        writeOut();
      }
      return true;
    });
    if (!read.ok()) {
      return read.error();
    }
    writeOut();
  }
  return kj::heap<Names>(kj::mv(log.value()), kj::mv(machine));
}

}  // namespace cairn::rescue
