// The verbs of dfsadmin, one function for each noun that adds them to the command line.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
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
  bool onlyUnhealthy = false;
};

// The chosen verb; the result is the exit code.
using Run = std::function<Task<int>(Context&)>;

void addStatus(CLI::App& app, Options& options, Run& run);
void addWait(CLI::App& app, Options& options, Run& run);
void addNode(CLI::App& app, Options& options, Run& run);
void addShard(CLI::App& app, Options& options, Run& run);
void addFile(CLI::App& app, Options& options, Run& run);
void addSession(CLI::App& app, Options& options, Run& run);
void addSpace(CLI::App& app, Options& options, Run& run);
void addCluster(CLI::App& app, Options& options, Run& run);

// A subcommand with its help: what it does, and an example.
CLI::App* addVerb(CLI::App& to, const char* name, const char* what, const char* example);

}  // namespace cairn::admin
