// Scanning one disk: everything that is stored is read and checked. Opens nothing for writing but the map.
#pragma once
#include <leveldb/env.h>

#include <functional>
#include <set>
#include <string>

#include "common/disk.h"
#include "tools/recover/found.h"
#include "tools/recover/map_file.h"
#include "tools/recover/volume_index.h"

namespace cairn::rescue {

// Whose disk it is: its volume.id, or, when that is damaged, what its chunks say. ENOENT: no volume.
Result<VolumeIdentity> identify(Disk& disk);

class Scanner {
 public:
  // `map` may be null: then nothing is kept. Runs on a thread of its own; all arguments must outlive it.
  Scanner(Disk& disk, leveldb::Env& env, Disk* map, FoundDisk& found)
      : disk_(disk), env_(env), map_(map), found_(found) {}
  KJ_DISALLOW_COPY(Scanner);

  // Goes on where an earlier one was interrupted. REQUIRES: found.path, found.identity.
  Status run();

 private:
  using CopyName = std::pair<ChunkKey, std::string>;

  Status begin();
  void openIndex();
  Status scanFiles();
  Status scanShard(const std::string& name);
  Status scanDeleted();
  Status scanFile(const std::string& path, ChunkKey key, bool deleted);
  Status scanValues();
  Status add(FoundCopy copy);
  Epoch lastEpoch(ChunkKey key, Epoch stored) const;
  void checkSums(FoundCopy& copy, const std::vector<uint64_t>& sums, uint64_t instance) const;
  void note(std::string what);

  Disk& disk_;
  leveldb::Env& env_;
  Disk* map_;
  FoundDisk& found_;
  kj::Own<MapWriter> writer_;
  kj::Own<VolumeIndex> index_;
  std::map<ChunkKey, ChunkRecord> records_;
  std::map<ChunkKey, Epoch> dirty_;  // and the epoch of the last change
  std::set<ChunkKey> retired_;   // small chunks of deleted files
  std::set<CopyName> done_;      // by an earlier scan
  std::set<ChunkKey> hasFile_;
};

}  // namespace cairn::rescue
