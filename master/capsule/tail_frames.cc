#include "master/capsule/tail_frames.h"

namespace cairn {

namespace {

// The task may be dropped while a worker is at it, so the job owns all it uses.
struct Encoding final : kj::AtomicRefcounted {
  FrameHead head;
  std::string content;
  std::string out;
};

}  // namespace

Task<std::string> encodeFrameAside(Workers& workers, FrameHead head, std::string content) {
  auto encoding = kj::atomicRefcounted<Encoding>();
  encoding->head = head;
  encoding->content = std::move(content);
  kj::Function<void()> job = [mine = kj::atomicAddRef(*encoding)]() mutable {
    auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(mine->content.data()), mine->content.size());
    mine->out = encodeFrame(mine->head, bytes);
  };
  co_await workers.run(kj::mv(job));
  co_return std::move(encoding->out);
}

void TailFrames::add(LogIndex index, Term term, kj::ArrayPtr<const kj::byte> payload) {
  if (waiting_.size() + payload.size() > WAITING_BYTES_MAX) {
    waiting_.clear();
  }
  if (waiting_.empty()) {
    waitingFirst_ = index;
  }
  appendTailEntry(waiting_, index, term, payload);
  waitingLast_ = index;
}

Task<void> TailFrames::cut(FrameHead head) {
  if (waiting_.empty()) {
    co_return;
  }
  LogIndex first = waitingFirst_, last = waitingLast_;
  head.kind = FrameKind::TAIL;
  head.first = raw(first);
  head.last = raw(last);
  auto content = std::exchange(waiting_, {});
  auto bytes = co_await encodeFrameAside(workers_, head, std::move(content));
  framesBytes_ += bytes.size();
  frames_.push_back(kj::refcounted<SharedFrame>(first, last, std::move(bytes)));
  while (framesBytes_ > FRAMES_BYTES_MAX && frames_.size() > 1) {
    framesBytes_ -= frames_.front()->bytes.size();
    frames_.pop_front();
  }
}

kj::Own<SharedFrame> TailFrames::find(LogIndex index) const {
  for (auto& frame : frames_) {
    if (frame->first <= index && index <= frame->last) {
      return kj::addRef(const_cast<SharedFrame&>(*frame));
    }
  }
  return {};
}

}  // namespace cairn
