#include "rpc/http_server.h"

#include <kj/debug.h>

#include <set>

#include "common/log.h"
#include "rpc/connection.h"

namespace cairn {
namespace {

constexpr unsigned REFUSED = 403;
constexpr unsigned WRONG_METHOD = 405;
constexpr unsigned BUSY = 503;
constexpr Nanos ACCEPT_AGAIN = 100 * MILLISECOND;

const char* statusText(unsigned status) {
  switch (status) {
    case 200:
      return "OK";
    case REFUSED:
      return "Forbidden";
    case 404:
      return "Not Found";
    case WRONG_METHOD:
      return "Method Not Allowed";
    default:
      return "Service Unavailable";
  }
}

// Without the port.
std::string hostOf(const std::string& text) {
  bool bracketed = !text.empty() && text[0] == '[';
  size_t end = bracketed ? text.find(']') : text.find(':');
  return text.substr(bracketed ? 1 : 0, end == std::string::npos ? end : end - (bracketed ? 1 : 0));
}

bool isLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.compare(0, 4, "127.") == 0;
}

class HttpDoorImpl final : public HttpDoor, private kj::HttpService, private kj::TaskSet::ErrorHandler {
 public:
  HttpDoorImpl(Clock& clock, kj::Own<Listener> listener, HttpPages& pages)
      : clock_(clock),
        listener_(kj::mv(listener)),
        pages_(pages),
        ids_(builder_),
        headers_(builder_.build()),
        server_(clock.timer(), *headers_, *this),
        tasks_(*this) {
    tasks_.add(accept().promise());
  }

  Address address() const override { return listener_->address(); }

 private:
  struct Ids {
    explicit Ids(kj::HttpHeaderTable::Builder& builder)
        : policy(builder.add("Content-Security-Policy")),
          noSniff(builder.add("X-Content-Type-Options")),
          referrer(builder.add("Referrer-Policy")),
          cache(builder.add("Cache-Control")) {}
    kj::HttpHeaderId policy, noSniff, referrer, cache;
  };

  Task<void> accept() {
    for (;;) {
      auto accepted = co_await next();
      KJ_IF_MAYBE (stream, accepted) {
        if (connections_ < HTTP_CONNECTIONS_MAX) {
          tasks_.add(serve(kj::mv(*stream)).promise());
        }
      } else {
        co_await clock_.after(ACCEPT_AGAIN);  // out of descriptors, perhaps
      }
    }
  }

  kj::Promise<kj::Maybe<kj::Own<kj::AsyncIoStream>>> next() {
    return listener_->accept().then(
        [](Accepted&& accepted) -> kj::Maybe<kj::Own<kj::AsyncIoStream>> { return kj::mv(accepted.stream); },
        [](kj::Exception&& e) -> kj::Maybe<kj::Own<kj::AsyncIoStream>> {
          spdlog::warn("the HTTP port takes no connection: {}", e.getDescription().cStr());
          return nullptr;
        });
  }

  Task<void> serve(kj::Own<kj::AsyncIoStream> stream) {
    ++connections_;
    KJ_DEFER(--connections_);
    try {
      co_await server_.listenHttp(kj::mv(stream));
    } catch (const kj::Exception& e) {
      spdlog::debug("an HTTP connection ended: {}", e.getDescription().cStr());
    }
  }

  kj::Promise<void> request(kj::HttpMethod method, kj::StringPtr url, const kj::HttpHeaders& headers,
                            kj::AsyncInputStream&, Response& response) override {
    std::string host;
    KJ_IF_MAYBE (given, headers.get(kj::HttpHeaderId::HOST)) {
      host = given->cStr();
    }
    bool isRead = method == kj::HttpMethod::GET || method == kj::HttpMethod::HEAD;
    if (!isRead) {
      return send({WRONG_METHOD, "text/plain", "only GET and HEAD\n"}, false, response);
    }
    if (!mayAsk(address(), host)) {
      return send({REFUSED, "text/plain", "ask for this by an address of this machine's loopback\n"}, false, response);
    }
    std::string path(url.cStr());
    path = path.substr(0, path.find('?'));
    bool head = method == kj::HttpMethod::HEAD;
    return withDeadline(clock_, HTTP_REQUEST_LIMIT, answer(kj::mv(path), head, response).promise(), "an HTTP request");
  }

  Task<void> answer(std::string path, bool head, Response& response) {
    HttpReply reply{BUSY, "text/plain", "not now: try again\n"};
    try {
      auto got = co_await pages_.get(kj::mv(path));
      reply = kj::mv(got);
    } catch (const kj::Exception& e) {
      spdlog::debug("an HTTP request failed: {}", e.getDescription().cStr());
    }
    co_await send(kj::mv(reply), head, response);
  }

  kj::Promise<void> send(HttpReply reply, bool head, Response& response) {
    kj::HttpHeaders out(*headers_);
    out.set(kj::HttpHeaderId::CONTENT_TYPE, kj::heapString(reply.type.c_str()));
    out.set(ids_.policy, "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"_kj);
    out.set(ids_.noSniff, "nosniff"_kj);
    out.set(ids_.referrer, "no-referrer"_kj);
    out.set(ids_.cache, "no-store"_kj);
    auto body = kj::heap<std::string>(kj::mv(reply.body));
    auto stream = response.send(reply.status, statusText(reply.status), out, body->size());
    if (head) {
      return kj::READY_NOW;
    }
    auto written = stream->write(body->data(), body->size());
    return written.attach(kj::mv(stream), kj::mv(body));
  }

  void taskFailed(kj::Exception&& e) override { spdlog::error("HTTP: {}", e.getDescription().cStr()); }

  Clock& clock_;
  kj::Own<Listener> listener_;
  HttpPages& pages_;
  kj::HttpHeaderTable::Builder builder_;
  Ids ids_;
  kj::Own<kj::HttpHeaderTable> headers_;
  kj::HttpServer server_;
  uint32_t connections_ = 0;
  kj::TaskSet tasks_;
};

}  // namespace

bool mayAsk(const Address& address, const std::string& host) {
  return !isLoopback(hostOf(address)) || isLoopback(hostOf(host));
}

kj::Own<HttpDoor> serveHttp(Clock& clock, kj::Own<Listener> listener, HttpPages& pages) {
  return kj::heap<HttpDoorImpl>(clock, kj::mv(listener), pages);
}

}  // namespace cairn
