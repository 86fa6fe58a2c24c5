#include "tests/sim/world/sim_network.h"

#include <kj/debug.h>

#include <cerrno>
#include <deque>

#include "tests/sim/world/sim_flow.h"

namespace cairn {

namespace {

constexpr size_t BACKLOG = 128;

bool isUnix(const Address& address) {
  return address.rfind("unix:", 0) == 0;
}

std::string keyOf(const std::string& host, const Address& address) {
  return isUnix(address) ? host + "|" + address : address;
}

}  // namespace

class SimListener final : public Listener {
 public:
  SimListener(SimNetwork& network, std::string key, Address address)
      : network_(network), key_(std::move(key)), address_(std::move(address)) {}
  ~SimListener() noexcept(false) {
    auto it = network_.listening_.find(key_);
    if (it != network_.listening_.end() && it->second.listener == this) {
      it->second.listener = nullptr;
    }
  }

  kj::Promise<Accepted> accept() override {
    if (!queue_.empty()) {
      Accepted next = kj::mv(queue_.front());
      queue_.pop_front();
      return kj::mv(next);
    }
    auto pair = kj::newPromiseAndFulfiller<Accepted>();
    waiting_ = kj::mv(pair.fulfiller);
    return kj::mv(pair.promise);
  }
  Address address() const override { return address_; }

  bool full() const { return queue_.size() >= BACKLOG; }
  void offer(Accepted accepted) {
    KJ_IF_MAYBE (waiting, waiting_) {
      auto fulfiller = kj::mv(*waiting);
      waiting_ = nullptr;
      if (fulfiller->isWaiting()) {
        fulfiller->fulfill(kj::mv(accepted));
        return;
      }
    }
    queue_.push_back(kj::mv(accepted));
  }

 private:
  SimNetwork& network_;
  std::string key_;
  Address address_;
  std::deque<Accepted> queue_;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<Accepted>>> waiting_;
};

class SimHost final : public Network {
 public:
  SimHost(SimNetwork& network, std::string name) : network_(network), name_(std::move(name)) {}

  kj::Promise<kj::Own<kj::AsyncIoStream>> connect(const Address& address, ExpectedPeer) override {
    return dial(address);
  }

  Result<kj::Own<Listener>> listen(const Address& address) override {
    Address actual = address;
    if (!isUnix(address) && address.ends_with(":0")) {
      actual = address.substr(0, address.size() - 1) + std::to_string(network_.nextPort_++);
    }
    std::string key = keyOf(name_, actual);
    auto& slot = network_.listening_[key];
    if (slot.listener != nullptr) {
      return Error{EADDRINUSE, actual + ": in use on a simulated host; stop the other one or choose another"};
    }
    auto listener = kj::heap<SimListener>(network_, key, actual);
    slot = {listener.get(), name_};
    return kj::Own<Listener>(kj::mv(listener));
  }

 private:
  SimListener* listenerAt(const std::string& key) const {
    auto it = network_.listening_.find(key);
    return it == network_.listening_.end() ? nullptr : it->second.listener;
  }

  Task<kj::Own<kj::AsyncIoStream>> dial(Address address) {
    std::string key = keyOf(name_, address);
    auto known = network_.listening_.find(key);
    std::string target = known == network_.listening_.end() ? name_ : known->second.host;
    co_await network_.travel(name_, target);
    SimListener* listener = listenerAt(key);
    if (listener == nullptr || listener->full()) {
      co_await network_.travel(target, name_);
      kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "connection refused", address));
    }
    auto socket = meet(*listener, network_.listening_.at(key).host, isUnix(address));
    co_await network_.travel(target, name_);
    co_return kj::mv(socket);
  }

  // Makes the connection and gives the listener its end.
  kj::Own<kj::AsyncIoStream> meet(SimListener& listener, const std::string& target, bool local) {
    auto there = kj::refcounted<SimFlow>(network_, name_, target);
    auto back = kj::refcounted<SimFlow>(network_, target, name_);
    there->setPeer(*back);
    back->setPeer(*there);
    Accepted accepted;
    accepted.stream = kj::heap<SimSocket>(kj::addRef(*back), kj::addRef(*there));
    accepted.peer.kind = local ? PeerIdentity::Kind::LOCAL_PROCESS : PeerIdentity::Kind::TCP;
    accepted.peer.text = name_;
    listener.offer(kj::mv(accepted));
    return kj::heap<SimSocket>(kj::mv(there), kj::mv(back));
  }

  SimNetwork& network_;
  std::string name_;
};

SimNetwork::SimNetwork(Clock& clock, SimTrace& trace, uint64_t seed)
    : clock_(clock),
      trace_(trace),
      random_(seed, "network"),
      changed_(kj::newPromiseAndFulfiller<void>()),
      changedBranches_(changed_.promise.fork()),
      tasks_(*this) {}

SimNetwork::~SimNetwork() noexcept(false) = default;

Network& SimNetwork::host(const std::string& name) {
  auto& slot = hosts_[name];
  if (slot.get() == nullptr) {
    slot = kj::heap<SimHost>(*this, name);
  }
  return *slot;
}

void SimNetwork::setDelay(const std::string& a, const std::string& b, SimDelay delay) {
  delays_[{a, b}] = delay;
  delays_[{b, a}] = delay;
}

bool SimNetwork::silent(const std::string& from, const std::string& to) const {
  if (from == to) {
    return off_.count(from) > 0;
  }
  for (const auto& name : {from, to}) {
    if (off_.count(name) > 0 || isolated_.count(name) > 0) {
      return true;
    }
  }
  return cut_.count({from, to}) > 0;
}

Nanos SimNetwork::delay(const std::string& from, const std::string& to) {
  auto own = delays_.find({from, to});
  const SimDelay& delay = own == delays_.end() ? defaultDelay_ : own->second;
  return random_.between(delay.min, delay.max);
}

Task<void> SimNetwork::travel(std::string from, std::string to) {
  for (;;) {
    while (silent(from, to)) {
      co_await changedBranches_.addBranch();
    }
    Nanos time = delay(from, to);
    co_await clock_.after(time);
    if (!silent(from, to)) {
      co_return;
    }
  }
}

void SimNetwork::topologyChanged() {
  auto before = kj::mv(changed_.fulfiller);
  changed_ = kj::newPromiseAndFulfiller<void>();
  changedBranches_ = changed_.promise.fork();
  before->fulfill();
  for (auto& [id, flow] : flows_) {
    flow->resume();
  }
}

void SimNetwork::partition(const std::string& a, const std::string& b) {
  partitionOneWay(a, b);
  partitionOneWay(b, a);
}

void SimNetwork::partitionOneWay(const std::string& from, const std::string& to) {
  note("partition " + from + ">" + to);
  cut_.insert({from, to});
}

void SimNetwork::isolate(const std::string& name) {
  note("isolate " + name);
  isolated_.insert(name);
}

void SimNetwork::heal(const std::string& a, const std::string& b) {
  note("heal " + a + " " + b);
  cut_.erase({a, b});
  cut_.erase({b, a});
  topologyChanged();
}

void SimNetwork::rejoin(const std::string& name) {
  note("rejoin " + name);
  isolated_.erase(name);
  topologyChanged();
}

void SimNetwork::healAll() {
  note("heal all");
  cut_.clear();
  isolated_.clear();
  topologyChanged();
}

void SimNetwork::reset(const std::string& a, const std::string& b) {
  note("reset " + a + " " + b);
  for (auto& [id, flow] : flows_) {
    if ((flow->from() == a && flow->to() == b) || (flow->from() == b && flow->to() == a)) {
      flow->breakNow("reset");
    }
  }
}

void SimNetwork::reset(const std::string& name) {
  note("reset " + name);
  for (auto& [id, flow] : flows_) {
    if (flow->from() == name || flow->to() == name) {
      flow->breakNow("reset");
    }
  }
}

void SimNetwork::powerOff(const std::string& name) {
  note("power off " + name);
  off_.insert(name);
  for (auto& [id, flow] : flows_) {
    if (flow->from() == name || flow->to() == name) {
      flow->blackhole();
    }
  }
  for (auto& [key, listening] : listening_) {
    if (listening.host == name) {
      listening.listener = nullptr;
    }
  }
}

void SimNetwork::powerOn(const std::string& name) {
  note("power on " + name);
  off_.erase(name);
  for (auto& [id, flow] : flows_) {
    if (flow->blackholed() && (flow->from() == name || flow->to() == name)) {
      flow->breakNow("the host was restarted");
    }
  }
  topologyChanged();
}

}  // namespace cairn
