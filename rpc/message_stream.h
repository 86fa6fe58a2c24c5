// A capnp::MessageStream that reads and writes many messages per system call, and that checks each
// message's frame before Cap'n Proto's parser sees it (0.9.2 writes out of bounds on `ff ff ff ff`).
#pragma once
#include <capnp/serialize-async.h>
#include <kj/async-io.h>

#include "common/clock.h"

namespace cairn {

struct FrameLimits {
  uint32_t segmentsMax = 64;
  uint64_t messageBytesMax = 20u << 20;
  // Bytes waiting to be written beyond which the stream counts as broken: the peer doesn't read.
  uint64_t queuedBytesMax = 512u << 20;
};

// `stream` must outlive the result. A failed write fails the next read. With a clock, which is for the side that calls,
// a Finish waits for the next message or FINISH_DELAY: sent at once it would wake the peer a second time for each call.
kj::Own<capnp::MessageStream> newBatchingMessageStream(kj::AsyncIoStream& stream, FrameLimits limits = {},
                                                       kj::Maybe<Clock&> clock = nullptr);
constexpr Nanos FINISH_DELAY = 2 * MILLISECOND;

}  // namespace cairn
