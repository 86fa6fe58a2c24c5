// TailFrames: the log's newest entries as frames for those who keep copies of the state. What was applied since the
// last cut becomes one frame, compressed on a worker, for all of them.
#pragma once
#include <deque>
#include <string>

#include "common/task.h"
#include "common/workers.h"
#include "rpc/capsule_format.h"

namespace cairn {

// A frame's bytes, which several senders may hold.
struct SharedFrame final : kj::Refcounted {
  SharedFrame(LogIndex firstEntry, LogIndex lastEntry, std::string encoded)
      : first(firstEntry), last(lastEntry), bytes(std::move(encoded)) {}
  const LogIndex first;
  const LogIndex last;
  const std::string bytes;
};

// Compresses on a worker.
Task<std::string> encodeFrameAside(Workers& workers, FrameHead head, std::string content);

class TailFrames {
 public:
  // What waits for the next cut, and the frames that are kept. Whoever is further behind is sent what the log has.
  static constexpr size_t WAITING_BYTES_MAX = 32 << 20;
  static constexpr size_t FRAMES_BYTES_MAX = 16 << 20;

  explicit TailFrames(Workers& workers) : workers_(workers) {}
  KJ_DISALLOW_COPY(TailFrames);

  void add(LogIndex index, Term term, kj::ArrayPtr<const kj::byte> payload);
  // Makes a frame of what came since the last one. `head`: but for the entries' numbers.
  Task<void> cut(FrameHead head);
  // The frame with entry `index`; nullptr when there is none.
  kj::Own<SharedFrame> find(LogIndex index) const;

 private:
  Workers& workers_;
  std::string waiting_;
  LogIndex waitingFirst_{};
  LogIndex waitingLast_{};
  std::deque<kj::Own<SharedFrame>> frames_;
  size_t framesBytes_ = 0;
};

}  // namespace cairn
