// Waits: what operations wait for right now, for people who ask why a call is stuck.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"

namespace cairn {

class Waits {
 public:
  explicit Waits(Clock& clock) : clock_(clock) {}
  Waits(const Waits&) = delete;

  // Stands in the list as long as it lives. The text is made when somebody asks.
  class Note {
   public:
    Note(Waits& waits, std::function<std::string()> text) : waits_(waits), key_(waits.nextKey_++) {
      waits_.entries_.emplace(key_, Entry{std::move(text), waits_.clock_.monotonic()});
    }
    ~Note() { waits_.entries_.erase(key_); }
    Note(const Note&) = delete;

   private:
    Waits& waits_;
    const uint64_t key_;
  };

  // Oldest first: "2.3 s: chunkserver c1 ...".
  std::vector<std::string> lines() const;

 private:
  struct Entry {
    std::function<std::string()> text;
    Nanos since = 0;
  };

  Clock& clock_;
  uint64_t nextKey_ = 0;
  std::map<uint64_t, Entry> entries_;
};

}  // namespace cairn
