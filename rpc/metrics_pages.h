// MetricsPages: /metrics for Prometheus and /healthz for whoever watches the process, over HTTP. The one way in which a
// daemon is looked at without the cluster's own protocol: read-only, and without names of files.
#pragma once
#include <kj/async-io.h>

#include <map>
#include <string>
#include <vector>

#include "common/metrics/loop_lag.h"
#include "common/metrics/sheet.h"
#include "rpc/http_server.h"

namespace cairn {

class MetricsPages final : public HttpPages {
 public:
  MetricsPages(kj::AsyncIoContext& io, Clock& clock, MetricsSource source);

  // Further pages, by their path. To be called before serve().
  using Page = std::function<kj::Promise<HttpReply>()>;
  void add(const std::string& path, Page page) { pages_[path] = std::move(page); }

  // Begins to serve on host:port; nothing when it is empty. The error says what to do.
  Status serve(const Address& address);
  // Where it serves, with ports filled in.
  std::vector<Address> addresses() const;

  kj::Promise<HttpReply> get(std::string path) override;

 private:
  Clock& clock_;
  kj::Own<Network> network_;  // of its own: the daemons' own protocol is encrypted, this isn't
  MetricsSource source_;
  std::map<std::string, Page> pages_;
  kj::Own<LoopLag> lag_;
  std::vector<kj::Own<HttpDoor>> doors_;
};

}  // namespace cairn
