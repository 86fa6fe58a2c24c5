#include "rpc/find_leader.h"

#include <algorithm>
#include <cerrno>

#include "common/log.h"
#include "rpc/connection.h"
#include "rpc/hello.h"
#include "rpc/shard_map.h"
#include "schema/master.capnp.h"

namespace cairn {
namespace {

constexpr Nanos ANSWER_LIMIT = 500 * MILLISECOND;  // of connecting, and again of answering
constexpr Nanos GRACE = 30 * MILLISECOND;
constexpr unsigned QUICK_TRIES = 40;
constexpr Nanos QUICK_DELAY_MAX = 50 * MILLISECOND;

struct Answer {
  Status entered;
  GroupEpoch epoch{};
  MasterAddress leader;  // by what this one says, when the cluster file doesn't name it
};

// What the answers amount to.
struct Race {
  kj::PromiseFulfillerPair<void> decided = kj::newPromiseAndFulfiller<void>();
  LeaderFound found;
  size_t open = 0;
  bool isLate = false;
  kj::Promise<void> late = nullptr;  // ends the race

  Race(Clock& clock, Nanos grace) : clock(clock), grace(grace) {}
  Clock& clock;
  const Nanos grace;

  void take(size_t master, const Answer& answer) {
    const Status& entered = answer.entered;
    --open;
    found.epoch = std::max(found.epoch, answer.epoch);
    if (!answer.leader.address.empty()) {
      found.unnamed = answer.leader;
    }
    if (entered.code() == EAGAIN && !isLate) {
      isLate = true;
      late = clock.after(grace).then([this] { decided.fulfiller->fulfill(); }).eagerlyEvaluate(nullptr);
    }
    if (entered.ok()) {
      found.leader = found.leader.value_or(master);
    } else if (entered.code() == ESTALE) {
      found.refusal = entered;
    }
    if (entered.ok() || open == 0) {
      decided.fulfiller->fulfill();
    }
  }
};

bool isNamed(const ClusterFile& cluster, const std::string& name) {
  auto isIt = [&](const MasterAddress& master) { return master.name == name; };
  return std::any_of(cluster.masters.begin(), cluster.masters.end(), isIt);
}

Task<Answer> enter(const LeaderSearch& search, Address address) {
  Answer answer;
  answer.entered = Error{EIO, "no answer"};
  try {
    auto link = co_await dial(search.network, search.clock, address, ANSWER_LIMIT, PeerRole::MASTER);
    auto request = link->bootstrap().castAs<wire::MasterDoor>().enterRequest();
    writeHello(request.initHello(), search.cluster.cluster, search.role, search.name, search.epoch);
    kj::Promise<capnp::Response<wire::MasterDoor::EnterResults>> sent = request.send();
    auto reply = co_await withDeadline(search.clock, ANSWER_LIMIT, kj::mv(sent), "a master");
    auto outcome = reply.getOutcome();
    answer.entered = outcome.getErrno() == 0
                         ? Status()
                         : Status(Error{static_cast<int>(outcome.getErrno()), outcome.getWhy().cStr()});
    answer.epoch = GroupEpoch{reply.getEpoch()};
    if (!isNamed(search.cluster, reply.getLeader().cStr())) {
      answer.leader = {reply.getLeader().cStr(), reply.getLeaderAddress().cStr(), {}};
    }
  } catch (const kj::Exception& e) {
    spdlog::debug("{}: {}", address, e.getDescription().cStr());
  }
  co_return kj::mv(answer);
}

Task<Answer> ask(const LeaderSearch& search, MasterAddress master) {
  Answer answer;
  answer.entered = Error{EIO, "no address"};
  auto addresses = master.addresses();
  for (auto& address : addresses) {
    auto heard = co_await enter(search, address);
    answer = kj::mv(heard);
    if (answer.entered.code() != EIO) {
      break;
    }
  }
  co_return kj::mv(answer);
}

}  // namespace

Nanos searchDelay(const ClusterFile& cluster, Random& random, unsigned tries) {
  if (cluster.masters.size() <= 1) {
    return backoffDelay(random, tries);
  }
  if (tries == 0 || tries > QUICK_TRIES) {
    return tries == 0 ? 0 : backoffDelay(random, tries - QUICK_TRIES);
  }
  return static_cast<Nanos>(random.below(QUICK_DELAY_MAX));
}

Task<LeaderFound> findLeader(LeaderSearch search, unsigned tries, std::optional<size_t> but) {
  Race race(search.clock, std::min<Nanos>(ANSWER_LIMIT, GRACE * (1 + tries)));
  std::vector<kj::Promise<void>> asking;
  const auto& masters = search.cluster.masters;
  race.open = masters.size() - (but ? 1 : 0);
  if (race.open == 0) {
    co_return kj::mv(race.found);
  }
  for (size_t i = 0; i < masters.size(); ++i) {
    if (but == i) {
      continue;
    }
    auto answered = ask(search, masters[i]).promise().then([&race, i](Answer answer) { race.take(i, answer); });
    asking.push_back(answered.eagerlyEvaluate(nullptr));
  }
  co_await kj::mv(race.decided.promise);
  co_return kj::mv(race.found);
}

}  // namespace cairn
