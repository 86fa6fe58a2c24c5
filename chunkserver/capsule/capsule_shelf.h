// CapsuleShelf: the namespace capsules of one volume (rpc/capsule_format.h). Two are kept: the older one, with the log
// entries up to the newer one and beyond, is what is left when the newer one has rotted.
//
// A capsule gets its name when it is whole and durable. Its tail only grows, frame by frame, each synced; what a crash
// tore off the end is cut off when the shelf is opened.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "common/disk.h"
#include "common/result.h"
#include "common/task.h"
#include "rpc/capsule_format.h"

namespace cairn {

class CapsuleShelf {
 public:
  static constexpr size_t CAPSULES_KEPT = 2;
  // Capsules leave so much of a disk to its chunks.
  static constexpr uint64_t FREE_PART = 50;

  explicit CapsuleShelf(Disk& disk) : disk_(disk) {}
  KJ_DISALLOW_COPY(CapsuleShelf);

  // Looks at what there is; again after an error.
  Task<Status> open();
  bool isOpen() const { return open_; }

  // Of the newest capsule; `capsule.index` 0: there is none.
  struct State {
    CapsuleId capsule;
    uint64_t capsuleBytes = 0;
    LogIndex tailEnd{};
    uint64_t tailBytes = 0;
  };
  const State& state() const { return state_; }

  // Frames that have been checked. REQUIRES: isOpen(), one call at a time. ESTALE: out of order. After any other error
  // the shelf is closed, and the capsule that was being written is gone.
  Task<Status> put(Frame frame, kj::ArrayPtr<const kj::byte> bytes);
  Task<Status> append(Frame frame, kj::ArrayPtr<const kj::byte> bytes);

 private:
  // One that is being written.
  struct Unfinished {
    CapsuleId id;
    kj::Own<File> file;
    uint64_t pieces = 0;
    uint64_t bytes = 0;
  };

  Task<Status> look();
  Status findCapsules();
  Task<Status> openTail();
  Task<Status> scanTail();
  Status begin(const FrameHead& head);
  Status makeRoom(uint64_t bytes);
  Task<Status> finish();
  Status dropOldest();
  Status closed(Error error);

  Disk& disk_;
  bool open_ = false;
  std::vector<CapsuleId> capsules_;  // oldest first
  State state_;
  kj::Own<File> tail_;  // of the newest one
  std::optional<Unfinished> unfinished_;
};

}  // namespace cairn
