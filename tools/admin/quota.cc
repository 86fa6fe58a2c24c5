// dfsadmin quota: limits of how much there may be below a directory.
#include <algorithm>
#include <charconv>
#include <iostream>
#include <optional>

#include "fuse-client/client/wire.h"
#include "tools/admin/file_path.h"
#include "tools/admin/output.h"
#include "tools/admin/paths.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

// Writers below the directory are called in first, and one that is away is waited for until it is evicted.
constexpr Nanos SET_LIMIT = 60 * SECOND;

struct Quota {
  std::string path;
  uint64_t inode = 0;
  uint64_t bytesMax = 0;
  uint64_t bytesUsed = 0;
  uint64_t bytesGranted = 0;
  uint64_t filesMax = 0;
  uint64_t filesUsed = 0;
};

Json limitOf(uint64_t max) { return max == 0 ? Json(nullptr) : Json(max); }

Json toJson(const Quota& quota) {
  return {{"path", quota.path},
          {"inode", quota.inode},
          {"bytesMax", limitOf(quota.bytesMax)},
          {"bytesUsed", quota.bytesUsed},
          {"bytesGranted", quota.bytesGranted},
          {"filesMax", limitOf(quota.filesMax)},
          {"filesUsed", quota.filesUsed}};
}

std::string percentText(uint64_t used, uint64_t max) {
  constexpr double WHOLE = 100;
  return max == 0 ? "-" : std::to_string(static_cast<uint64_t>(WHOLE * used / max)) + "%";
}

Task<std::vector<Quota>> readQuotas(Context& context, wire::Admin::Client admin) {
  kj::Promise<capnp::Response<wire::Admin::QuotasResults>> sent = admin.quotasRequest().send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "listing the quotas");
  std::vector<Quota> quotas;
  for (auto quota : reply.getQuotas()) {
    quotas.push_back({textOf(quota.getPath()), quota.getInode(), quota.getBytesMax(), quota.getBytesUsed(),
                      quota.getBytesGranted(), quota.getFilesMax(), quota.getFilesUsed()});
  }
  std::sort(quotas.begin(), quotas.end(), [](auto& a, auto& b) { return a.path < b.path; });
  co_return quotas;
}

// A limit as it is named; 0: none. Nothing: no such number, and 0, which would say something else.
std::optional<uint64_t> bytesOf(const std::string& text) {
  auto bytes = text == "none" ? std::optional<uint64_t>(0) : sizeOf(text);
  return text != "none" && bytes == 0 ? std::nullopt : bytes;
}

std::optional<uint64_t> countOf(const std::string& text) {
  uint64_t count = 0;
  auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), count);
  bool good = wrong == std::errc() && end == text.data() + text.size() && count > 0;
  return text == "none" ? std::optional<uint64_t>(0) : good ? std::optional(count) : std::nullopt;
}

struct Limits {
  uint64_t bytes = 0;
  uint64_t files = 0;
};

Task<Status> send(Context& context, wire::Admin::Client admin, const std::string& path, Limits limits) {
  auto request = admin.setQuotaRequest();
  request.setPath(wireBytes(path));
  request.setBytesMax(limits.bytes);
  request.setFilesMax(limits.files);
  kj::Promise<capnp::Response<wire::Admin::SetQuotaResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, SET_LIMIT, kj::mv(sent), "setting the quota");
  co_return readOutcome(reply.getOutcome());
}

// Shows how a directory's quota is now; one that has none, too.
Task<int> show(Context& context, wire::Admin::Client admin, std::string path, uint64_t inode) {
  auto quotas = co_await readQuotas(context, admin);
  auto found = std::find_if(quotas.begin(), quotas.end(), [&](auto& quota) { return quota.inode == inode; });
  Quota now = found == quotas.end() ? Quota{path, inode} : *found;
  if (context.json) {
    printJson(toJson(now));
    co_return EXIT_HEALTHY;
  }
  if (now.bytesMax == 0 && now.filesMax == 0) {
    std::cout << path << ": it has no quota of its own any more\n";
    co_return EXIT_HEALTHY;
  }
  std::cout << path << ": " << (now.bytesMax == 0 ? "no limit of bytes" : "at most " + sizeText(now.bytesMax)) << " ("
            << sizeText(now.bytesUsed) << " used), "
            << (now.filesMax == 0 ? "no limit of files" : "at most " + std::to_string(now.filesMax) + " files") << " ("
            << now.filesUsed << " used)\n";
  bool over = (now.bytesMax > 0 && now.bytesUsed > now.bytesMax) || (now.filesMax > 0 && now.filesUsed > now.filesMax);
  if (over) {
    std::cout << "More is there than that: nothing can be added until enough is deleted\n";
  }
  co_return EXIT_HEALTHY;
}

}  // namespace

Task<int> listQuotas(Context& context, const Options& options) {
  auto path = clusterPath(context, options.path.empty() ? "/" : options.path);
  if (!path.ok()) {
    co_return complain(EXIT_USAGE, "usage", path.error().why);
  }
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto quotas = co_await readQuotas(context, master.value()->admin);
  const std::string& above = path.value();
  std::erase_if(quotas, [&](const Quota& quota) {
    return above != "/" && quota.path != above && !quota.path.starts_with(above + "/");
  });
  if (context.json) {
    Json list = Json::array();
    for (const auto& quota : quotas) {
      list.push_back(toJson(quota));
    }
    printJson({{"quotas", list}});
    co_return EXIT_HEALTHY;
  }
  Table table({"PATH", "BYTES", "OF", "USED", "FILES", "OF", "USED"});
  for (const auto& quota : quotas) {
    table.add({quota.path, sizeText(quota.bytesUsed), quota.bytesMax == 0 ? "-" : sizeText(quota.bytesMax),
               percentText(quota.bytesUsed, quota.bytesMax), std::to_string(quota.filesUsed),
               quota.filesMax == 0 ? "-" : std::to_string(quota.filesMax),
               percentText(quota.filesUsed, quota.filesMax)});
  }
  table.print();
  co_return EXIT_HEALTHY;
}

Task<int> setQuota(Context& context, const Options& options) {
  auto bytes = options.size.empty() ? std::optional<uint64_t>(0) : bytesOf(options.size);
  auto files = options.count.empty() ? std::optional<uint64_t>(0) : countOf(options.count);
  if (options.size.empty() && options.count.empty()) {
    co_return complain(EXIT_USAGE, "usage", "name a limit: --bytes 10G, --files 100000, or both");
  }
  if (!bytes) {
    co_return complain(EXIT_USAGE, "usage",
                       "'" + options.size + "' is no number of bytes; write 4096, 500M, 10G, 1.5T or none");
  }
  if (!files) {
    co_return complain(EXIT_USAGE, "usage",
                       "'" + options.count + "' is no number of files; write one above 0, or none");
  }
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto found = co_await resolvePath(context, *master.value(), options.path);
  if (!found.ok()) {
    co_return complain(EXIT_REFUSED, "path-not-found", found.error().why);
  }
  const uint64_t inode = found.value().attributes().getInode();
  Limits limits{*bytes, *files};
  auto quotas = co_await readQuotas(context, master.value()->admin);
  for (const auto& quota : quotas) {
    if (quota.inode == inode) {
      limits.bytes = options.size.empty() ? quota.bytesMax : limits.bytes;
      limits.files = options.count.empty() ? quota.filesMax : limits.files;
    }
  }
  auto set = co_await send(context, master.value()->admin, found.value().path, limits);
  if (!set.ok()) {
    co_return complain(EXIT_REFUSED, "quota-refused", found.value().path + ": " + set.error().why);
  }
  co_return co_await show(context, master.value()->admin, found.value().path, inode);
}

Task<int> clearQuota(Context& context, const Options& options) {
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto found = co_await resolvePath(context, *master.value(), options.path);
  if (!found.ok()) {
    co_return complain(EXIT_REFUSED, "path-not-found", found.error().why);
  }
  const std::string path = found.value().path;
  const uint64_t inode = found.value().attributes().getInode();
  auto quotas = co_await readQuotas(context, master.value()->admin);
  if (std::none_of(quotas.begin(), quotas.end(), [&](auto& quota) { return quota.inode == inode; })) {
    co_return complain(EXIT_REFUSED, "quota-not-found",
                       path + ": it has no quota of its own; see: dfsadmin quota list");
  }
  Limits none;
  auto cleared = co_await send(context, master.value()->admin, path, none);
  if (!cleared.ok()) {
    co_return complain(EXIT_REFUSED, "quota-refused", path + ": " + cleared.error().why);
  }
  co_return co_await show(context, master.value()->admin, path, inode);
}

}  // namespace cairn::admin
