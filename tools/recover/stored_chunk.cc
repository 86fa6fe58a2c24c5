#include "tools/recover/stored_chunk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/checksum.h"

namespace cairn::rescue {

Result<kj::Own<StoredChunk>> StoredChunk::open(OpenVolume& volume, const FoundCopy& copy) {
  if (copy.kind == ChunkKind::FILE) {
    ChunkRecord record;
    record.chunkBits = copy.chunkBits;
    record.generation = copy.generation;
    record.lastEpoch = copy.lastEpoch;
    return openFile(*volume.disk, copy.path, &record);
  }
  std::string value;
  if (volume.index.get() == nullptr || !volume.index->get(indexKey(KeySpace::VALUE, copy.key), value)) {
    return Error{ENOENT, "the index has no such chunk any more"};
  }
  return ofValue(value);
}

Result<kj::Own<StoredChunk>> StoredChunk::openFile(Disk& disk, const std::string& path, const ChunkRecord* record) {
  auto file = disk.open(path, Disk::Mode::READ);
  if (!file.ok()) {
    return file.error();
  }
  auto chunk = kj::heap<StoredChunk>();
  auto front = kj::heapArray<kj::byte>(CHUNK_HEADER_BYTES);
  auto got = file.value()->readNow(0, front);
  Result<FoundHeader> header = got.ok() ? findHeader(front.slice(0, got.value())) : Result<FoundHeader>(got.error());
  if (header.ok()) {
    chunk->header_ = header.value().header;
  } else if (record != nullptr && header.code() != EPROTONOSUPPORT) {
    chunk->headerDamaged_ = true;
    chunk->header_.chunkBits = record->chunkBits;
    chunk->header_.generation = record->generation;
    chunk->header_.lastEpoch = record->lastEpoch;
  } else {
    return header.error();
  }
  // Only the last synced header needs to be there; the index knows the epoch of later changes.
  if (record != nullptr && record->lastEpoch > chunk->header_.lastEpoch) {
    chunk->header_.lastEpoch = record->lastEpoch;
    chunk->header_.generation = std::max(chunk->header_.generation, record->generation);
  }
  auto area = kj::heapArray<kj::byte>(blocksOf(chunk->header_.chunkBits) * 8);
  memset(area.begin(), 0xff, area.size());  // what can't be read is no hole
  for (size_t offset = 0; offset < area.size(); offset += BLOCK_BYTES) {
    auto part = area.slice(offset, std::min<size_t>(offset + BLOCK_BYTES, area.size()));
    auto read = file.value()->readNow(CHUNK_HEADER_BYTES + offset, part);
    if (!read.ok()) {
      memset(part.begin(), 0xff, part.size());
    }
  }
  chunk->sums_ = decodeSums(area);
  trimSums(chunk->sums_);
  chunk->file_ = kj::mv(file.value());
  return kj::mv(chunk);
}

Result<kj::Own<StoredChunk>> StoredChunk::ofValue(std::string_view value) {
  auto image = decodeInline(value);
  if (!image.ok()) {
    return image.error();
  }
  auto chunk = kj::heap<StoredChunk>();
  chunk->header_ = std::move(image.value().header);
  chunk->sums_ = std::move(image.value().sums);
  chunk->bytes_ = std::move(image.value().bytes);
  return kj::mv(chunk);
}

void StoredChunk::readAhead(uint32_t block) {
  bool there = block >= from_ && (block - from_ + 1) * uint64_t{BLOCK_BYTES} <= bytes_.size();
  if (file_.get() == nullptr || there) {
    return;
  }
  bytes_.resize(uint64_t{AHEAD_BLOCKS} * BLOCK_BYTES);
  auto got = file_->readNow(blockOffset(header_.chunkBits, block), kj::arrayPtr(bytes_.data(), bytes_.size()));
  from_ = block;
  bytes_.resize(got.ok() ? got.value() / BLOCK_BYTES * BLOCK_BYTES : 0);
}

bool StoredChunk::readBlock(uint32_t block, kj::ArrayPtr<kj::byte> out) {
  uint64_t wanted = sum(block);
  memset(out.begin(), 0, out.size());
  if (wanted == 0) {
    return true;
  }
  readAhead(block);
  uint64_t at = uint64_t{block - from_} * BLOCK_BYTES;
  if (block >= from_ && at + BLOCK_BYTES <= bytes_.size()) {
    memcpy(out.begin(), bytes_.data() + at, BLOCK_BYTES);
  } else {
    // Past a place that the device can't read, or the end of a file that was cut off.
    auto got = file_.get() == nullptr ? Result<size_t>(Error{EIO, ""})
                                      : file_->readNow(blockOffset(header_.chunkBits, block), out);
    if (!got.ok()) {
      return false;
    }
  }
  return blockChecksum(out) == wanted;
}

}  // namespace cairn::rescue
