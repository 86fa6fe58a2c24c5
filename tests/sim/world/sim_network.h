// A network of named hosts in virtual time. Streams keep order and lose nothing, as TCP's do; what is simulated is
// delay, silence (packets dropped: nothing arrives until the partition heals), resets, and hosts without power.
//
//   Network& n = network.host("c1");      what the daemon "c1" gets
//   network.partition("c1", "m1");        both ways; connect() hangs, bytes wait
//
// "unix:" addresses are the host's own: nobody else reaches them, and no partition cuts them.
#pragma once
#include <kj/async-io.h>
#include <kj/refcount.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/task.h"
#include "rpc/network.h"
#include "tests/sim/world/sim_random.h"
#include "tests/sim/world/sim_trace.h"

namespace cairn {

class SimFlow;
class SimHost;
class SimListener;

struct SimDelay {
  Nanos min = 30 * MICROSECOND;
  Nanos max = 300 * MICROSECOND;
};

class SimNetwork final : private kj::TaskSet::ErrorHandler {
 public:
  SimNetwork(Clock& clock, SimTrace& trace, uint64_t seed);
  ~SimNetwork() noexcept(false);

  // The network as the host of that name sees it. Lives as long as this.
  Network& host(const std::string& name);

  void setDelay(SimDelay delay) { defaultDelay_ = delay; }
  // Both ways.
  void setDelay(const std::string& a, const std::string& b, SimDelay delay);

  void partition(const std::string& a, const std::string& b);
  void partitionOneWay(const std::string& from, const std::string& to);
  // From every other host.
  void isolate(const std::string& name);
  void heal(const std::string& a, const std::string& b);
  void rejoin(const std::string& name);
  void healAll();

  // Breaks the connections between two hosts, or all of one: both ends fail with DISCONNECTED.
  void reset(const std::string& a, const std::string& b);
  void reset(const std::string& name);

  // Power fails: what the host sends no longer arrives, its listeners are gone, and the others hear nothing,
  // not even a goodbye. Call it before destroying the host's daemon.
  void powerOff(const std::string& name);
  // Its old connections break once the power is back.
  void powerOn(const std::string& name);

  uint64_t bytesDelivered() const { return bytesDelivered_; }

 private:
  friend class SimFlow;
  friend class SimHost;
  friend class SimListener;

  struct Listening {
    SimListener* listener;  // null: nobody now
    std::string host;
  };

  void taskFailed(kj::Exception&& e) override { kj::throwFatalException(kj::mv(e)); }
  bool silent(const std::string& from, const std::string& to) const;
  Nanos delay(const std::string& from, const std::string& to);
  Task<void> travel(std::string from, std::string to);
  void topologyChanged();
  void note(const std::string& event) { trace_.note(clock_.monotonic(), event); }

  Clock& clock_;
  SimTrace& trace_;
  SimRandom random_;
  SimDelay defaultDelay_;
  std::map<std::pair<std::string, std::string>, SimDelay> delays_;
  std::set<std::pair<std::string, std::string>> cut_;  // from, to
  std::set<std::string> isolated_;
  std::set<std::string> off_;
  std::map<std::string, Listening> listening_;  // by address, with the host's name before a "unix:"
  std::map<uint64_t, SimFlow*> flows_;
  uint64_t nextFlow_ = 1;
  uint16_t nextPort_ = 40000;
  uint64_t bytesDelivered_ = 0;
  kj::PromiseFulfillerPair<void> changed_;
  kj::ForkedPromise<void> changedBranches_;
  std::map<std::string, kj::Own<SimHost>> hosts_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
