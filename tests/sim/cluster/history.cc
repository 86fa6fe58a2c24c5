#include "tests/sim/cluster/history.h"

#include <algorithm>
#include <cerrno>
#include <map>

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

}  // namespace

std::string NameHistory::problem() const {
  std::string found = orderInTime();
  return found.empty() ? orderInLog() : found;
}

// What was answered before another was asked stands before it in the log.
std::string NameHistory::orderInTime() const {
  std::vector<const Op*> byBegin, byEnd;
  for (auto& op : ops_) {
    byBegin.push_back(&op);
    byEnd.push_back(&op);
  }
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
  std::vector<const Op*> order;
  for (auto& op : ops_) {
    order.push_back(&op);
  }
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

}  // namespace cairn
