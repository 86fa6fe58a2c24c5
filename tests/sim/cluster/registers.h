// RegisterHistory: reads and writes of registers (blocks of a file), by many clients at once. Each write writes another
// value, so it can be told exactly whether some order of the operations explains what was read: see problem().
#pragma once
#include <map>
#include <string>
#include <vector>

#include "common/clock.h"

namespace cairn {

class RegisterHistory {
 public:
  static constexpr uint64_t NOTHING = 0;  // what a register holds at first
  static constexpr Nanos NEVER = INT64_MAX;

  // `end`: when it was answered; NEVER: it was not, or with an error, and may have taken place at any time or not at
  // all.
  void wrote(uint64_t block, uint64_t value, Nanos begin, Nanos end);
  void read(uint64_t block, uint64_t value, Nanos begin, Nanos end);

  size_t size() const { return operations_; }
  // Empty, or a value that no order explains. After Gibbons and Korach (1997): all operations on one value lie in a
  // zone between the first end and the last begin of any of them. Two zones that are spans of time may not overlap,
  // and no value may have come and gone wholly inside the span of another.
  std::string problem() const;

 private:
  struct Value {
    bool written = false;
    Nanos writeBegin = 0;
    Nanos firstEnd = NEVER;
    Nanos lastBegin = 0;
    bool seen = false;
    Nanos firstReadEnd = NEVER;
  };
  std::map<uint64_t, std::map<uint64_t, Value>> blocks_;  // by block, then value
  size_t operations_ = 0;
};

}  // namespace cairn
