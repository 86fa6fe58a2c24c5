// dfsadmin wait: until the cluster is as wanted, or the time is over.
#include <algorithm>
#include <iostream>

#include "tools/admin/status.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

constexpr Nanos POLL = 200 * MILLISECOND;

// "clean": healthy, every shard where it belongs, nothing left to repair or reclaim.
bool reached(const Json& status, bool clean) {
  if (status["health"] != "healthy") {
    return false;
  }
  const auto& shards = status["shards"];
  return !clean || (shards["healthy"] == shards["total"] && shards["misplaced"] == 0 &&
                    status["repair"]["bytesLeft"] == 0 && status["reclaimBacklog"] == 0);
}

std::string progressOf(const Json& status) {
  std::string line = status["health"].get<std::string>() + ": " + status["shards"]["healthy"].dump() + " of " +
                     status["shards"]["total"].dump() + " shards healthy";
  if (!status["reasons"].empty()) {
    line += "; " + status["reasons"][0]["text"].get<std::string>();
  }
  return line;
}

// What is known at one moment: the status, or why there is none.
struct Look {
  Json status;
  Error error{0, {}};
};

Task<Look> look(Context& context, Nanos limit) {
  Look seen;
  try {
    auto found = co_await findMaster(context, limit);
    if (!found.ok()) {
      seen.error = found.error();
      co_return kj::mv(seen);
    }
    seen.status = co_await readStatus(context, *found.value());
  } catch (kj::Exception& e) {
    seen.error = Error{ENOTCONN, e.getDescription().cStr()};
  }
  co_return kj::mv(seen);
}

int report(const Context& context, const Json& status, Nanos waited) {
  if (context.json) {
    printJson({{"health", status["health"]}, {"waitedSeconds", static_cast<double>(waited) / SECOND}});
  } else {
    std::cout << status["health"].get<std::string>() << "\n";
  }
  return EXIT_HEALTHY;
}

}  // namespace

Task<int> waitFor(Context& context, const Options& options) {
  const Nanos begin = context.clock.monotonic();
  const Nanos limit = static_cast<Nanos>(options.timeoutSeconds * SECOND);
  const bool clean = options.state == "clean";
  Progress progress(context);
  for (;;) {
    Nanos left = begin + limit - context.clock.monotonic();
    auto seen = co_await look(context, std::min(left, FIND_LIMIT));
    Nanos waited = context.clock.monotonic() - begin;
    if (seen.error.code == 0 && reached(seen.status, clean)) {
      progress.clear();
      co_return report(context, seen.status, waited);
    }
    bool hopeless = seen.error.code != 0 && seen.error.code != ENOTCONN;
    if (hopeless || waited >= limit) {
      progress.clear();
      if (seen.error.code != 0) {
        co_return complainOf(seen.error);
      }
      co_return complain(std::max(healthCode(seen.status), EXIT_DEGRADED), "wait-timeout",
                         "not " + options.state + " after " + durationText(waited / SECOND) + "; " +
                             progressOf(seen.status) + "; see: dfsadmin status");
    }
    progress.show(seen.error.code != 0 ? "no master answers yet" : progressOf(seen.status));
    co_await context.clock.after(POLL);
  }
}

}  // namespace cairn::admin
