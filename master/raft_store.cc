#include "master/raft_store.h"

#include <cerrno>

#include "common/log.h"
#include "master/log/term_record.h"
#include "master/raft_entries.h"

namespace cairn {

namespace {

constexpr char TERM_FILE[] = "term";

}  // namespace

// A vote that isn't a member's id is that of a master which had no group yet: it was its own, in a term that is over.
Result<raft::HardState> RaftStore::readHardState(Disk& disk) {
  auto record = readTermRecord(disk, TERM_FILE);
  if (!record.ok()) {
    return record.error();
  }
  uint64_t high = 0, low = 0;
  bool isMember = parseUuid(record.value().votedFor, high, low);
  return raft::HardState{record.value().term, isMember ? raft::MemberId{low} : raft::NOBODY};
}

void RaftStore::submit(raft::Persist persist) {
  queue_.push_back(kj::mv(persist));
  if (!running_) {
    running_ = true;
    tasks_.add(run());
  }
}

Task<void> RaftStore::run() {
  while (!queue_.empty()) {
    auto batch = takeBatch();
    auto stored = co_await store(batch);
    while (stored.code() == ENOSPC) {
      spdlog::warn("the log has no room: {}; this member waits for some", stored.error().why);
      co_await clock_.after(ROOM_DELAY);
      stored = co_await store(batch);
    }
    if (!stored.ok()) {
      owner_.onStoreFailed(stored.error());
      co_return;
    }
    for (auto& persist : batch) {
      owner_.onDurable(persist);
    }
  }
  running_ = false;
}

// As many as one sync can serve: what takes entries away stands at the beginning.
std::vector<raft::Persist> RaftStore::takeBatch() {
  std::vector<raft::Persist> batch;
  while (!queue_.empty()) {
    const auto& next = queue_.front();
    if (!batch.empty() && (next.snapshot || next.truncateFrom)) {
      break;
    }
    batch.push_back(kj::mv(queue_.front()));
    queue_.pop_front();
  }
  return batch;
}

Task<Status> RaftStore::store(const std::vector<raft::Persist>& batch) {
  const raft::HardState* hard = nullptr;
  for (const auto& persist : batch) {
    hard = persist.hardState ? &*persist.hardState : hard;
  }
  if (hard != nullptr) {
    auto votedFor = hard->votedFor == raft::NOBODY ? std::string() : uuidText(0, raw(hard->votedFor));
    auto written = writeTermRecord(disk_, TERM_FILE, {hard->term, votedFor});
    if (!written.ok()) {
      co_return written;
    }
  }
  const auto& first = batch.front();
  if (first.snapshot && first.snapshot->last != installed_) {
    auto replaced = co_await replaceLog(*first.snapshot);
    if (!replaced.ok()) {
      co_return replaced;
    }
  }
  if (first.truncateFrom) {
    auto truncated = co_await log_.truncate(*first.truncateFrom);
    if (!truncated.ok()) {
      co_return truncated;
    }
  }
  co_return co_await appendAll(batch);
}

Task<Status> RaftStore::replaceLog(const raft::InstallSnapshot& snapshot) {
  auto reset = co_await log_.reset(snapshot.last.index, snapshot.last.term);
  if (!reset.ok()) {
    co_return reset;
  }
  auto installed = co_await owner_.installState(snapshot);
  if (installed.ok()) {
    installed_ = snapshot.last;
  }
  co_return installed;
}

Task<Status> RaftStore::appendAll(const std::vector<raft::Persist>& batch) {
  std::vector<raft::Payload> payloads;
  std::vector<LogEntry> entries;
  for (const auto& persist : batch) {
    for (const auto& entry : persist.entries) {
      if (entry.index <= log_.lastIndex()) {
        continue;  // written by the try before this one
      }
      payloads.push_back(recordOf(entry));
      entries.push_back({entry.index, entry.term, payloads.back().bytes()});
    }
  }
  auto appended = log_.append(kj::arrayPtr(entries.data(), entries.size()));
  auto promise = kj::mv(appended).promise();
  co_return co_await promise;
}

void RaftStore::taskFailed(kj::Exception&& exception) {
  owner_.onStoreFailed({EIO, exception.getDescription().cStr()});
}

}  // namespace cairn
