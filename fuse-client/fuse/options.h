// What the command line of dfs-mount says. Understands the program's own form, that of mount(8)'s helpers
// (`mount.dfs DEVICE MNT -o opts`) and fstab's options. Pure: touches no file.
#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/clock.h"
#include "fuse-client/client/options.h"

namespace cairn {

// Exit codes of dfs-mount, as in all tools.
enum ExitCode : int {
  EXIT_DONE = 0,
  EXIT_FAILED = 1,
  EXIT_REFUSED = 2,
  EXIT_UNREACHABLE = 3,
  EXIT_USAGE = 64,
};

struct MountOptions {
  std::string clusterFile;
  std::string mountPoint;
  bool foreground = false;
  // Another process takes over when the one that serves dies, or on SIGUSR2 (holder.h).
  bool supervised = false;
  std::string worker;              // this is one: what its holder gives it
  std::vector<std::string> flags;  // all words but the two places, for a worker
  bool checkOnly = false;  // mount -f: says whether it would go, mounts nothing
  Nanos connectTimeout = 10 * SECOND;
  std::string logFile;
  std::string logLevel = "info";
  bool logJson = false;
  std::string metrics;        // host:port on which its metrics are served; empty: nowhere
  Nanos slow = SLOW_DEFAULT;  // from when on a call is worth a line in the log; 0: never

  std::string fsname;  // what df and mount show; the cluster file when empty
  std::string identity;  // whose certificate it shows; empty: the usual one
  std::string subdir;  // the directory of the cluster to show; empty: its root
  bool readOnly = false;
  bool synchronous = false;
  bool allowOther = false;
  bool allowRoot = false;
  bool defaultPermissions = false;
  bool nonEmpty = false;
  Nanos softTimeout = 0;    // 0: hard
  uint64_t cacheBytes = 0;  // 0: the library's defaults
  // Bounds of what the kernel is told it may believe without asking; leases bound it too, and mostly sooner.
  Nanos entryTimeout = 3600 * SECOND;
  Nanos attributeTimeout = 3600 * SECOND;
  Nanos negativeTimeout = 3600 * SECOND;
  // The kernel leaves access times to the file system, and sends nothing for what it has in its pages.
  AccessTimes accessTimes = AccessTimes::RELATIVE;
  bool directoryAccessTimes = true;
  std::vector<std::string> kernelFlags;  // nosuid, nodev, noexec and their opposites, noatime, in order
};

// Text for standard output (help, version) or for standard error (a mistake), and the exit code.
struct EarlyExit {
  int code = EXIT_DONE;
  std::string text;
};

// `asRoot` decides the defaults of allow_other and default_permissions.
std::variant<MountOptions, EarlyExit> parseCommandLine(const std::vector<std::string>& arguments, bool asRoot);

// The -o argument for libfuse that goes with `options`.
std::string libfuseOptions(const MountOptions& options);

}  // namespace cairn
