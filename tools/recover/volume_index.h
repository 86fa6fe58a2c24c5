// VolumeIndex: what a volume's LevelDB says, read without changing a byte of it (common/system/overlay_env.h). When it
// is damaged, what verifies of its files is salvaged, in memory; such an index may lack entries, and have entries that
// had been replaced.
#pragma once
#include <leveldb/db.h>
#include <leveldb/env.h>

#include <functional>
#include <memory>
#include <string>

#include "chunkserver/store/record.h"

namespace cairn::rescue {

class VolumeIndex {
 public:
  // `path`: of the directory "index".
  static Result<kj::Own<VolumeIndex>> open(leveldb::Env& under, const std::string& path);
  VolumeIndex(std::unique_ptr<leveldb::Env> env, std::string path) : env_(std::move(env)), path_(std::move(path)) {}

  // Whether it was damaged.
  bool isSalvaged() const { return salvaged_; }
  // Why.
  const std::string& damage() const { return damage_; }
  // Calls `each` for all keys of a space, in order. What can't be read is passed over, and makes it a salvaged one.
  void scan(KeySpace space, const std::function<void(std::string_view key, std::string_view value)>& each);
  bool get(const std::string& key, std::string& value);

 private:
  leveldb::Status tryOpen(bool paranoid);
  bool readsThrough();
  Status salvage(const std::string& why);

  std::unique_ptr<leveldb::Env> env_;  // older than the database
  const std::string path_;
  std::unique_ptr<leveldb::DB> db_;
  bool salvaged_ = false;
  std::string damage_;
};

}  // namespace cairn::rescue
