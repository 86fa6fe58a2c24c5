// dfsadmin explain: what a code means. Asks no server.
#include <algorithm>
#include <iostream>
#include <vector>

#include "tools/admin/codes.h"
#include "tools/admin/output.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

struct Explained {
  const char* kind;
  CodeText text;
};

std::vector<Explained> allCodes() {
  std::vector<Explained> all;
  for (const auto& text : healthCodes()) {
    all.push_back({"health", text});
  }
  for (const auto& text : errorCodes()) {
    all.push_back({"error", text});
  }
  return all;
}

Json codeJson(const Explained& one) {
  return {{"code", one.text.code},
          {"kind", one.kind},
          {"cause", one.text.cause},
          {"effect", one.text.effect},
          {"next", one.text.next}};
}

void printOne(const Explained& one) {
  bool health = one.kind == std::string_view("health");
  std::cout << one.text.code << (health ? ": why the cluster isn't healthy\n" : ": what dfsadmin refuses\n")
            << "  Cause   " << one.text.cause << "\n  Effect  " << one.text.effect << "\n  Next    " << one.text.next
            << "\n";
}

void printAll(const std::vector<Explained>& all) {
  Table table({"CODE", "CAUSE"});
  for (const auto& one : all) {
    table.add({std::string(one.text.code), std::string(one.text.cause)});
  }
  table.print();
}

}  // namespace

Task<int> explainCode(Context& context, const Options& options) {
  auto chosen = allCodes();
  if (!options.name.empty()) {
    std::erase_if(chosen, [&](const Explained& one) { return one.text.code != options.name; });
    if (chosen.empty()) {
      co_return complain(EXIT_REFUSED, "code-not-found",
                         "there is no code '" + options.name + "'; see: dfsadmin explain");
    }
  }
  if (context.json) {
    Json list = Json::array();
    for (const auto& one : chosen) {
      list.push_back(codeJson(one));
    }
    printJson({{"codes", list}});
  } else if (options.name.empty()) {
    printAll(chosen);
  } else {
    printOne(chosen.front());
  }
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
