// Daemon: one chunkserver, put together from the seams. main.cc gives it the system's, the simulation its own.
//
//   auto daemon = startDaemon(seams, options, home, volumes);    serves until it is destroyed: that is a crash
//   daemon->stop()                                               the orderly end
#pragma once
#include <kj/async.h>
#include <leveldb/env.h>

#include <string>
#include <vector>

#include "chunkserver/server_home.h"
#include "common/clock.h"
#include "common/cluster_file.h"
#include "common/disk.h"
#include "common/metrics/sheet.h"
#include "common/random.h"
#include "common/result.h"
#include "common/task.h"
#include "common/workers.h"
#include "rpc/network.h"
#include "rpc/program.h"

namespace cairn {

struct DaemonSeams {
  Clock& clock;
  Random& random;
  Network& network;
  Workers& workers;
};

struct DaemonOptions {
  ClusterFile cluster;
  std::string name;
  std::string listen;  // host:port; port 0: any
  std::string socket;  // path of the Unix socket; empty: none
  std::string hostId;
  std::string rack;  // failure domains that it is in; empty: not known
  std::string zone;
  Program program;
  uint64_t capacityLimit = 0;  // bytes of chunks per volume; 0: what the disk has
  Nanos slow = SLOW_DEFAULT;   // from when on a call is worth a line in the log; 0: never
};

// One data directory. `disk` is nullptr when it can't be opened; `why` says so.
struct VolumePlace {
  std::string path;  // as the operator named it
  Disk* disk = nullptr;
  leveldb::Env* env = nullptr;  // syncs LevelDB's logs (common/system/leveldb_env.h); one for each volume
  Error error{0, {}};
};

class Daemon {
 public:
  virtual ~Daemon() noexcept(false) = default;
  // Where it serves.
  virtual std::vector<Address> addresses() const = 0;
  virtual bool registered() const = 0;
  // Adds what it counts.
  virtual void measure(MetricsSheet& sheet) = 0;
  // Resolves when it can't go on: refused by the master for good, or every volume has failed.
  virtual kj::Promise<Error> onFatal() = 0;
  // Ends what is under way, syncs, clears dirty marks, gives the lease up. Nothing may be called afterwards.
  virtual Task<void> stop() = 0;
};

// Opens the volumes and the ports and starts to register. A known volume that fails to open for an error of its disk is
// reported to the master, as long as another one opens; every other error refuses the start.
Result<kj::Own<Daemon>> startDaemon(DaemonSeams seams, DaemonOptions options, ServerHome& home,
                                    std::vector<VolumePlace> volumes);

}  // namespace cairn
