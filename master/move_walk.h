// MoveWalk: what is below a directory and not of a class yet, in a depth-first walk that goes on where it stopped. What
// is moved about meanwhile may be missed; the next walk finds it. Reads the state, changes nothing.
#pragma once
#include <set>
#include <vector>

#include "master/namespace/reader.h"

namespace cairn {

class MoveWalk {
 public:
  static constexpr size_t LOOKS_AT_ONCE = 512;
  static constexpr size_t NAMES_AT_ONCE = 64;

  MoveWalk(InodeId root, ClassId cls) : root_(root), cls_(cls) {}

  // Appends inodes of another class until there are `max`, or so many have been looked at. Directories come before what
  // is in them.
  void next(const NamespaceReader& reader, size_t max, std::vector<InodeId>& out);
  // What is left out, with all below it.
  void setExcept(const std::vector<InodeId>& except) { except_ = std::set<InodeId>(except.begin(), except.end()); }
  bool atEnd() const { return begun_ && stack_.empty(); }
  void startAgain() { begun_ = false; }

 private:
  struct Place {
    InodeId directory{};
    uint64_t after = 0;
  };
  void visit(const NamespaceReader& reader, InodeId inode, std::vector<InodeId>& out);

  InodeId root_;
  ClassId cls_;
  bool begun_ = false;
  std::set<InodeId> except_;
  std::vector<Place> stack_;
};

}  // namespace cairn
