// LevelDB opened the one way a volume opens it: paranoid, checksums verified, small buffers, logs synced
// when they are closed. Shared by jobs on workers; safe from several threads.
#pragma once
#include <kj/refcount.h>
#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/filter_policy.h>

#include <memory>
#include <string>

#include "common/system/leveldb_env.h"

namespace cairn {

class Database final : public kj::AtomicRefcounted {
 public:
  static constexpr int KEY_FILTER_BITS = 10;
  static constexpr int OPEN_FILES_MAX = 128;

  Database(leveldb::Env& env, size_t cacheBytes, size_t writeBufferBytes)
      : env_(newLogSyncingEnv(env)),
        filter_(leveldb::NewBloomFilterPolicy(KEY_FILTER_BITS)),
        cache_(leveldb::NewLRUCache(cacheBytes)) {
    options_.env = env_.get();
    options_.create_if_missing = true;
    options_.paranoid_checks = true;
    options_.write_buffer_size = writeBufferBytes;
    options_.block_cache = cache_.get();
    options_.filter_policy = filter_.get();
    options_.max_open_files = OPEN_FILES_MAX;
    options_.compression = leveldb::kNoCompression;
  }

  leveldb::Status open(const std::string& path, bool paranoid) {
    leveldb::DB* opened = nullptr;
    options_.paranoid_checks = paranoid;
    auto status = leveldb::DB::Open(options_, path, &opened);
    db_.reset(opened);
    return status;
  }
  void close() { db_.reset(); }
  leveldb::Status destroy(const std::string& path) { return leveldb::DestroyDB(path, options_); }

  leveldb::DB& db() const { return *db_; }
  static leveldb::ReadOptions reading(bool fillCache) {
    leveldb::ReadOptions options;
    options.verify_checksums = true;
    options.fill_cache = fillCache;
    return options;
  }

 private:
  std::unique_ptr<leveldb::Env> env_;
  std::unique_ptr<const leveldb::FilterPolicy> filter_;
  std::unique_ptr<leveldb::Cache> cache_;
  leveldb::Options options_;
  std::unique_ptr<leveldb::DB> db_;
};

}  // namespace cairn
