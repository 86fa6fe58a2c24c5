// dfsadmin trash: what was deleted and can be brought back.
#include <algorithm>
#include <iostream>

#include "fuse-client/client/wire.h"
#include "tools/admin/file_path.h"
#include "tools/admin/output.h"
#include "tools/admin/paths.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

constexpr uint32_t ITEMS_AT_ONCE = 1000;
// A big tree comes back, or goes, name by name.
constexpr Nanos TREE_LIMIT = 3600 * SECOND;

struct Item {
  uint64_t id = 0;
  std::string path;
  bool directory = false;
  uint64_t bytes = 0;
  uint64_t files = 0;
  int64_t deleted = 0;
  int64_t expires = 0;
};

Json toJson(const Item& item) {
  return {{"id", item.id},       {"path", item.path},       {"directory", item.directory}, {"bytes", item.bytes},
          {"files", item.files}, {"deleted", item.deleted}, {"expires", item.expires}};
}

int64_t nowSeconds(const Context& context) { return context.clock.wall() / SECOND; }

std::string spanText(int64_t from, int64_t to) {
  return durationText(static_cast<uint64_t>(std::max<int64_t>(to - from, 0)));
}

bool isBelow(const std::string& path, const std::string& above) {
  return above == "/" || path == above || path.starts_with(above + "/");
}

Task<std::vector<Item>> readTrash(Context& context, wire::Admin::Client admin) {
  std::vector<Item> items;
  for (bool more = true; more;) {
    auto request = admin.trashRequest();
    request.setAfter(items.empty() ? 0 : items.back().id);
    request.setItemsMax(ITEMS_AT_ONCE);
    kj::Promise<capnp::Response<wire::Admin::TrashResults>> sent = request.send();
    auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "listing the trash");
    for (auto item : reply.getItems()) {
      items.push_back({item.getId(), textOf(item.getPath()), item.getDirectory(), item.getBytes(), item.getFiles(),
                       item.getDeleted(), item.getExpires()});
    }
    more = !reply.getEnd() && reply.getItems().size() > 0;
  }
  co_return items;
}

void print(const std::vector<Item>& items, int64_t now) {
  Table table({"ITEM", "DELETED", "KEPT FOR", "FILES", "SIZE", "PATH"});
  for (const auto& item : items) {
    table.add({std::to_string(item.id), spanText(item.deleted, now) + " ago", spanText(now, item.expires),
               std::to_string(item.files), sizeText(item.bytes), item.path + (item.directory ? "/" : "")});
  }
  table.print();
}

uint64_t bytesOf(const std::vector<Item>& items) {
  uint64_t bytes = 0;
  for (const auto& item : items) {
    bytes += item.bytes;
  }
  return bytes;
}

int report(const Context& context, const std::vector<Item>& items, bool applied) {
  if (context.json) {
    Json list = Json::array();
    for (const auto& item : items) {
      list.push_back(toJson(item));
    }
    printJson({{"items", list}, {"bytes", bytesOf(items)}, {"applied", applied}});
    return EXIT_HEALTHY;
  }
  if (!applied) {
    print(items, nowSeconds(context));
  }
  std::cout << (applied ? "gone for good: " : "nothing was done yet. Would go for good: ") << items.size()
            << (items.size() == 1 ? " item, " : " items, ") << sizeText(bytesOf(items)) << "\n";
  if (!applied) {
    std::cout << "To do it: the same with --apply\n";
  }
  return EXIT_HEALTHY;
}

}  // namespace

Task<int> listTrash(Context& context, const Options& options) {
  auto path = clusterPath(context, options.path.empty() ? "/" : options.path);
  if (!path.ok()) {
    co_return complain(EXIT_USAGE, "usage", path.error().why);
  }
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto items = co_await readTrash(context, master.value()->admin);
  std::erase_if(items, [&](const Item& item) { return !isBelow(item.path, path.value()); });
  if (!context.json) {
    print(items, nowSeconds(context));
    co_return EXIT_HEALTHY;
  }
  Json list = Json::array();
  for (const auto& item : items) {
    list.push_back(toJson(item));
  }
  printJson({{"items", list}});
  co_return EXIT_HEALTHY;
}

Task<int> restoreTrash(Context& context, const Options& options) {
  std::string to;
  if (!options.to.empty()) {
    auto path = clusterPath(context, options.to);
    if (!path.ok()) {
      co_return complain(EXIT_USAGE, "usage", path.error().why);
    }
    to = path.value();
  }
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto request = master.value()->admin.restoreTrashRequest();
  request.setItem(options.id);
  request.setTo(wireBytes(to));
  kj::Promise<capnp::Response<wire::Admin::RestoreTrashResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, TREE_LIMIT, kj::mv(sent), "bringing it back");
  auto outcome = readOutcome(reply.getOutcome());
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "trash-not-restored",
                       std::to_string(options.id) + ": not brought back: " + outcome.error().why);
  }
  std::string path = textOf(reply.getPath());
  if (context.json) {
    printJson({{"id", options.id}, {"path", path}});
  } else {
    std::cout << path << ": it is back\n";
  }
  co_return EXIT_HEALTHY;
}

Task<int> purgeTrash(Context& context, const Options& options) {
  uint32_t older = options.olderThan.empty() ? 0 : secondsOf(options.olderThan);
  if (!options.olderThan.empty() && older == 0) {
    co_return complain(EXIT_USAGE, "usage", "'" + options.olderThan + "' is no duration; write 90s, 30m, 2h or 1d");
  }
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto items = co_await readTrash(context, master.value()->admin);
  int64_t latest = nowSeconds(context) - static_cast<int64_t>(older);
  std::erase_if(items, [&](const Item& item) {
    return options.id != 0 ? item.id != options.id : older != 0 && item.deleted > latest;
  });
  if (!options.apply) {
    co_return report(context, items, false);
  }
  auto request = master.value()->admin.purgeTrashRequest();
  request.setItem(options.id);
  request.setOlderThanSeconds(older);
  kj::Promise<capnp::Response<wire::Admin::PurgeTrashResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, TREE_LIMIT, kj::mv(sent), "purging");
  auto outcome = readOutcome(reply.getOutcome());
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "trash-not-purged", "not purged: " + outcome.error().why);
  }
  co_return report(context, items, true);
}

Task<int> setTrash(Context& context, const Options& options) {
  uint64_t seconds = secondsOf(options.keep);
  bool asAbove = options.keep == "default";
  if (seconds == 0 && options.keep != "off" && !asAbove) {
    co_return complain(EXIT_USAGE, "usage",
                       "'" + options.keep + "' is no duration; write 90s, 30m, 2h, 1d, off or default");
  }
  auto path = clusterPath(context, options.path);
  if (!path.ok()) {
    co_return complain(EXIT_USAGE, "usage", path.error().why);
  }
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto request = master.value()->admin.setTrashRequest();
  request.setPath(wireBytes(path.value()));
  request.setSeconds(asAbove ? UINT64_MAX : seconds);
  kj::Promise<capnp::Response<wire::Admin::SetTrashResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "setting it");
  auto outcome = readOutcome(reply.getOutcome());
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "trash-not-set", path.value() + ": " + outcome.error().why);
  }
  if (context.json) {
    printJson({{"path", path.value()}, {"seconds", asAbove ? Json(nullptr) : Json(seconds)}});
    co_return EXIT_HEALTHY;
  }
  std::string what = asAbove        ? "as the directory above it says"
                     : seconds == 0 ? "not at all"
                                    : "for " + durationText(seconds);
  std::cout << path.value() << ": what is deleted in it from now on is kept " << what << "\n";
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
