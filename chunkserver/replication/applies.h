// Applies: the local mutations of one shard that have been called and haven't resolved. drain() waits for those
// begun before it, not for later ones.
#pragma once
#include <set>

#include "chunkserver/replication/signal.h"
#include "common/task.h"

namespace cairn {

class Applies {
 public:
  // Held while one mutation is under way. The Applies must outlive it.
  class Running {
   public:
    Running(Applies& applies, uint64_t id) : applies_(&applies), id_(id) {}
    Running(Running&& other) noexcept : applies_(other.applies_), id_(other.id_) { other.applies_ = nullptr; }
    Running& operator=(Running&&) = delete;
    ~Running() noexcept {
      if (applies_ != nullptr) {
        applies_->running_.erase(id_);
        applies_->ended_.raise();
      }
    }

   private:
    Applies* applies_;
    uint64_t id_;
  };

  Running begin() {
    running_.insert(next_);
    return Running(*this, next_++);
  }
  bool idle() const { return running_.empty(); }
  Task<void> drain() {
    uint64_t limit = next_;
    while (!running_.empty() && *running_.begin() < limit) {
      co_await ended_.next();
    }
  }

 private:
  std::set<uint64_t> running_;
  uint64_t next_ = 0;
  Wakeup ended_;
};

}  // namespace cairn
