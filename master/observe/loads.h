// Loads: what chunkservers and clients tell the leader of their work, and how much of it they do at the moment. Pure;
// time comes with each call.
#pragma once
#include <deque>
#include <map>
#include <string>

#include "common/clock.h"
#include "common/ids.h"
#include "schema/observe.capnp.h"

namespace cairn {

// How fast a count rises, over the last few seconds.
class Rate {
 public:
  static constexpr Nanos WINDOW = 5 * SECOND;
  // A count that falls is of a process that has begun anew.
  void report(uint64_t count, Nanos now);
  double perSecond(Nanos now) const;

 private:
  struct Step {
    Nanos at;
    uint64_t count;
  };
  std::deque<Step> steps_;
};

struct KindLoad {
  uint64_t count = 0;
  uint64_t errors = 0;
  Nanos p99 = 0;
  Rate rate;
};

struct WorkLoad {
  uint64_t operations = 0, errors = 0, bytesRead = 0, bytesWritten = 0, slow = 0;
  Rate operationRate, readRate, writeRate;
  std::map<std::string, KindLoad> kinds;  // of a chunkserver
  Nanos heardAt = 0;
};

struct SlowCall {
  int64_t at = 0;  // seconds since 1970
  SessionId session{};
  std::string kind;
  uint64_t inode = 0;
  Nanos took = 0;
  std::string path;
};

class Loads {
 public:
  static constexpr size_t SLOW_MAX = 64;
  static constexpr size_t KINDS_MAX = 32;       // of one server
  static constexpr size_t TEXT_BYTES_MAX = 512;  // of what others write
  static constexpr Nanos FORGOTTEN_AFTER = 60 * SECOND;

  void report(ServerId server, wire::ServerLoad::Reader load, Nanos now);
  void report(SessionId session, wire::ClientLoad::Reader load, Nanos now, int64_t wallSeconds);
  // Who hasn't been heard of for FORGOTTEN_AFTER.
  void forgetOld(Nanos now);

  const std::map<ServerId, WorkLoad>& servers() const { return servers_; }
  const std::map<SessionId, WorkLoad>& clients() const { return clients_; }
  const std::deque<SlowCall>& slow() const { return slow_; }  // oldest first
  // Of all chunkservers, since this master began to lead.
  uint64_t bytesRead() const { return bytesRead_; }
  uint64_t bytesWritten() const { return bytesWritten_; }
  // The slowest server's, in the last seconds.
  Nanos worstP99(const std::string& kind) const;

 private:
  std::map<ServerId, WorkLoad> servers_;
  std::map<SessionId, WorkLoad> clients_;
  std::deque<SlowCall> slow_;
  uint64_t bytesRead_ = 0, bytesWritten_ = 0;
};

}  // namespace cairn
