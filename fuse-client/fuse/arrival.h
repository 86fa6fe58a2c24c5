// The request being decoded: its raw bytes as the kernel sent them, for what libfuse 3.14 doesn't hand on, and
// a way to keep those bytes after the decoding, so that a large write is not copied.
#pragma once
#include <fuse_lowlevel.h>
#include <kj/array.h>
#include <kj/debug.h>
#include <kj/memory.h>
#include <linux/fuse.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace cairn {

class Arrival {
 public:
  Arrival() = default;
  ~Arrival() {
    std::free(buffer_.mem);
    for (void* memory : spare_) {
      std::free(memory);
    }
  }
  KJ_DISALLOW_COPY(Arrival);

  // For fuse_session_receive_buf, which allocates the memory when there is none.
  fuse_buf& next() {
    if (buffer_.mem == nullptr && !spare_.empty()) {
      buffer_.mem = spare_.back();
      spare_.pop_back();
    }
    return buffer_;
  }

  // libfuse 3.14 doesn't know FUSE_TMPFILE and FUSE_STATX. The arguments of the one are those of FUSE_CREATE, as is its
  // answer; those of the other begin as those of FUSE_GETATTR do. So they become these.
  void translate() {
    isTemporary_ = opcode() == TMPFILE;
    isExtended_ = opcode() == STATX;
    if (isTemporary_ || isExtended_) {
      static_cast<fuse_in_header*>(buffer_.mem)->opcode = isTemporary_ ? FUSE_CREATE : FUSE_GETATTR;
    }
  }
  // The FUSE_CREATE being decoded is of a file without a name.
  bool isTemporary() const { return isTemporary_; }
  // The FUSE_GETATTR being decoded wants the answer of FUSE_STATX.
  bool isExtended() const { return isExtended_; }

  uint32_t opcode() const { return buffer_.size < sizeof(fuse_in_header) ? 0 : header().opcode; }
  uint64_t unique() const { return header().unique; }
  // What the kernel asks once more, for a predecessor of this process has left it unanswered, has the same number.
  uint64_t request() const { return header().unique & ~RESENT; }
  bool isResent() const { return (header().unique & RESENT) != 0; }
  // An answer is owed: it is neither to be forgotten nor an interrupt.
  bool isQuestion() const {
    return opcode() != FUSE_FORGET && opcode() != FUSE_BATCH_FORGET && opcode() != FUSE_INTERRUPT;
  }

  // The whole request, and one of before in its place.
  std::string bytes() const { return std::string(static_cast<const char*>(buffer_.mem), buffer_.size); }
  fuse_buf& replay(const std::string& bytes) {
    std::free(buffer_.mem);
    buffer_.mem = std::malloc(bytes.size());
    KJ_ASSERT(buffer_.mem != nullptr);
    std::memcpy(buffer_.mem, bytes.data(), bytes.size());
    buffer_.size = bytes.size();
    return buffer_;
  }
  // After replay(): its memory is too small for what the kernel has to say.
  void replayed() {
    std::free(buffer_.mem);
    buffer_ = fuse_buf{};
  }

  // The arguments of the request, if they are as long as T. REQUIRES: inside process_buf.
  template <typename T>
  const T* arguments() const {
    return buffer_.size < sizeof(fuse_in_header) + sizeof(T) ? nullptr : reinterpret_cast<const T*>(&header() + 1);
  }

  // Bytes of a request that outlive its decoding. The arrival must outlive them.
  class Kept {
   public:
    Kept(Kept&&) = default;
    kj::ArrayPtr<const kj::byte> bytes() const { return bytes_; }

   private:
    friend class Arrival;
    struct Memory {
      Memory(Arrival& arrival, void* start) : arrival(arrival), start(start) {}
      ~Memory() noexcept { arrival.takeBack(start); }
      KJ_DISALLOW_COPY(Memory);
      Arrival& arrival;
      void* start;
    };
    Kept() = default;
    kj::ArrayPtr<const kj::byte> bytes_;
    kj::Array<kj::byte> copy_;
    kj::Own<Memory> memory_;
  };

  // `bytes` lie in the current request. Small ones are copied; large ones stay where they are, and the memory
  // comes back when the result goes.
  Kept keep(kj::ArrayPtr<const kj::byte> bytes) {
    Kept kept;
    if (bytes.size() < COPY_BELOW_BYTES) {
      kept.copy_ = kj::heapArray<kj::byte>(bytes);
      kept.bytes_ = kept.copy_;
    } else {
      kept.memory_ = kj::heap<Kept::Memory>(*this, buffer_.mem);
      kept.bytes_ = bytes;
      buffer_.mem = nullptr;
    }
    return kept;
  }

 private:
  static constexpr uint32_t TMPFILE = 51;  // as in <linux/fuse.h> of kernels newer than the headers here
  static constexpr uint32_t STATX = 52;
  static constexpr uint64_t RESENT = uint64_t{1} << 63;  // FUSE_UNIQUE_RESEND of such kernels
  static constexpr size_t COPY_BELOW_BYTES = 32 << 10;
  static constexpr size_t SPARE_MAX = 4;  // buffers of 1 MiB kept for reuse

  void takeBack(void* memory) {
    if (spare_.size() < SPARE_MAX) {
      spare_.push_back(memory);
    } else {
      std::free(memory);
    }
  }
  const fuse_in_header& header() const { return *static_cast<const fuse_in_header*>(buffer_.mem); }

  fuse_buf buffer_{};
  bool isTemporary_ = false;
  bool isExtended_ = false;
  std::vector<void*> spare_;
};

}  // namespace cairn
