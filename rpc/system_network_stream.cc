#include "rpc/system_network_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <limits.h>
#include <sys/socket.h>

#include <vector>

#include "common/task.h"

namespace cairn {
namespace {

constexpr size_t PIECES_MAX = IOV_MAX;  // of one system call

kj::AutoCloseFd duplicate(int fd) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) {
    KJ_FAIL_SYSCALL("fcntl(F_DUPFD_CLOEXEC)", errno);
  }
  return kj::AutoCloseFd(copy);
}

// KJ's stream watches each socket for room to write at all times, and a Unix socket reports room whenever the peer has
// read something: two idle wake-ups for each call. This one watches for room only when a write didn't fit. And it
// believes a short read: the socket is empty then, and asking again would be a system call for nothing.
class SocketStream final : public kj::AsyncIoStream {
 public:
  SocketStream(kj::UnixEventPort& port, kj::AutoCloseFd fd)
      : port_(port), fd_(kj::mv(fd)), readObserver_(port, fd_.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ) {}

  kj::Promise<size_t> tryRead(void* buffer, size_t minBytes, size_t maxBytes) override {
    auto* to = static_cast<kj::byte*>(buffer);
    return isEmpty() ? readWhenReady(to, minBytes, maxBytes, 0) : readNow(to, minBytes, maxBytes, 0);
  }

  kj::Promise<void> write(const void* buffer, size_t size) override {
    return writeAll({iovec{const_cast<void*>(buffer), size}});
  }

  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    std::vector<iovec> out;
    out.reserve(pieces.size());
    for (auto& piece : pieces) {
      out.push_back(iovec{const_cast<kj::byte*>(piece.begin()), piece.size()});
    }
    return writeAll(kj::mv(out));
  }

  kj::Promise<void> whenWriteDisconnected() override { return readObserver_.whenWriteDisconnected(); }
  void shutdownWrite() override { ::shutdown(fd_.get(), SHUT_WR); }
  void abortRead() override { ::shutdown(fd_.get(), SHUT_RD); }

 private:
  // ---- reading

  bool isEmpty() const { return readable_ != nullptr; }

  kj::Promise<size_t> readWhenReady(kj::byte* to, size_t least, size_t most, size_t got) {
    auto readable = kj::mv(KJ_ASSERT_NONNULL(readable_));
    readable_ = nullptr;
    return readable.then([this, to, least, most, got] { return readNow(to, least, most, got); });
  }

  kj::Promise<size_t> readNow(kj::byte* to, size_t least, size_t most, size_t got) {
    do {
      ssize_t n = ::recv(fd_.get(), to + got, most - got, 0);
      if (n < 0 && errno == EINTR) {
        continue;
      }
      if (n < 0 && errno != EAGAIN) {
        KJ_FAIL_SYSCALL("recv", errno);
      }
      if (n == 0) {
        return got;
      }
      got += static_cast<size_t>(n > 0 ? n : 0);
      if (n < 0 || (got < most && !mayBeAtEnd())) {
        // Before the event loop looks at the socket again: what arrives from now on is reported to this promise.
        readable_ = readObserver_.whenBecomesReadable();
      }
    } while (got < least && !isEmpty());
    return got < least ? readWhenReady(to, least, most, got) : kj::Promise<size_t>(got);
  }

  // The end of the stream may have been reported together with the last bytes, and is not reported again.
  bool mayBeAtEnd() { return readObserver_.atEndHint().orDefault(true); }

  // ---- writing

  // Writes what fits and leaves the rest in `pieces`.
  void writeSome(std::vector<iovec>& pieces, size_t& first) {
    while (first < pieces.size()) {
      msghdr message{};
      message.msg_iov = pieces.data() + first;
      message.msg_iovlen = kj::min(pieces.size() - first, PIECES_MAX);
      ssize_t n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) {
        continue;
      }
      if (n < 0 && errno == EAGAIN) {
        return;
      }
      if (n < 0) {
        KJ_FAIL_SYSCALL("sendmsg", errno);
      }
      for (auto left = static_cast<size_t>(n); first < pieces.size() && left >= pieces[first].iov_len; first++) {
        left -= pieces[first].iov_len;
        n -= static_cast<ssize_t>(pieces[first].iov_len);
      }
      if (n > 0) {
        pieces[first].iov_base = static_cast<kj::byte*>(pieces[first].iov_base) + n;
        pieces[first].iov_len -= static_cast<size_t>(n);
      }
    }
  }

  kj::Promise<void> writeAll(std::vector<iovec> pieces) {
    size_t first = 0;
    writeSome(pieces, first);
    if (first == pieces.size()) {
      return kj::READY_NOW;
    }
    return writeRest(kj::mv(pieces), first).promise();
  }

  Task<void> writeRest(std::vector<iovec> pieces, size_t first) {
    // On a descriptor of its own, for one can be watched only once.
    auto copy = duplicate(fd_.get());
    kj::UnixEventPort::FdObserver observer(port_, copy.get(), kj::UnixEventPort::FdObserver::OBSERVE_WRITE);
    while (first < pieces.size()) {
      co_await observer.whenBecomesWritable();
      writeSome(pieces, first);
    }
  }

  kj::UnixEventPort& port_;
  kj::AutoCloseFd fd_;
  kj::UnixEventPort::FdObserver readObserver_;
  kj::Maybe<kj::Promise<void>> readable_;  // the socket was found empty: resolves when something arrives
};

}  // namespace

kj::Own<kj::AsyncIoStream> newSocketStream(kj::UnixEventPort& port, kj::Own<kj::AsyncIoStream> stream) {
  auto fd = duplicate(KJ_ASSERT_NONNULL(stream->getFd()));
  stream = nullptr;
  return kj::heap<SocketStream>(port, kj::mv(fd));
}

}  // namespace cairn
