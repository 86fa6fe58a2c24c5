// What this server knows of the cluster and of its own standing: who it is, the shard map, its lease, whom it suspects.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "chunkserver/replication/signal.h"
#include "common/clock.h"
#include "common/ids.h"
#include "rpc/program.h"
#include "rpc/shard_map.h"

namespace cairn {

// One run of one chunkserver.
struct SelfIdentity {
  ClusterId cluster;
  ServerId server;
  Incarnation incarnation;
  std::string name;
  std::string address;  // host:port for other hosts
  std::string socket;   // Unix socket for the same host; may be empty
  std::string hostId;
  std::string rack;  // failure domains that it is in; empty: not known
  std::string zone;
  Program program;
};

// The right to serve. It ends by itself, and is judged after the work was done, before the reply.
class Lease {
 public:
  explicit Lease(Clock& clock) : clock_(clock) {}
  // `sentAt`: when the heartbeat was sent that was answered with `length`.
  void extend(Nanos sentAt, Nanos length) { until_ = kj::max(until_, sentAt + length); }
  // The server stops: never again.
  void end() { ended_ = true; }
  bool valid() const { return !ended_ && clock_.monotonic() < until_; }

 private:
  Clock& clock_;
  Nanos until_ = 0;
  bool ended_ = false;
};

// Servers that didn't answer a forward in time; told to the master with the next heartbeat, which is sent at once.
class Suspects {
 public:
  static constexpr Nanos REMEMBERED = 2 * SECOND;

  explicit Suspects(Clock& clock) : clock_(clock) {}
  void report(ServerId server) {
    bool isNew = reported_.count(server) == 0;
    reported_[server] = clock_.monotonic();
    if (isNew) {
      raised.raise();
    }
  }
  void clear(ServerId server) { reported_.erase(server); }
  std::vector<ServerId> current() {
    std::vector<ServerId> out;
    Nanos now = clock_.monotonic();
    for (auto it = reported_.begin(); it != reported_.end();) {
      if (now - it->second > REMEMBERED) {
        it = reported_.erase(it);
      } else {
        out.push_back((it++)->first);
      }
    }
    return out;
  }
  Wakeup raised;

 private:
  Clock& clock_;
  std::map<ServerId, Nanos> reported_;
};

class Membership {
 public:
  Membership(Clock& clock, SelfIdentity self) : lease(clock), suspects(clock), self_(std::move(self)) {}
  const SelfIdentity& self() const { return self_; }
  // The address is known only once the port is open.
  void setAddress(std::string address) { self_.address = std::move(address); }

  ShardMap map;
  Lease lease;
  Suspects suspects;
  // Raised when the map or the lease changes.
  Wakeup changed;

 private:
  SelfIdentity self_;
};

}  // namespace cairn
