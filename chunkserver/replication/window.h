// PrimaryWindow: what a primary knows of its mutations in flight in one epoch: who has still to answer. Pure.
//
// Members have slots; slot 0 is the primary itself. A *required* member (in-sync, or joining and complete) must answer
// before the client gets its answer; a *tracked* one must answer before the mutation counts as complete everywhere.
#pragma once
#include <cstdint>
#include <deque>
#include <vector>

namespace cairn {

class PrimaryWindow {
 public:
  static constexpr unsigned SLOTS_MAX = 32;

  // A new epoch: nothing in flight, the first sequence is 1, only slot 0 is there.
  void reset();

  // From now on mutations are tracked for `slot`. Required: answers wait for it as well, those of earlier mutations
  // that it hasn't answered too.
  void track(unsigned slot, bool required);
  // The slot is given up: nothing waits for it any more. What that answers goes to `answered`.
  void release(unsigned slot, std::vector<uint64_t>& answered);

  uint64_t begin();
  // Member `slot` has `sequence`. What that answers goes to `answered` (at most this one). Repeats do no harm.
  void acknowledge(uint64_t sequence, unsigned slot, std::vector<uint64_t>& answered);

  uint64_t next() const { return base_ + entries_.size(); }
  // Everything below is complete everywhere.
  uint64_t completeBelow() const { return base_; }
  bool idle() const { return entries_.empty(); }
  // Whether `slot` has answered everything below `sequence`.
  bool acknowledgedBelow(unsigned slot, uint64_t sequence) const;
  // Whether `slot` has still to answer `sequence`.
  bool awaits(uint64_t sequence, unsigned slot) const;
  uint32_t required() const { return required_; }

 private:
  struct Entry {
    uint32_t missing = 0;  // tracked slots that haven't answered
    bool answered = false;
  };
  void note(uint64_t sequence, Entry& entry, std::vector<uint64_t>& answered);
  void trim();

  uint32_t tracked_ = 1;
  uint32_t required_ = 1;
  uint64_t base_ = 1;  // of entries_.front()
  std::deque<Entry> entries_;
};

}  // namespace cairn
