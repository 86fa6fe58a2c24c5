// The verbs of dfsadmin, one file for each noun. Each runs to its end and returns the exit code.
#pragma once
#include <string>
#include <vector>

#include "common/task.h"
#include "tools/admin/context.h"

namespace cairn::admin {

// Where the command line's values go; each verb uses some.
struct Options {
  std::string state = "healthy";
  double timeoutSeconds = 60;
  std::string name;
  std::string path;
  std::string file = "cluster.toml";
  std::vector<std::string> masters;
  uint32_t copies = 3;
  uint32_t minCopies = 2;
  uint32_t servers = 3;
  uint64_t id = 0;
  std::string address;
  std::string socket;
  std::string directory;
  std::string planId;
  bool onlyUnhealthy = false;
  std::string duration = "30m";
  std::string keep;
  std::string olderThan;
  std::string to;
  std::vector<std::string> logs;  // files
  std::string value;
  uint32_t last = 50;
  bool names = false;
  std::string size;   // as sizeOf() reads it
  std::string count;
  uint64_t bytes = 0;
  std::string rack;
  std::string zone;
  std::string level;
  bool newOnly = false;
  bool force = false;
  bool apply = false;
  bool explain = false;
  bool once = false;
  uint32_t intervalSeconds = 2;
  std::string role;
  std::string token;
  bool insecure = false;
};

using Verb = Task<int> (*)(Context&, const Options&);

Task<int> showHistory(Context& context, const Options& options);
Task<int> explainCode(Context& context, const Options& options);  // all when none is named
Task<int> getConfig(Context& context, const Options& options);    // all when none is named
Task<int> setConfig(Context& context, const Options& options);
Task<int> logConfig(Context& context, const Options& options);
Task<int> makeBundle(Context& context, const Options& options);
Task<int> showInodePath(Context& context, const Options& options);
Task<int> applyPlan(Context& context, const Options& options);
Task<int> showStatus(Context& context, const Options& options);
Task<int> waitFor(Context& context, const Options& options);
Task<int> showTop(Context& context, const Options& options);
Task<int> showNodes(Context& context, const Options& options);  // one of them when it is named
Task<int> drainNode(Context& context, const Options& options);
Task<int> maintainNode(Context& context, const Options& options);
Task<int> resumeNode(Context& context, const Options& options);
Task<int> removeNode(Context& context, const Options& options);
Task<int> okToStop(Context& context, const Options& options);
Task<int> planAdd(Context& context, const Options& options);
Task<int> planRemove(Context& context, const Options& options);
Task<int> planDrain(Context& context, const Options& options);
Task<int> planFail(Context& context, const Options& options);
Task<int> showTasks(Context& context, const Options& options);  // one of them when it is named
Task<int> cancelTask(Context& context, const Options& options);
Task<int> forceShard(Context& context, const Options& options);
Task<int> listShards(Context& context, const Options& options);
Task<int> showShard(Context& context, const Options& options);
Task<int> locateFile(Context& context, const Options& options);
Task<int> checkFile(Context& context, const Options& options);
Task<int> setReplicas(Context& context, const Options& options);
Task<int> showReplicas(Context& context, const Options& options);
Task<int> listSessions(Context& context, const Options& options);
Task<int> evictSession(Context& context, const Options& options);
Task<int> listLocks(Context& context, const Options& options);  // of one file when it is named
Task<int> breakLocks(Context& context, const Options& options);
Task<int> showWhy(Context& context, const Options& options);
Task<int> showSpace(Context& context, const Options& options);
Task<int> listRemovals(Context& context, const Options& options);
Task<int> applyRemoval(Context& context, const Options& options);
Task<int> listTrash(Context& context, const Options& options);
Task<int> restoreTrash(Context& context, const Options& options);
Task<int> purgeTrash(Context& context, const Options& options);
Task<int> setTrash(Context& context, const Options& options);
Task<int> listQuotas(Context& context, const Options& options);
Task<int> setQuota(Context& context, const Options& options);
Task<int> clearQuota(Context& context, const Options& options);
Task<int> showRaft(Context& context, const Options& options);
Task<int> promoteMaster(Context& context, const Options& options);
Task<int> removeMaster(Context& context, const Options& options);
Task<int> transferToMaster(Context& context, const Options& options);
Task<int> snapshotMaster(Context& context, const Options& options);
Task<int> addMaster(Context& context, const Options& options);
Task<int> recoverGroup(Context& context, const Options& options);
Task<int> compareMasters(Context& context, const Options& options);
Task<int> startScrub(Context& context, const Options& options);
Task<int> showScrub(Context& context, const Options& options);
Task<int> makeToken(Context& context, const Options& options);
Task<int> useToken(Context& context, const Options& options);
Task<int> issueCertificate(Context& context, const Options& options);
Task<int> listCertificates(Context& context, const Options& options);
Task<int> revokeCertificates(Context& context, const Options& options);
Task<int> initCluster(Context& context, const Options& options);

}  // namespace cairn::admin
