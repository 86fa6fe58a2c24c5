#include "rpc/system_network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <memory>

#include "common/log.h"
#include "common/task.h"
#include "rpc/system_network_stream.h"
#include "rpc/system_network_tls_listener.h"

namespace cairn {
namespace {

constexpr char UNIX_PREFIX[] = "unix:";
constexpr size_t UNIX_PREFIX_CHARS = sizeof(UNIX_PREFIX) - 1;
// The kernel caps this at net.core.wmem_max; it saves wake-ups in the middle of 1 MiB messages.
constexpr int SOCKET_BUFFER_BYTES = 1 << 20;
// A peer whose host vanished is noticed by TCP itself after about this long, besides our own deadlines.
constexpr int TCP_DEAD_AFTER_MILLIS = 10'000;

// 127.0.0.0/8, ::1, or the name that stands for them.
bool isLoopbackHost(std::string host) {
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  in_addr four{};
  in6_addr six{};
  bool isFour = inet_pton(AF_INET, host.c_str(), &four) == 1;
  return host == "localhost" || (isFour && ntohl(four.s_addr) >> 24 == IN_LOOPBACKNET) ||
         (inet_pton(AF_INET6, host.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six));
}

bool isUnix(const Address& address) { return address.compare(0, UNIX_PREFIX_CHARS, UNIX_PREFIX) == 0; }

// Hints for the kernel: a socket that doesn't take them still works.
template <typename Socket>
void tune(Socket& socket, bool tcp) {
  socket.setsockopt(SOL_SOCKET, SO_SNDBUF, &SOCKET_BUFFER_BYTES, sizeof(SOCKET_BUFFER_BYTES));
  if (tcp) {
    int on = 1;
    socket.setsockopt(SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    socket.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, &TCP_DEAD_AFTER_MILLIS, sizeof(TCP_DEAD_AFTER_MILLIS));
  }
}

class SystemListener final : public Listener {
 public:
  SystemListener(kj::UnixEventPort& port, kj::Own<kj::ConnectionReceiver> receiver, Address address)
      : port_(port), receiver_(kj::mv(receiver)), address_(std::move(address)) {}

  kj::Promise<Accepted> accept() override {
    return receiver_->acceptAuthenticated().then([this](kj::AuthenticatedStream&& accepted) -> kj::Promise<Accepted> {
      tune(*accepted.stream, !isUnix(address_));
      Accepted result{newSocketStream(port_, kj::mv(accepted.stream)), {}};
      if (auto* local = dynamic_cast<kj::LocalPeerIdentity*>(accepted.peerIdentity.get())) {
        auto credentials = local->getCredentials();
        result.peer.kind = PeerIdentity::Kind::LOCAL_PROCESS;
        result.peer.uid = credentials.uid.orDefault(UINT32_MAX);
        result.peer.text = "pid " + std::to_string(credentials.pid.orDefault(0));
        if (result.peer.uid != 0 && result.peer.uid != geteuid()) {
          spdlog::warn("{}: {} of user {} is not let in: only root and user {} are", address_, result.peer.text,
                       result.peer.uid, geteuid());
          return accept();
        }
      } else {
        result.peer.text = accepted.peerIdentity->toString().cStr();
      }
      return kj::mv(result);
    });
  }

  Address address() const override { return address_; }

 private:
  kj::UnixEventPort& port_;
  kj::Own<kj::ConnectionReceiver> receiver_;
  Address address_;
};

Error listenError(const Address& address, int code) {
  std::string why = "cannot listen on " + address + ": " + strerror(code);
  if (code == EADDRINUSE) {
    why += "; another process uses it: stop that one, or give another --listen or --socket";
  } else if (code == EADDRNOTAVAIL) {
    why += "; this machine has no such address: give one of its own with --listen";
  } else if (code == ENOENT) {
    why += "; the directory of the socket must exist";
  }
  return Error{code, why};
}

// Whether a process answers on a Unix socket; a file left by a dead one refuses.
bool answersOnUnix(const sockaddr_un& name) {
  kj::AutoCloseFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0 || errno == EAGAIN;
}

Result<sockaddr_un> unixName(const Address& address) {
  sockaddr_un name{};
  std::string path = address.substr(UNIX_PREFIX_CHARS);
  if (path.empty() || path.size() >= sizeof(name.sun_path)) {
    return Error{ENAMETOOLONG, "cannot use the socket path '" + path + "': it must have 1 to " +
                                   std::to_string(sizeof(name.sun_path) - 1) + " bytes; use a shorter directory"};
  }
  name.sun_family = AF_UNIX;
  memcpy(name.sun_path, path.c_str(), path.size() + 1);
  return name;
}

class SystemNetworkImpl final : public SystemNetwork {
 public:
  SystemNetworkImpl(kj::AsyncIoContext& io, TcpSecurity security)
      : network_(io.provider->getNetwork()),
        port_(io.unixEventPort),
        timer_(io.provider->getTimer()),
        security_(std::move(security)),
        peers_(kj::refcounted<TlsPeers>()) {}

  kj::Promise<kj::Own<kj::AsyncIoStream>> connect(const Address& address, ExpectedPeer expected) override {
    // Whatever the reason (a socket file that is gone, a name that doesn't resolve now): nobody answers.
    return connectTo(address, expected)
        .promise()
        .catch_([](kj::Exception&& e) -> kj::Promise<kj::Own<kj::AsyncIoStream>> {
          return kj::Exception(kj::Exception::Type::DISCONNECTED, e.getFile(), e.getLine(),
                               kj::str(e.getDescription()));
        });
  }

  Result<kj::Own<Listener>> listen(const Address& address) override {
    return isUnix(address) ? listenUnix(address) : listenTcp(address);
  }

  void setRevoked(const std::vector<Revocation>& revoked) override {
    if (revoked != peers_->revoked()) {
      peers_->setRevoked(revoked);
    }
  }

  Status renew(const TlsMaterial& material) override {
    auto context = TlsContext::make(material, peers_->revoked(), security_.pin);
    if (!context.ok()) {
      return context.error();
    }
    context_ = kj::mv(context.value());
    return {};
  }

  std::optional<CertificateInfo> identity() const override {
    return context_.get() == nullptr ? std::nullopt : context_->identity();
  }

 private:
  Task<kj::Own<kj::AsyncIoStream>> connectTo(Address address, ExpectedPeer expected) {
    if (!isUnix(address)) {
      checkTcp(address);
    }
    auto target = co_await network_.parseAddress(address);
    auto stream = co_await target->connect();
    tune(*stream, !isUnix(address));
    auto plain = newSocketStream(port_, kj::mv(stream));
    if (isUnix(address) || context_.get() == nullptr) {
      co_return kj::mv(plain);
    }
    auto secured = co_await tlsConnect(kj::addRef(*context_), kj::mv(plain));
    const auto& peer = secured->peer();
    if (!peer || (expected && peer->name.role != *expected)) {
      std::string who = peer ? toText(peer->name) : "somebody without a certificate";
      kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "somebody else is at that address", who));
    }
    co_return peers_->keep(kj::mv(secured));
  }

  void checkTcp(const Address& address) const {
    if (security_.mode == TcpSecurity::Mode::NONE) {
      kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, kj::str("TCP can't be used: ", security_.why.c_str())));
    }
    if (security_.mode == TcpSecurity::Mode::PLAIN && !isLoopbackHost(address.substr(0, address.rfind(':')))) {
      kj::throwFatalException(
          KJ_EXCEPTION(DISCONNECTED, "without certificates only loopback addresses are used", address));
    }
  }

  Result<kj::Own<Listener>> listenUnix(const Address& address) {
    auto name = unixName(address);
    if (!name.ok()) {
      return name.error();
    }
    struct stat info;
    if (::stat(name.value().sun_path, &info) == 0 && S_ISSOCK(info.st_mode)) {
      if (answersOnUnix(name.value())) {
        return listenError(address, EADDRINUSE);
      }
      ::unlink(name.value().sun_path);
    }
    return bindTo(address, reinterpret_cast<const sockaddr*>(&name.value()), sizeof(sockaddr_un));
  }

  Result<kj::Own<Listener>> listenTcp(const Address& address) {
    auto colon = address.rfind(':');
    if (colon == std::string::npos) {
      return Error{EINVAL, "cannot listen on '" + address + "': write it as host:port, for example 127.0.0.1:7000"};
    }
    std::string host = address.substr(0, colon);
    std::string port = address.substr(colon + 1);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
      host = host.substr(1, host.size() - 2);
    }
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    int rc = getaddrinfo(host.empty() || host == "*" ? nullptr : host.c_str(), port.c_str(), &hints, &found);
    if (rc != 0) {
      return Error{EINVAL, "cannot listen on '" + address + "': " + gai_strerror(rc) + "; write it as host:port"};
    }
    std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, &freeaddrinfo);
    return secured(address, host, bindTo(address, list->ai_addr, list->ai_addrlen));
  }

  Result<kj::Own<Listener>> secured(const Address& address, const std::string& host, Result<kj::Own<Listener>> bound) {
    bool plain = security_.mode == TcpSecurity::Mode::PLAIN && isLoopbackHost(host);
    if (!bound.ok() || plain || security_.mode == TcpSecurity::Mode::PUBLIC) {
      return bound;
    }
    if (security_.mode == TcpSecurity::Mode::PLAIN) {
      return Error{EPERM, "cannot listen on " + address +
                              " without certificates: plain TCP is for loopback addresses (127.0.0.1) alone. Leave "
                              "--insecure away, and make certificates with `dfsadmin cluster init`"};
    }
    if (security_.mode == TcpSecurity::Mode::NONE) {
      return Error{EPERM, "cannot listen on " + address + ": " + security_.why};
    }
    return newTlsListener(kj::mv(bound.value()), timer_, kj::addRef(*peers_),
                          [this] { return kj::addRef(*context_); }, security_.strangers);
  }

  Result<kj::Own<Listener>> bindTo(const Address& address, const sockaddr* name, socklen_t nameBytes) {
    auto target = network_.getSockaddr(name, nameBytes);
    kj::Own<kj::ConnectionReceiver> receiver;
    int code = 0;
    // KJ reports bind(2)'s errno only in text, so try it here first: what remains is a race, reported as KJ does.
    {
      kj::AutoCloseFd probe(socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
      int on = 1;
      setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
      if (bind(probe.get(), name, nameBytes) != 0 || ::listen(probe.get(), 1) != 0) {
        code = errno;
      }
    }
    if (name->sa_family == AF_UNIX && code == 0) {
      ::unlink(reinterpret_cast<const sockaddr_un*>(name)->sun_path);
    }
    if (code != 0) {
      return listenError(address, code);
    }
    KJ_IF_MAYBE(e, kj::runCatchingExceptions([&]() { receiver = target->listen(); })) {
      return Error{EADDRINUSE, "cannot listen on " + address + ": " + e->getDescription().cStr()};
    }
    Address actual = address;
    if (name->sa_family != AF_UNIX) {
      actual = address.substr(0, address.rfind(':') + 1) + std::to_string(receiver->getPort());
    }
    kj::Own<Listener> listener = kj::heap<SystemListener>(port_, kj::mv(receiver), actual);
    return kj::mv(listener);
  }

  kj::Network& network_;
  kj::UnixEventPort& port_;
  kj::Timer& timer_;
  const TcpSecurity security_;
  kj::Own<TlsPeers> peers_;
  kj::Own<TlsContext> context_;  // null: no TLS
};

}  // namespace

Result<kj::Own<SystemNetwork>> newSystemNetwork(kj::AsyncIoContext& io, TcpSecurity security) {
  bool usesTls = security.mode == TcpSecurity::Mode::TLS;
  TlsMaterial material = security.material;
  kj::Own<SystemNetwork> network = kj::heap<SystemNetworkImpl>(io, std::move(security));
  auto ready = usesTls ? network->renew(material) : Status();
  if (!ready.ok()) {
    return ready.error();
  }
  return kj::mv(network);
}

kj::Own<SystemNetwork> newJoiningNetwork(kj::AsyncIoContext& io, const std::string& authorityFingerprint) {
  TcpSecurity joining;
  joining.mode = TcpSecurity::Mode::TLS;
  joining.pin = authorityFingerprint;
  return newSystemNetwork(io, std::move(joining)).value();
}

kj::Own<SystemNetwork> newPlainNetwork(kj::AsyncIoContext& io) {
  TcpSecurity plain;
  plain.mode = TcpSecurity::Mode::PLAIN;
  return kj::heap<SystemNetworkImpl>(io, std::move(plain));
}

kj::Own<SystemNetwork> newPublicNetwork(kj::AsyncIoContext& io) {
  TcpSecurity open;
  open.mode = TcpSecurity::Mode::PUBLIC;
  return kj::heap<SystemNetworkImpl>(io, std::move(open));
}

}  // namespace cairn
