#include "rpc/metrics_pages.h"

#include "common/log.h"
#include "rpc/system_network.h"

namespace cairn {
namespace {

constexpr unsigned NOT_FOUND = 404;
constexpr const char* METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace

MetricsPages::MetricsPages(kj::AsyncIoContext& io, Clock& clock, MetricsSource source)
    : clock_(clock), network_(newPublicNetwork(io)), source_(std::move(source)) {}

Status MetricsPages::serve(const Address& address) {
  if (address.empty()) {
    return {};
  }
  auto listener = network_->listen(address);
  if (!listener.ok()) {
    return listener.error();
  }
  if (lag_.get() == nullptr) {
    lag_ = kj::heap<LoopLag>(clock_);
  }
  doors_.push_back(serveHttp(clock_, kj::mv(listener.value()), *this));
  return {};
}

std::vector<Address> MetricsPages::addresses() const {
  std::vector<Address> out;
  for (auto& door : doors_) {
    out.push_back(door->address());
  }
  return out;
}

kj::Promise<HttpReply> MetricsPages::get(std::string path) {
  if (path == "/metrics") {
    MetricsSheet sheet;
    source_(sheet);
    lag_->measure(sheet);
    sheet.counter("cairn_log_dropped_lines_total", "Lines of the log that nobody took",
                  static_cast<double>(droppedLogLines()));
    return HttpReply{200, METRICS_TYPE, sheet.text()};
  }
  if (path == "/healthz") {
    return HttpReply{200, "text/plain", "alive\n"};
  }
  auto page = pages_.find(path);
  if (page != pages_.end()) {
    return page->second();
  }
  return HttpReply{NOT_FOUND, "text/plain", "there is no such page\n"};
}

}  // namespace cairn
