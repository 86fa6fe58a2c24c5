// Log: the durable sequence of entries of one member, in segments (record.h) of a directory.
//
// append() writes at once what was appended since the last write began, and resolves when one sync has made it
// durable: many appends share a sync. Segments are filled with zeros, or recycled, ahead of use, for overwriting
// allocated blocks syncs faster than growing a file. A failed write or sync is final: the log refuses everything after
// it, onFailure() resolves, and the process must end, since nobody knows what is on the disk.
#pragma once
#include <kj/async.h>
#include <kj/function.h>

#include <deque>
#include <vector>

#include "common/disk.h"
#include "common/ids.h"
#include "common/task.h"
#include "master/log/marker.h"
#include "master/log/record.h"
#include "master/log/recovery.h"

namespace cairn {

class Log final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr uint64_t BATCH_BYTES_MAX = 4 << 20;  // of one write and sync
  static constexpr uint64_t SEGMENT_BYTES_MIN = 64 << 10;
  static constexpr size_t RECYCLED_MAX = 2;  // segments kept for later use

  // Reads and verifies all of it. What a crash tore off the end, never acknowledged, is dropped; damage to what was
  // synced is an error that names file, offset and next step, and changes nothing. Waits inline.
  static Result<kj::Own<Log>> open(Disk& disk, LogOptions options);
  // The log begins anew after an entry of that index and term, which a snapshot holds. All that is in the directory, be
  // it damaged, is void. Waits inline.
  static Result<kj::Own<Log>> beginAfter(Disk& disk, LogOptions options, LogIndex index, Term term);
  Log(Disk& disk, LogOptions options, kj::Own<SyncedMarker> marker);
  KJ_DISALLOW_COPY(Log);

  LogIndex firstIndex() const { return segments_.front().first; }  // lastIndex() + 1 when empty
  LogIndex lastIndex() const { return last_; }
  LogIndex durableIndex() const { return durable_; }
  Term lastTerm() const { return term(last_); }
  const std::vector<TermStart>& terms() const { return terms_; }
  // REQUIRES: firstIndex() - 1 <= index <= lastIndex().
  Term term(LogIndex index) const;
  // Of the records of the segments that hold entries after `index`.
  uint64_t bytesAfter(LogIndex index) const;
  uint64_t entryBytesMax() const { return options_.segmentBytes - SEGMENT_HEADER_BYTES - sizeof(RecordHeader); }

  // Copies the entries before it returns. Errors: ENOSPC when there is no room for another segment: then nothing of
  // what wasn't durable is in the log, lastIndex() is durableIndex(), and appending may be tried again; EIO: final.
  // REQUIRES: indexes follow lastIndex(), terms don't fall, payloads <= entryBytesMax().
  Task<Status> append(kj::ArrayPtr<const LogEntry> entries);

  // Whether so many bytes of entries can be appended now without ENOSPC, as far as known. If not, it makes the log look
  // for room again.
  bool hasRoomFor(uint64_t bytes);

  // The entries from `from` on go away, durably. Errors as of append(). REQUIRES: firstIndex() <= from, and all that
  // was appended is durable.
  Task<Status> truncate(LogIndex from);
  // Everything goes away, durably: the log begins after an entry of that index and term, which a snapshot holds.
  // Errors as of append(). REQUIRES: all that was appended is durable.
  Task<Status> reset(LogIndex index, Term term);

  // Shows durable entries from `from` on, in order, verified again, until `visit` returns false. Waits inline.
  Status read(LogIndex from, kj::FunctionParam<bool(const LogEntry&)> visit);

  // Entries up to `upTo` are no longer needed: whole segments of them go, or wait for use again.
  void truncatePrefix(LogIndex upTo);

  // Resolves when a write or sync has failed. For one caller.
  kj::Promise<Error> onFailure();
  // Waits for what is under way and syncs the marker.
  Task<Status> close();

 private:
  struct Placed {
    size_t offset;
    LogIndex index;
    Term term;
    uint32_t length;
  };
  // Records with the headers still to be filled in, for one write.
  struct Batch {
    std::vector<kj::byte> bytes;
    std::vector<Placed> records;
  };
  struct Waiter {
    LogIndex last;
    kj::Own<kj::PromiseFulfiller<Status>> done;
  };

  std::string pathOf(uint64_t number) const { return options_.directory + "/" + segmentName(number); }
  Status start(FoundLog found);
  Status startInline(uint64_t number, uint32_t flags);
  uint64_t batchBytesMax() const;
  void place(const LogEntry& entry);

  Task<void> commit();
  Task<void> commitBatch(Batch batch);
  Task<Status> nextSegment(LogIndex first);
  Status writeHeader();
  Task<Status> segmentReady();
  Task<Status> beginSegment(uint32_t flags);
  void seal(Batch& batch);
  void noteDurable(LogIndex durable);
  void giveUp(const Error& error);
  void fail(Error error);
  Task<void> syncMarker();

  bool isReady() const { return ready_.get() != nullptr; }
  void prepareSoon();
  Task<void> prepare();
  Task<Status> makeReady(uint64_t number);
  Task<Status> fillWithZeros(File& file);
  Task<void> dropSegments();
  Status dropOne(uint64_t number);
  void taskFailed(kj::Exception&& exception) override;

  Disk& disk_;
  LogOptions options_;
  kj::Own<SyncedMarker> marker_;
  std::vector<LogSegment> segments_;  // in order; the last is written to
  std::vector<TermStart> terms_;
  kj::Own<File> active_;
  uint64_t chain_ = 0;  // of the last entry written
  LogIndex last_{};
  LogIndex durable_{};
  bool headerWanted_ = false;  // the active segment has none yet

  std::deque<Batch> pending_;
  std::deque<Waiter> waiters_;
  bool committing_ = false;

  kj::Own<File> ready_;           // the next segment; null when there is none
  bool preparing_ = false;        // one is being made
  Status prepared_;               // how making it went last
  std::deque<uint64_t> spare_;    // numbers of unused segments after it
  std::deque<uint64_t> dropped_;  // numbers of segments that are no longer needed
  bool dropping_ = false;

  bool failed_ = false;
  kj::PromiseFulfillerPair<Error> failure_;
  kj::ForkedPromise<void> preparation_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
