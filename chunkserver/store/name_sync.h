// Makes names in directories durable, once for all who wait. A file's sync says nothing about its name.
#pragma once
#include <map>
#include <string>

#include "chunkserver/store/chunk.h"
#include "common/disk.h"
#include "common/task.h"

namespace cairn {

class NameSync final : private kj::TaskSet::ErrorHandler {
 public:
  explicit NameSync(Disk& disk) : disk_(disk), tasks_(*this) {}

  // A name in `directory` was added or changed.
  void changed(const std::string& directory) { directories_[directory].changes++; }
  // Resolves when all changes up to now are durable. An error is final.
  Task<Status> sync(std::string directory);

 private:
  struct State {
    uint64_t changes = 0;
    uint64_t synced = 0;
    bool syncing = false;
    Gate done;
  };
  // Not part of any caller's task: a caller that goes away must not take an error with it.
  Task<void> run(std::string directory);
  void taskFailed(kj::Exception&& exception) override;

  Disk& disk_;
  std::map<std::string, State> directories_;  // only those with unsynced changes
  Status status_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
