#include "fuse-client/client/buffer.h"

#include <kj/debug.h>

namespace cairn {

Buffer::~Buffer() noexcept(false) { pool_.put(kj::mv(memory_)); }

size_t BufferPool::classOf(uint32_t bytes) {
  size_t at = 0;
  while (SIZES[at] < bytes) {
    ++at;
  }
  return at;
}

kj::Own<Buffer> BufferPool::get(uint32_t bytes) {
  KJ_REQUIRE(bytes <= BUFFER_BYTES_MAX, "more than one buffer holds", bytes);
  auto& idle = idle_[classOf(bytes)];
  if (idle.empty()) {
    return kj::refcounted<Buffer>(*this, kj::heapArray<kj::byte>(SIZES[classOf(bytes)]));
  }
  auto memory = kj::mv(idle.back());
  idle.pop_back();
  idleBytes_ -= memory.size();
  return kj::refcounted<Buffer>(*this, kj::mv(memory));
}

void BufferPool::put(kj::Array<kj::byte> memory) {
  if (idleBytes_ + memory.size() > IDLE_BYTES_MAX) {
    return;
  }
  idleBytes_ += memory.size();
  auto& idle = idle_[classOf(static_cast<uint32_t>(memory.size()))];
  idle.push_back(kj::mv(memory));
}

}  // namespace cairn
