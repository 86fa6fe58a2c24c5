// Archive: a finished map, opened for getting files out: the disks, every copy of every chunk, and the names.
#pragma once
#include <functional>
#include <unordered_map>

#include "tools/recover/names.h"
#include "tools/recover/stored_chunk.h"

namespace cairn::rescue {

// A copy and the disk that it is on.
struct Located {
  size_t disk = 0;
  const FoundCopy* copy = nullptr;
};

// Where a file's bytes are and how to read them: what its layout says.
struct FileView {
  InodeId inode{};
  ObjectId object{};
  ClassId cls{};
  uint8_t chunkBits = DEFAULT_CHUNK_BITS;
  uint32_t generation = 0;
  uint64_t size = 0;
  std::vector<LayoutCut> cuts;

  uint64_t chunkBytes() const { return uint64_t{1} << chunkBits; }
  uint32_t chunks() const { return static_cast<uint32_t>((size + chunkBytes() - 1) >> chunkBits); }
};

using DiskOpener = std::function<Result<kj::Own<Disk>>(const std::string& path)>;

class Archive {
 public:
  // `map` must outlive it. ENODATA: no scan has ended.
  static Result<kj::Own<Archive>> open(Disk& map, leveldb::Env& env, DiskOpener opener);
  Archive(leveldb::Env& env, DiskOpener opener, std::vector<FoundDisk> disks);
  KJ_DISALLOW_COPY(Archive);

  ClusterId cluster() const { return disks_.front().identity.cluster; }
  const std::vector<FoundDisk>& disks() const { return disks_; }
  // Nullptr: no disk had them.
  const Names* names() const { return names_.get(); }
  // Live copies of a chunk; `deleted`: instead of those that were to be deleted.
  std::vector<Located> copiesOf(ChunkId chunk, bool deleted = false) const;
  // All objects with live copies, in order.
  std::vector<ObjectId> objects() const;
  const std::vector<Located>& ofObject(ObjectId object) const;
  // Whether a chunk that isn't found isn't there either: one disk that has all of its shard is among those scanned.
  bool isAbsent(const FileView& file, uint32_t chunk) const;
  // Whether the disk's copies of that shard were up to date, as far as the names know.
  bool wasInSync(size_t disk, ShardId shard) const;
  // Opened when it is first asked for.
  Result<OpenVolume*> volume(size_t disk);

 private:
  using ByObject = std::unordered_map<uint64_t, std::vector<Located>>;  // each in the order of its chunks
  const ShardRecord* shardOf(const FileView& file, uint32_t chunk) const;

  leveldb::Env& env_;
  DiskOpener opener_;
  std::vector<FoundDisk> disks_;
  std::vector<OpenVolume> volumes_;
  kj::Own<Disk> namesDisk_;
  kj::Own<Names> names_;
  ByObject live_;
  ByObject deleted_;
};

FileView viewOf(const InodeRecord& inode);

}  // namespace cairn::rescue
