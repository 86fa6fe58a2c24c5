#include "chunkserver/capsule/capsule_shelf.h"

#include <algorithm>
#include <cerrno>

#include "common/log.h"

namespace cairn {

namespace {

constexpr char UNFINISHED[] = ".new";

// It may have been gone already.
Status without(const Status& removed) { return removed.code() == ENOENT ? Status() : removed; }

}  // namespace

Task<Status> CapsuleShelf::open() {
  unfinished_.reset();
  tail_ = nullptr;
  state_ = {};
  capsules_.clear();
  auto looked = co_await look();
  open_ = looked.ok();
  co_return looked;
}

Task<Status> CapsuleShelf::look() {
  auto found = findCapsules();
  if (!found.ok() || capsules_.empty()) {
    co_return found;
  }
  auto file = disk_.open(capsulePath(capsules_.back()), Disk::Mode::READ);
  auto info = file.ok() ? file.value()->info() : Result<FileInfo>(file.error());
  if (!info.ok()) {
    co_return info.error();
  }
  state_ = {capsules_.back(), info.value().sizeBytes, capsules_.back().index, 0};
  co_return co_await openTail();
}

Status CapsuleShelf::findCapsules() {
  auto made = disk_.makeDirectory(CAPSULE_DIRECTORY);
  if (!made.ok()) {
    return made;
  }
  auto names = disk_.list(CAPSULE_DIRECTORY);
  if (!names.ok()) {
    return names.error();
  }
  for (auto& name : names.value()) {
    auto id = parseCapsuleName(name);
    if (id) {
      capsules_.push_back(*id);
    } else if (name.ends_with(UNFINISHED)) {
      auto removed = disk_.remove(std::string(CAPSULE_DIRECTORY) + "/" + name);
      if (!removed.ok()) {
        return removed;
      }
    }
  }
  std::sort(capsules_.begin(), capsules_.end());
  while (capsules_.size() > CAPSULES_KEPT) {
    auto dropped = dropOldest();
    if (!dropped.ok()) {
      return dropped;
    }
  }
  return {};
}

Task<Status> CapsuleShelf::openTail() {
  auto opened = disk_.open(tailPath(state_.capsule), Disk::Mode::CREATE);
  if (!opened.ok()) {
    co_return opened.error();
  }
  tail_ = kj::mv(opened.value());
  auto scanned = co_await scanTail();
  if (!scanned.ok()) {
    co_return scanned;
  }
  co_return co_await disk_.syncDirectory(CAPSULE_DIRECTORY);
}

// Up to the first frame that isn't whole: a crash tore it, or the disk has rotted, and then the master sends what
// follows again.
Task<Status> CapsuleShelf::scanTail() {
  auto header = kj::heapArray<kj::byte>(FRAME_HEADER_BYTES);
  for (;;) {
    auto got = co_await tail_->read(state_.tailBytes, header);
    if (!got.ok()) {
      co_return got.error();
    }
    auto bytes = frameBytes(header.slice(0, got.value()));
    if (!bytes) {
      break;
    }
    auto whole = kj::heapArray<kj::byte>(*bytes);
    auto read = co_await tail_->read(state_.tailBytes, whole);
    if (!read.ok()) {
      co_return read.error();
    }
    auto frame = checkFrame(whole.slice(0, read.value()));
    if (!frame.ok() || LogIndex{frame.value().head.first} > next(state_.tailEnd)) {
      break;
    }
    state_.tailEnd = std::max(state_.tailEnd, LogIndex{frame.value().head.last});
    state_.tailBytes += *bytes;
  }
  co_return tail_->truncate(state_.tailBytes);
}

Task<Status> CapsuleShelf::put(Frame frame, kj::ArrayPtr<const kj::byte> bytes) {
  KJ_REQUIRE(open_);
  const FrameHead& head = frame.head;
  if (head.kind == FrameKind::PIECE && head.first == 0) {
    auto begun = begin(head);
    if (!begun.ok()) {
      co_return begun;
    }
  }
  if (!unfinished_ || unfinished_->id != head.capsule || unfinished_->pieces != head.first) {
    co_return Error{ESTALE, "this isn't the next piece of a capsule that is being written"};
  }
  auto written = unfinished_->file->write(unfinished_->bytes, bytes);
  if (!written.ok()) {
    co_return closed(written.error());
  }
  unfinished_->bytes += bytes.size();
  ++unfinished_->pieces;
  if (head.kind != FrameKind::END) {
    // Bit by bit, so that the end isn't a long one for the disk.
    auto synced = co_await unfinished_->file->sync();
    co_return synced.ok() ? Status() : closed(synced.error());
  }
  auto finished = co_await finish();
  co_return finished.ok() ? Status() : closed(finished.error());
}

Status CapsuleShelf::begin(const FrameHead& head) {
  if (head.capsule <= state_.capsule) {
    return Error{ESTALE, "a capsule that is as new is kept already"};
  }
  auto room = makeRoom(head.last);
  if (!room.ok()) {
    return room;
  }
  auto opened = disk_.open(capsulePath(head.capsule) + UNFINISHED, Disk::Mode::CREATE);
  if (!opened.ok()) {
    return closed(opened.error());
  }
  unfinished_ = Unfinished{head.capsule, kj::mv(opened.value())};
  auto emptied = unfinished_->file->truncate(0);
  return emptied.ok() ? Status() : closed(emptied.error());
}

// `bytes` is what it would take uncompressed. The older capsule goes first: it is the spare one.
Status CapsuleShelf::makeRoom(uint64_t bytes) {
  for (;;) {
    auto space = disk_.space();
    if (!space.ok()) {
      return closed(space.error());
    }
    if (space.value().availableBytes >= bytes + space.value().totalBytes / FREE_PART) {
      return {};
    }
    if (capsules_.size() < CAPSULES_KEPT) {
      return Error{ENOSPC, disk_.hostPath("") + " has too little room for another copy of the file tree"};
    }
    auto dropped = dropOldest();
    if (!dropped.ok()) {
      return closed(dropped.error());
    }
  }
}

Task<Status> CapsuleShelf::finish() {
  CapsuleId id = unfinished_->id;
  uint64_t bytes = unfinished_->bytes;
  auto synced = co_await unfinished_->file->sync();
  unfinished_.reset();
  if (synced.ok()) {
    synced = disk_.rename(capsulePath(id) + UNFINISHED, capsulePath(id));
  }
  if (!synced.ok()) {
    co_return synced;
  }
  capsules_.push_back(id);
  state_ = {id, bytes, id.index, 0};
  auto opened = co_await openTail();  // which makes the names durable
  while (opened.ok() && capsules_.size() > CAPSULES_KEPT) {
    opened = dropOldest();
  }
  co_return opened;
}

Status CapsuleShelf::dropOldest() {
  auto tail = without(disk_.remove(tailPath(capsules_.front())));
  auto removed = without(disk_.remove(capsulePath(capsules_.front())));
  if (!tail.ok() || !removed.ok()) {
    return tail.ok() ? removed : tail;
  }
  capsules_.erase(capsules_.begin());
  return {};
}

Task<Status> CapsuleShelf::append(Frame frame, kj::ArrayPtr<const kj::byte> bytes) {
  KJ_REQUIRE(open_);
  const FrameHead& head = frame.head;
  bool follows = raw(state_.capsule.index) > 0 && head.capsule.epoch == state_.capsule.epoch &&
                 LogIndex{head.first} <= next(state_.tailEnd);
  if (!follows) {
    co_return Error{ESTALE, "these entries don't follow those that are kept"};
  }
  if (LogIndex{head.last} <= state_.tailEnd) {
    co_return Status();
  }
  auto written = tail_->write(state_.tailBytes, bytes);
  if (written.ok()) {
    auto synced = co_await tail_->sync();
    written = synced;
  }
  if (!written.ok()) {
    co_return closed(written.error());
  }
  state_.tailBytes += bytes.size();
  state_.tailEnd = LogIndex{head.last};
  co_return Status();
}

// Nobody knows what is on the disk: open() finds out.
Status CapsuleShelf::closed(Error error) {
  if (unfinished_) {
    std::string path = capsulePath(unfinished_->id) + UNFINISHED;
    unfinished_.reset();
    auto removed = without(disk_.remove(path));  // for its room
    if (!removed.ok()) {
      spdlog::warn("{}", removed.error().why);
    }
  }
  open_ = false;
  tail_ = nullptr;
  state_ = {};
  return error;
}

}  // namespace cairn
