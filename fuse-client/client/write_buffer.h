// WriteBuffer: write-behind of a mount. Accepts bytes into memory, sends them to chunkservers in large or gathered
// messages, several at a time, and hands what was acknowledged to Unsynced and SizeReporter. Bytes leave when a
// whole message's worth is there, when a close or fsync wants it, when the mount has much of them, and by themselves
// within WRITE_DELAY. Overlapping writes reach the chunkserver in their order.
#pragma once
#include <kj/async.h>

#include <deque>
#include <optional>
#include <vector>

#include "common/task.h"
#include "fuse-client/client/buffer.h"
#include "fuse-client/client/chunk_io.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/inode.h"
#include "fuse-client/client/quota_book.h"
#include "fuse-client/client/size_reporter.h"
#include "fuse-client/client/unsynced.h"

namespace cairn {

class WriteBuffer final : public Unsynced::Resender, private kj::TaskSet::ErrorHandler {
 public:
  WriteBuffer(Context& context, BufferPool& pool, ChunkIo& io, SizeReporter& reporter, Unsynced& unsynced,
              QuotaBook& quotas, const SessionId& session);
  ~WriteBuffer() noexcept(false);

  // Copies `data` in at `offset`, or at the end of the file. Waits for room and while the file is paused. Gives how
  // many bytes were written; fewer than all, unless `wholly`, when a quota leaves room for no more. REQUIRES: the
  // inode's attributes are known.
  Task<Result<uint64_t>> write(kj::Own<Inode> inode, std::optional<uint64_t> offset, kj::ArrayPtr<const kj::byte> data,
                               bool wholly);
  // Lets everything written so far leave now.
  void startDrain(Inode& inode);
  // The same, and waits until it is acknowledged or failed.
  Task<void> drained(kj::Own<Inode> inode);
  // When all that is dirty is one small range of one chunk: sends it to be durable in the same round trip.
  // Tells whether it did.
  bool startDurable(Inode& inode);
  // Nothing buffered for this file any more: it has no name and no opener.
  void forget(Inode& inode);
  // Gives up all that was accepted under an ended session, with an error for its writers.
  void sessionLost(std::vector<kj::Own<Inode>> inodes, const Error& error);
  // Files with bytes not acknowledged, in the order of their first write.
  std::vector<kj::Own<Inode>> dirtyFiles() const;
  // A server is out of space: write() had better wait and report it.
  bool isSpaceShort() const { return spaceShort_; }

  // While it lives nothing of the file is accepted or sent; after ready() nothing is under way.
  class Pause {
   public:
    Pause(WriteBuffer& buffer, Inode& inode) : buffer_(buffer), inode_(kj::addRef(inode)) {}
    ~Pause() noexcept(false);
    KJ_DISALLOW_COPY(Pause);
    Task<void> ready();

   private:
    WriteBuffer& buffer_;
    kj::Own<Inode> inode_;
    bool mine_ = false;
  };
  // REQUIRES: a ready Pause.
  void dropDirty(Inode& inode, uint64_t from, uint64_t to);
  // Zeros [from, to) at the chunkservers. REQUIRES: a ready Pause and nothing dirty there.
  Task<Status> punch(kj::Own<Inode> inode, uint64_t from, uint64_t to);

  void resend(Inode& inode, Extent extent) override;
  void roomMade() override { pumpStalled(); }

 private:
  static constexpr Nanos WRITE_DELAY = 500 * MILLISECOND;
  static constexpr Nanos TICK = 250 * MILLISECOND;
  static constexpr unsigned WINDOW_FIRST = 4;  // calls under way per file
  static constexpr unsigned WINDOW_MAX = 16;
  static constexpr uint64_t UNDER_WAY_MAX = 32u << 20;
  static constexpr size_t PIECES_MAX = 256;
  static constexpr uint64_t DURABLE_BYTES_MAX = 128u << 10;
  static constexpr unsigned PUNCHES_MAX = 16;

  struct Batch {
    SessionId session{};
    uint32_t chunk = 0;
    uint64_t bytes = 0;
    bool durable = false;
    std::vector<Extent> pieces;
  };

  uint64_t unitOf(const Inode& inode) const;
  bool mayAccept(const Inode& inode, uint64_t bytes) const;
  Task<void> untilAccepting(Inode& inode, uint64_t bytes);
  void list(Inode& inode);
  Task<void> tick();
  bool mountHasRoom() const;
  void drainOldest();
  void pump(Inode& inode);
  void pumpStalled();
  bool isDue(const Inode& inode, const Extent& extent) const;
  std::vector<Extent> takeDue(Inode& inode);
  void start(Inode& inode, std::vector<Extent> pieces, bool durable);
  Task<void> send(kj::Own<Inode> inode, Batch batch);
  void acknowledged(Inode& inode, Batch& batch, Acknowledged reply);
  void failed(Inode& inode, const Batch& batch, const Error& error);
  Task<void> resendHoles(kj::Own<Inode> inode);
  Task<Status> punchPart(kj::Own<Inode> inode, uint64_t from, uint64_t to, uint64_t sequence);
  void callEnded(Inode& inode);
  void taskFailed(kj::Exception&& e) override;

  Context& context_;
  BufferPool& pool_;
  ChunkIo& io_;
  SizeReporter& reporter_;
  Unsynced& unsynced_;
  QuotaBook& quotas_;
  const SessionId& session_;

  uint64_t underWayBytes_ = 0;
  uint64_t acknowledgements_ = 0;
  bool spaceShort_ = false;
  std::deque<kj::Own<Inode>> dirtyFiles_;
  std::deque<kj::Own<Inode>> stalled_;
  Signal room_;
  bool ticking_ = false;
  kj::TaskSet tasks_;
};

}  // namespace cairn
