#include "master/move_walk.h"

#include <sys/stat.h>

namespace cairn {

void MoveWalk::visit(const NamespaceReader& reader, InodeId id, std::vector<InodeId>& out) {
  auto inode = reader.record(id);
  if (!inode || except_.contains(id)) {
    return;
  }
  if (inode->cls != cls_) {
    out.push_back(id);
  }
  if (S_ISDIR(inode->mode)) {
    stack_.push_back({id, 0});
  }
}

void MoveWalk::next(const NamespaceReader& reader, size_t max, std::vector<InodeId>& out) {
  if (!begun_) {
    begun_ = true;
    visit(reader, root_, out);
  }
  for (size_t looks = 0; looks < LOOKS_AT_ONCE && out.size() < max && !stack_.empty();) {
    const size_t depth = stack_.size();
    auto children = reader.children(stack_.back().directory, stack_.back().after, NAMES_AT_ONCE);
    if (children.empty()) {
      stack_.pop_back();
    }
    for (auto& child : children) {
      if (stack_.size() != depth || out.size() >= max) {
        break;  // into a directory first
      }
      stack_.back().after = child.cookie;
      visit(reader, child.inode, out);
      ++looks;
    }
  }
}

}  // namespace cairn
