// cluster.toml: what every program needs to find and trust a cluster.
//
//   cluster = "32 hex digits"
//   epoch = "1-5f3a9c21"            # only after `dfsadmin raft recover`, which writes it: no earlier master counts
//   [[master]]
//   name = "m1"
//   address = "127.0.0.1:7000"      # other hosts
//   socket = "run/m1.sock"          # same host; relative to the file's directory
//   [defaults]
//   copies = 3                      # copies of new files' chunks
//   min_copies = 2                  # in-sync copies below which writes wait
//   servers = 3                     # chunkservers to wait for before the first placement
//   repair_delay = 20               # seconds after which a lost chunkserver's copies are made elsewhere
//   [security]                      # left out: no certificates, so TCP on loopback addresses only
//   directory = "tls"               # of certificates; relative to the file's directory
//   certificate_seconds = 2592000   # for which a certificate is good; it is renewed at two thirds of that
//   [upkeep]
//   scrub_days = 14                 # every stored byte is read and checked in this time
//   repair_mib_per_second = 200     # a joining server fetches at this rate; left out: as fast as users don't feel it
//   orphan_seconds = 86400          # for which a chunk must have been no file's before it goes into quarantine
//   quarantine_seconds = 86400      # for which chunkservers keep what was deleted, unless the room is wanted
#pragma once
#include <string>
#include <vector>

#include "common/ids.h"
#include "common/result.h"

namespace cairn {

struct MasterAddress {
  std::string name;
  std::string address;  // host:port
  std::string socket;   // absolute path; empty when there is none

  // To be dialled in this order: its Unix socket comes first.
  std::vector<std::string> addresses() const;
};

struct ClusterFile {
  ClusterId cluster;
  GroupEpoch epoch{};  // the least that its masters must have
  std::vector<MasterAddress> masters;
  uint32_t copies = 3;
  uint32_t minCopies = 2;
  uint32_t servers = 3;
  uint32_t repairDelaySeconds = 20;
  uint32_t scrubDays = 14;
  uint32_t repairMibPerSecond = 0;  // 0: adaptive
  uint32_t quarantineSeconds = 24 * 3600;
  uint32_t orphanSeconds = 24 * 3600;
  std::string securityDirectory;  // absolute path; empty: the cluster has no certificates
  uint32_t certificateSeconds = 30 * 24 * 3600;
};

// Reads and checks `path`; in common/system/cluster_file.cc. The error names the file, the line or key, and what to
// write there.
Result<ClusterFile> readClusterFile(const std::string& path);
// Parses `text`; `path` is used for messages and, up to its last '/', before relative sockets.
Result<ClusterFile> parseClusterFile(const std::string& text, const std::string& path);
// What another host needs of `cluster`: no sockets, certificates in "tls". parseClusterFile() reads it.
std::string clusterFileText(const ClusterFile& cluster);

}  // namespace cairn
