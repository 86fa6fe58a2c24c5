#include "chunkserver/history_fence.h"

#include <cerrno>

#include "chunkserver/store/codec.h"
#include "common/checksum.h"

namespace cairn {
namespace {

constexpr const char* FILE_NAME = "history";
constexpr uint64_t MAGIC = 0x31545349484e5243;  // "CRNHIST1"
constexpr size_t FIELDS = 6;

}  // namespace

Status HistoryFence::open() {
  if (!disk_.exists(FILE_NAME)) {
    return {};
  }
  auto opened = disk_.open(FILE_NAME, Disk::Mode::READ_WRITE);
  if (!opened.ok()) {
    return opened.error();
  }
  file_ = kj::mv(opened.value());
  auto bytes = kj::heapArray<kj::byte>(2 * SLOT_BYTES);
  auto got = file_->readNow(0, bytes);
  if (!got.ok()) {
    return got.error();
  }
  auto text = asText(bytes.slice(0, got.value()));
  bool any = decode(text.substr(0, SLOT_BYTES));
  any = decode(text.substr(std::min<size_t>(SLOT_BYTES, text.size()))) || any;
  if (!any && got.value() > SLOT_BYTES) {
    return Error{EINVAL, disk_.hostPath(FILE_NAME) +
                             " is damaged: it says how far the masters have come. If you are sure that these are the "
                             "right masters, remove it and start again"};
  }
  return {};
}

// Takes the slot when it is whole and newer.
bool HistoryFence::decode(std::string_view slot) {
  if (slot.size() < (FIELDS + 1) * sizeof(uint64_t)) {
    return false;
  }
  FieldReader in(slot);
  uint64_t magic = in.get<uint64_t>();
  uint64_t writes = in.get<uint64_t>();
  HistoryPoint point;
  point.epoch = GroupEpoch{in.get<uint64_t>()};
  point.term = Term{in.get<uint64_t>()};
  point.drawn = in.get<uint64_t>();
  point.index = LogIndex{in.get<uint64_t>()};
  uint64_t sum = in.get<uint64_t>();
  if (magic != MAGIC || sum != hash64(asBytes(slot.substr(0, FIELDS * sizeof(uint64_t))))) {
    return false;
  }
  if (writes > writes_) {
    writes_ = writes;
    obeyed_ = noted_ = point;
  }
  return true;
}

std::string HistoryFence::encode() const {
  std::string out;
  FieldWriter fields(out);
  fields.put(MAGIC);
  fields.put(writes_);
  fields.put(raw(obeyed_.epoch));
  fields.put(raw(obeyed_.term));
  fields.put(obeyed_.drawn);
  fields.put(raw(obeyed_.index));
  fields.put(hash64(asBytes(out)));
  out.resize(SLOT_BYTES);
  return out;
}

bool HistoryFence::obeys(const HistoryPoint& master) {
  if (!follows(master, obeyed_)) {
    return false;
  }
  obeyed_ = master;
  return true;
}

Task<Status> HistoryFence::note() {
  if (isNoted()) {
    co_return Status();
  }
  bool isNew = file_.get() == nullptr;
  if (isNew) {
    auto opened = disk_.open(FILE_NAME, Disk::Mode::CREATE);
    if (!opened.ok()) {
      co_return opened.error();
    }
    file_ = kj::mv(opened.value());
  }
  HistoryPoint noting = obeyed_;
  ++writes_;
  auto slot = encode();
  auto written = file_->write(writes_ % 2 * SLOT_BYTES, asBytes(slot));
  if (!written.ok()) {
    co_return written;
  }
  auto synced = co_await file_->sync();
  if (synced.ok() && isNew) {
    synced = disk_.syncDirectoryNow(".");
  }
  if (synced.ok()) {
    noted_ = noting;
  }
  co_return synced;
}

}  // namespace cairn
