#include "tools/recover/archive.h"

#include <algorithm>
#include <cerrno>

#include "tools/recover/map_file.h"

namespace cairn::rescue {

namespace {

uint32_t indexOf(const Located& located) { return located.copy->key.chunk.index; }

}  // namespace

Result<kj::Own<Archive>> Archive::open(Disk& map, leveldb::Env& env, DiskOpener opener) {
  auto disks = readMap(map);
  if (!disks.ok()) {
    return disks.error();
  }
  for (auto& disk : disks.value()) {
    if (!disk.finished) {
      return Error{ENODATA, "the scan of " + disk.path +
                                " hasn't come to its end: start dfs-recover scan once more, it goes on"};
    }
  }
  if (disks.value().empty()) {
    return Error{ENODATA, map.hostPath("") + " holds no disk: make the map with dfs-recover scan"};
  }
  auto archive = kj::heap<Archive>(env, opener, std::move(disks.value()));
  if (!map.exists(NAMES_DIRECTORY)) {
    return kj::mv(archive);
  }
  auto disk = opener(map.hostPath(NAMES_DIRECTORY));
  if (!disk.ok()) {
    return disk.error();
  }
  archive->namesDisk_ = kj::mv(disk.value());
  auto names = Names::open(*archive->namesDisk_, env, archive->cluster());
  if (!names.ok()) {
    return names.error();
  }
  archive->names_ = kj::mv(names.value());
  return kj::mv(archive);
}

Archive::Archive(leveldb::Env& env, DiskOpener opener, std::vector<FoundDisk> disks)
    : env_(env), opener_(std::move(opener)), disks_(std::move(disks)), volumes_(disks_.size()) {
  for (size_t i = 0; i < disks_.size(); ++i) {
    for (auto& copy : disks_[i].copies) {
      (copy.deleted ? deleted_ : live_)[raw(copy.key.chunk.object)].push_back({i, &copy});
    }
  }
  for (auto* all : {&live_, &deleted_}) {
    for (auto& [object, copies] : *all) {
      std::stable_sort(copies.begin(), copies.end(), [](auto& a, auto& b) { return indexOf(a) < indexOf(b); });
    }
  }
}

std::vector<Located> Archive::copiesOf(ChunkId chunk, bool deleted) const {
  std::vector<Located> found;
  auto& all = deleted ? deleted_ : live_;
  auto copies = all.find(raw(chunk.object));
  if (copies != all.end()) {
    auto begin = std::partition_point(copies->second.begin(), copies->second.end(),
                                      [&](const Located& located) { return indexOf(located) < chunk.index; });
    for (auto at = begin; at != copies->second.end() && indexOf(*at) == chunk.index; ++at) {
      found.push_back(*at);
    }
  }
  return found;
}

std::vector<ObjectId> Archive::objects() const {
  std::vector<ObjectId> found;
  for (auto& [object, copies] : live_) {
    found.push_back(ObjectId{object});
  }
  std::sort(found.begin(), found.end());
  return found;
}

const std::vector<Located>& Archive::ofObject(ObjectId object) const { return live_.at(raw(object)); }

const ShardRecord* Archive::shardOf(const FileView& file, uint32_t chunk) const {
  if (names_.get() == nullptr) {
    return nullptr;
  }
  const ShardMap& map = names_->reader().map();
  auto cls = map.classes.find(file.cls);
  if (cls == map.classes.end()) {
    return nullptr;
  }
  auto shard = map.shards.find(cairn::shardOf(file.cls, cls->second.shardBits, {file.object, chunk}));
  return shard == map.shards.end() ? nullptr : &shard->second;
}

bool Archive::isAbsent(const FileView& file, uint32_t chunk) const {
  const ShardRecord* shard = shardOf(file, chunk);
  if (shard == nullptr) {
    return false;
  }
  const ShardMap& map = names_->reader().map();
  for (VolumeNumber number : shard->inSync) {
    auto volume = map.volumes.find(number);
    for (auto& disk : disks_) {
      if (volume != map.volumes.end() && disk.identity.volume == volume->second.id && !disk.salvaged) {
        return true;
      }
    }
  }
  return false;
}

bool Archive::wasInSync(size_t disk, ShardId id) const {
  if (names_.get() == nullptr) {
    return true;
  }
  const ShardMap& map = names_->reader().map();
  auto shard = map.shards.find(id);
  if (shard == map.shards.end()) {
    return false;
  }
  return std::any_of(shard->second.inSync.begin(), shard->second.inSync.end(), [&](VolumeNumber number) {
    auto volume = map.volumes.find(number);
    return volume != map.volumes.end() && volume->second.id == disks_[disk].identity.volume;
  });
}

Result<OpenVolume*> Archive::volume(size_t index) {
  auto& volume = volumes_[index];
  if (volume.disk.get() == nullptr) {
    auto disk = opener_(disks_[index].path);
    if (!disk.ok()) {
      return disk.error();
    }
    auto opened = VolumeIndex::open(env_, disk.value()->hostPath("index"));
    volume.disk = kj::mv(disk.value());
    if (opened.ok()) {
      volume.index = kj::mv(opened.value());
    }
  }
  return &volume;
}

FileView viewOf(const InodeRecord& inode) {
  return {inode.id, inode.object, inode.cls, inode.chunkBits, inode.generation, inode.size, inode.cuts};
}

}  // namespace cairn::rescue
