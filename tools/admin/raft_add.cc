// dfsadmin raft add: a further master. What it needs is written into cluster.toml, what is to be done on its machine is
// said, and then its way to a vote is watched.
#include <algorithm>
#include <cerrno>
#include <iostream>

#include "tools/admin/cluster_edit.h"
#include "tools/admin/history.h"
#include "tools/admin/master_link.h"
#include "tools/admin/output.h"
#include "tools/admin/raft_group.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

constexpr Nanos LOOK = 200 * MILLISECOND;

const MasterAddress* findByName(const ClusterFile& cluster, const std::string& name) {
  auto isIt = [&](const MasterAddress& master) { return master.name == name; };
  auto found = std::find_if(cluster.masters.begin(), cluster.masters.end(), isIt);
  return found == cluster.masters.end() ? nullptr : &*found;
}

// Empty: the group doesn't have it.
std::string roleIn(const Json& group, const std::string& name) {
  for (const auto& member : group["members"]) {
    if (member["name"] == name) {
      return member["role"].get<std::string>();
    }
  }
  return "";
}

// Into cluster.toml, unless it is there.
Result<MasterAddress> ensureNamed(Context& context, const ClusterFile& cluster, const Options& options) {
  const auto* known = findByName(cluster, options.name);
  if (known != nullptr && !options.address.empty() && known->address != options.address) {
    return Error{EEXIST, context.clusterFile + " has master " + options.name + " at " + known->address + ", not at " +
                             options.address + ": leave --address away, or correct the file"};
  }
  if (known != nullptr) {
    return *known;
  }
  if (options.address.empty()) {
    return Error{EINVAL, context.clusterFile + " doesn't name master " + options.name +
                             " yet: say where it will be with --address HOST:PORT"};
  }
  MasterAddress master{options.name, options.address, options.socket};
  auto noted = noteMaster(context, master);
  return noted.ok() ? Result<MasterAddress>(master) : Result<MasterAddress>(noted.error());
}

void sayWhatToDo(const Context& context, const MasterAddress& master) {
  if (context.json) {
    return;
  }
  std::cout << "On the machine of master " << master.name << ", with a copy of " << context.clusterFile
            << " as it is now:\n  dfs-master --cluster " << context.clusterFile << " --name " << master.name
            << " --dir DIR --listen " << master.address << (master.socket.empty() ? "" : " --socket " + master.socket)
            << " --join\n"
            << std::flush;
}

std::string progressText(const Json& group, const std::string& name) {
  for (const auto& member : group["members"]) {
    if (member["name"] == name) {
      return "master " + name + " has " + member["matchIndex"].dump() + " of " + group["commitIndex"].dump() +
             " entries";
    }
  }
  return "waiting for master " + name + " to be started";
}

Task<Json> lookAtGroup(Context& context) {
  Json nothing = {{"members", Json::array()}, {"commitIndex", 0}};
  try {
    auto found = co_await findMaster(context, FIND_LIMIT);
    if (found.ok()) {
      co_return co_await readGroup(context, *found.value());
    }
  } catch (kj::Exception& e) {
    if (!isRetryable(e)) {
      throw;
    }
  }
  co_return kj::mv(nothing);
}

Task<int> watch(Context& context, std::string name, Nanos limit) {
  Progress progress(context);
  Nanos end = context.clock.monotonic() + limit;
  bool told = false;
  Json group;
  std::string role;
  do {
    group = co_await lookAtGroup(context);
    role = roleIn(group, name);
    progress.show(progressText(group, name));
    if (!role.empty() && !told && !context.json) {
      told = true;
      progress.clear();
      std::cout << "master " << name << " is there" << (role == "learner" ? ", and is given what the others have" : "")
                << "\n"
                << std::flush;
    }
    if (role.empty() || role == "learner") {
      co_await context.clock.after(LOOK);
    }
  } while ((role.empty() || role == "learner") && context.clock.monotonic() < end);
  progress.clear();
  if (role.empty() || role == "learner") {
    co_return complain(EXIT_DEGRADED, "master-joining",
                       progressText(group, name) + " after " + durationText(limit / SECOND) +
                           "; it gets its vote by itself when it has all. See its log, and dfsadmin raft "
                           "status; `dfsadmin raft add " +
                           name + "` goes on watching");
  }
  co_return printDone(context, {{"master", name}}, "master " + name + " has a vote");
}

}  // namespace

Task<int> addMaster(Context& context, const Options& options) {
  auto file = locateCluster(context);
  if (!file.ok()) {
    co_return complain(EXIT_REFUSED, "cluster-file", file.error().why);
  }
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto group = co_await readGroup(context, *found.value());
  std::string role = roleIn(group, options.name);
  if (!role.empty() && role != "learner") {
    co_return complain(EXIT_REFUSED, "master-known", "master " + options.name +
                                         " is one of the group already, with a vote. If its "
                                         "directory is lost: dfsadmin raft remove " +
                                         options.name);
  }
  auto named = ensureNamed(context, file.value(), options);
  if (!named.ok()) {
    co_return complain(EXIT_REFUSED, "master-not-named", named.error().why);
  }
  auto noted = co_await beginAction(context, found.value()->admin, "raft add " + options.name);
  if (noted.ok()) {
    co_await endAction(context, found.value()->admin, noted.value(), Status());
  }
  if (role.empty()) {
    sayWhatToDo(context, named.value());
  }
  Nanos limit = static_cast<Nanos>(options.timeoutSeconds * SECOND);
  if (limit == 0 && !context.json) {
    co_return EXIT_HEALTHY;
  }
  if (limit == 0) {
    co_return printDone(context, {{"master", options.name}}, "it is named in " + context.clusterFile);
  }
  co_return co_await watch(context, options.name, limit);
}

}  // namespace cairn::admin
