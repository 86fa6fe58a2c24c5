// Memory that outlives the process which writes it: a file without a name (memfd) that the holder of a mount keeps
// open. What is written here is there for the successor, whenever this process ends, even in the middle of a line: so
// a record's key is written last, and erased first.
#pragma once
#include <kj/common.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace cairn {

class KeptMemory {
 public:
  // A new, empty one; its descriptor, or -1.
  static int make(const char* name);

  // Takes over `descriptor`. What can't be mapped or grow ends the process: the mount could not go on as promised.
  explicit KeptMemory(int descriptor);
  ~KeptMemory();
  KJ_DISALLOW_COPY(KeptMemory);

  // Never shrinks; pointers of before are void.
  void grow(size_t sizeBytes);
  void* start() { return start_; }
  size_t sizeBytes() const { return sizeBytes_; }

 private:
  int descriptor_;
  void* start_ = nullptr;
  size_t sizeBytes_ = 0;
};

// Records, each with `uint64_t key` as its first member, never 0.
template <typename Record>
class KeptTable {
 public:
  explicit KeptTable(int descriptor) : memory_(descriptor) {
    for (size_t i = 0; i < memory_.sizeBytes() / sizeof(Record); ++i) {
      if (at(i).key == 0) {
        free_.push_back(i);
      } else {
        places_[at(i).key] = i;
      }
    }
  }

  // Null when there is none. Valid until the next put().
  Record* find(uint64_t key) {
    auto found = places_.find(key);
    return found == places_.end() ? nullptr : &at(found->second);
  }
  void put(const Record& record) {
    auto [found, fresh] = places_.try_emplace(record.key, 0);
    if (fresh) {
      found->second = takeFree();
    }
    Record& place = at(found->second);
    setKey(place, 0);
    Record keyless = record;
    keyless.key = 0;
    place = keyless;
    setKey(place, record.key);
  }
  void erase(uint64_t key) {
    auto found = places_.find(key);
    if (found != places_.end()) {
      setKey(at(found->second), 0);
      free_.push_back(found->second);
      places_.erase(found);
    }
  }
  size_t size() const { return places_.size(); }
  template <typename Visit>
  void forEach(Visit&& visit) {
    for (auto& [key, place] : places_) {
      visit(at(place));
    }
  }

 private:
  static constexpr size_t FIRST_BYTES = 64 << 10;

  Record& at(size_t place) { return static_cast<Record*>(memory_.start())[place]; }
  // For a process that may end at any instruction, the order in which these are carried out is all that counts.
  static void setKey(Record& record, uint64_t key) {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    std::atomic_ref<uint64_t>(record.key).store(key, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  size_t takeFree() {
    if (free_.empty()) {
      size_t had = memory_.sizeBytes() / sizeof(Record);
      memory_.grow(had == 0 ? FIRST_BYTES : 2 * memory_.sizeBytes());
      for (size_t i = memory_.sizeBytes() / sizeof(Record); i > had; --i) {
        free_.push_back(i - 1);
      }
    }
    size_t place = free_.back();
    free_.pop_back();
    return place;
  }

  KeptMemory memory_;
  std::unordered_map<uint64_t, size_t> places_;  // by key
  std::vector<size_t> free_;
};

}  // namespace cairn
