// What a file with one writer may contain: the checker's memory. A sector may show what the last successful fsync (or
// acknowledged truncate) left there, or anything written since; nothing older, nothing else.
//
// Every write, punch and truncate gets a version; a version is bytes that say so, or zeros.
#pragma once
#include <map>
#include <string>

#include "tests/sim/cluster/sectors.h"

namespace cairn {

class FileLedger {
 public:
  // Newest versions of some blocks at some time.
  using Mark = std::map<uint64_t, int64_t>;

  explicit FileLedger(uint64_t file) : file_(file) {}

  uint64_t file() const { return file_; }
  // Call before the write is sent: from then on it may be seen. Returns its version.
  int64_t writing(uint64_t block) { return begin(block, false); }
  // A block that is punched.
  int64_t zeroing(uint64_t block) { return begin(block, true); }
  // A truncate to `blocks` is about to be sent; hand what it gives to cut() when it is acknowledged.
  Mark cutting(uint64_t blocks);

  // The versions an fsync that is called now will cover.
  Mark beforeSync() const;
  // That is durable: older versions may not be seen any more.
  void settled(const Mark& covered) { settle(covered, doubtful_); }
  // The same of a truncate, which was told to the master and is in no doubt.
  void cut(const Mark& covered) { settle(covered, 0); }

  // A call has failed that may have dropped what was written so far: a later fsync doesn't vouch for that.
  void doubt() { doubtful_ = lastVersion_; }

  // For reads that overlap other calls: what might be seen from now on.
  struct Floor {
    std::map<uint64_t, int64_t> oldest;
    std::map<uint64_t, bool> zeros;
  };
  Floor floor() const;

  uint64_t blockEnd() const { return blocks_.empty() ? 0 : blocks_.rbegin()->first + 1; }
  // Empty when `bytes` may be what block `block` holds; else what is wrong with it. `since`: the read began then.
  std::string problem(uint64_t block, kj::ArrayPtr<const kj::byte> bytes, const Floor* since = nullptr) const;

 private:
  struct Block {
    std::map<int64_t, bool> possible{{0, true}};  // version: is it zeros?
    std::map<int64_t, bool> past;                 // not possible any more
    bool zerosPossible() const;
  };
  int64_t begin(uint64_t block, bool zeros);
  void settle(const Mark& covered, int64_t doubtful);

  const uint64_t file_;
  int64_t lastVersion_ = 0;
  int64_t doubtful_ = 0;  // versions up to this one may be lost
  std::map<uint64_t, Block> blocks_;
};

}  // namespace cairn
