// ForwardOrder: in which order a backup takes a shard's forwards of one epoch. Pure.
//
// The primary numbers them; a lost link may repeat some and let later ones overtake. So each is taken exactly when
// all before it have been taken.
#pragma once
#include <cstdint>
#include <map>
#include <utility>

namespace cairn {

template <typename Result>
class ForwardOrder {
 public:
  enum class Place {
    TAKE,      // it is its turn: take() it now
    EARLY,     // one before it is still missing
    REPEATED,  // taken before: result(), if it is still kept
  };

  // A new epoch. In-sync members know the first sequence (1); a joining one is told it by the primary.
  void reset() {
    started_ = false;
    results_.clear();
  }
  void start(uint64_t first) {
    started_ = true;
    next_ = first;
    results_.clear();
  }
  bool started() const { return started_; }
  uint64_t next() const { return next_; }

  Place place(uint64_t sequence) const {
    if (!started_ || sequence > next_) {
      return Place::EARLY;
    }
    return sequence == next_ ? Place::TAKE : Place::REPEATED;
  }
  // REQUIRES: place(sequence) is TAKE. The result is kept for repeats until forget().
  Result& take(uint64_t sequence, Result result) {
    ++next_;
    return results_.insert_or_assign(sequence, std::move(result)).first->second;
  }
  // nullptr: forgotten, so it is complete everywhere.
  Result* result(uint64_t sequence) {
    auto it = results_.find(sequence);
    return it == results_.end() ? nullptr : &it->second;
  }
  // Everything below `sequence` is complete: the primary won't repeat it.
  void forgetBelow(uint64_t sequence) { results_.erase(results_.begin(), results_.lower_bound(sequence)); }
  size_t kept() const { return results_.size(); }

 private:
  bool started_ = false;
  uint64_t next_ = 1;
  std::map<uint64_t, Result> results_;
};

}  // namespace cairn
