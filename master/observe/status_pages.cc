#include "master/observe/status_pages.h"

#include <status_page_files.h>

#include <nlohmann/json.hpp>

namespace cairn {
namespace {

// Says by whom it was served: an answer of the leader may come through another master.
Task<HttpReply> pageData(Member& member, std::string name) {
  auto json = co_await member.page();
  auto page = nlohmann::ordered_json::parse(json);
  page["servedBy"] = name;
  co_return HttpReply{200, "application/json", page.dump()};
}

}  // namespace

void addStatusPages(MetricsPages& pages, Member& member, const std::string& name) {
  for (auto& file : STATUS_PAGE_FILES) {
    pages.add(file.path, [&file]() -> kj::Promise<HttpReply> { return HttpReply{200, file.type, file.text}; });
  }
  pages.add("/status.json", [&member, name]() -> kj::Promise<HttpReply> { return pageData(member, name).promise(); });
}

}  // namespace cairn
