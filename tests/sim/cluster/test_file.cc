#include "tests/sim/cluster/test_file.h"

#include <kj/debug.h>

#include <algorithm>
#include <cstring>

namespace cairn {
namespace {

constexpr uint32_t FILE_MODE = 0100644;

void requireOk(const Status& status, const char* what) {
  KJ_REQUIRE(status.ok(), what, status.error().code, status.error().why);
}

}  // namespace

TestFile::TestFile(SimCluster& cluster, Client& client, std::string name, uint64_t number, InodeId directory)
    : cluster_(cluster), client_(&client), ledger_(number) {
  auto made = cluster.wait(client.create(directory, kj::mv(name), FILE_MODE, OPEN_WRITE, superuser()));
  inode_ = made.value().attributes.inode;
  handle_ = made.value().handle;
}

Task<Status> TestFile::writing(uint64_t block, uint64_t count) {
  auto bytes = kj::heapArray<kj::byte>(count * BLOCK_BYTES);
  for (uint64_t i = 0; i < count; ++i) {
    int64_t version = ledger_.writing(block + i);
    fillBlock(bytes.slice(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), ledger_.file(), block + i, version);
  }
  auto written = co_await client_->write(handle_, block * BLOCK_BYTES, bytes);
  if (!written.ok()) {
    ledger_.doubt();
    co_return written.error();
  }
  KJ_REQUIRE(written.value() == bytes.size());
  co_return Status();
}

Task<Status> TestFile::syncing() {
  auto covered = ledger_.beforeSync();
  Status synced = co_await client_->fsync(handle_, false);
  if (synced.ok()) {
    ledger_.settled(covered);
  } else {
    ledger_.doubt();
  }
  co_return synced;
}

Task<Status> TestFile::punching(uint64_t block, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    ledger_.zeroing(block + i);
  }
  Status punched =
      co_await client_->allocate(handle_, AllocateMode::PUNCH, block * BLOCK_BYTES, count * BLOCK_BYTES);
  if (!punched.ok()) {
    ledger_.doubt();
  }
  co_return punched;
}

Task<Status> TestFile::resizing(uint64_t blocks) {
  auto cut = ledger_.cutting(blocks);
  AttributeChange change;
  change.which = SET_SIZE;
  change.sizeBytes = blocks * BLOCK_BYTES;
  change.held = true;
  auto changed = co_await client_->setAttributes(inode_, change, superuser());
  if (!changed.ok()) {
    ledger_.doubt();
    co_return changed.error();
  }
  ledger_.cut(cut);
  co_return Status();
}

void TestFile::write(uint64_t block, uint64_t count) {
  for (uint64_t done = 0; done < count; done += WRITE_BLOCKS_MAX) {
    requireOk(cluster_.wait(writing(block + done, kj::min(WRITE_BLOCKS_MAX, count - done))), "write");
  }
}

void TestFile::sync() { requireOk(cluster_.wait(syncing()), "fsync"); }

void TestFile::resize(uint64_t blocks) { requireOk(cluster_.wait(resizing(blocks)), "truncate"); }

void TestFile::writeThrough(uint64_t block, uint64_t count) {
  write(block, count);
  requireOk(cluster_.wait(client_->flush(handle_)), "flush");
  cluster_.waitFor("written bytes to be acknowledged", [this] { return client_->stats().dirtyBytes == 0; });
}

Attributes TestFile::attributes() { return cluster_.wait(client_->attributes(inode_)).value(); }

Task<std::string> TestFile::checkingAt(Client& reader, HandleId handle, uint64_t block, uint64_t count,
                                       FileLedger::Floor floor) {
  auto length = static_cast<uint32_t>(count * BLOCK_BYTES);
  auto read = co_await reader.read(handle, block * BLOCK_BYTES, length);
  if (!read.ok()) {
    co_return "file " + std::to_string(ledger_.file()) + " " + UNREADABLE + read.error().why;
  }
  auto seen = read.value().joined();
  auto bytes = kj::heapArray<kj::byte>(length);
  memset(bytes.begin(), 0, bytes.size());
  std::copy_n(seen.begin(), kj::min(seen.size(), bytes.size()), bytes.begin());
  for (uint64_t i = 0; i < count; ++i) {
    auto one = bytes.slice(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
    std::string problem = ledger_.problem(block + i, one, &floor);
    if (!problem.empty()) {
      co_return kj::mv(problem);
    }
  }
  co_return std::string();
}

Task<std::string> TestFile::checkingBlocks(Client& reader, uint64_t block, uint64_t count,
                                           const FileLedger::Floor* since) {
  HandleId handle = reader.open(inode_, 0);
  auto floor = since == nullptr ? ledger_.floor() : *since;
  std::string problem = co_await checkingAt(reader, handle, block, count, kj::mv(floor));
  reader.release(handle);
  co_return kj::mv(problem);
}

Task<std::string> TestFile::checking(Client& reader) {
  HandleId handle = reader.open(inode_, 0);
  std::string problem;
  for (uint64_t block = 0; block < ledger_.blockEnd() && problem.empty(); block += WRITE_BLOCKS_MAX) {
    uint64_t count = kj::min(WRITE_BLOCKS_MAX, ledger_.blockEnd() - block);
    problem = co_await checkingAt(reader, handle, block, count, ledger_.floor());
  }
  reader.release(handle);
  co_return kj::mv(problem);
}

}  // namespace cairn
