#include "fuse-client/client/write_buffer.h"

#include <algorithm>

#include "common/log.h"

namespace cairn {

WriteBuffer::WriteBuffer(Context& context, BufferPool& pool, ChunkIo& io, SizeReporter& reporter, Unsynced& unsynced,
                         QuotaBook& quotas, const SessionId& session)
    : context_(context),
      pool_(pool),
      io_(io),
      reporter_(reporter),
      unsynced_(unsynced),
      quotas_(quotas),
      session_(session),
      tasks_(*this) {
  unsynced_.setResender(*this);
}

WriteBuffer::~WriteBuffer() noexcept(false) = default;

void WriteBuffer::taskFailed(kj::Exception&& e) {
  spdlog::error("write-behind failed: {}", kj::str(e).cStr());
}

// ---- accepting ----------------------------------------------------------------------------------

uint64_t WriteBuffer::unitOf(const Inode& inode) const {
  return std::min<uint64_t>(MESSAGE_BYTES_MAX, uint64_t{1} << inode.layout().chunkBits);
}

Task<Result<uint64_t>> WriteBuffer::write(kj::Own<Inode> inode, std::optional<uint64_t> offset,
                                          kj::ArrayPtr<const kj::byte> data, bool wholly) {
  uint64_t from = 0;
  for (;;) {
    co_await untilAccepting(*inode, data.size());
    from = offset.value_or(inode->effectiveSize());
    if (quotas_.reach(*inode, from + data.size()) == from + data.size()) {
      break;
    }
    Status granted = co_await quotas_.ask(kj::addRef(*inode), from + data.size());
    if (granted.ok()) {
      continue;
    }
    from = offset.value_or(inode->effectiveSize());
    const uint64_t reach = quotas_.reach(*inode, from + data.size());
    if (granted.code() != EDQUOT || wholly || reach <= from) {
      co_return granted.error();
    }
    data = data.slice(0, reach - from);
  }
  const uint64_t to = from + data.size();
  quotas_.claim(*inode, to);
  FileWrites& writes = inode->writes;
  context_.stats.dirtyBytes -= writes.dirty.bytes();
  writes.dirty.write(pool_, from, data, unitOf(*inode), ++writes.lastWrite);
  context_.stats.dirtyBytes += writes.dirty.bytes();
  writes.lostHoles.erase(from, to);
  context_.stats.bytesWritten += data.size();
  inode->written(to, fileTime(context_.clock.wall()));
  inode->invalidate(from, to);
  list(*inode);
  if (from / unitOf(*inode) != to / unitOf(*inode)) {
    pump(*inode);  // a message's worth is complete
  }
  if (context_.stats.dirtyBytes > context_.options.limits.dirtyBytesMax / 2) {
    drainOldest();
  }
  co_return uint64_t{data.size()};
}

bool WriteBuffer::mayAccept(const Inode& inode, uint64_t bytes) const {
  uint64_t dirty = context_.stats.dirtyBytes;
  return !inode.writes.paused && (dirty == 0 || dirty + bytes <= context_.options.limits.dirtyBytesMax);
}

Task<void> WriteBuffer::untilAccepting(Inode& inode, uint64_t bytes) {
  if (mayAccept(inode, bytes)) {
    co_return;
  }
  Waits::Note note(context_.waits, [this, &inode](Wait& out) {
    out.inodes = {inode.id};
    out.what = inode.writes.paused ? "turn" : "room";
    out.text = inode.writes.paused ? std::string("a call that changes the file's size or holes")
                                   : fmt::format("room for written bytes: {} MiB of this mount wait for chunkservers",
                                                 context_.stats.dirtyBytes >> 20);
    out.end = inode.writes.paused ? "the end of that call" : "chunkservers taking some of them";
  });
  while (!mayAccept(inode, bytes)) {
    if (inode.writes.paused) {
      co_await inode.writes.changed.wait();
    } else {
      drainOldest();
      co_await room_.wait();
    }
  }
}

void WriteBuffer::list(Inode& inode) {
  FileWrites& writes = inode.writes;
  if (writes.listed) {
    return;
  }
  writes.listed = true;
  writes.dirtySince = context_.clock.monotonic();
  dirtyFiles_.push_back(kj::addRef(inode));
  if (!ticking_) {
    ticking_ = true;
    tasks_.add(tick().promise());
  }
}

// Files leave the list here, and what is old leaves the client.
Task<void> WriteBuffer::tick() {
  while (!dirtyFiles_.empty()) {
    co_await context_.clock.after(TICK);
    Nanos now = context_.clock.monotonic();
    for (size_t left = dirtyFiles_.size(); left > 0; --left) {
      auto inode = kj::mv(dirtyFiles_.front());
      dirtyFiles_.pop_front();
      if (!inode->hasUnsent()) {
        inode->writes.listed = false;
        continue;
      }
      if (now - inode->writes.dirtySince >= WRITE_DELAY) {
        inode->writes.dirtySince = now;
        startDrain(*inode);
      }
      dirtyFiles_.push_back(kj::mv(inode));
    }
  }
  ticking_ = false;
}

// Lets the files that have waited longest leave, until no more than half the bound stays behind.
void WriteBuffer::drainOldest() {
  uint64_t staying = context_.stats.dirtyBytes;
  for (auto& inode : dirtyFiles_) {
    if (staying <= context_.options.limits.dirtyBytesMax / 2) {
      return;
    }
    FileWrites& writes = inode->writes;
    staying -= std::min(staying, writes.dirty.bytes() + writes.underWay.bytes());
    if (!writes.dirty.empty() && writes.drainUpTo < writes.lastWrite) {
      startDrain(*inode);
    }
  }
}

std::vector<kj::Own<Inode>> WriteBuffer::dirtyFiles() const {
  std::vector<kj::Own<Inode>> out;
  for (auto& inode : dirtyFiles_) {
    if (inode->hasUnsent()) {
      out.push_back(kj::addRef(*const_cast<Inode*>(inode.get())));
    }
  }
  return out;
}

// ---- sending ------------------------------------------------------------------------------------

void WriteBuffer::startDrain(Inode& inode) {
  inode.writes.drainUpTo = inode.writes.lastWrite;
  pump(inode);
}

Task<void> WriteBuffer::drained(kj::Own<Inode> inode) {
  FileWrites& writes = inode->writes;
  const uint64_t target = writes.lastWrite;
  auto waits = [&writes, target] {
    auto old = [target](const auto& item) { return item.second.sequence <= target; };
    auto& dirty = writes.dirty.extents();
    auto& underWay = writes.underWay.extents();
    return !writes.lostHoles.empty() || std::any_of(dirty.begin(), dirty.end(), old) ||
           std::any_of(underWay.begin(), underWay.end(), old);
  };
  startDrain(*inode);
  while (waits()) {
    co_await writes.changed.wait();
  }
}

bool WriteBuffer::mountHasRoom() const {
  return raw(session_) != 0 && underWayBytes_ < UNDER_WAY_MAX && unsynced_.hasRoom(underWayBytes_ + MESSAGE_BYTES_MAX);
}

void WriteBuffer::pump(Inode& inode) {
  FileWrites& writes = inode.writes;
  writes.window = std::max(writes.window, WINDOW_FIRST);
  while (!writes.paused && writes.calls < writes.window && !writes.dirty.empty()) {
    if (!mountHasRoom()) {
      if (!writes.stalled) {
        writes.stalled = true;
        stalled_.push_back(kj::addRef(inode));
      }
      if (!unsynced_.hasRoom(underWayBytes_ + MESSAGE_BYTES_MAX)) {
        unsynced_.makeRoom();
      }
      return;
    }
    auto pieces = takeDue(inode);
    if (pieces.empty()) {
      return;
    }
    start(inode, kj::mv(pieces), false);
  }
}

void WriteBuffer::pumpStalled() {
  for (size_t left = stalled_.size(); left > 0 && mountHasRoom(); --left) {
    auto inode = kj::mv(stalled_.front());
    stalled_.pop_front();
    inode->writes.stalled = false;
    pump(*inode);
  }
}

bool WriteBuffer::isDue(const Inode& inode, const Extent& extent) const {
  const FileWrites& writes = inode.writes;
  bool wanted = extent.sequence <= writes.drainUpTo || extent.end() % unitOf(inode) == 0;
  return wanted && !writes.underWay.overlaps(extent.offset, extent.end());
}

// The next pieces of one chunk that may and should leave, out of the dirty ones. Empty: none.
std::vector<Extent> WriteBuffer::takeDue(Inode& inode) {
  ExtentMap& dirty = inode.writes.dirty;
  const uint8_t bits = inode.layout().chunkBits;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  uint64_t bytes = 0;
  for (auto& [offset, extent] : dirty.extents()) {
    if (!ranges.empty() && offset >> bits != ranges[0].first >> bits) {
      break;
    }
    if (!isDue(inode, extent)) {
      continue;
    }
    if (ranges.size() == PIECES_MAX || bytes + extent.length > MESSAGE_BYTES_MAX) {
      break;
    }
    ranges.emplace_back(offset, extent.end());
    bytes += extent.length;
  }
  std::vector<Extent> pieces;
  for (auto& [from, to] : ranges) {
    for (auto& piece : dirty.take(from, to)) {
      pieces.push_back(kj::mv(piece));
    }
  }
  return pieces;
}

bool WriteBuffer::startDurable(Inode& inode) {
  FileWrites& writes = inode.writes;
  const uint8_t bits = inode.layout().chunkBits;
  if (writes.paused || writes.dirty.empty() || !writes.underWay.empty() || !writes.unsynced.empty() ||
      writes.calls > 0 || writes.dirty.bytes() > DURABLE_BYTES_MAX || writes.dirty.count() > PIECES_MAX ||
      !mountHasRoom()) {
    return false;
  }
  if (writes.dirty.extents().begin()->first >> bits != (writes.dirty.end() - 1) >> bits) {
    return false;
  }
  start(inode, writes.dirty.take(0, UINT64_MAX), true);
  return true;
}

void WriteBuffer::start(Inode& inode, std::vector<Extent> pieces, bool durable) {
  FileWrites& writes = inode.writes;
  Batch batch;
  batch.session = session_;
  batch.chunk = static_cast<uint32_t>(pieces[0].offset >> inode.layout().chunkBits);
  batch.durable = durable;
  for (auto& piece : pieces) {
    batch.bytes += piece.length;
    writes.underWay.put(piece.slice(piece.offset, piece.end()));
  }
  batch.pieces = kj::mv(pieces);
  underWayBytes_ += batch.bytes;
  ++writes.calls;
  tasks_.add(send(kj::addRef(inode), kj::mv(batch)).promise());
}

Task<void> WriteBuffer::send(kj::Own<Inode> inode, Batch batch) {
  std::vector<Extent> pieces;
  for (auto& piece : batch.pieces) {
    pieces.push_back(piece.slice(piece.offset, piece.end()));
  }
  auto reply = co_await io_.write(*inode, batch.chunk, batch.session, kj::mv(pieces), batch.durable);
  for (auto& piece : batch.pieces) {
    inode->writes.underWay.erase(piece.offset, piece.end());
    inode->invalidate(piece.offset, piece.end());
  }
  underWayBytes_ -= batch.bytes;
  context_.stats.dirtyBytes -= batch.bytes;
  if (reply.ok()) {
    acknowledged(*inode, batch, kj::mv(reply).value());
  } else {
    failed(*inode, batch, reply.error());
  }
  callEnded(*inode);
}

void WriteBuffer::acknowledged(Inode& inode, Batch& batch, Acknowledged reply) {
  FileWrites& writes = inode.writes;
  spaceShort_ = false;
  reply.verifiers->order = ++acknowledgements_;
  uint64_t end = batch.pieces.back().end();
  for (auto& piece : batch.pieces) {
    if (batch.durable || inode.gone) {
      unsynced_.drop(inode, piece.offset, piece.end());
    } else {
      piece.acknowledged = kj::addRef(*reply.verifiers);
      unsynced_.keep(inode, kj::mv(piece));
    }
  }
  if (batch.bytes >= MESSAGE_BYTES_MAX / 2) {
    writes.window = std::min(writes.window + 1, WINDOW_MAX);
  }
  if (inode.gone) {
    return;  // there is nobody to tell of it
  }
  if (end > inode.committed().sizeBytes) {
    inode.report.end = std::max(inode.report.end, end);
  }
  inode.report.allocatedDelta += reply.allocatedDelta;
  reporter_.due(inode, !inode.hasUnsent());
}

void WriteBuffer::failed(Inode& inode, const Batch& batch, const Error& error) {
  if (error.code == ESTALE || inode.gone) {
    spdlog::debug("{} bytes for inode {} dropped: {}", batch.bytes, raw(inode.id), error.why);
    return;
  }
  spaceShort_ = spaceShort_ || error.code == ENOSPC;
  spdlog::error("{} bytes at {} of inode {} are lost: {}", batch.bytes, batch.pieces[0].offset, raw(inode.id),
                error.why);
  if (batch.session == session_) {  // else its writers have been told that the session ended
    inode.fail(error);
  }
}

void WriteBuffer::callEnded(Inode& inode) {
  --inode.writes.calls;
  inode.noteSafety();
  inode.writes.changed.raise();
  room_.raise();
  pump(inode);
  pumpStalled();
}

// ---- giving up ----------------------------------------------------------------------------------

void WriteBuffer::dropDirty(Inode& inode, uint64_t from, uint64_t to) {
  ExtentMap& dirty = inode.writes.dirty;
  context_.stats.dirtyBytes -= dirty.bytes();
  dirty.erase(from, to);
  context_.stats.dirtyBytes += dirty.bytes();
  inode.writes.lostHoles.erase(from, to);
  room_.raise();
}

void WriteBuffer::forget(Inode& inode) {
  inode.gone = true;
  dropDirty(inode, 0, UINT64_MAX);
  unsynced_.forget(inode);
  inode.report.reported = inode.report.change;
  inode.report.end = inode.report.promised = 0;
  inode.report.allocatedDelta = 0;
  inode.noteSafety();
  inode.report.changed.raise();
  inode.writes.changed.raise();
  pumpStalled();
}

void WriteBuffer::sessionLost(std::vector<kj::Own<Inode>> inodes, const Error& error) {
  for (auto& inode : inodes) {
    FileWrites& writes = inode->writes;
    // What is under way fails by itself. Sizes and times go too: told under the next session they would be believed.
    bool untold = inode->hasLocalChanges();
    if (!untold && writes.unsynced.empty()) {
      continue;
    }
    dropDirty(*inode, 0, UINT64_MAX);
    unsynced_.forget(*inode);
    inode->report.end = inode->report.promised = 0;
    inode->report.reported = inode->report.change;
    inode->fail(error);
    inode->report.changed.raise();
    writes.changed.raise();
  }
}

// ---- pauses and punches -------------------------------------------------------------------------

WriteBuffer::Pause::~Pause() noexcept(false) {
  if (mine_) {
    inode_->writes.paused = false;
    inode_->writes.changed.raise();
    buffer_.pump(*inode_);
  }
}

Task<void> WriteBuffer::Pause::ready() {
  FileWrites& writes = inode_->writes;
  while (writes.paused) {
    co_await writes.changed.wait();
  }
  writes.paused = mine_ = true;
  while (writes.calls > 0) {
    co_await writes.changed.wait();
  }
}

Task<Status> WriteBuffer::punch(kj::Own<Inode> inode, uint64_t from, uint64_t to) {
  const uint64_t chunkBytes = uint64_t{1} << inode->layout().chunkBits;
  const uint64_t first = from;
  Status failed;
  while (from < to && failed.ok()) {
    kj::Vector<kj::Promise<Status>> parts;
    while (from < to && parts.size() < PUNCHES_MAX) {
      uint64_t stop = std::min(to, (from / chunkBytes + 1) * chunkBytes);
      parts.add(punchPart(kj::addRef(*inode), from, stop, inode->writes.lastWrite).promise());
      from = stop;
    }
    auto done = co_await kj::joinPromises(parts.releaseAsArray());
    for (auto& status : done) {
      failed = failed.ok() ? status : failed;
    }
  }
  if (failed.ok()) {
    dropDirty(*inode, first, to);  // older bytes that turned out lost meanwhile
  }
  co_return failed;
}

// Within one chunk. Stands among what is under way, so that nothing newer overtakes it.
Task<Status> WriteBuffer::punchPart(kj::Own<Inode> inode, uint64_t from, uint64_t to, uint64_t sequence) {
  FileWrites& writes = inode->writes;
  const uint64_t chunkBytes = uint64_t{1} << inode->layout().chunkBits;
  Extent hole;
  hole.offset = from;
  hole.length = to - from;
  hole.sequence = sequence;
  writes.underWay.put(hole.slice(from, to));
  ++writes.calls;
  auto reply = co_await io_.punch(*inode, static_cast<uint32_t>(from / chunkBytes),
                                  static_cast<uint32_t>(from % chunkBytes), static_cast<uint32_t>(to - from));
  writes.underWay.erase(from, to);
  inode->invalidate(from, to);
  Status out;
  if (reply.ok()) {
    reply.value().verifiers->order = ++acknowledgements_;
    hole.acknowledged = kj::mv(reply.value().verifiers);
    if (!inode->gone) {
      unsynced_.keep(*inode, kj::mv(hole));
      inode->report.allocatedDelta += reply.value().allocatedDelta;
      reporter_.due(*inode, !inode->hasUnsent());
    }
  } else {
    out = reply.error();
  }
  callEnded(*inode);
  co_return out;
}

void WriteBuffer::resend(Inode& inode, Extent extent) {
  FileWrites& writes = inode.writes;
  const bool hole = extent.isHole();
  // Newer bytes that are under way replace it.
  ExtentMap again;
  again.put(kj::mv(extent));
  for (auto& [offset, newer] : writes.underWay.extents()) {
    again.erase(offset, newer.end());
  }
  if (hole) {
    for (auto& [offset, newer] : writes.dirty.extents()) {
      again.erase(offset, newer.end());
    }
    for (auto& [offset, piece] : again.extents()) {
      Extent lost = piece.slice(offset, piece.end());
      lost.acknowledged = nullptr;
      writes.lostHoles.put(kj::mv(lost));
    }
    inode.noteSafety();
    tasks_.add(resendHoles(kj::addRef(inode)).promise());
    return;
  }
  context_.stats.dirtyBytes -= writes.dirty.bytes();
  for (auto& [offset, piece] : again.extents()) {
    Extent under = piece.slice(offset, piece.end());
    under.acknowledged = nullptr;
    writes.dirty.putUnder(under);
  }
  context_.stats.dirtyBytes += writes.dirty.bytes();
  inode.noteSafety();
  list(inode);
  startDrain(inode);
}

// Whoever waits for what was written so far waits for these too: they are as old as sequence 0.
Task<void> WriteBuffer::resendHoles(kj::Own<Inode> inode) {
  FileWrites& writes = inode->writes;
  while (writes.paused) {
    co_await writes.changed.wait();
  }
  const uint64_t chunkBytes = uint64_t{1} << inode->layout().chunkBits;
  // All are under way before anything else can be written.
  kj::Vector<kj::Promise<Status>> parts;
  for (auto& hole : writes.lostHoles.take(0, UINT64_MAX)) {
    for (uint64_t from = hole.offset; from < hole.end();) {
      uint64_t stop = std::min(hole.end(), (from / chunkBytes + 1) * chunkBytes);
      parts.add(punchPart(kj::addRef(*inode), from, stop, 0).promise());
      from = stop;
    }
  }
  auto done = co_await kj::joinPromises(parts.releaseAsArray());
  for (auto& status : done) {
    if (!status.ok() && status.code() != ESTALE) {
      inode->fail(status.error());
    }
  }
}

}  // namespace cairn
