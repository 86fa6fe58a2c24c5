// Reading and writing of Client.
#include <algorithm>
#include <cstring>

#include "fuse-client/client/client_impl.h"

namespace cairn {
namespace {

// Slices of a file in order, later ones over earlier ones.
class Overlay {
 public:
  void put(Slice slice) {
    uint64_t from = slice.offset, to = slice.end();
    auto it = slices_.upper_bound(from);
    if (it != slices_.begin() && std::prev(it)->second.end() > from) {
      --it;
    }
    while (it != slices_.end() && it->first < to) {
      Slice old = kj::mv(it->second);
      it = slices_.erase(it);
      if (old.offset < from) {
        slices_.emplace(old.offset, old.part(old.offset, from));
      }
      if (old.end() > to) {
        slices_.emplace(to, old.part(to, old.end()));
      }
    }
    slices_.emplace(from, kj::mv(slice));
  }

  // All of [from, to); what no slice has is zeros.
  ReadData take(uint64_t from, uint64_t to) {
    ReadData out;
    for (auto& [offset, slice] : slices_) {
      uint64_t first = std::max(offset, from), last = std::min(slice.end(), to);
      if (first >= last) {
        continue;
      }
      if (first > from) {
        out.addZeros(first - from);
      }
      Slice part = slice.part(first, last);
      if (part.bytes == nullptr) {
        out.addZeros(part.length);
      } else {
        out.add(kj::arrayPtr(part.bytes, part.length), kj::mv(part.owner));
      }
      from = last;
    }
    if (from < to) {
      out.addZeros(to - from);
    }
    return out;
  }

 private:
  std::map<uint64_t, Slice> slices_;
};

void addBuffered(std::vector<Slice>& out, const ExtentMap& map, uint64_t from, uint64_t to) {
  for (auto& extent : map.slices(from, to)) {
    Slice slice;
    slice.offset = extent.offset;
    slice.length = extent.length;
    if (!extent.isHole()) {
      slice.bytes = extent.bytes().begin();
      slice.owner = kj::mv(extent.buffer);
    }
    out.push_back(kj::mv(slice));
  }
}

// Owns bytes that were copied together.
struct Joined final : public kj::Refcounted {
  explicit Joined(kj::Array<kj::byte> bytes) : bytes(kj::mv(bytes)) {}
  kj::Array<kj::byte> bytes;
};

constexpr size_t PARTS_MAX = 256;  // of one ReadData; more are copied together

ReadData withFewParts(ReadData data, size_t most) {
  if (data.parts().size() <= most) {
    return data;
  }
  auto joined = kj::refcounted<Joined>(data.joined());
  ReadData out;
  auto bytes = joined->bytes.asPtr();
  out.add(bytes, kj::mv(joined));
  return out;
}

}  // namespace

Task<Result<ReadData>> Client::read(HandleId id, uint64_t offset, uint32_t length) {
  auto found = impl_->handle(id);
  if (!found.ok()) {
    co_return found.error();
  }
  auto handle = kj::mv(found).value();
  for (;;) {
    auto use = co_await impl_->bytes.enter(kj::addRef(*handle->inode), false);
    if (!use.ok()) {
      co_return use.error();
    }
    auto data = co_await impl_->read(*handle, offset, length);
    if (!data.ok() || use.value()->stands()) {
      bool counts = data.ok() && (handle->bits & OPEN_NO_ACCESS_TIME) == 0;
      if (counts) {
        impl_->readTimes.read(*handle->inode);
      }
      co_return kj::mv(data);
    }
  }
}

// REQUIRES: the right to read.
Task<Result<ReadData>> Client::Impl::read(Handle& handle, uint64_t offset, uint32_t length) {
  if (handle.locksLost) {  // perhaps only now, while it waited for that right
    co_return lostLocks();
  }
  Inode& inode = *handle.inode;
  const uint64_t size = inode.effectiveSize();
  if (offset >= size || length == 0) {
    co_return ReadData();
  }
  const uint64_t end = std::min(size, offset + length);
  // What is buffered now belongs to this read, even if it has been acknowledged when the chunkserver's bytes arrive.
  std::vector<Slice> buffered;
  addBuffered(buffered, inode.writes.lostHoles, offset, end);
  addBuffered(buffered, inode.writes.underWay, offset, end);
  addBuffered(buffered, inode.writes.dirty, offset, end);
  Overlay overlay;
  bool wholly = inode.writes.dirty.covers(offset, end) || inode.writes.underWay.covers(offset, end);
  if (!wholly) {
    if (handle.readAhead.get() == nullptr) {
      handle.readAhead = kj::heap<ReadAhead>(context, io, budget, kj::addRef(inode));
    }
    auto stored = co_await handle.readAhead->read(offset, end - offset, size);
    if (!stored.ok()) {
      co_return stored.error();
    }
    for (auto& slice : stored.value()) {
      overlay.put(kj::mv(slice));
    }
  }
  for (auto& slice : buffered) {
    overlay.put(kj::mv(slice));
  }
  context.stats.bytesRead += end - offset;
  co_return withFewParts(overlay.take(offset, end), PARTS_MAX);
}

Task<Result<uint64_t>> Client::write(HandleId id, uint64_t offset, kj::ArrayPtr<const kj::byte> data, bool inPlace) {
  auto found = impl_->handle(id);
  if (!found.ok()) {
    co_return found.error();
  }
  auto handle = kj::mv(found).value();
  if (data.size() == 0) {
    co_return uint64_t{0};
  }
  uint64_t written = 0;
  {
    auto use = co_await impl_->bytes.enter(kj::addRef(*handle->inode), true);
    if (!use.ok()) {
      co_return use.error();
    }
    auto accepted = co_await impl_->accept(*handle, offset, data, inPlace);
    if (!accepted.ok()) {
      co_return accepted.error();
    }
    written = accepted.value();
  }
  Inode& inode = *handle->inode;
  bool durable = (handle->bits & OPEN_SYNC) != 0 || impl_->context.options.synchronous;
  if (durable) {
    co_await impl_->sync.sync(kj::addRef(inode), false);
  } else if (impl_->buffer.isSpaceShort()) {
    co_await impl_->buffer.drained(kj::addRef(inode));
  }
  if (durable || impl_->buffer.isSpaceShort()) {
    handle->errorsAtWrite = std::max(handle->errorsAtWrite, handle->errorsSeen);
    Status failed = inode.errorSince(handle->errorsAtWrite);
    if (!failed.ok()) {
      ++impl_->context.stats.errorsReported;
      co_return failed.error();
    }
  }
  co_return written;
}

// REQUIRES: the right to write. So the end of the file is where everybody's last append ended.
Task<Result<uint64_t>> Client::Impl::accept(Handle& handle, uint64_t offset, kj::ArrayPtr<const kj::byte> data,
                                            bool inPlace) {
  if (handle.locksLost) {
    co_return lostLocks();
  }
  Inode& inode = *handle.inode;
  const bool append = (handle.bits & OPEN_APPEND) != 0 && !inPlace;
  const uint64_t most = uint64_t{UINT32_MAX} << inode.layout().chunkBits;  // chunks have 32-bit numbers
  const uint64_t from = append ? inode.effectiveSize() : offset;
  if (from > most || data.size() > most - from) {
    co_return Error{EFBIG, "beyond the largest file that this chunk size allows"};
  }
  std::optional<uint64_t> where;
  if (!append) {
    where = offset;
  }
  co_return co_await buffer.write(kj::addRef(inode), where, data, inPlace);
}

Task<Result<uint64_t>> Client::copyRange(HandleId from, uint64_t fromOffset, HandleId to, uint64_t toOffset,
                                         uint64_t length) {
  uint64_t copied = 0;
  length = std::min(length, COPY_BYTES_MAX);
  while (copied < length) {
    uint32_t step = static_cast<uint32_t>(std::min(length - copied, COPY_STEP_BYTES));
    auto data = co_await read(from, fromOffset + copied, step);
    if (!data.ok() || data.value().sizeBytes() == 0) {
      if (!data.ok() && copied == 0) {
        co_return data.error();
      }
      break;
    }
    auto bytes = data.value().joined();
    auto written = co_await write(to, toOffset + copied, bytes);
    if (!written.ok()) {
      if (copied == 0) {
        co_return written.error();
      }
      break;
    }
    copied += written.value();
    if (written.value() < bytes.size()) {
      break;
    }
  }
  co_return copied;
}

}  // namespace cairn
