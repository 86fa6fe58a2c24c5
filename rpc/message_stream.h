// A capnp::MessageStream that reads and writes many messages per system call, and that checks each
// message's frame before Cap'n Proto's parser sees it (0.9.2 writes out of bounds on `ff ff ff ff`).
#pragma once
#include <capnp/serialize-async.h>
#include <kj/async-io.h>

namespace cairn {

struct FrameLimits {
  uint32_t segmentsMax = 64;
  uint64_t messageBytesMax = 20u << 20;
  // Bytes waiting to be written beyond which the stream counts as broken: the peer doesn't read.
  uint64_t queuedBytesMax = 512u << 20;
};

// `stream` must outlive the result. A failed write fails the next read.
kj::Own<capnp::MessageStream> newBatchingMessageStream(kj::AsyncIoStream& stream, FrameLimits limits = {});

}  // namespace cairn
