#include "tools/recover/capsules.h"

#include <algorithm>
#include <cerrno>

namespace cairn::rescue {

namespace {

// How far on a file is searched for the next frame behind a damaged one, at each step.
constexpr size_t SEARCH_STEP = 8;  // frames are aligned
constexpr size_t SEARCH_BYTES = 1 << 20;

}  // namespace

void Capsules::add(Disk& disk, ClusterId cluster) {
  auto names = disk.list(CAPSULE_DIRECTORY);
  if (!names.ok()) {
    return;
  }
  for (auto& name : names.value()) {
    addFile(disk, std::string(CAPSULE_DIRECTORY) + "/" + name, cluster);
  }
}

void Capsules::addFile(Disk& disk, const std::string& path, ClusterId cluster) {
  auto file = disk.open(path, Disk::Mode::READ);
  auto info = file.ok() ? file.value()->info() : Result<FileInfo>(file.error());
  if (!info.ok() || info.value().sizeBytes > FILE_BYTES_MAX) {
    return;
  }
  auto window = kj::heapArray<kj::byte>(SEARCH_BYTES);
  for (uint64_t offset = 0; offset < info.value().sizeBytes;) {
    auto got = file.value()->readNow(offset, window);
    auto bytes = got.ok() ? frameBytes(window.slice(0, got.value())) : std::nullopt;
    kj::Array<kj::byte> whole;
    auto frame = Result<Frame>(Error{EUCLEAN, ""});
    if (bytes && *bytes <= info.value().sizeBytes - offset) {
      whole = kj::heapArray<kj::byte>(*bytes);
      auto read = file.value()->readNow(offset, whole);
      frame = checkFrame(whole.slice(0, read.ok() ? read.value() : 0));
    }
    if (frame.ok()) {
      if (frame.value().head.cluster == cluster) {
        take(frame.value(), {&disk, path, offset, *bytes});
      }
      offset += *bytes;
      continue;
    }
    // Search in what was read for the beginning of another one.
    size_t skipped = SEARCH_STEP;
    size_t end = got.ok() ? got.value() : 0;
    while (skipped + FRAME_HEADER_BYTES <= end && !frameBytes(window.slice(skipped, end))) {
      skipped += SEARCH_STEP;
    }
    offset += got.ok() ? std::max(skipped, SEARCH_STEP) : BLOCK_BYTES;
  }
}

void Capsules::take(const Frame& frame, Place place) {
  const FrameHead& head = frame.head;
  if (head.kind == FrameKind::TAIL) {
    auto& tail = tails_[head.capsule.epoch][head.first];
    if (tail.last < head.last) {
      tail = {head.last, head.seconds, std::move(place)};
    }
    return;
  }
  auto& capsule = capsules_[head.capsule];
  capsule.seconds = std::max(capsule.seconds, head.seconds);
  if (head.kind == FrameKind::END) {
    capsule.count = head.first;
  } else {
    capsule.pieces.emplace(head.first, std::move(place));
  }
}

const Capsules::Tail* Capsules::find(GroupEpoch epoch, uint64_t entry) const {
  auto tails = tails_.find(epoch);
  if (tails == tails_.end()) {
    return nullptr;
  }
  // Frames overlap: one that begins later may still end earlier.
  for (auto at = tails->second.upper_bound(entry); at != tails->second.begin();) {
    --at;
    if (at->second.last >= entry) {
      return &at->second;
    }
  }
  return nullptr;
}

std::optional<Capsules::Choice> Capsules::choose() const {
  std::optional<Choice> best;
  for (auto& [id, capsule] : capsules_) {
    if (!capsule.whole()) {
      continue;
    }
    Choice choice{id, id.index, capsule.seconds};
    while (const Tail* tail = find(id.epoch, raw(choice.end) + 1)) {
      choice.end = LogIndex{tail->last};
      choice.seconds = std::max(choice.seconds, tail->seconds);
    }
    // They come in order, so of two that end alike the later capsule is taken: less is to be done again.
    if (!best || id.epoch > best->capsule.epoch || choice.end >= best->end) {
      best = choice;
    }
  }
  return best;
}

Result<kj::Array<kj::byte>> Capsules::load(const Place& place) {
  auto file = place.disk->open(place.path, Disk::Mode::READ);
  if (!file.ok()) {
    return file.error();
  }
  auto bytes = kj::heapArray<kj::byte>(place.bytes);
  auto got = file.value()->readNow(place.offset, bytes);
  auto frame = got.ok() ? checkFrame(bytes.slice(0, got.value())) : Result<Frame>(got.error());
  if (!frame.ok()) {
    return frame.error();
  }
  return contentOf(frame.value());
}

Status Capsules::writeSnapshot(const CapsuleId& id, File& to) const {
  uint64_t offset = 0;
  for (auto& [number, place] : capsules_.at(id).pieces) {
    auto content = load(place);
    if (!content.ok()) {
      return content.error();
    }
    auto written = to.write(offset, content.value());
    if (!written.ok()) {
      return written;
    }
    offset += content.value().size();
  }
  return to.syncNow();
}

Status Capsules::readTail(const Choice& choice,
                          kj::FunctionParam<Status(LogIndex, Term, kj::ArrayPtr<const kj::byte>)> each) const {
  LogIndex at = choice.capsule.index;
  while (at < choice.end) {
    const Tail* tail = find(choice.capsule.epoch, raw(at) + 1);
    KJ_ASSERT(tail != nullptr);
    auto content = load(tail->place);
    if (!content.ok()) {
      return content.error();
    }
    LogIndex before = at;
    auto read = readTailEntries(content.value(), [&](LogIndex index, Term term, kj::ArrayPtr<const kj::byte> payload) {
      if (index <= at) {
        return Status();
      }
      if (index != next(at)) {
        return Status(Error{EUCLEAN, "a log tail lacks entry " + std::to_string(raw(at) + 1)});
      }
      at = index;
      return each(index, term, payload);
    });
    if (!read.ok()) {
      return read;
    }
    if (at == before) {
      return Error{EUCLEAN, "a log tail lacks entry " + std::to_string(raw(at) + 1)};
    }
  }
  return {};
}

}  // namespace cairn::rescue
