// A small HTTP server for people and their tools to look at a daemon: in its event loop, read-only, with bounds on
// everything. What it shows comes from a HttpPages.
#pragma once
#include <kj/async.h>
#include <kj/compat/http.h>

#include <functional>
#include <string>

#include "common/clock.h"
#include "rpc/network.h"

namespace cairn {

struct HttpReply {
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
};

class HttpPages {
 public:
  virtual ~HttpPages() noexcept(false) = default;
  // `path` begins with '/' and has no query.
  virtual kj::Promise<HttpReply> get(std::string path) = 0;
};

class HttpDoor {
 public:
  virtual ~HttpDoor() noexcept(false) = default;
  virtual Address address() const = 0;
};

// Connections beyond this are closed at once; one that takes longer for a request than this is cut off.
constexpr uint32_t HTTP_CONNECTIONS_MAX = 64;
constexpr Nanos HTTP_REQUEST_LIMIT = 10 * SECOND;

// Serves `pages`, which must outlive it. On a loopback address only requests that name a loopback host are answered: a
// page of somebody else's that a browser shows must not read along by a name of its own (DNS rebinding).
kj::Own<HttpDoor> serveHttp(Clock& clock, kj::Own<Listener> listener, HttpPages& pages);

// Whether a request with this Host may see what is served on `address`.
bool mayAsk(const Address& address, const std::string& host);

}  // namespace cairn
