#include "master/orphan_check.h"

#include <algorithm>

namespace cairn {
namespace {

// Looked at between two waits, so that nobody notices.
constexpr size_t RECORDS_AT_ONCE = 1024;
constexpr Nanos PAUSE = MILLISECOND;

class Wanted {
 public:
  explicit Wanted(std::vector<ObjectId> objects) : objects_(std::move(objects)) {
    std::sort(objects_.begin(), objects_.end());
    objects_.erase(std::unique(objects_.begin(), objects_.end()), objects_.end());
    found_.resize(objects_.size());
  }
  void found(ObjectId object) {
    auto at = std::lower_bound(objects_.begin(), objects_.end(), object);
    if (at != objects_.end() && *at == object) {
      found_[static_cast<size_t>(at - objects_.begin())] = true;
    }
  }
  std::vector<ObjectId> missing(ObjectId end) const {
    std::vector<ObjectId> out;
    for (size_t i = 0; i < objects_.size() && objects_[i] < end; ++i) {
      if (!found_[i]) {
        out.push_back(objects_[i]);
      }
    }
    return out;
  }

 private:
  std::vector<ObjectId> objects_;
  std::vector<bool> found_;
};

}  // namespace

Task<std::vector<ObjectId>> findOrphans(Clock& clock, const NamespaceReader& reader, std::vector<ObjectId> objects) {
  ObjectId end = reader.nextObject();
  Wanted wanted(std::move(objects));
  // Before the files: one that becomes a file's meanwhile was seen here.
  for (auto& move : reader.moves()) {
    wanted.found(move.to);
  }
  // Files first: what is deleted after its file was looked at was seen there, and what was before is on the queue.
  InodeId inode{};
  for (bool more = true; more;) {
    auto next = reader.objects(inode, RECORDS_AT_ONCE, [&](ObjectId object) { wanted.found(object); });
    more = raw(next) != 0;
    inode = next;
    co_await clock.after(PAUSE);
  }
  uint64_t item = 0;
  for (bool more = true; more;) {
    auto items = reader.reclaims(item, RECORDS_AT_ONCE);
    for (auto& reclaim : items) {
      wanted.found(reclaim.object);
      item = reclaim.id;
    }
    more = items.size() == RECORDS_AT_ONCE;
    co_await clock.after(PAUSE);
  }
  co_return wanted.missing(end);
}

}  // namespace cairn
