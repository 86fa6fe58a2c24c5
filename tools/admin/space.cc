// dfsadmin df: how much room there is, for users and on the disks.
#include "tools/admin/status.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

Task<int> showSpace(Context& context, const Options&) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto status = co_await readStatus(context, *found.value());
  const auto& space = status["space"];
  if (context.json) {
    printJson(space);
    co_return EXIT_HEALTHY;
  }
  Table table({"", "TOTAL", "USED", "AVAILABLE"});
  uint64_t total = space["totalBytes"], available = space["availableBytes"];
  uint64_t rawTotal = space["rawBytes"], rawUsed = space["usedBytes"];
  table.add({"for files (" + space["copies"].dump() + " copies)", sizeText(total),
             sizeText(total - std::min(total, available)), sizeText(available)});
  table.add({"on the disks", sizeText(rawTotal), sizeText(rawUsed), sizeText(rawTotal - std::min(rawTotal, rawUsed))});
  uint64_t files = space["files"], filesMax = space["filesMax"];
  table.add({"files", std::to_string(filesMax), std::to_string(files),
             std::to_string(filesMax - std::min(filesMax, files))});
  table.print();
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
