#include "tools/recover/volume_index.h"

#include <cerrno>

#include "common/system/overlay_env.h"

namespace cairn::rescue {

namespace {

leveldb::Options optionsFor(leveldb::Env& env, bool paranoid) {
  leveldb::Options options;
  options.env = &env;
  options.create_if_missing = false;
  options.paranoid_checks = paranoid;
  options.compression = leveldb::kNoCompression;
  options.max_open_files = 64;
  return options;
}

leveldb::ReadOptions reading() {
  leveldb::ReadOptions options;
  options.verify_checksums = true;
  options.fill_cache = false;
  return options;
}

}  // namespace

Result<kj::Own<VolumeIndex>> VolumeIndex::open(leveldb::Env& under, const std::string& path) {
  auto index = kj::heap<VolumeIndex>(newOverlayEnv(under), path);
  auto opened = index->tryOpen(true);
  std::string why = opened.ToString();
  if (opened.ok() && !index->readsThrough()) {
    opened = leveldb::Status::Corruption(path, "blocks that can't be read");
    why = index->damage_;
  }
  if (opened.ok()) {
    return kj::mv(index);
  }
  // Anew, for what the attempt left in memory is of no use.
  index = kj::heap<VolumeIndex>(newOverlayEnv(under), path);
  auto salvaged = index->salvage(why);
  if (!salvaged.ok()) {
    return salvaged.error();
  }
  return kj::mv(index);
}

leveldb::Status VolumeIndex::tryOpen(bool paranoid) {
  leveldb::DB* opened = nullptr;
  auto status = leveldb::DB::Open(optionsFor(*env_, paranoid), path_, &opened);
  db_.reset(opened);
  return status;
}

bool VolumeIndex::readsThrough() {
  std::unique_ptr<leveldb::Iterator> it(db_->NewIterator(reading()));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
  }
  damage_ = it->status().ok() ? "" : it->status().ToString();
  return it->status().ok();
}

Status VolumeIndex::salvage(const std::string& why) {
  salvaged_ = true;
  damage_ = why;
  auto repaired = leveldb::RepairDB(path_, optionsFor(*env_, false));
  auto opened = repaired.ok() ? tryOpen(false) : repaired;
  return opened.ok() ? Status() : Status(Error{EUCLEAN, path_ + ": nothing of it can be read: " + opened.ToString()});
}

void VolumeIndex::scan(KeySpace space, const std::function<void(std::string_view, std::string_view)>& each) {
  std::string from(1, static_cast<char>(space));
  std::string end = afterPrefix(from);
  std::unique_ptr<leveldb::Iterator> it(db_->NewIterator(reading()));
  for (it->Seek(from); it->Valid() && it->key().compare(end) < 0; it->Next()) {
    each({it->key().data(), it->key().size()}, {it->value().data(), it->value().size()});
  }
  if (!it->status().ok()) {
    salvaged_ = true;
    damage_ = it->status().ToString();
  }
}

bool VolumeIndex::get(const std::string& key, std::string& value) {
  return db_->Get(reading(), key, &value).ok();
}

}  // namespace cairn::rescue
