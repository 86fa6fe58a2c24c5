// dfsadmin raft recover: the group of masters begun anew from one survivor, when a majority is lost for good.
#include <algorithm>
#include <cerrno>
#include <ctime>
#include <iostream>

#include "common/log.h"
#include "master/recovering.h"
#include "rpc/hello.h"
#include "tools/admin/cluster_edit.h"
#include "tools/admin/master_link.h"
#include "tools/admin/output.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

std::string timeText(Timestamp time) {
  time_t seconds = time.seconds;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

std::string positionText(raft::Position at) {
  return "entry " + std::to_string(raw(at.index)) + " of term " + std::to_string(raw(at.term));
}

std::string commandText(const Context& context, const Options& options) {
  return "dfsadmin --cluster " + context.clusterFile + " raft recover " + options.name + " --dir " + options.directory;
}

void print(const Context& context, const Options& options, const RecoveryPlan& plan) {
  std::string others = plan.others.empty() ? "nobody" : joined(plan.others, ", ");
  std::cout << "Plan " << plan.id << ": master " << options.name << " begins the group anew, alone\n\n"
            << "  its log ends with    " << positionText(plan.last) << ", of " << timeText(plan.time) << "\n"
            << "  committed for sure   up to entry " << raw(plan.committed) << "; what follows counts from then on\n"
            << "  given up             " << others
            << (plan.votes ? "" : "; " + options.name + " itself had no vote yet") << "\n"
            << "  lost                 whatever was acknowledged after " << timeText(plan.time)
            << " and is not in its log;\n"
            << "                       nothing that was acknowledged before\n";
  if (plan.damage) {
    std::cout << "  lost besides         what its damaged log had up to entry " << raw(plan.damage->last.index)
              << ", at any time\n";
  }
  std::cout << "\nThe directories of the others are refused from then on. If one of them can still be read, look at\n"
               "its plan too, and recover from the log that ends with the highest term, then the highest entry.\n"
               "Chunkservers that were left out of shards meanwhile may have older copies: see dfsadmin file check.\n\n"
            << "Nothing has been changed. To do it:\n  " << commandText(context, options) << " --apply " << plan.id
            << "\n";
}

Json toJson(const Options& options, const RecoveryPlan& plan) {
  Json out = {{"plan", plan.id},
              {"master", options.name},
              {"term", raw(plan.last.term)},
              {"lastIndex", raw(plan.last.index)},
              {"committedIndex", raw(plan.committed)},
              {"lastTime", plan.time.seconds},
              {"hadVote", plan.votes},
              {"givenUp", plan.others},
              {"applied", false}};
  return out;
}

// Whether that master is there, as one of a group.
Task<bool> stands(Context& context, ClusterFile cluster, MasterAddress master) {
  auto addresses = master.addresses();
  for (auto& address : addresses) {
    try {
      auto link = co_await dial(context.network, context.clock, address, SECOND, PeerRole::MASTER);
      auto request = link->bootstrap().castAs<wire::MasterDoor>().enterRequest();
      writeHello(request.initHello(), cluster.cluster, wire::Role::ADMIN, "dfsadmin", cluster.epoch);
      kj::Promise<capnp::Response<wire::MasterDoor::EnterResults>> sent = request.send();
      auto reply = co_await withDeadline(context.clock, SECOND, kj::mv(sent), "enter");
      if (reply.getGrouped() && GroupEpoch{reply.getEpoch()} >= cluster.epoch) {
        co_return true;
      }
    } catch (const kj::Exception& e) {
      spdlog::debug("{}: {}", address, e.getDescription().cStr());
    }
  }
  co_return false;
}

// Where those are that had a vote beside the survivor: as the cluster file says, or as they said when they joined.
Result<std::vector<MasterAddress>> addressesOf(const ClusterFile& cluster, const RecoveryPlan& plan) {
  std::vector<MasterAddress> out;
  for (auto& name : plan.others) {
    auto named = std::find_if(cluster.masters.begin(), cluster.masters.end(), [&](auto& m) { return m.name == name; });
    auto known = std::find_if(plan.members.begin(), plan.members.end(), [&](auto& m) { return m.name == name; });
    if (named != cluster.masters.end()) {
      out.push_back(*named);
    } else if (known != plan.members.end() && !known->address.empty()) {
      MasterAddress master;
      master.name = name;
      master.address = known->address;
      out.push_back(std::move(master));
    } else {
      return Error{EINVAL, "master " + name + " had a vote, and the cluster file doesn't say where it is, so nobody "
                           "can ask it whether the group is lost: add it there"};
    }
  }
  return out;
}

// Those of the others that can still be had, when they and the survivor are a majority.
Task<std::string> majorityLeft(Context& context, ClusterFile cluster, RecoveryPlan plan,
                               std::vector<MasterAddress> others) {
  std::vector<std::string> standing;
  for (auto& master : others) {
    bool is = co_await stands(context, cluster, master);
    if (is) {
      standing.push_back(master.name);
    }
  }
  size_t voters = plan.others.size() + plan.votes;
  bool isMajority = 2 * (standing.size() + plan.votes) > voters && !standing.empty();
  co_return isMajority ? joined(standing, " and ") : "";
}

int applied(Context& context, const Options& options, const RecoveryPlan& plan, GroupEpoch epoch) {
  std::string text = toText(epoch);
  auto noted = noteEpoch(context, epoch);
  std::string where = context.clusterFile + " says so: copy it to every machine of the cluster";
  if (!noted.ok()) {
    where = "write the line  epoch = \"" + text + "\"  below the cluster's id into every cluster.toml (" +
            noted.error().why + ")";
  }
  if (context.json) {
    auto out = toJson(options, plan);
    out["applied"] = true;
    out["epoch"] = text;
    printJson(out);
  } else {
    std::cout << "master " << options.name << " is a group of its own now, of epoch " << text << ". " << where << "\n"
              << "Next: dfs-master --cluster " << context.clusterFile << " --name " << options.name << " --dir "
              << options.directory << "\n"
              << "Then, for each further master: empty its directory, and start it with --join\n";
  }
  return noted.ok() ? EXIT_HEALTHY : EXIT_DEGRADED;
}

}  // namespace

Task<int> recoverGroup(Context& context, const Options& options) {
  auto file = locateCluster(context);
  if (!file.ok()) {
    co_return complain(EXIT_REFUSED, "cluster-file", file.error().why);
  }
  const ClusterFile cluster = file.value();
  auto disk = context.openDisk(options.directory);
  if (!disk.ok()) {
    co_return complain(EXIT_REFUSED, "recover-refused", disk.error().why);
  }
  RecoveryParts parts{*disk.value(), *context.env, context.random, cluster, options.name};
  auto plan = planRecovery(parts);
  if (!plan.ok()) {
    co_return complain(EXIT_REFUSED, "recover-refused", plan.error().why);
  }
  auto others = addressesOf(cluster, plan.value());
  if (!others.ok()) {
    co_return complain(EXIT_REFUSED, "recover-refused", others.error().why);
  }
  auto left = co_await majorityLeft(context, cluster, plan.value(), others.value());
  if (!left.empty()) {
    co_return complain(EXIT_REFUSED, "group-not-lost",
                       "the group isn't lost: " + left + " answers, a majority with " + options.name +
                                         ". Start " + options.name + " as it is; see dfsadmin raft status");
  }
  if (options.planId.empty()) {
    if (context.json) {
      printJson(toJson(options, plan.value()));
    } else {
      print(context, options, plan.value());
    }
    co_return EXIT_HEALTHY;
  }
  auto done = co_await recover(parts, options.planId);
  if (!done.ok()) {
    co_return complain(EXIT_REFUSED, "recover-refused", done.error().why);
  }
  co_return applied(context, options, plan.value(), done.value());
}

}  // namespace cairn::admin
