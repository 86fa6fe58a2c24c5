// Store: the state's keys and values. LevelDB, and above it what has been applied and is not written there yet, so that
// applying never waits for LevelDB: many entries gather in memory and go out in one write, on a worker.
//
// Writes are not synced: LevelDB is a cache of snapshot + log. A write leaves a mark with the entries it brought; since
// a power cut may lose a write in the middle and keep a later one, open() trusts only an unbroken run of marks.
// Reads that find damage throw kj::Exception. One thread, but for the jobs that beginWrite() and Image give out.
#pragma once
#include <kj/function.h>
#include <kj/memory.h>
#include <leveldb/db.h>
#include <leveldb/env.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "common/ids.h"
#include "common/result.h"
#include "master/namespace/records.h"

namespace cairn {

class StoreFiles;

// A value, or the mark that there is none.
struct Unwritten {
  std::string value;
  bool present = false;
};
using UnwrittenMap = std::map<std::string, Unwritten, std::less<>>;

class Store {
 public:
  static constexpr size_t MARKS_MAX = 1024;  // writes between two checkpoints

  // Opens or makes the store at `path`. The error says what is wrong: then remove() it and rebuild.
  static Result<kj::Own<Store>> open(leveldb::Env& env, const std::string& path, uint64_t cacheBytes);
  static Status remove(leveldb::Env& env, const std::string& path);
  explicit Store(kj::Own<StoreFiles> files);
  ~Store() noexcept(false);

  // Called, before the exception is thrown, when a read finds damage.
  void setDamageHandler(kj::Function<void(const std::string&)> handler) { damaged_ = kj::mv(handler); }

  // What open() found written; index 0 for a new store.
  const Head& writtenHead() const { return written_; }

  bool get(std::string_view key, std::string& value) const;
  bool has(std::string_view key) const;
  void put(std::string key, std::string value);
  void erase(std::string key);
  // Head::generationBase, for whoever reads inodes.
  uint32_t generationBase() const { return generationBase_; }
  void setGenerationBase(uint32_t base) { generationBase_ = base; }
  // Hash chained over every put and erase since the beginning.
  uint64_t digest() const { return digest_; }
  void mix(uint64_t word);

  // All keys with a prefix, in order. Valid until the next put, erase, beginWrite or endWrite.
  class Cursor {
   public:
    bool valid() const { return source_ != Source::NONE; }
    std::string_view key() const;
    std::string_view value() const;
    void next();
    // To the first key at or after `key`, which must have the prefix.
    void seek(std::string_view key);

   private:
    friend class Store;
    Cursor(const Store& store, std::string prefix);
    void settle();
    void skip(std::string_view key);

    enum class Source { NONE, FRESH, LEAVING, FILES };
    const Store& store_;
    std::string prefix_;
    UnwrittenMap::const_iterator fresh_;
    UnwrittenMap::const_iterator leaving_;
    std::unique_ptr<leveldb::Iterator> files_;
    Source source_ = Source::NONE;
  };
  Cursor scan(std::string_view prefix) const;

  // Writing out. beginWrite() takes everything unwritten together with `head`; the job goes to a worker and throws when
  // it fails; then endWrite(). REQUIRES: one at a time.
  kj::Function<void()> beginWrite(const Head& head);
  void endWrite();
  bool writing() const { return writing_; }
  size_t unwrittenBytes() const { return freshBytes_; }
  bool hasUnwritten() const { return !fresh_.empty(); }

  // Fills an empty store from a snapshot, on the loop, at start. `last`: the head comes with it.
  Status load(const std::vector<std::pair<std::string, std::string>>& records);
  Status finishLoad(const Head& head);

  // LevelDB as it is now, which is the state at writtenHead(): unmoved by later writes. For use on a worker.
  // REQUIRES: !writing().
  class Image {
   public:
    virtual ~Image() noexcept(false) = default;
    virtual const Head& head() const = 0;
    // Appends records until `bytesMax`, without those that are this store's own; false when there are no more.
    virtual bool read(std::vector<std::pair<std::string, std::string>>& records, size_t bytesMax) = 0;
  };
  kj::Own<Image> image();

 private:
  void check(const leveldb::Status& status, const char* doing) const;

  kj::Own<StoreFiles> files_;
  mutable kj::Function<void(const std::string&)> damaged_ = [](const std::string&) {};
  Head written_;
  UnwrittenMap fresh_;
  size_t freshBytes_ = 0;
  uint64_t digest_ = 0;
  uint32_t generationBase_ = 0;
  bool writing_ = false;
  Head leavingHead_;
};

}  // namespace cairn
