#include "master/log/recovery.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "master/log/marker.h"

namespace cairn {

namespace {

constexpr char NEXT_STEP[] =
    ". Nothing was changed. Restore the data directory from a copy, or, where other members have the entries, set this "
    "one up anew";

// Of the many offsets that are none, most show at once.
std::optional<ParsedRecord> parseMarkedRecord(kj::ArrayPtr<const kj::byte> file, uint64_t offset, uint64_t number) {
  uint32_t mark;
  memcpy(&mark, file.begin() + offset + offsetof(RecordHeader, segment), sizeof(mark));
  return mark == static_cast<uint32_t>(number) ? parseRecord(file, offset, number) : std::nullopt;
}

// Scans the segments in order. Each step returns an error or goes on with `found_`.
class Finder {
 public:
  Finder(Disk& disk, const LogOptions& options, LogIndex synced) : disk_(disk), options_(options), synced_(synced) {}

  Result<FoundLog> run() {
    auto listed = listSegments(disk_, options_);
    if (!listed.ok()) {
      return listed.error();
    }
    files_ = kj::mv(listed.value());
    auto begun = dropVoid();
    if (!begun.ok()) {
      return begun.error();
    }
    for (size_t i = 0; i < files_.size(); ++i) {
      auto status = look(files_[i]);
      if (!status.ok()) {
        return status.error();
      }
    }
    auto complete = checkEnd();
    if (!complete.ok()) {
      return complete.error();
    }
    return kj::mv(found_);
  }

 private:
  std::string pathOf(uint64_t number) const { return options_.directory + "/" + segmentName(number); }
  Error damage(uint64_t number, uint64_t offset, const std::string& what) const {
    return Error{EIO, disk_.hostPath(pathOf(number)) + ": offset " + std::to_string(offset) + ": " + what + NEXT_STEP};
  }

  // Segments before the last one that begins anew are void, however many of them are left.
  Status dropVoid() {
    for (size_t i = files_.size(); i > 0; --i) {
      auto read = readSegment(disk_, options_, files_[i - 1], sizeof(SegmentHeader));
      if (!read.ok()) {
        return read.error();
      }
      auto header = parseSegmentHeader(read.value(), files_[i - 1]);
      if (header && (header->flags & SegmentHeader::RESET) != 0) {
        found_.useless.assign(files_.begin(), files_.begin() + static_cast<ptrdiff_t>(i) - 1);
        files_.erase(files_.begin(), files_.begin() + static_cast<ptrdiff_t>(i) - 1);
        break;
      }
    }
    return {};
  }

  Status look(uint64_t number) {
    auto read = readSegment(disk_, options_, number, UINT64_MAX);
    if (!read.ok()) {
      return read.error();
    }
    file_ = kj::mv(read.value());
    auto header = parseSegmentHeader(file_, number);
    if (!header) {
      return lookUnused(number);
    }
    auto begun = begin(*header);
    if (!begun.ok()) {
      return begun;
    }
    scan();
    return {};
  }

  // A segment without a header is one that no entry was written to, or that lost its header.
  Status lookUnused(uint64_t number) {
    auto records = beyond(number, SEGMENT_HEADER_BYTES, found_.last);
    if (records.rotten) {
      return damage(number, 0, "the segment's header is damaged, though its entries were synced");
    }
    unused_.push_back(number);
    uint64_t follows = found_.segments.empty() ? 0 : found_.segments.back().number + found_.ready.size() + 1;
    if (number == follows && file_.size() == options_.segmentBytes && !records.any) {
      found_.ready.push_back(number);
    } else {
      found_.useless.push_back(number);
    }
    return {};
  }

  Status begin(const SegmentHeader& header) {
    if (header.version > SegmentHeader::VERSION) {
      return Error{EPROTO, disk_.hostPath(pathOf(header.number)) +
                               ": written by a newer version of this program (format " +
                               std::to_string(header.version) + "); start that version"};
    }
    if (ClusterId{header.clusterHigh, header.clusterLow} != options_.cluster) {
      return Error{EINVAL, damage(header.number, 0, "the segment belongs to another cluster").why};
    }
    LogIndex first{header.firstIndex};
    if (found_.segments.empty()) {
      found_.last = LogIndex{header.firstIndex - 1};
      found_.lastTerm = Term{header.previousTerm};
      found_.chain = header.previousChain;
    } else {
      const auto& previous = found_.segments.back();
      if (!unused_.empty() && unused_.back() > previous.number) {
        return damage(unused_.back(), 0, "the segment's header is damaged, though a later segment follows");
      }
      if (header.number != previous.number + 1) {
        return damage(previous.number + 1, 0, "the segment is missing, though a later one is there");
      }
      auto joined = first <= found_.last ? cutBack(first) : Status();
      if (joined.ok()) {
        joined = join(first, header);
      }
      if (!joined.ok()) {
        return joined;
      }
    }
    found_.ready.clear();
    found_.segments.push_back({header.number, first, Term{header.previousTerm}, header.previousChain});
    found_.segments.back().flags = header.flags;
    return {};
  }

  // The segment before must lead up to this one's header, for it was synced before this one was begun.
  Status join(LogIndex first, const SegmentHeader& header) {
    const auto& previous = found_.segments.back();
    if (next(found_.last) < first) {
      return damage(previous.number, previous.end,
                    "entry " + std::to_string(raw(found_.last) + 1) + " is damaged, though it was synced");
    }
    if (next(found_.last) != first || found_.chain != header.previousChain) {
      return damage(header.number, 0, "the segment doesn't follow on the one before");
    }
    return {};
  }

  // The entries from `first` on were truncated.
  Status cutBack(LogIndex first) {
    if (first < found_.segments.front().first) {
      return {};  // join() complains
    }
    auto place = findPlace(disk_, options_, found_.segments, LogIndex{raw(first) - 1});
    if (!place.ok()) {
      return place.error();
    }
    cutAfter(found_.segments, place.value());
    found_.last = LogIndex{raw(first) - 1};
    found_.chain = place.value().chain;
    while (!found_.terms.empty() && found_.terms.back().first > found_.last) {
      found_.terms.pop_back();
    }
    found_.lastTerm = found_.terms.empty() ? found_.segments.front().previousTerm : found_.terms.back().term;
    return {};
  }

  void scan() {
    auto& segment = found_.segments.back();
    for (;;) {
      auto record = parseRecord(file_, segment.end, segment.number);
      if (!record || !record->follows(found_.last, found_.chain)) {
        break;
      }
      found_.last = record->entry.index;
      found_.chain = record->header.chain;
      if (found_.terms.empty() || found_.terms.back().term != record->entry.term) {
        found_.terms.push_back({record->entry.term, record->entry.index});
      }
      found_.lastTerm = record->entry.term;
      segment.end = record->end;
    }
    after_ = beyond(segment.number, segment.end, found_.last);
    found_.torn = after_.any;
  }

  // Whole records of the segment from `offset` on: whether there are any, and whether one says that more than `last`
  // was durable when it was written.
  struct Beyond {
    bool any = false;
    bool rotten = false;
  };
  Beyond beyond(uint64_t number, uint64_t offset, LogIndex last) const {
    Beyond result;
    for (; offset + sizeof(RecordHeader) <= file_.size(); offset += RECORD_ALIGNMENT) {
      auto record = parseMarkedRecord(file_, offset, number);
      if (record && record->entry.index > last) {
        result.any = true;
        result.rotten = result.rotten || LogIndex{record->header.synced} > last;
      }
    }
    return result;
  }

  Status checkEnd() const {
    if (found_.segments.empty()) {
      if (raw(synced_) > 0) {
        return Error{EIO, disk_.hostPath(options_.directory) + ": the log is gone: entry " +
                              std::to_string(raw(synced_)) + " was synced and there is no segment" + NEXT_STEP};
      }
      return {};
    }
    const auto& segment = found_.segments.back();
    if (after_.rotten || found_.last < synced_) {
      return damage(segment.number, segment.end,
                    "entry " + std::to_string(raw(found_.last) + 1) + " is damaged or gone, though it was synced");
    }
    return {};
  }

  Disk& disk_;
  const LogOptions& options_;
  LogIndex synced_;
  std::vector<uint64_t> files_;
  std::vector<uint64_t> unused_;
  kj::Array<kj::byte> file_;  // the one being looked at
  Beyond after_;              // of the last segment scanned
  FoundLog found_;
};

}  // namespace

Result<std::vector<uint64_t>> listSegments(Disk& disk, const LogOptions& options) {
  auto names = disk.list(options.directory);
  if (!names.ok()) {
    return names.error();
  }
  std::vector<uint64_t> numbers;
  for (const auto& name : names.value()) {
    auto number = segmentNumber(name);
    if (number) {
      numbers.push_back(*number);
    }
  }
  return numbers;
}

std::string markerPath(const LogOptions& options) {
  return options.directory + "/synced";
}

Result<LogIndex> findLastTrace(Disk& disk, const LogOptions& options) {
  auto numbers = listSegments(disk, options);
  if (!numbers.ok()) {
    return numbers.error();
  }
  auto marker = SyncedMarker::open(disk, markerPath(options));
  if (!marker.ok()) {
    return marker.error();
  }
  uint64_t last = raw(marker.value()->get());
  for (uint64_t number : numbers.value()) {
    auto read = readSegment(disk, options, number, UINT64_MAX);
    if (!read.ok()) {
      continue;  // the marker and the others must do
    }
    auto header = parseSegmentHeader(read.value(), number);
    last = std::max(last, header ? header->firstIndex - 1 : 0);
    for (uint64_t at = SEGMENT_HEADER_BYTES; at + sizeof(RecordHeader) <= read.value().size(); at += RECORD_ALIGNMENT) {
      auto record = parseMarkedRecord(read.value(), at, number);
      if (record) {
        last = std::max({last, raw(record->entry.index), record->header.synced});
      }
    }
  }
  return LogIndex{last};
}

Result<FoundLog> findLog(Disk& disk, const LogOptions& options, LogIndex synced) {
  return Finder(disk, options, synced).run();
}

Result<LogPlace> findPlace(Disk& disk, const LogOptions& options, const std::vector<LogSegment>& segments,
                           LogIndex index) {
  size_t found = segments.size();
  // Segments whose entries were all truncated hold nothing; the last that begins at or before the entry holds it.
  for (size_t i = 0; i < segments.size(); ++i) {
    if (segments[i].first <= index && segments[i].end > SEGMENT_HEADER_BYTES) {
      found = i;
    }
  }
  if (found == segments.size()) {
    return LogPlace{0, SEGMENT_HEADER_BYTES, segments.front().previousChain};
  }
  const auto& segment = segments[found];
  auto file = readSegment(disk, options, segment.number, segment.end);
  if (!file.ok()) {
    return file.error();
  }
  LogPlace place{found, SEGMENT_HEADER_BYTES, segment.previousChain};
  for (LogIndex at{raw(segment.first) - 1}; at < index; at = next(at)) {
    auto record = parseRecord(file.value(), place.end, segment.number);
    if (!record || !record->follows(at, place.chain)) {
      return Error{EIO, disk.hostPath(options.directory + "/" + segmentName(segment.number)) + ": offset " +
                            std::to_string(place.end) + ": entry " + std::to_string(raw(at) + 1) + " is damaged"};
    }
    place.end = record->end;
    place.chain = record->header.chain;
  }
  return place;
}

void cutAfter(std::vector<LogSegment>& segments, const LogPlace& place) {
  segments[place.segment].end = place.end;
  for (size_t i = place.segment + 1; i < segments.size(); ++i) {
    segments[i].end = SEGMENT_HEADER_BYTES;
  }
}

Result<kj::Array<kj::byte>> readSegment(Disk& disk, const LogOptions& options, uint64_t number, uint64_t bytes) {
  std::string path = options.directory + "/" + segmentName(number);
  auto opened = disk.open(path, Disk::Mode::READ);
  if (!opened.ok()) {
    return opened.error();
  }
  auto info = opened.value()->info();
  if (!info.ok()) {
    return info.error();
  }
  auto contents = kj::heapArray<kj::byte>(std::min(bytes, info.value().sizeBytes));
  auto got = opened.value()->readNow(0, contents);
  if (!got.ok()) {
    return got.error();
  }
  if (got.value() != contents.size()) {
    return Error{EIO, disk.hostPath(path) + ": ends early"};
  }
  return kj::mv(contents);
}

}  // namespace cairn
