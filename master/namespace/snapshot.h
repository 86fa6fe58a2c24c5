// Snapshots: the whole replicated state at one log index, in a file of its own, from which LevelDB can be made again.
//
// "snapshots/<index, 16 hex digits>.snapshot": a header with the Head, then chunks of records, each with its checksum,
// then an end that counts them. Written beside LevelDB's normal work from an image that doesn't move, in steps on
// workers, synced, and given its name only when it is whole.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "common/disk.h"
#include "common/task.h"
#include "common/workers.h"
#include "master/namespace/store.h"

namespace cairn {

constexpr char SNAPSHOT_DIRECTORY[] = "snapshots";

// Indexes of the snapshots there are, oldest first. Removes what an interrupted one left.
Result<std::vector<LogIndex>> findSnapshots(Disk& disk);

// Writes the snapshot of `image`.
Task<Status> writeSnapshot(Disk& disk, Workers& workers, kj::Own<Store::Image> image);
// Fills an empty store. Waits inline. On an error the store holds a part: remove it.
Status loadSnapshot(Disk& disk, LogIndex index, Store& store);
// Where it lies, and where one is put together that comes from another member, until keepSnapshot().
std::string snapshotPath(LogIndex index);
std::string unfinishedSnapshotPath(LogIndex index);
// Makes a received one durable under its name. It is verified when it is loaded.
Task<Status> keepSnapshot(Disk& disk, File& file, LogIndex index);
Status removeSnapshot(Disk& disk, LogIndex index);

}  // namespace cairn
