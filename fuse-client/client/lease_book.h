// LeaseBook: whether this mount's leases last, and which replies may be believed under them.
//
// All leases end with the link to the master: the master asks nobody on the next link for what was granted on the last.
// Their time is the session's, counted from when its renewal was sent.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/checksum.h"
#include "common/clock.h"
#include "common/ids.h"

namespace cairn {

// What came with a reply.
struct Grant {
  uint8_t bits = 0;    // as in master.capnp
  uint64_t link = 0;
  uint64_t call = 0;   // number of the call that it answers
  uint64_t index = 0;  // of the log, that the reply is of

  bool has(uint8_t bit) const { return (bits & bit) != 0; }
};

class LeaseBook {
 public:
  explicit LeaseBook(Clock& clock) : clock_(clock) {}

  // What was believed under this link may still be.
  bool lasts(uint64_t link) const { return link == link_ && clock_.monotonic() < until_; }
  uint64_t link() const { return link_; }
  // For how long what is leased under this link may be believed without hearing from the master.
  Nanos left() const { return std::max<Nanos>(until_ - clock_.monotonic(), 0); }
  // The session can't have been given up: what it alone may do (write files) is still its right, whatever its link.
  bool sessionLasts() const { return clock_.monotonic() < sessionUntil_; }
  // The reply may be taken in: nothing in it was recalled, or given up, while it was on its way.
  bool stands(const Grant& grant) const {
    return grant.link == link_ && grant.index > recalledAt_ && grant.call > forgottenAt_;
  }

  // The same, for what no recall by log index is about.
  bool isOfNow(const Grant& grant) const { return grant.link == link_ && grant.call > forgottenAt_; }

  uint64_t nextCall() { return ++lastCall_; }
  void renewed(Nanos until) { until_ = sessionUntil_ = until; }
  void linkLost() {
    ++link_;
    until_ = 0;
    unwanted_.clear();
  }
  void historyChanged() { recalledAt_ = 0; }
  void recalled(uint64_t index) { recalledAt_ = std::max(recalledAt_, index); }

  // Names and inodes that changes of this mount are about which nobody has answered yet.
  static uint64_t keyOf(InodeId inode) { return raw(inode); }
  static uint64_t keyOf(InodeId directory, const std::string& name) { return hash64(name, raw(directory)); }
  void setDoubt(uint64_t key, bool begins) {
    unsigned& count = doubts_[key];
    count += begins ? 1 : -1;
    if (count == 0) {
      doubts_.erase(key);
    }
  }
  bool isInDoubt(uint64_t key) const { return !doubts_.empty() && doubts_.contains(key); }

  // Leases that the master may forget about, gathered until there are many.
  void giveUp(InodeId inode) { unwanted_.push_back(inode); }
  bool manyUnwanted() const { return unwanted_.size() >= UNWANTED_MAX; }
  // The caller tells the master of them before it makes another call.
  std::vector<InodeId> takeUnwanted() {
    forgottenAt_ = lastCall_;
    return std::exchange(unwanted_, {});
  }

 private:
  static constexpr size_t UNWANTED_MAX = 512;

  Clock& clock_;
  uint64_t link_ = 1;
  Nanos until_ = 0;
  Nanos sessionUntil_ = 0;
  uint64_t lastCall_ = 0;
  uint64_t forgottenAt_ = 0;
  uint64_t recalledAt_ = 0;
  std::vector<InodeId> unwanted_;
  std::unordered_map<uint64_t, unsigned> doubts_;
};

}  // namespace cairn
