#include "rpc/message_stream.h"

#include <capnp/rpc.capnp.h>
#include <kj/debug.h>

#include <deque>
#include <vector>

#include "common/log.h"
#include "common/task.h"

namespace cairn {
namespace {

using capnp::word;

constexpr size_t READ_BUFFER_BYTES = 64 * 1024;
// Messages up to this size are copied and leave together; larger ones are written from where they lie.
constexpr size_t COPY_BYTES_MAX = 16 * 1024;
// Of messages that wait for company.
constexpr size_t FINISH_BYTES_MAX = 16 * 1024;

// A message with the memory it lies in.
class OwnedMessage : private kj::Array<word>, public capnp::SegmentArrayMessageReader {
 public:
  OwnedMessage(kj::Array<word>&& memory, kj::Array<kj::ArrayPtr<const word>>&& segments, capnp::ReaderOptions options)
      : kj::Array<word>(kj::mv(memory)), SegmentArrayMessageReader(segments, options), segments_(kj::mv(segments)) {}

 private:
  kj::Array<kj::ArrayPtr<const word>> segments_;
};

// The head of a message: how many segments of how many words. `bytes` needs count() known first.
struct Frame {
  uint32_t segmentCount = 0;
  size_t headBytes = 0;
  size_t bodyBytes = 0;
  std::vector<uint32_t> segmentWords;
};

uint32_t loadU32(const kj::byte* p) {
  return uint32_t{p[0]} | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24;
}

void appendU32(kj::Vector<kj::byte>& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) {
    out.add(static_cast<kj::byte>(value >> shift));
  }
}

class BatchingMessageStream final : public capnp::MessageStream {
 public:
  BatchingMessageStream(kj::AsyncIoStream& stream, FrameLimits limits, kj::Maybe<Clock&> clock)
      : stream_(stream), limits_(limits), clock_(clock), buffer_(kj::heapArray<kj::byte>(READ_BUFFER_BYTES)) {}

  kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> tryReadMessage(kj::ArrayPtr<kj::AutoCloseFd>,
                                                                    capnp::ReaderOptions options,
                                                                    kj::ArrayPtr<word>) override {
    KJ_IF_MAYBE(e, writeError_) {
      return kj::cp(*e);
    }
    return readCanceler_.wrap(read(options).promise());
  }

  kj::Promise<void> writeMessage(kj::ArrayPtr<const int>,
                                 kj::ArrayPtr<const kj::ArrayPtr<const word>> segments) override {
    return enqueue(segments);
  }

  kj::Promise<void> writeMessages(
      kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const word>>> messages) override {
    kj::Promise<void> last = kj::READY_NOW;
    for (auto& segments : messages) {
      last = last.then([done = enqueue(segments)]() mutable { return kj::mv(done); });
    }
    return last;
  }

  kj::Maybe<int> getSendBufferSize() override { return nullptr; }

  kj::Promise<void> end() override {
    // After what is queued: everything already handed over still leaves.
    pumpSoon();
    return pumpDone_.addBranch().then([this] { stream_.shutdownWrite(); });
  }

 private:
  // ---- reading

  kj::ArrayPtr<const kj::byte> buffered() const { return buffer_.slice(begin_, end_); }

  // The frame at the front of the buffer, or nothing when its head isn't all there yet.
  kj::Maybe<Frame> parseFrame() {
    auto have = buffered();
    if (have.size() < 4) {
      return nullptr;
    }
    uint64_t count = uint64_t{loadU32(have.begin())} + 1;
    KJ_REQUIRE(count <= limits_.segmentsMax, "frame refused: too many segments; this peer doesn't speak CairnFS",
               count);
    Frame frame;
    frame.segmentCount = static_cast<uint32_t>(count);
    frame.headBytes = (4 + 4 * count + 7) & ~size_t{7};
    if (have.size() < frame.headBytes) {
      return nullptr;
    }
    uint64_t words = 0;
    for (uint32_t i = 0; i < frame.segmentCount; ++i) {
      frame.segmentWords.push_back(loadU32(have.begin() + 4 + 4 * i));
      words += frame.segmentWords.back();
    }
    KJ_REQUIRE(words * sizeof(word) <= limits_.messageBytesMax, "frame refused: message too large", words);
    KJ_REQUIRE(frame.segmentWords[0] >= 1, "frame refused: no root pointer");
    frame.bodyBytes = words * sizeof(word);
    return frame;
  }

  // Reads more into the buffer; false at a clean end of the stream.
  Task<bool> fill() {
    if (begin_ > 0) {
      memmove(buffer_.begin(), buffer_.begin() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    auto got = co_await stream_.tryRead(buffer_.begin() + end_, 1, buffer_.size() - end_);
    end_ += got;
    if (got == 0 && end_ > 0) {
      kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "connection ended in the middle of a message"));
    }
    co_return got > 0;
  }

  Task<kj::Maybe<capnp::MessageReaderAndFds>> read(capnp::ReaderOptions options) {
    kj::Maybe<Frame> parsed = parseFrame();
    while (parsed == nullptr) {
      bool more = co_await fill();
      if (!more) {
        co_return kj::Maybe<capnp::MessageReaderAndFds>();
      }
      parsed = parseFrame();
    }
    Frame frame = kj::mv(KJ_ASSERT_NONNULL(parsed));
    begin_ += frame.headBytes;

    auto memory = kj::heapArray<word>(frame.bodyBytes / sizeof(word));
    auto bytes = memory.asBytes();
    size_t have = kj::min(frame.bodyBytes, end_ - begin_);
    memcpy(bytes.begin(), buffer_.begin() + begin_, have);
    begin_ += have;
    if (have < frame.bodyBytes) {
      co_await stream_.read(bytes.begin() + have, frame.bodyBytes - have);
    }
    auto segments = kj::heapArray<kj::ArrayPtr<const word>>(frame.segmentCount);
    const word* at = memory.begin();
    for (uint32_t i = 0; i < frame.segmentCount; ++i) {
      segments[i] = kj::arrayPtr(at, frame.segmentWords[i]);
      at += frame.segmentWords[i];
    }
    kj::Own<capnp::MessageReader> reader = kj::heap<OwnedMessage>(kj::mv(memory), kj::mv(segments), options);
    capnp::MessageReaderAndFds result{kj::mv(reader), nullptr};
    co_return kj::Maybe<capnp::MessageReaderAndFds>(kj::mv(result));
  }

  // ---- writing

  // Something to write, in order: bytes that are ours, and perhaps a message that lies elsewhere until `written`.
  struct Batch {
    kj::Vector<kj::byte> head;
    kj::Array<kj::ArrayPtr<const word>> body;
    kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> written;
  };

  kj::Promise<void> enqueue(kj::ArrayPtr<const kj::ArrayPtr<const word>> segments) {
    KJ_IF_MAYBE(e, writeError_) {
      return kj::cp(*e);
    }
    size_t bodyBytes = 0;
    for (auto& segment : segments) {
      bodyBytes += segment.size() * sizeof(word);
    }
    if (queue_.empty() || queue_.back().written != nullptr) {
      queue_.emplace_back();
    }
    Batch& batch = queue_.back();
    appendHead(batch.head, segments);
    queuedBytes_ += bodyBytes;
    kj::Promise<void> done = kj::READY_NOW;
    if (bodyBytes <= COPY_BYTES_MAX) {
      for (auto& segment : segments) {
        batch.head.addAll(segment.asBytes());
      }
    } else {
      batch.body = kj::heapArray(segments);
      auto paf = kj::newPromiseAndFulfiller<void>();
      batch.written = kj::mv(paf.fulfiller);
      done = kj::mv(paf.promise);
    }
    if (queuedBytes_ > limits_.queuedBytesMax) {
      fail(KJ_EXCEPTION(DISCONNECTED, "peer doesn't read: too many bytes queued for it"));
    } else if (mayWait(segments)) {
      pumpLater();
    } else {
      pumpSoon();
    }
    return done;
  }

  // evalLast: once per turn, after everything that this turn wants to say.
  void pumpSoon() {
    if (!pumping_ && !queue_.empty()) {
      pumping_ = true;
      pumpDone_ = kj::evalLast([this] { return pump().promise(); })
                      .catch_([this](kj::Exception&& e) { fail(kj::mv(e)); })
                      .fork();
    }
  }

  // Nobody waits for a Finish; it only frees the memory of an answer.
  bool mayWait(kj::ArrayPtr<const kj::ArrayPtr<const word>> segments) const {
    if (clock_ == nullptr || queuedBytes_ > FINISH_BYTES_MAX) {
      return false;
    }
    capnp::SegmentArrayMessageReader reader(segments);
    return reader.getRoot<capnp::rpc::Message>().isFinish();
  }

  void pumpLater() {
    KJ_IF_MAYBE(clock, clock_) {
      if (!pumping_ && !pumpingLater_) {
        pumpingLater_ = true;
        later_ = clock->after(FINISH_DELAY)
                     .then([this] {
                       pumpingLater_ = false;
                       pumpSoon();
                     })
                     .eagerlyEvaluate([](kj::Exception&& e) {
                       spdlog::error("a Finish was held back for good: {}", e.getDescription().cStr());
                     });
      }
    }
  }

  static void appendHead(kj::Vector<kj::byte>& out, kj::ArrayPtr<const kj::ArrayPtr<const word>> segments) {
    appendU32(out, static_cast<uint32_t>(segments.size() - 1));
    for (auto& segment : segments) {
      appendU32(out, static_cast<uint32_t>(segment.size()));
    }
    if (segments.size() % 2 == 0) {
      appendU32(out, 0);
    }
  }

  Task<void> pump() {
    while (!queue_.empty()) {
      writing_.swap(queue_);
      queuedBytes_ = 0;
      kj::Vector<kj::ArrayPtr<const kj::byte>> pieces;
      for (auto& batch : writing_) {
        pieces.add(batch.head.asPtr());
        for (auto& segment : batch.body) {
          pieces.add(segment.asBytes());
        }
      }
      co_await stream_.write(pieces.asPtr());
      for (auto& batch : writing_) {
        KJ_IF_MAYBE(w, batch.written) {
          (*w)->fulfill();
        }
      }
      writing_.clear();
    }
    pumping_ = false;
  }

  void fail(kj::Exception&& e) {
    if (writeError_ != nullptr) {
      return;
    }
    writeError_ = kj::cp(e);
    for (auto* batches : {&writing_, &queue_}) {
      for (auto& batch : *batches) {
        KJ_IF_MAYBE(w, batch.written) {
          (*w)->reject(kj::cp(e));
        }
      }
    }
    readCanceler_.cancel(e);
  }

  kj::AsyncIoStream& stream_;
  const FrameLimits limits_;
  const kj::Maybe<Clock&> clock_;

  kj::Array<kj::byte> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  kj::Canceler readCanceler_;

  std::deque<Batch> queue_;
  std::deque<Batch> writing_;
  size_t queuedBytes_ = 0;
  bool pumping_ = false;
  bool pumpingLater_ = false;
  kj::Maybe<kj::Exception> writeError_;
  kj::ForkedPromise<void> pumpDone_ = kj::Promise<void>(kj::READY_NOW).fork();
  kj::Promise<void> later_ = kj::READY_NOW;
};

}  // namespace

kj::Own<capnp::MessageStream> newBatchingMessageStream(kj::AsyncIoStream& stream, FrameLimits limits,
                                                       kj::Maybe<Clock&> clock) {
  return kj::heap<BatchingMessageStream>(stream, limits, clock);
}

}  // namespace cairn
