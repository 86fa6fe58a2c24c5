// The operations of Client that change a file's size, times or holes, and must keep their order with buffered writes.
#include <algorithm>
#include <memory>

#include "fuse-client/client/client_impl.h"

namespace cairn {
namespace {

constexpr uint64_t ANYWHERE = UINT64_MAX;

bool setsTime(const AttributeChange& change) { return (change.which & (SET_MODIFIED | SET_MODIFIED_NOW)) != 0; }

}  // namespace

Task<Result<Attributes>> Client::Impl::setAttributes(kj::Own<Inode> inode, AttributeChange change, Caller caller) {
  std::unique_ptr<WriteBuffer::Pause> pause;
  bool resizes = (change.which & SET_SIZE) != 0;
  if (resizes) {
    pause = std::make_unique<WriteBuffer::Pause>(buffer, *inode);
    co_await pause->ready();
  }
  // A report under way could bring an earlier time, or a size that the truncation has just taken back.
  SizeReporter::Block block(reporter, *inode);
  co_await block.ready();
  if (resizes && (change.which & SET_ONLY_GROW) == 0) {
    Status told = co_await tellWrittenEnd(*inode, change.sizeBytes, caller);
    if (!told.ok()) {
      co_return told.error();
    }
  }
  const uint64_t before = inode->report.change;
  auto reply = co_await sendAttributes(inode->id, change, caller);
  if (!reply.ok()) {
    co_return reply.error();
  }
  if (resizes && (change.which & SET_ONLY_GROW) == 0) {
    // Only now: had it failed, the buffered bytes would still be wanted.
    uint64_t dead = change.sizeBytes;
    buffer.dropDirty(*inode, dead, ANYWHERE);
    unsynced.drop(*inode, dead, ANYWHERE);
    inode->truncated(dead);
    inode->invalidate(dead, ANYWHERE);
  }
  if ((setsTime(change) || resizes) && inode->report.change == before) {
    inode->report.modified = inode->committed().modified;
  }
  co_return inode->effective();
}

// A truncation cuts off only what the master knows of. Bytes may have reached the chunkservers whose size has not been
// reported; unless the master hears of them first, a later extension would show them.
Task<Status> Client::Impl::tellWrittenEnd(Inode& inode, uint64_t newSizeBytes, Caller caller) {
  if (newSizeBytes == 0 || inode.report.end <= std::max(inode.committed().sizeBytes, newSizeBytes)) {
    co_return Status();  // an emptied file gets a new object
  }
  caller.request = 0;  // this isn't what was asked for
  AttributeChange known;
  known.which = SET_SIZE | SET_ONLY_GROW;
  known.sizeBytes = inode.report.end;
  known.held = true;
  auto reply = co_await sendAttributes(inode.id, known, caller);
  if (!reply.ok()) {
    co_return reply.error();
  }
  co_return Status();
}

Task<Status> Client::Impl::grow(kj::Own<Inode> inode, uint64_t sizeBytes) {
  if (sizeBytes <= inode->effectiveSize()) {
    co_return Status();
  }
  AttributeChange change;
  change.which = SET_SIZE | SET_ONLY_GROW;
  change.sizeBytes = sizeBytes;
  change.held = true;
  Caller nobody;
  auto reply = co_await setAttributes(kj::mv(inode), change, nobody);
  if (!reply.ok()) {
    co_return reply.error();
  }
  co_return Status();
}

Task<Status> Client::Impl::zero(kj::Own<Inode> inode, uint64_t from, uint64_t to, bool mayGrow) {
  {
    WriteBuffer::Pause pause(buffer, *inode);
    co_await pause.ready();
    // Beyond the end there are only holes already. What buffered bytes added to the size stays.
    uint64_t stop = std::min(to, inode->effectiveSize());
    if (stop > inode->committed().sizeBytes) {
      inode->report.end = std::max(inode->report.end, stop);
    }
    buffer.dropDirty(*inode, from, to);
    FileTime now = fileTime(context.clock.wall());
    inode->written(0, now);
    if (from < stop) {
      Status done = co_await buffer.punch(kj::addRef(*inode), from, stop);
      if (!done.ok()) {
        co_return done;
      }
    } else {
      reporter.due(*inode, !inode->hasUnsent());
    }
  }
  if (mayGrow) {
    co_return co_await grow(kj::mv(inode), to);
  }
  co_return Status();
}

Task<Status> Client::allocate(HandleId id, AllocateMode mode, uint64_t offset, uint64_t length) {
  auto found = impl_->handle(id);
  if (!found.ok()) {
    co_return found.error();
  }
  auto handle = kj::mv(found).value();
  if (length == 0 || offset + length < offset) {
    co_return Error{length == 0 ? EINVAL : EFBIG, "nothing, or more than there can be"};
  }
  auto use = co_await impl_->bytes.enter(kj::addRef(*handle->inode), true);
  if (!use.ok()) {
    co_return use.error();
  }
  const uint64_t end = offset + length;
  if (mode != AllocateMode::ALLOCATE && mode != AllocateMode::KEEP_SIZE) {
    auto work = impl_->zero(kj::addRef(*handle->inode), offset, end, mode == AllocateMode::ZERO).promise();
    auto kept = work.attach(kj::mv(use.value()));  // its program may not wait for the end
    co_return co_await impl_->toTheEnd(kj::mv(kept));
  }
  // Blocks aren't set aside; but what can't fit is refused now rather than at some write.
  auto space = co_await this->space(handle->inode->id);
  if (!space.ok()) {
    co_return space.error();
  }
  // A quota has all that is within the file's size charged already.
  const bool quota = raw(handle->inode->committed().quotaRoot) != 0;
  const uint64_t size = handle->inode->effectiveSize();
  const uint64_t wanted = quota ? end - std::min(end, size) : length;
  if (wanted > space.value().availableBytes) {
    co_return Error{quota ? EDQUOT : ENOSPC, "the cluster, or a quota, hasn't that much space left"};
  }
  if (mode == AllocateMode::KEEP_SIZE) {
    co_return Status();
  }
  auto work = impl_->grow(kj::addRef(*handle->inode), end).promise();
  auto kept = work.attach(kj::mv(use.value()));
  co_return co_await impl_->toTheEnd(kj::mv(kept));
}

Task<Result<uint64_t>> Client::seek(HandleId id, uint64_t offset, Whence whence) {
  auto found = impl_->handle(id);
  if (!found.ok()) {
    co_return found.error();
  }
  auto handle = kj::mv(found).value();
  Inode& inode = *handle->inode;
  auto use = co_await impl_->bytes.enter(kj::addRef(inode), false);
  if (!use.ok()) {
    co_return use.error();
  }
  if (offset >= inode.effectiveSize()) {
    co_return Error{ENXIO, "past the end"};
  }
  co_await impl_->buffer.drained(kj::addRef(inode));  // only the chunkservers know what is allocated
  const uint64_t size = inode.effectiveSize();
  const uint8_t bits = inode.layout().chunkBits;
  uint64_t at = offset;
  while (at < size) {
    uint32_t chunk = static_cast<uint32_t>(at >> bits);
    auto bitmap = co_await impl_->io.allocated(inode, chunk);
    if (!bitmap.ok()) {
      co_return bitmap.error();
    }
    const uint64_t start = uint64_t{chunk} << bits;
    const uint64_t stop = std::min(size, uint64_t{chunk + 1} << bits);
    const auto& map = bitmap.value();
    while (at < stop) {
      uint64_t block = (at - start) / BLOCK_BYTES;
      bool isData = block / 8 < map.size() && (map[block / 8] >> (block % 8) & 1) != 0;
      if (isData == (whence == Whence::DATA)) {
        co_return at;
      }
      at = start + (block + 1) * BLOCK_BYTES;
    }
    at = std::min(at, stop);
  }
  if (whence == Whence::HOLE) {
    co_return size;  // the end of a file counts as a hole
  }
  co_return Error{ENXIO, "no data after this"};
}

}  // namespace cairn
