// Waits: what operations wait for right now, for people who ask why a call is stuck.
//
// A note costs a few stores: it is a link of a list, in the frame of who waits. Its text is made when somebody asks.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/ids.h"

namespace cairn {

// One thing that is waited for.
struct Wait {
  const char* what = "";        // master, chunkserver, lease, lock, room or turn
  std::vector<InodeId> inodes;  // that it is about, if it is about any
  std::string server;           // whose answer it is; empty: nobody's in particular
  std::string text;
  std::string end;              // what will end it
  Nanos nanos = 0;              // for how long already
};

class Waits {
 public:
  explicit Waits(Clock& clock) : clock_(clock) {}
  Waits(const Waits&) = delete;

  // Stands in the list as long as it lives.
  class Entry {
   public:
    Entry(const Entry&) = delete;

   protected:
    explicit Entry(Waits& waits) : since_(waits.clock_.monotonic()), next_(&waits.end_), before_(waits.end_.before_) {
      before_->next_ = this;
      next_->before_ = this;
    }
    ~Entry() {
      before_->next_ = next_;
      next_->before_ = before_;
    }
    virtual void describe(Wait&) const {}

   private:
    friend class Waits;
    Entry() : since_(0), next_(this), before_(this) {}

    const Nanos since_;
    Entry* next_;
    Entry* before_;
  };

  // `describe` fills in all but the time, perhaps many times and perhaps never.
  template <typename Describe>
  class Note final : public Entry {
   public:
    Note(Waits& waits, Describe describe) : Entry(waits), describe_(std::move(describe)) {}

   private:
    void describe(Wait& out) const override { describe_(out); }
    const Describe describe_;
  };

  // Oldest first.
  std::vector<Wait> list() const;

 private:
  // Both ends of the list.
  struct End final : Entry {
    End() = default;
  };

  Clock& clock_;
  End end_;
};

}  // namespace cairn
