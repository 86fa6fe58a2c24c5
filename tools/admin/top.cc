// dfsadmin top: who does how much at the moment, and what takes long.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>

#include "tools/admin/master_link.h"
#include "tools/admin/output.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

constexpr size_t ROWS_MAX = 10;  // of each table
constexpr const char* CLEAR_SCREEN = "\x1b[H\x1b[2J";
constexpr double SMALL_BYTES = 4096;  // so many count as much as a call

std::string rateText(const Json& bytes) {
  return sizeText(static_cast<uint64_t>(bytes.get<double>())) + "/s";
}

std::string callsText(const Json& perSecond) {
  return fmt::format("{:.1f}", perSecond.get<double>());
}

double weightOf(const Json& entry) {
  auto& load = entry["load"];
  double bytes = load["readBytesPerSecond"].get<double>() + load["writeBytesPerSecond"].get<double>();
  return load["operationsPerSecond"].get<double>() + bytes / SMALL_BYTES;
}

// The busiest first.
std::vector<const Json*> busiest(const Json& list) {
  std::vector<const Json*> out;
  for (auto& entry : list) {
    out.push_back(&entry);
  }
  std::stable_sort(out.begin(), out.end(), [](auto* a, auto* b) { return weightOf(*a) > weightOf(*b); });
  out.resize(std::min(out.size(), ROWS_MAX));
  return out;
}

void printLoads(const char* what, const Json& list) {
  Table table({what, "CALLS/S", "READ", "WRITTEN", "ERRORS", "SLOW"});
  for (auto* entry : busiest(list)) {
    auto& load = (*entry)["load"];
    table.add({(*entry)["name"].get<std::string>(), callsText(load["operationsPerSecond"]),
               rateText(load["readBytesPerSecond"]), rateText(load["writeBytesPerSecond"]), load["errors"].dump(),
               load["slow"].dump()});
  }
  table.print();
}

void printOperations(const Json& list) {
  std::vector<const Json*> sorted;
  for (auto& entry : list) {
    sorted.push_back(&entry);
  }
  auto count = [](const Json& entry) { return entry["count"].get<uint64_t>(); };
  auto more = [&](auto* a, auto* b) { return count(*a) > count(*b); };
  std::stable_sort(sorted.begin(), sorted.end(), more);
  sorted.resize(std::min(sorted.size(), ROWS_MAX));
  Table table({"OPERATION", "AT", "COUNT", "ERRORS", "99 % BELOW"});
  for (auto* entry : sorted) {
    table.add({(*entry)["kind"].get<std::string>(), (*entry)["at"].get<std::string>(), (*entry)["count"].dump(),
               (*entry)["errors"].dump(), fmt::format("{:.2f} ms", (*entry)["p99Millis"].get<double>())});
  }
  table.print();
}

void printSlow(const Json& list) {
  if (list.empty()) {
    return;
  }
  std::cout << "\n";
  Table table({"SLOW CALL", "TOOK", "CLIENT", "WHERE THE TIME WENT"});
  for (size_t i = 0; i < std::min(list.size(), ROWS_MAX); ++i) {
    auto& call = list[i];
    table.add({call["kind"].get<std::string>() + " of inode " + call["inode"].dump(),
               fmt::format("{:.1f} s", call["millis"].get<double>() / 1000), call["client"].get<std::string>(),
               call["path"].get<std::string>()});
  }
  table.print();
}

void print(const Context& context, const Options& options, const Json& page) {
  if (context.json) {
    printJson({{"health", page["health"]},
               {"time", page["time"]},
               {"clients", page["clients"]},
               {"servers", page["servers"]},
               {"operations", page["operations"]},
               {"slow", page["slow"]}});
    return;
  }
  if (!options.once) {
    std::cout << (context.terminal ? CLEAR_SCREEN : "\n");
  }
  std::cout << "cluster " << page["cluster"].get<std::string>() << ": " << page["health"].get<std::string>() << ", "
            << page["leader"].get<std::string>() << " leads, " << page["reasons"].size() << " reasons to look at\n\n";
  printLoads("CLIENT", page["clients"]);
  std::cout << "\n";
  printLoads("CHUNKSERVER", page["servers"]);
  std::cout << "\n";
  printOperations(page["operations"]);
  printSlow(page["slow"]);
  std::cout << std::flush;
}

Task<Json> look(Context& context, MasterLink& link) {
  auto observe = link.master.observeRequest().send().getObserve();
  kj::Promise<capnp::Response<wire::Observe::PageResults>> sent = observe.pageRequest().send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "the cluster's page");
  co_return Json::parse(reply.getJson().cStr());
}

// Another master may have begun to lead.
Task<int> showOnce(Context& context, const Options& options) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto page = co_await look(context, *found.value());
  print(context, options, page);
  co_return EXIT_HEALTHY;
}

}  // namespace

Task<int> showTop(Context& context, const Options& options) {
  for (;;) {
    int code = co_await showOnce(context, options);
    if (options.once || code != EXIT_HEALTHY) {
      co_return code;
    }
    co_await context.clock.after(options.intervalSeconds * SECOND);
  }
}

}  // namespace cairn::admin
