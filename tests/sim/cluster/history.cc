#include "tests/sim/cluster/history.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>

namespace cairn {
namespace {

using Op = NameHistory::Op;
using Kind = NameHistory::Kind;

std::string text(const Op& op) {
  constexpr const char* NAMES[] = {"create", "unlink", "rename", "lookup"};
  std::string out = op.client + ": " + NAMES[static_cast<int>(op.kind)] + " " + op.name;
  out += op.to.empty() ? "" : " " + op.to;
  return out + " -> " + (op.code == 0 ? "inode " + std::to_string(raw(op.inode)) : std::to_string(op.code)) +
         " at (" + std::to_string(raw(op.term)) + ", " + std::to_string(raw(op.index)) + "), from " +
         std::to_string(op.begin) + " to " + std::to_string(op.end);
}

// One directory, one operation after another.
class Directory {
 public:
  // What `op` must be told here; does it.
  int run(const Op& op, InodeId& inode) {
    auto found = names_.find(op.name);
    inode = found == names_.end() ? InodeId{} : found->second;
    bool there = found != names_.end();
    switch (op.kind) {
      case Kind::CREATE:
        if (!there) {
          names_[op.name] = inode = op.inode;
        }
        return there ? EEXIST : 0;
      case Kind::LOOKUP:
        return there ? 0 : ENOENT;
      case Kind::UNLINK:
        return names_.erase(op.name) == 1 ? 0 : ENOENT;
      case Kind::RENAME:
        if (there) {
          names_.erase(found);
          names_[op.to] = inode;
        }
        return there ? 0 : ENOENT;
    }
    return 0;
  }

 private:
  std::map<std::string, InodeId> names_;
};

// The first place from `earliest` on where a name stands for `inode` (InodeId{}: for nothing).
std::optional<uint64_t> earliestPlace(const std::map<uint64_t, InodeId>& meanings, uint64_t earliest, InodeId inode) {
  auto next = meanings.upper_bound(earliest);
  InodeId now = next == meanings.begin() ? InodeId{} : std::prev(next)->second;
  if (now == inode) {
    return earliest;
  }
  for (; next != meanings.end(); ++next) {
    if (next->second == inode) {
      return next->first;
    }
  }
  return std::nullopt;
}

}  // namespace

std::string NameHistory::problem() const {
  std::string found = orderInTime();
  found = found.empty() ? orderInLog() : found;
  return found.empty() ? placesForTheRest() : found;
}

NameHistory::Order NameHistory::placed() const {
  Order out;
  for (auto& op : ops_) {
    if (!op.believed) {
      out.push_back(&op);
    }
  }
  return out;
}

// What was answered before another was asked stands before it in the log.
std::string NameHistory::orderInTime() const {
  Order byBegin = placed();
  Order byEnd = byBegin;
  std::sort(byBegin.begin(), byBegin.end(), [](auto* a, auto* b) { return a->begin < b->begin; });
  std::sort(byEnd.begin(), byEnd.end(), [](auto* a, auto* b) { return a->end < b->end; });
  const Op* newest = nullptr;  // of those answered by then
  size_t ended = 0;
  for (auto* op : byBegin) {
    for (; ended < byEnd.size() && byEnd[ended]->end < op->begin; ++ended) {
      if (newest == nullptr || byEnd[ended]->index > newest->index) {
        newest = byEnd[ended];
      }
    }
    bool follows = newest == nullptr || op->index > newest->index || (!op->writes() && op->index == newest->index);
    if (!follows) {
      return "a stale answer: " + text(*op) + ", though this was answered before: " + text(*newest);
    }
    if (newest != nullptr && op->term < newest->term) {
      return "an answer of a term that is over: " + text(*op) + ", after " + text(*newest);
    }
  }
  return {};
}

std::string NameHistory::orderInLog() const {
  Order order = placed();
  std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) {
    return a->index != b->index ? a->index < b->index : a->writes() > b->writes();
  });
  Directory directory;
  const Op* last = nullptr;
  for (auto* op : order) {
    if (last != nullptr && op->writes() && last->writes() && last->index == op->index) {
      return "two changes at one place of the log: " + text(*last) + ", and " + text(*op);
    }
    InodeId inode{};
    int code = directory.run(*op, inode);
    bool tells = op->kind == Kind::LOOKUP && code == 0;
    if (code != op->code || (tells && inode != op->inode)) {
      return "in the log's order this must be told " + std::to_string(code) + ", inode " + std::to_string(raw(inode)) +
             ": " + text(*op);
    }
    last = op;
  }
  return {};
}

// Each gets the earliest place that it can have: not before what was answered earlier, and not after what was asked
// later. So it leaves the most room for those that follow.
std::string NameHistory::placesForTheRest() const {
  Order order = placed();
  std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->index < b->index; });
  std::map<std::string, std::map<uint64_t, InodeId>> meanings;  // of each name, from a place on
  for (auto* op : order) {
    if (op->writes() && op->code == 0) {
      meanings[op->name][raw(op->index)] = op->kind == Kind::CREATE ? op->inode : InodeId{};
      if (op->kind == Kind::RENAME) {
        auto moved = meanings[op->name];
        auto before = std::prev(moved.lower_bound(raw(op->index)));
        meanings[op->to][raw(op->index)] = before->second;
      }
    }
  }
  Order byEnd = order;
  std::sort(byEnd.begin(), byEnd.end(), [](auto* a, auto* b) { return a->end < b->end; });
  Order believed;
  for (auto& op : ops_) {
    if (op.believed) {
      believed.push_back(&op);
    }
  }
  std::sort(believed.begin(), believed.end(), [](auto* a, auto* b) { return a->begin < b->begin; });
  std::multimap<Nanos, uint64_t> chosen;  // places by the end of their operations, not yet in `earliest`
  uint64_t earliest = 0;
  size_t ended = 0;
  for (auto* op : believed) {
    for (; ended < byEnd.size() && byEnd[ended]->end < op->begin; ++ended) {
      earliest = std::max(earliest, raw(byEnd[ended]->index));
    }
    for (; !chosen.empty() && chosen.begin()->first < op->begin; chosen.erase(chosen.begin())) {
      earliest = std::max(earliest, chosen.begin()->second);
    }
    auto place = earliestPlace(meanings[op->name], earliest, op->code == 0 ? op->inode : InodeId{});
    for (auto* later : order) {
      bool follows = later->begin <= op->end || (place && raw(later->index) >= *place + (later->writes() ? 1 : 0));
      if (!follows) {
        place.reset();
      }
    }
    if (!place) {
      return "a stale belief: " + text(*op) + ", not before place " + std::to_string(earliest);
    }
    chosen.emplace(op->end, *place);
  }
  return {};
}

}  // namespace cairn
