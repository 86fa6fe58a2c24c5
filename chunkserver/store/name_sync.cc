#include "chunkserver/store/name_sync.h"

#include <cerrno>

namespace cairn {

Task<Status> NameSync::sync(std::string directory) {
  auto place = directories_.find(directory);
  uint64_t want = place == directories_.end() ? 0 : place->second.changes;
  while (status_.ok() && place != directories_.end() && place->second.synced < want) {
    auto over = place->second.done.wait();
    if (!place->second.syncing) {
      place->second.syncing = true;
      tasks_.add(run(directory));
    }
    co_await kj::mv(over);
    place = directories_.find(directory);
  }
  co_return Status(status_);
}

Task<void> NameSync::run(std::string directory) {
  uint64_t upTo = directories_[directory].changes;
  auto status = co_await disk_.syncDirectory(directory);
  State& state = directories_[directory];
  state.syncing = false;
  if (status.ok()) {
    state.synced = upTo;
  } else if (status_.ok()) {
    status_ = status;
  }
  Gate done = std::move(state.done);
  if (state.synced == state.changes) {
    directories_.erase(directory);
  }
  done.open();
}

void NameSync::taskFailed(kj::Exception&& exception) {
  status_ = Error{EIO, exception.getDescription().cStr()};
  for (auto& entry : directories_) {
    entry.second.done.open();
  }
}

}  // namespace cairn
