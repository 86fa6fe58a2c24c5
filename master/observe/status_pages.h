// The status page of a master: its files, made part of the program when it is built (status_page/), and the data that
// they show. A master that doesn't lead shows what the leader says.
#pragma once
#include <string>

#include "master/member.h"
#include "rpc/metrics_pages.h"

namespace cairn {

// Adds the pages. `member` must outlive `pages`.
void addStatusPages(MetricsPages& pages, Member& member, const std::string& name);

}  // namespace cairn
