// ReadAhead: blocks that a sequential reader will want next, one of these per open file. It only fetches what
// ReadBudget allows, forgets what was read, and forgets what the mount itself writes.
#pragma once
#include <kj/async.h>

#include <list>
#include <map>
#include <vector>

#include "common/task.h"
#include "fuse-client/client/chunk_io.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/inode.h"

namespace cairn {

class ReadAhead;

// The bytes that all handles of a mount may have read ahead.
class ReadBudget {
 public:
  explicit ReadBudget(Context& context) : context_(context) {}
  KJ_DISALLOW_COPY(ReadBudget);

  // Takes bytes for `reader`, at the cost of the longest unused others. False: there is no room.
  bool take(uint64_t bytes, ReadAhead& reader);
  void giveBack(uint64_t bytes);

 private:
  friend class ReadAhead;
  Context& context_;
  std::list<ReadAhead*> byUse_;  // longest unused first
};

class ReadAhead final : public CachedReader {
 public:
  ReadAhead(Context& context, ChunkIo& io, ReadBudget& budget, kj::Own<Inode> inode);
  ~ReadAhead() noexcept(false);
  KJ_DISALLOW_COPY(ReadAhead);

  // Bytes as the chunkservers have them: all of [offset, offset + length), in order. REQUIRES: within `sizeBytes`.
  Task<Result<std::vector<Slice>>> read(uint64_t offset, uint64_t length, uint64_t sizeBytes);
  void invalidate(uint64_t from, uint64_t to) override;
  // Drops what is ready; false when there was nothing.
  bool shrink();

 private:
  static constexpr uint64_t WINDOW_FIRST = 256u << 10;
  static constexpr uint64_t WINDOW_MAX = 8u << 20;
  static constexpr uint64_t SEGMENT_BYTES = MESSAGE_BYTES_MAX;
  // The kernel sends the parts of one stream in parallel: so far off the row they may come.
  static constexpr uint64_t DISORDER_MAX = 2u << 20;

  // A range being fetched or here.
  struct Segment : public kj::Refcounted {
    uint64_t offset = 0;
    uint64_t length = 0;
    uint64_t consumed = 0;
    bool done = false;
    bool usable = false;  // done, without error
    bool stale = false;   // overwritten since
    std::vector<Slice> slices;
    kj::ForkedPromise<void> fetched = nullptr;
    uint64_t end() const { return offset + length; }
  };

  // A part of a read: out of a segment, or to be fetched for it alone.
  struct Part {
    uint64_t offset = 0;
    uint64_t length = 0;
    kj::Own<Segment> segment;
  };

  void observe(uint64_t offset, uint64_t length);
  std::vector<Part> plan(uint64_t offset, uint64_t length);
  void fetchAhead(uint64_t sizeBytes);
  Task<void> fetch(Segment& segment);
  Task<Status> readPart(Part& part, std::vector<Slice>& out);
  void consume(Segment& segment, uint64_t bytes);
  void bury(kj::Own<Segment> segment);
  std::map<uint64_t, kj::Own<Segment>>::iterator drop(std::map<uint64_t, kj::Own<Segment>>::iterator it);

  Context& context_;
  ChunkIo& io_;
  ReadBudget& budget_;
  kj::Own<Inode> inode_;
  std::list<ReadAhead*>::iterator place_;

  uint64_t expected_ = 0;   // where the next sequential read begins
  uint64_t window_ = 0;     // 0: not sequential
  uint64_t fetchedTo_ = 0;  // end of the last segment asked for
  std::map<uint64_t, kj::Own<Segment>> segments_;
  std::vector<kj::Own<Segment>> buried_;  // invalid, and perhaps being fetched; gone at the next turn
  kj::Promise<void> burial_ = nullptr;
};

}  // namespace cairn
