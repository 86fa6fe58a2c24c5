// SlowTrace: where the time of a slow call went. Each place of the library that asks a server leaves a note when the
// answer took long, with what the server says of its part; a program's call that took long takes the notes about its
// inode from its time, as `why` does for calls that are still under way. Bounded; pure, time comes with each call.
#pragma once
#include <algorithm>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/ids.h"
#include "common/metrics/operation.h"

namespace cairn {

struct SlowCallNote {
  std::string kind;
  InodeId inode{};
  Nanos took = 0;
  std::string path;
};

class SlowTrace {
 public:
  static constexpr size_t NOTES_MAX = 64;
  static constexpr size_t CALLS_MAX = 8;      // that the master hasn't been told of: the slowest
  static constexpr size_t PATH_PARTS_MAX = 6;

  // 0: nothing is slow.
  explicit SlowTrace(Nanos threshold) : threshold_(threshold) {}

  bool isSlow(Nanos took) const { return threshold_ > 0 && took >= threshold_; }
  // Of a part of a call: half of what makes the whole slow.
  bool isSlowPart(Nanos took) const { return threshold_ > 0 && took >= threshold_ / 2; }

  // `inode` 0: it was about several.
  void part(InodeId inode, Nanos began, Nanos ended, std::string text) {
    if (parts_.size() == NOTES_MAX) {
      parts_.pop_front();
    }
    parts_.push_back({inode, began, ended, std::move(text)});
  }

  // A call of a program that took from `began` to `ended`: its path.
  std::string call(const char* kind, InodeId inode, Nanos began, Nanos ended) {
    std::string path;
    size_t found = 0;
    for (auto& part : parts_) {
      bool overlaps = part.ended >= began && part.began <= ended;
      bool isAbout = part.inode == inode || part.inode == InodeId{};
      if (overlaps && isAbout && found < PATH_PARTS_MAX) {
        path += (found++ == 0 ? "" : "; ") + part.text;
      }
    }
    if (path.empty()) {
      path = "in this mount: no server kept it waiting for long";
    }
    ++count_;
    calls_.push_back({kind, inode, ended - began, path});
    auto slower = [](const SlowCallNote& a, const SlowCallNote& b) { return a.took > b.took; };
    std::stable_sort(calls_.begin(), calls_.end(), slower);
    calls_.resize(std::min(calls_.size(), CALLS_MAX));
    return path;
  }

  uint64_t count() const { return count_; }
  std::vector<SlowCallNote> takeCalls() { return std::exchange(calls_, {}); }

 private:
  struct Part {
    InodeId inode{};
    Nanos began = 0;
    Nanos ended = 0;
    std::string text;
  };

  const Nanos threshold_;
  std::deque<Part> parts_;
  std::vector<SlowCallNote> calls_;
  uint64_t count_ = 0;
};

}  // namespace cairn
