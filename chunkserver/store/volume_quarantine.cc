// Copies that go to quarantine while the chunk stays in service.
#include <algorithm>

#include "chunkserver/store/codec.h"
#include "chunkserver/store/volume.h"
#include "common/log.h"

namespace cairn {

Task<Status> Volume::saveInQuarantine(Chunk& chunk) {
  std::string path = quarantinePath(chunk.key);
  auto saved = co_await writeCopy(chunk, path);
  if (!saved.ok()) {
    (void)disk_.remove(path);  // a part of it is of no use and takes room
  }
  co_return saved;
}

Task<Status> Volume::writeCopy(Chunk& chunk, std::string path) {
  auto opened = disk_.open(path, Disk::Mode::CREATE);
  if (!opened.ok()) {
    co_return opened.error();
  }
  if (chunk.kind == ChunkKind::FILE) {
    auto copied = co_await copyFile(chunk, *opened.value());
    if (!copied.ok()) {
      co_return copied;
    }
  } else {
    auto value = encodeInline(chunk.header(identity().cluster), kj::arrayPtr(chunk.sums.data(), chunk.sums.size()),
                              kj::arrayPtr(chunk.bytes.data(), chunk.bytes.size()));
    auto written = opened.value()->write(0, asBytes(value));
    if (!written.ok()) {
      co_return written;
    }
  }
  co_return co_await opened.value()->sync();
}

// Front and allocated blocks as they stand, bad ones too; zeros for what the device can't read.
Task<Status> Volume::copyFile(Chunk& chunk, File& to) {
  auto from = kj::addRef(*chunk.file);
  auto front = kj::heapArray<kj::byte>(dataOffset(chunk.chunkBits));
  auto got = co_await from->file->read(0, front);
  Status written = to.write(0, front.slice(0, got.ok() ? got.value() : 0));
  constexpr uint32_t AT_ONCE = VERIFY_BYTES / BLOCK_BYTES;
  auto bytes = kj::heapArray<kj::byte>(VERIFY_BYTES);
  for (uint32_t block = 0; written.ok() && block < chunk.lengthBlocks();) {
    uint32_t first = block;
    while (block < chunk.lengthBlocks() && chunk.sum(block) != 0 && block - first < AT_ONCE) {
      block++;
    }
    if (block == first) {
      block++;
      continue;
    }
    auto part = bytes.slice(0, size_t{block - first} * BLOCK_BYTES);
    auto read = co_await readBlocks(chunk, first, part, From::CACHE);
    written = read.ok() ? to.write(blockOffset(chunk.chunkBits, first), part) : Status(read.error());
  }
  co_return written;
}

// A bad copy may hold what nobody else has: a person may still want to look at it. That it can't be kept (no room)
// doesn't hold the mending up.
Task<void> Volume::keepCopy(Chunk& chunk) {
  if (chunk.lost) {
    co_return;  // its file, if there is one, goes there itself when a new one is made
  }
  auto saved = co_await saveInQuarantine(chunk);
  if (saved.ok()) {
    counters_.quarantined++;
  } else {
    spdlog::warn("{}: the bad copy isn't kept: {}", describeChunk(chunk.key), saved.error().why);
  }
}

}  // namespace cairn
