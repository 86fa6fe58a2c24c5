#include "master/log/log.h"

#include <kj/debug.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/checksum.h"
#include "common/log.h"

namespace cairn {

namespace {

// Zeros are written in pieces, each synced, so that the disk's queue never holds much before the next commit.
constexpr uint64_t ZEROS_BYTES = 1 << 20;
constexpr uint64_t ZEROS_PER_SYNC = 4;

Term termIn(const std::vector<TermStart>& terms, LogIndex index, Term before) {
  auto after = std::upper_bound(terms.begin(), terms.end(), index,
                                [](LogIndex index, const TermStart& start) { return index < start.first; });
  return after == terms.begin() ? before : std::prev(after)->term;
}

}  // namespace

Log::Log(Disk& disk, LogOptions options, kj::Own<SyncedMarker> marker)
    : disk_(disk),
      options_(kj::mv(options)),
      marker_(kj::mv(marker)),
      failure_(kj::newPromiseAndFulfiller<Error>()),
      preparation_(kj::Promise<void>(kj::READY_NOW).fork()),
      tasks_(*this) {}

// ---- opening ----

Result<kj::Own<Log>> Log::open(Disk& disk, LogOptions options) {
  KJ_REQUIRE(options.segmentBytes >= SEGMENT_BYTES_MIN && options.segmentBytes % BLOCK_BYTES == 0);
  auto made = disk.makeDirectory(options.directory);
  if (made.ok()) {
    made = disk.syncDirectoryNow(".");
  }
  if (!made.ok()) {
    return made.error();
  }
  auto marker = SyncedMarker::open(disk, markerPath(options));
  if (!marker.ok()) {
    return marker.error();
  }
  auto found = findLog(disk, options, marker.value()->get());
  if (!found.ok()) {
    return found.error();
  }
  auto log = kj::heap<Log>(disk, kj::mv(options), kj::mv(marker.value()));
  auto started = log->start(kj::mv(found.value()));
  if (!started.ok()) {
    return started.error();
  }
  return kj::mv(log);
}

Result<kj::Own<Log>> Log::beginAfter(Disk& disk, LogOptions options, LogIndex index, Term term) {
  auto numbers = listSegments(disk, options);
  if (!numbers.ok()) {
    return numbers.error();
  }
  auto marker = SyncedMarker::open(disk, markerPath(options));
  if (!marker.ok()) {
    return marker.error();
  }
  auto log = kj::heap<Log>(disk, kj::mv(options), kj::mv(marker.value()));
  log->last_ = log->durable_ = index;
  log->terms_.assign(1, {term, index});
  auto& old = numbers.value();
  auto begun = log->startInline(old.empty() ? 1 : *std::max_element(old.begin(), old.end()) + 1, SegmentHeader::RESET);
  if (begun.ok()) {
    begun = log->marker_->lower(LogIndex{});
  }
  if (!begun.ok()) {
    return begun.error();
  }
  log->terms_.clear();
  log->dropped_.assign(old.begin(), old.end());
  log->truncatePrefix(LogIndex{});
  return kj::mv(log);
}

Status Log::start(FoundLog found) {
  segments_ = kj::mv(found.segments);
  terms_ = kj::mv(found.terms);
  last_ = durable_ = found.last;
  chain_ = found.chain;
  spare_.assign(found.ready.begin(), found.ready.end());
  for (uint64_t number : found.useless) {
    auto removed = disk_.remove(pathOf(number));
    if (!removed.ok()) {
      return removed;
    }
  }
  if (!segments_.empty()) {
    auto opened = disk_.open(pathOf(segments_.back().number), Disk::Mode::READ_WRITE);
    if (!opened.ok()) {
      return opened.error();
    }
    active_ = kj::mv(opened.value());
    // What was read may be in memory only; it counts as durable from now on.
    auto synced = active_->syncNow();
    if (!synced.ok()) {
      return synced;
    }
  }
  if (found.torn) {
    spdlog::info("{}: entries after {} were cut off by a crash and never acknowledged; dropped",
                 disk_.hostPath(options_.directory), raw(last_));
  }
  // A torn end stays as it is: the next segment says where this one ends.
  if (segments_.empty() || found.torn) {
    return startInline(segments_.empty() ? 1 : segments_.back().number + 1, 0);
  }
  prepareSoon();
  return {};
}

// Begins the next segment, waiting inline.
Status Log::startInline(uint64_t number, uint32_t flags) {
  bool spare = !spare_.empty() && spare_.front() == number;
  auto opened = disk_.open(pathOf(number), spare ? Disk::Mode::READ_WRITE : Disk::Mode::CREATE_EXCLUSIVE);
  if (!opened.ok()) {
    return opened.error();
  }
  auto file = kj::mv(opened.value());
  if (spare) {
    spare_.pop_front();
  } else {
    auto zeros = kj::heapArray<kj::byte>(std::min(ZEROS_BYTES, options_.segmentBytes));
    memset(zeros.begin(), 0, zeros.size());
    for (uint64_t at = 0; at < options_.segmentBytes; at += zeros.size()) {
      auto size = std::min<uint64_t>(zeros.size(), options_.segmentBytes - at);
      auto written = file->write(at, zeros.slice(0, size));
      if (!written.ok()) {
        return written;
      }
    }
  }
  active_ = kj::mv(file);
  segments_.push_back({number, next(last_), term(last_), chain_});
  segments_.back().flags = flags;
  auto written = writeHeader();
  if (!written.ok()) {
    return written;
  }
  auto synced = active_->syncNow();
  if (!synced.ok()) {
    return synced;
  }
  prepareSoon();
  return disk_.syncDirectoryNow(options_.directory);
}

Term Log::term(LogIndex index) const {
  return termIn(terms_, index, segments_.empty() ? Term{} : segments_.front().previousTerm);
}

uint64_t Log::bytesAfter(LogIndex index) const {
  uint64_t sum = 0;
  for (size_t i = 0; i < segments_.size(); ++i) {
    bool over = i + 1 < segments_.size() && segments_[i + 1].first <= next(index);
    sum += over ? 0 : segments_[i].end - SEGMENT_HEADER_BYTES;
  }
  return sum;
}

// ---- appending ----

uint64_t Log::batchBytesMax() const {
  return std::min(BATCH_BYTES_MAX, options_.segmentBytes - SEGMENT_HEADER_BYTES);
}

Task<Status> Log::append(kj::ArrayPtr<const LogEntry> entries) {
  if (failed_) {
    return kj::Promise<Status>(Error{EIO, "the log has failed"});
  }
  for (const auto& entry : entries) {
    KJ_REQUIRE(entry.index == next(last_) && entry.term >= lastTerm(), "entries must follow on the log's last");
    place(entry);
  }
  if (last_ == durable_) {
    return kj::Promise<Status>(Status());
  }
  auto waiting = kj::newPromiseAndFulfiller<Status>();
  waiters_.push_back({last_, kj::mv(waiting.fulfiller)});
  if (!committing_) {
    committing_ = true;
    tasks_.add(commit());
  }
  return kj::mv(waiting.promise);
}

void Log::place(const LogEntry& entry) {
  KJ_REQUIRE(entry.payload.size() <= entryBytesMax(), "an entry is larger than a segment");
  uint64_t size = recordBytes(entry.payload.size());
  if (pending_.empty() || pending_.back().bytes.size() + size > batchBytesMax()) {
    pending_.emplace_back();
  }
  auto& batch = pending_.back();
  size_t offset = batch.bytes.size();
  batch.records.push_back({offset, entry.index, entry.term, static_cast<uint32_t>(entry.payload.size())});
  batch.bytes.resize(offset + size);
  if (entry.payload.size() > 0) {
    memcpy(batch.bytes.data() + offset + sizeof(RecordHeader), entry.payload.begin(), entry.payload.size());
  }
  last_ = entry.index;
  if (terms_.empty() || terms_.back().term != entry.term) {
    terms_.push_back({entry.term, entry.index});
  }
}

Task<void> Log::commit() {
  while (!pending_.empty()) {
    Batch batch = kj::mv(pending_.front());
    pending_.pop_front();
    co_await commitBatch(kj::mv(batch));
  }
  committing_ = false;
}

Task<void> Log::commitBatch(Batch batch) {
  if (segments_.back().end + batch.bytes.size() > options_.segmentBytes) {
    auto begun = co_await nextSegment(batch.records.front().index);
    if (begun.code() == EIO) {
      fail(begun.error());
      co_return;
    }
    if (!begun.ok()) {
      giveUp(begun.error());
      co_return;
    }
  }
  uint64_t chain = chain_;
  seal(batch);
  auto& segment = segments_.back();
  auto written = headerWanted_ ? writeHeader() : Status();
  if (written.ok()) {
    written = active_->write(segment.end, kj::arrayPtr(batch.bytes.data(), batch.bytes.size()));
  }
  if (written.code() == ENOSPC) {
    // Some file systems need room even to overwrite. What was written is overwritten by the next try.
    chain_ = chain;
    giveUp(written.error());
    co_return;
  }
  if (!written.ok()) {
    fail(written.error());
    co_return;
  }
  segment.end += batch.bytes.size();
  auto synced = co_await active_->sync();
  if (!synced.ok()) {
    fail(synced.error());
    co_return;
  }
  noteDurable(batch.records.back().index);
}

// Fills in the headers, now that it is known what is durable before this write.
void Log::seal(Batch& batch) {
  for (const auto& record : batch.records) {
    kj::byte* at = batch.bytes.data() + record.offset;
    uint64_t payloadSum = hash64(kj::arrayPtr(at + sizeof(RecordHeader), record.length));
    RecordHeader header;
    header.length = record.length;
    header.segment = static_cast<uint32_t>(segments_.back().number);
    header.term = raw(record.term);
    header.index = raw(record.index);
    header.synced = raw(durable_);
    chain_ = header.chain = chainAfter(chain_, record.term, record.index, payloadSum);
    header.sum = sumOf(header, payloadSum);
    memcpy(at, &header, sizeof(header));
  }
}

void Log::noteDurable(LogIndex durable) {
  durable_ = durable;
  auto marked = marker_->set(durable);
  if (!marked.ok() && marked.code() != ENOSPC) {
    fail(marked.error());
    return;
  }
  if (marked.ok() && marked.value()) {
    tasks_.add(syncMarker());
  }
  while (!waiters_.empty() && waiters_.front().last <= durable) {
    auto done = kj::mv(waiters_.front().done);
    waiters_.pop_front();
    done->fulfill(Status());
  }
}

Task<void> Log::syncMarker() {
  auto synced = co_await marker_->sync();
  if (!synced.ok()) {
    fail(synced.error());
  }
}

// Nothing of what waits was written: forget it.
void Log::giveUp(const Error& error) {
  pending_.clear();
  last_ = durable_;
  while (!terms_.empty() && terms_.back().first > last_) {
    terms_.pop_back();
  }
  auto waiters = kj::mv(waiters_);
  waiters_.clear();
  for (auto& waiter : waiters) {
    waiter.done->fulfill(Status(error));
  }
}

void Log::fail(Error error) {
  if (failed_) {
    return;
  }
  failed_ = true;
  error.why += "; the log can't go on: what is on the disk is in doubt. Check the disk, then start again";
  giveUp({EIO, error.why});
  failure_.fulfiller->fulfill(kj::mv(error));
}

kj::Promise<Error> Log::onFailure() {
  return kj::mv(failure_.promise);
}

Task<Status> Log::close() {
  auto settled = co_await append(nullptr);
  if (!settled.ok()) {
    co_return settled;
  }
  co_return co_await marker_->sync();
}

// ---- segments ----

Status Log::writeHeader() {
  const auto& segment = segments_.back();
  SegmentHeader header;
  header.flags = segment.flags;
  header.number = segment.number;
  header.firstIndex = raw(segment.first);
  header.previousTerm = raw(segment.previousTerm);
  header.previousChain = segment.previousChain;
  header.clusterHigh = options_.cluster.high;
  header.clusterLow = options_.cluster.low;
  header.sum = sumOf(header);
  auto written = active_->write(0, kj::arrayPtr(reinterpret_cast<const kj::byte*>(&header), sizeof(header)));
  headerWanted_ = !written.ok();
  return written;
}

Task<Status> Log::segmentReady() {
  prepareSoon();
  auto prepared = preparation_.addBranch();
  co_await prepared;
  co_return isReady() ? Status() : Status(prepared_.error());
}

bool Log::hasRoomFor(uint64_t bytes) {
  if (isReady() || prepared_.ok() || segments_.back().end + bytes <= options_.segmentBytes) {
    return true;
  }
  prepareSoon();
  return false;
}

// Everything in the active segment is durable here, so that a whole header of the next one proves it.
Task<Status> Log::nextSegment(LogIndex first) {
  auto ready = co_await segmentReady();
  if (!ready.ok()) {
    co_return ready;
  }
  active_ = kj::mv(ready_);
  segments_.push_back({segments_.back().number + 1, first, term(durable_), chain_});
  headerWanted_ = true;
  prepareSoon();
  co_return Status();
}

void Log::prepareSoon() {
  if (isReady() || preparing_) {
    return;
  }
  preparing_ = true;
  kj::Promise<void> preparation = prepare();
  preparation_ = preparation.fork();
}

Task<void> Log::prepare() {
  uint64_t number = segments_.back().number + 1;
  auto made = co_await makeReady(number);
  prepared_ = made;
  if (!prepared_.ok()) {
    ready_ = nullptr;
    spdlog::warn("the log's next segment can't be made ready: {}", prepared_.error().why);
    // Best effort: whatever is left gets overwritten by the next try, or removed at the next start.
    (void)disk_.remove(pathOf(number));
  }
  preparing_ = false;
}

// From a spare segment, or anew.
Task<Status> Log::makeReady(uint64_t number) {
  bool spare = !spare_.empty() && spare_.front() == number;
  auto opened = disk_.open(pathOf(number), spare ? Disk::Mode::READ_WRITE : Disk::Mode::CREATE);
  if (!opened.ok()) {
    co_return opened.error();
  }
  auto file = kj::mv(opened.value());
  if (spare) {
    spare_.pop_front();
  } else {
    auto filled = co_await fillWithZeros(*file);
    if (!filled.ok()) {
      co_return filled;
    }
  }
  auto named = co_await disk_.syncDirectory(options_.directory);
  if (named.ok()) {
    ready_ = kj::mv(file);
  }
  co_return named;
}

Task<Status> Log::fillWithZeros(File& file) {
  auto zeros = kj::heapArray<kj::byte>(std::min(ZEROS_BYTES, options_.segmentBytes));
  memset(zeros.begin(), 0, zeros.size());
  uint64_t pieces = 0;
  for (uint64_t at = 0; at < options_.segmentBytes; at += zeros.size()) {
    auto size = std::min<uint64_t>(zeros.size(), options_.segmentBytes - at);
    auto written = file.write(at, zeros.slice(0, size));
    if (!written.ok()) {
      co_return written;
    }
    if (++pieces % ZEROS_PER_SYNC == 0) {
      auto synced = co_await file.sync();
      if (!synced.ok()) {
        co_return synced;
      }
    }
  }
  co_return co_await file.sync();
}

void Log::truncatePrefix(LogIndex upTo) {
  while (segments_.size() > 1 && LogIndex{raw(segments_[1].first) - 1} <= upTo) {
    dropped_.push_back(segments_.front().number);
    segments_.erase(segments_.begin());
  }
  while (terms_.size() > 1 && terms_[1].first <= segments_.front().first) {
    terms_.erase(terms_.begin());
  }
  if (!dropped_.empty() && !dropping_) {
    dropping_ = true;
    tasks_.add(dropSegments());
  }
}

// Oldest first and each made durable before the next, so that a crash never leaves a gap.
Task<void> Log::dropSegments() {
  while (!dropped_.empty() && !failed_) {
    uint64_t number = dropped_.front();
    dropped_.pop_front();
    auto dropped = dropOne(number);
    if (dropped.ok()) {
      dropped = co_await disk_.syncDirectory(options_.directory);
    }
    if (!dropped.ok()) {
      spdlog::warn("a segment of the log that is no longer needed can't be removed: {}", dropped.error().why);
      dropped_.clear();
    }
  }
  dropping_ = false;
}

Status Log::dropOne(uint64_t number) {
  if (spare_.size() >= RECYCLED_MAX || preparing_) {
    return disk_.remove(pathOf(number));
  }
  uint64_t free = segments_.back().number + (isReady() ? 2 : 1) + spare_.size();
  auto renamed = disk_.rename(pathOf(number), pathOf(free));
  if (renamed.ok()) {
    spare_.push_back(free);
  }
  return renamed;
}

void Log::taskFailed(kj::Exception&& exception) {
  fail({EIO, exception.getDescription().cStr()});
}

// ---- reading ----

Status Log::read(LogIndex from, kj::FunctionParam<bool(const LogEntry&)> visit) {
  KJ_REQUIRE(from >= firstIndex(), "these entries are no longer in the log", raw(from), raw(firstIndex()));
  for (const auto& segment : segments_) {
    bool isLast = &segment == &segments_.back();
    if (!isLast && (&segment + 1)->first <= from) {
      continue;
    }
    auto file = readSegment(disk_, options_, segment.number, segment.end);
    if (!file.ok()) {
      return file.error();
    }
    LogIndex at{raw(segment.first) - 1};
    uint64_t chain = segment.previousChain;
    for (uint64_t offset = SEGMENT_HEADER_BYTES; offset < segment.end && at < durable_;) {
      auto record = parseRecord(file.value(), offset, segment.number);
      if (!record || !record->follows(at, chain)) {
        return Error{EIO, disk_.hostPath(pathOf(segment.number)) + ": offset " + std::to_string(offset) + ": entry " +
                              std::to_string(raw(at) + 1) + " is damaged, though it was read whole before"};
      }
      if (record->entry.index >= from && !visit(record->entry)) {
        return {};
      }
      at = record->entry.index;
      chain = record->header.chain;
      offset = record->end;
    }
  }
  return {};
}

}  // namespace cairn
