#include <kj/debug.h>

#include <algorithm>
#include <vector>

#include "rpc/system_network_tls.h"

namespace cairn {

namespace {

constexpr size_t RECORD_BYTES = 16 << 10;            // most of what one record carries
constexpr size_t INPUT_BYTES_FIRST = 20 << 10;       // a record with its frame
constexpr size_t INPUT_BYTES_MAX = 256 << 10;        // what one read takes in, once it has been full
constexpr size_t OUTPUT_BYTES_MAX = 256 << 10;       // what is encrypted before it is sent
constexpr size_t GATHERED_BYTES_MAX = RECORD_BYTES;  // small pieces share a record

// Bytes on their way from and to OpenSSL.
struct Wire {
  kj::Array<kj::byte> input = kj::heapArray<kj::byte>(INPUT_BYTES_FIRST);
  size_t begin = 0;
  size_t end = 0;
  bool ended = false;  // nothing more will arrive
  std::vector<kj::byte> output;
};

Wire& wireOf(BIO* bio) {
  return *static_cast<Wire*>(BIO_get_data(bio));
}

int readWire(BIO* bio, char* to, size_t size, size_t* got) {
  Wire& wire = wireOf(bio);
  BIO_clear_retry_flags(bio);
  *got = std::min(size, wire.end - wire.begin);
  memcpy(to, wire.input.begin() + wire.begin, *got);
  wire.begin += *got;
  if (*got == 0 && !wire.ended) {
    BIO_set_retry_read(bio);
  }
  return *got > 0 ? 1 : 0;
}

int writeWire(BIO* bio, const char* from, size_t size, size_t* written) {
  auto& output = wireOf(bio).output;
  output.insert(output.end(), from, from + size);
  *written = size;
  return 1;
}

long controlWire(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int startWire(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

class TlsStreamImpl final : public TlsStream {
 public:
  TlsStreamImpl(kj::Own<TlsContext> context, kj::Own<kj::AsyncIoStream> stream, bool serves, bool strangers)
      : context_(kj::mv(context)), stream_(kj::mv(stream)), connection_(context_->begin(serves, strangers)) {
    BIO* bio = BIO_new(context_->memory());
    KJ_ASSERT(bio != nullptr, openssl::takeErrors());
    BIO_set_data(bio, &wire_);
    SSL_set_bio(connection_.get(), bio, bio);
  }

  const std::optional<CertificateInfo>& peer() const override { return peer_; }
  Task<void> shakeHands();

  kj::Promise<size_t> tryRead(void* buffer, size_t minBytes, size_t maxBytes) override {
    return readInto(static_cast<kj::byte*>(buffer), minBytes, maxBytes, 0);
  }
  kj::Promise<void> write(const void* buffer, size_t size) override {
    auto piece = kj::arrayPtr(static_cast<const kj::byte*>(buffer), size);
    return write(kj::arrayPtr(&piece, 1));
  }
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override;
  kj::Promise<void> whenWriteDisconnected() override { return stream_->whenWriteDisconnected(); }
  void shutdownWrite() override {
    ERR_clear_error();
    SSL_shutdown(connection_.get());
    closing_ = flush().then([this] { stream_->shutdownWrite(); }).eagerlyEvaluate([](kj::Exception&&) {
      return;  // whoever reads finds out
    });
  }
  void abortRead() override { stream_->abortRead(); }
  void sever() override {
    stream_->abortRead();
    stream_->shutdownWrite();
  }

 private:
  kj::Promise<size_t> readInto(kj::byte* to, size_t least, size_t most, size_t got);
  kj::Promise<void> fill();
  kj::Promise<void> flush();
  void encrypt(const kj::byte* bytes, size_t size);
  void encryptGathered();
  Task<void> writeLarge(std::vector<kj::ArrayPtr<const kj::byte>> pieces);
  void tellWhy();
  void learnPeer();
  [[noreturn]] void fail(const char* doing);

  kj::Own<TlsContext> context_;
  kj::Own<kj::AsyncIoStream> stream_;
  Wire wire_;
  openssl::Connection connection_;
  std::optional<CertificateInfo> peer_;
  std::vector<kj::byte> sending_;   // encrypted, while it is being written
  std::vector<kj::byte> gathered_;  // small pieces that will share a record
  bool established_ = false;
  size_t received_ = 0;  // before that
  kj::Promise<void> closing_ = kj::READY_NOW;
};

void TlsStreamImpl::fail(const char* doing) {
  long verified = SSL_get_verify_result(connection_.get());
  bool unexplained = wire_.ended || ERR_peek_error() == 0;
  std::string why = verified != X509_V_OK ? X509_verify_cert_error_string(verified)
                    : unexplained         ? "the connection ended"
                                          : openssl::takeErrors();
  ERR_clear_error();
  kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, kj::str(doing, ": ", why.c_str())));
}

// ---- the handshake

// The alert that OpenSSL has written, to the other side, if it takes it at once.
void TlsStreamImpl::tellWhy() {
  closing_ = flush().eagerlyEvaluate([](kj::Exception&&) {
    return;  // it is gone already
  });
}

Task<void> TlsStreamImpl::shakeHands() {
  for (;;) {
    ERR_clear_error();
    int rc = SSL_do_handshake(connection_.get());
    int state = SSL_get_error(connection_.get(), rc);
    if (rc != 1 && state != SSL_ERROR_WANT_READ) {
      tellWhy();
      fail("TLS handshake");
    }
    co_await flush();
    if (rc == 1) {
      break;
    }
    if (received_ >= HANDSHAKE_BYTES_MAX) {
      kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "TLS handshake: it is too long"));
    }
    co_await fill();
  }
  learnPeer();
  established_ = true;
}

void TlsStreamImpl::learnPeer() {
  X509* certificate = SSL_get0_peer_certificate(connection_.get());
  if (certificate == nullptr) {
    return;
  }
  auto info = readCertificate(certificate);
  KJ_ASSERT(info.ok(), "judged before", info.error().why);
  peer_ = info.value();
}

// ---- reading

kj::Promise<void> TlsStreamImpl::fill() {
  size_t left = wire_.end - wire_.begin;
  if (left == wire_.input.size() && left < INPUT_BYTES_MAX) {
    auto larger = kj::heapArray<kj::byte>(left * 2);
    memcpy(larger.begin(), wire_.input.begin() + wire_.begin, left);
    wire_.input = kj::mv(larger);
  } else if (wire_.begin > 0) {
    memmove(wire_.input.begin(), wire_.input.begin() + wire_.begin, left);
  }
  wire_.begin = 0;
  wire_.end = left;
  size_t room = wire_.input.size() - left;
  if (!established_) {
    room = std::min(room, HANDSHAKE_BYTES_MAX - received_);
  }
  return stream_->tryRead(wire_.input.begin() + left, 1, room).then([this, room](size_t got) {
    wire_.end += got;
    wire_.ended = got == 0;
    received_ += established_ ? 0 : got;
    if (established_ && got == room && wire_.input.size() < INPUT_BYTES_MAX) {  // much comes: more room the next time
      auto larger = kj::heapArray<kj::byte>(std::min(wire_.input.size() * 2, INPUT_BYTES_MAX));
      memcpy(larger.begin(), wire_.input.begin(), wire_.end);
      wire_.input = kj::mv(larger);
    }
  });
}

kj::Promise<size_t> TlsStreamImpl::readInto(kj::byte* to, size_t least, size_t most, size_t got) {
  while (got < most) {
    size_t n = 0;
    ERR_clear_error();
    if (SSL_read_ex(connection_.get(), to + got, most - got, &n) == 1) {
      got += n;
      continue;
    }
    int state = SSL_get_error(connection_.get(), 0);
    if (state == SSL_ERROR_ZERO_RETURN || wire_.ended) {
      ERR_clear_error();
      return got;  // a connection that is cut off ends in the middle of a message, and its reader sees that
    }
    if (state != SSL_ERROR_WANT_READ) {
      fail("TLS");
    }
    break;
  }
  if (got >= least) {
    return got;
  }
  return fill().then([this, to, least, most, got] { return readInto(to, least, most, got); });
}

// ---- writing

void TlsStreamImpl::encrypt(const kj::byte* bytes, size_t size) {
  if (size == 0) {
    return;
  }
  size_t written = 0;
  ERR_clear_error();
  if (SSL_write_ex(connection_.get(), bytes, size, &written) != 1 || written != size) {
    fail("TLS");
  }
}

void TlsStreamImpl::encryptGathered() {
  encrypt(gathered_.data(), gathered_.size());
  gathered_.clear();
}

kj::Promise<void> TlsStreamImpl::flush() {
  if (wire_.output.empty()) {
    return kj::READY_NOW;
  }
  sending_.swap(wire_.output);
  wire_.output.clear();
  return stream_->write(sending_.data(), sending_.size());
}

kj::Promise<void> TlsStreamImpl::write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) {
  size_t bytes = 0;
  for (auto& piece : pieces) {
    bytes += piece.size();
  }
  if (bytes > OUTPUT_BYTES_MAX) {
    return writeLarge({pieces.begin(), pieces.end()}).promise();
  }
  for (auto& piece : pieces) {
    if (gathered_.size() + piece.size() <= GATHERED_BYTES_MAX && pieces.size() > 1) {
      gathered_.insert(gathered_.end(), piece.begin(), piece.end());
    } else {
      encryptGathered();
      encrypt(piece.begin(), piece.size());
    }
  }
  encryptGathered();
  return flush();
}

Task<void> TlsStreamImpl::writeLarge(std::vector<kj::ArrayPtr<const kj::byte>> pieces) {
  for (auto piece : pieces) {
    while (piece.size() > 0) {
      size_t part = std::min(piece.size(), RECORD_BYTES);
      encrypt(piece.begin(), part);
      piece = piece.slice(part, piece.size());
      if (wire_.output.size() >= OUTPUT_BYTES_MAX) {
        co_await flush();
      }
    }
  }
  co_await flush();
}

Task<kj::Own<TlsStream>> begin(kj::Own<TlsContext> context, kj::Own<kj::AsyncIoStream> stream, bool serves,
                               bool strangers) {
  auto made = kj::heap<TlsStreamImpl>(kj::mv(context), kj::mv(stream), serves, strangers);
  co_await made->shakeHands();
  kj::Own<TlsStream> result = kj::mv(made);
  co_return kj::mv(result);
}

}  // namespace

openssl::BioMethod makeMemoryMethod() {
  openssl::BioMethod method(BIO_meth_new(BIO_TYPE_SOURCE_SINK, "cairn"));
  if (method != nullptr) {
    BIO_meth_set_read_ex(method.get(), readWire);
    BIO_meth_set_write_ex(method.get(), writeWire);
    BIO_meth_set_ctrl(method.get(), controlWire);
    BIO_meth_set_create(method.get(), startWire);
  }
  return method;
}

Task<kj::Own<TlsStream>> tlsConnect(kj::Own<TlsContext> context, kj::Own<kj::AsyncIoStream> stream) {
  return begin(kj::mv(context), kj::mv(stream), false, false);
}

Task<kj::Own<TlsStream>> tlsAccept(kj::Own<TlsContext> context, kj::Own<kj::AsyncIoStream> stream, bool strangers) {
  return begin(kj::mv(context), kj::mv(stream), true, strangers);
}

}  // namespace cairn
