#include "master/writers.h"

#include <algorithm>
#include <utility>

namespace cairn {
namespace {

bool tellsOfFiles(wire::Query::Reader query) {
  return query.isLookup() || query.isAttributes() ||
         (query.isReadDirectory() && query.getReadDirectory().getWithAttributes());
}

}  // namespace

Task<void> Writers::allKnown(wire::Query::Reader query) {
  if (tellsOfFiles(query)) {
    co_await leases_.whenKnown(but_);
  }
}

Task<bool> Writers::overlay(wire::Answer::Builder answer) {
  writers_.clear();
  files_.clear();
  if (answer.isAttributes()) {
    note(answer.getAttributes());
  } else if (answer.isEntries()) {
    for (auto entry : answer.getEntries().getList()) {
      if (entry.hasAttributes()) {
        note(entry.getAttributes());
      }
    }
  }
  std::vector<Leases::Written> told;
  bool all = true;
  for (auto& [writer, files] : writers_) {
    const size_t before = told.size();
    bool asked = co_await leases_.report(writer, files, told);
    // Who writes no more has let others have leases, which come with the next look at the state.
    all = all && asked && told.size() == before + files.size();
  }
  for (auto& file : told) {
    take(file);
  }
  co_return all;
}

void Writers::note(wire::Attributes::Builder attributes) {
  InodeId inode{attributes.getInode()};
  auto writer = leases_.writerBut(but_, inode);
  if (writer) {
    if (!files_.contains(inode)) {
      writers_[*writer].push_back(inode);
    }
    files_.emplace(inode, attributes);
  }
}

void Writers::take(const Leases::Written& told) {
  auto [first, last] = files_.equal_range(told.inode);
  for (auto it = first; it != last; ++it) {
    takeInto(it->second, told);
  }
}

void Writers::takeInto(wire::Attributes::Builder attributes, const Leases::Written& told) {
  attributes.setSize(told.sizeBytes);
  int64_t allocated = static_cast<int64_t>(attributes.getAllocatedBytes()) + told.allocatedDelta;
  attributes.setAllocatedBytes(static_cast<uint64_t>(std::max<int64_t>(allocated, 0)));
  auto modified = attributes.getModified();
  modified.setSeconds(told.modifiedSeconds);
  modified.setNanos(told.modifiedNanos);
  auto changed = attributes.getChanged();
  auto before = std::make_pair(changed.getSeconds(), changed.getNanos());
  auto now = std::make_pair(told.modifiedSeconds, told.modifiedNanos);
  changed.setSeconds(std::max(before, now).first);
  changed.setNanos(std::max(before, now).second);
}

}  // namespace cairn
