// NameHistory: what many clients did at the same time in one directory, and what they were told. Every answer carries
// the place in the log that it was given at, so whether the history is linearizable is no search: in the order of these
// places each answer must be the one that a single directory gives, and no place may contradict the order in time.
// What a client said under its leases has no place; then there must be one that fits.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "common/ids.h"
#include "common/clock.h"

namespace cairn {

class NameHistory {
 public:
  enum class Kind { CREATE, UNLINK, RENAME, LOOKUP };
  struct Op {
    Kind kind = Kind::LOOKUP;
    std::string client;
    std::string name;
    std::string to;  // RENAME
    Nanos begin = 0;
    Nanos end = 0;
    int code = 0;
    InodeId inode{};  // CREATE, LOOKUP that succeeded
    Term term{};
    LogIndex index{};
    bool believed = false;  // a LOOKUP answered under a lease: term and index mean nothing
    bool writes() const { return kind != Kind::LOOKUP; }
  };

  // An op that was answered.
  void add(Op op) { ops_.push_back(std::move(op)); }
  size_t size() const { return ops_.size(); }
  // Empty when the history is linearizable; else what isn't.
  std::string problem() const;

 private:
  using Order = std::vector<const Op*>;
  Order placed() const;
  std::string orderInTime() const;
  std::string orderInLog() const;
  std::string placesForTheRest() const;

  std::vector<Op> ops_;
};

}  // namespace cairn
