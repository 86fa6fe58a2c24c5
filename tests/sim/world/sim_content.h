// The bytes of one simulated file: what a reader sees now, and what a power cut would leave.
//
// The kernel tracks dirty pages (4 KiB), the device writes sectors (512 bytes): a sync covers whole pages, a
// cut tears at sectors. A page is "forgotten" when the kernel believes it stored and it is not: after a failed
// sync, or when the device lost or misplaced the write.
#pragma once
#include <kj/array.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "common/random.h"

namespace cairn {

class SimContent {
 public:
  static constexpr uint64_t PAGE = 4096;
  static constexpr uint64_t SECTOR = 512;
  using Bytes = std::array<kj::byte, PAGE>;

  // What the device does with one page of a sync.
  enum class Fate { STORED, LOST, MISDIRECTED };

  // What a sync that begins now will have made durable when it ends.
  struct SyncPoint {
    struct Page {
      uint64_t number;
      uint64_t version;
      Bytes bytes;
      bool allocated;
    };
    std::vector<Page> pages;
    uint64_t size;
    uint64_t version;
  };

  uint64_t size() const { return size_; }
  uint64_t allocatedBytes() const { return allocatedPages_ * PAGE; }
  bool dirty() const { return !dirtyPages_.empty() || size_ != storedSize_; }

  size_t read(uint64_t offset, kj::ArrayPtr<kj::byte> out) const;
  // Past the cache: pages whose storing failed unseen are as the device has them.
  size_t readDevice(uint64_t offset, kj::ArrayPtr<kj::byte> out) const;
  // Bytes that a write there would newly allocate.
  uint64_t growth(uint64_t offset, uint64_t length) const;
  void write(uint64_t offset, kj::ArrayPtr<const kj::byte> data);
  void truncate(uint64_t size);
  void punch(uint64_t offset, uint64_t length);

  SyncPoint beginSync() const;
  void endSync(const SyncPoint& point, const std::function<Fate(uint64_t page)>& fate);
  // As Linux does: what was dirty counts as clean from now on, though it is not stored.
  void failSync(const SyncPoint& point);

  // Leaves what was synced; of the rest each sector, and the size, is old or new by chance.
  void powerCut(Random& random);
  // The cache is gone, nothing else: shows what the device really has of "stored" pages.
  void dropCache();
  // Flips one bit at `offset`, now and for good. False when nothing is stored there.
  bool rot(uint64_t offset, unsigned bit);
  // The same on the device only, while the cache keeps the page as it was.
  bool rotStored(uint64_t offset, unsigned bit);
  // Numbers of the pages that hold data.
  std::vector<uint64_t> pageNumbers() const;

 private:
  struct Page {
    Bytes now{};
    std::unique_ptr<Bytes> stored;  // null: the same as now
    bool allocated = false;
    bool storedAllocated = false;
    bool forgotten = false;
    uint64_t version = 0;
    uint64_t storedVersion = 0;
  };

  size_t readFrom(uint64_t offset, kj::ArrayPtr<kj::byte> out, bool device) const;
  Page& touch(uint64_t number);
  void setAllocated(Page& page, bool allocated);
  void zero(uint64_t begin, uint64_t end);
  void settle(uint64_t number, Page& page);
  void clean(uint64_t number, Page& page);
  void misdirect(uint64_t from, const Bytes& bytes);
  void cutPage(uint64_t number, Page& page, Random& random, uint64_t newPerEight, bool truncateUndone);
  void trimTo(uint64_t size);

  std::map<uint64_t, Page> pages_;  // an absent page is a hole, durably so
  std::set<uint64_t> dirtyPages_;   // pages with `stored`
  uint64_t size_ = 0;
  uint64_t storedSize_ = 0;
  uint64_t storedSizeVersion_ = 0;
  uint64_t version_ = 0;
  uint64_t allocatedPages_ = 0;
};

}  // namespace cairn
