// Buffer: memory that written bytes are copied into once and stay in until they are durable. The messages that
// carry them point into it. BufferPool hands them out and uses their memory again: fresh 1 MiB allocations
// would cost more than the copy.
#pragma once
#include <kj/array.h>
#include <kj/refcount.h>

#include <cstdint>
#include <vector>

namespace cairn {

constexpr uint32_t BUFFER_BYTES_MAX = 1u << 20;

class BufferPool;

class Buffer : public kj::Refcounted {
 public:
  Buffer(BufferPool& pool, kj::Array<kj::byte> memory)
      : pool_(pool), memory_(kj::mv(memory)), begin_(memory_.begin()) {}
  ~Buffer() noexcept(false);

  kj::byte* begin() const { return begin_; }
  uint32_t capacity() const { return static_cast<uint32_t>(memory_.size()); }
  // Bytes handed out from the front. What lies behind belongs to nobody, so it may be appended to.
  uint32_t used() const { return used_; }
  void use(uint32_t end) { used_ = end; }

 private:
  BufferPool& pool_;
  kj::Array<kj::byte> memory_;
  kj::byte* const begin_;
  uint32_t used_ = 0;
};

class BufferPool {
 public:
  // REQUIRES: bytes <= BUFFER_BYTES_MAX. Word-aligned, contents arbitrary.
  kj::Own<Buffer> get(uint32_t bytes);

 private:
  friend class Buffer;
  static constexpr uint64_t IDLE_BYTES_MAX = 16u << 20;
  static constexpr uint32_t SIZES[] = {4u << 10, 16u << 10, 64u << 10, 256u << 10, BUFFER_BYTES_MAX};
  static constexpr size_t CLASSES = sizeof(SIZES) / sizeof(SIZES[0]);
  static size_t classOf(uint32_t bytes);
  void put(kj::Array<kj::byte> memory);

  std::vector<kj::Array<kj::byte>> idle_[CLASSES];
  uint64_t idleBytes_ = 0;
};

}  // namespace cairn
