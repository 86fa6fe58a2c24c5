#include "tests/sim/raft/world/raft_cluster.h"

#include <kj/debug.h>

namespace cairn::raft {

namespace {

constexpr Nanos SYNC_MIN = 100 * MICROSECOND;
constexpr Nanos SYNC_MAX = 3 * MILLISECOND;
constexpr Nanos SNAPSHOT_DELAY_MAX = 2 * SECOND;
constexpr Nanos REPORT_DELAY = 500 * MILLISECOND;
constexpr Nanos ANSWER_DELAY_MAX = 2 * MILLISECOND;

}  // namespace

RaftCluster::RaftCluster(uint64_t seed, unsigned voters, RareCounts& rare) : random_(seed, "raft"), rare_(rare) {
  // Limits small enough to be met, and different each time.
  options_.rare = &rare_;
  options_.appendEntriesMax = 1 + random_.below(32);
  options_.appendBytesMax = 128 << random_.below(6);
  options_.memoryBytesMax = 256 << random_.below(10);
  options_.flight.messagesMax = 1 + random_.below(12);
  options_.uncommittedBytesMax = 256 << random_.below(6);
  options_.promotionLagMax = random_.below(64);
  options_.promise = random_.between(20, 500) * MILLISECOND;
  Membership membership;
  for (unsigned i = 1; i <= voters; i++) {
    membership.set({MemberId{i}, true, {}});
  }
  for (unsigned i = 1; i <= voters; i++) {
    makeNode(MemberId{i}, membership);
  }
  lastId_ = voters;
  for (auto& [id, node] : nodes_) {
    start(id);
  }
}

void RaftCluster::makeNode(MemberId id, const Membership& membership) {
  auto options = options_;
  options.self = id;
  auto sender = [this](Message message, std::shared_ptr<const RaftSnapshot> state) {
    send(std::move(message), std::move(state));
  };
  auto& node = nodes_[id];
  Nanos drift = random_.between(-DRIFT_PERCENT, DRIFT_PERCENT);
  node.clockPercent = 100 + (random_.below(2) == 0 ? drift : drift > 0 ? DRIFT_PERCENT : -DRIFT_PERCENT);
  node.member = std::make_unique<RaftMember>(options, random_, membership, checks_, sender);
  checks_.members()[id] = node.member.get();
  node.member->readLater();
}

MemberId RaftCluster::addMember() {
  MemberId id{++lastId_};
  makeNode(id, Membership());
  start(id);
  return id;
}

void RaftCluster::start(MemberId id) {
  auto& node = nodes_.at(id);
  node.life++;
  node.writing = 0;
  node.tick = RAFT_TICK * static_cast<Nanos>(80 + random_.below(41)) / 100;
  node.member->start(timeOf(node));
  queue_.put(now_ + static_cast<Nanos>(random_.below(node.tick)), {Kind::TICK, id, node.life});
  touched(id);
}

void RaftCluster::crash(MemberId id) {
  auto& node = nodes_.at(id);
  node.member->crash(true);
  node.pausedUntil = 0;
  checks_.onCrash(id);
  note(1, raw(id));
}

void RaftCluster::destroy(MemberId id) {
  checks_.onCrash(id);
  checks_.members().erase(id);
  nodes_.erase(id);
  note(2, raw(id));
}

std::vector<MemberId> RaftCluster::runningMembers() const {
  std::vector<MemberId> result;
  for (const auto& [id, node] : nodes_) {
    if (node.member->running()) {
      result.push_back(id);
    }
  }
  return result;
}

MemberId RaftCluster::someLeader() {
  std::vector<MemberId> leaders;
  for (auto id : runningMembers()) {
    if (member(id).raft().isLeader() && nodes_.at(id).pausedUntil <= now_) {
      leaders.push_back(id);
    }
  }
  return leaders.empty() ? NOBODY : leaders[random_.below(leaders.size())];
}

void RaftCluster::runUntil(Nanos time) {
  while (!queue_.empty() && queue_.nextTime() <= time) {
    now_ = queue_.nextTime();
    handle(queue_.take());
  }
  now_ = time;
}

void RaftCluster::handle(Event event) {
  auto found = nodes_.find(event.who);
  bool alive = found != nodes_.end() && found->second.member->running();
  bool mine = alive && (event.kind == Kind::DELIVER || event.life == found->second.life);
  if (!mine) {
    if (event.kind == Kind::DELIVER && event.message.is<InstallSnapshot>()) {
      reportSnapshot(event.message, false, REPORT_DELAY);
    }
    return;
  }
  auto& node = found->second;
  if (node.pausedUntil > now_) {
    queue_.put(node.pausedUntil, std::move(event));
    return;
  }
  node.member->timeIs(timeOf(node));
  switch (event.kind) {
    case Kind::TICK:
      queue_.put(now_ + node.tick, {Kind::TICK, event.who, event.life});
      node.member->tick();
      break;
    case Kind::DELIVER:
      note(event.message.body.index(), raw(event.who) * 64 + raw(event.message.from));
      if (event.message.is<InstallSnapshot>()) {
        reportSnapshot(event.message, true, weather_.delayMin);
      }
      node.member->deliver(std::move(event.message), std::move(event.state));
      break;
    case Kind::DISK:
      for (; node.writing > 0 && node.diskUntil <= now_; node.writing--) {
        node.member->finishWrite();
      }
      node.writing = 0;
      break;
    case Kind::SNAPSHOT_REPORT:
      node.member->raft().snapshotSent(event.message.to, event.arrived);
      node.member->settle();
      break;
    case Kind::LEASE_ANSWER:
      answerUnderLease(node, event);
      break;
  }
  touched(event.who);
}

void RaftCluster::readUnderLease(MemberId leader, Nanos pause) {
  auto& node = nodes_.at(leader);
  auto& raft = node.member->raft();
  if (!raft.leaseHolds(timeOf(node))) {
    return;
  }
  raft.timeIs(timeOf(node));
  raft.renewLease();
  Event event{Kind::LEASE_ANSWER, leader, node.life};
  event.term = raft.term();
  event.acknowledged = checks_.committed();
  event.read = node.member->state().index;
  queue_.put(now_ + random_.between(0, ANSWER_DELAY_MAX), std::move(event));
  this->pause(leader, pause);
}

void RaftCluster::answerUnderLease(const Node& node, const Event& event) {
  const auto& raft = node.member->raft();
  if (raft.term() == event.term && raft.leaseHolds(timeOf(node))) {
    rare_.add(Rare::READ_UNDER_LEASE);
    checks_.onLeaseRead(event.who, event.acknowledged, event.read);
  } else {
    rare_.add(Rare::LEASE_ENDED_BEFORE_ANSWER);
  }
}

void RaftCluster::touched(MemberId id) {
  auto& node = nodes_.at(id);
  checks_.look(*node.member);
  writeSoon(node, id);
}

void RaftCluster::writeSoon(Node& node, MemberId id) {
  if (node.writing > 0 || !node.member->disk().busy()) {
    return;
  }
  node.writing = node.member->disk().writes();
  Nanos time = random_.between(SYNC_MIN, SYNC_MAX) * static_cast<Nanos>(node.diskSlowness);
  queue_.put(std::max(now_ + time, node.diskUntil), {Kind::DISK, id, node.life});
}

void RaftCluster::send(Message message, std::shared_ptr<const RaftSnapshot> state) {
  checks_.onSend(message);
  messages_++;
  bool lost = cut_.contains({message.from, message.to}) || random_.chance(weather_.lossPerMillion);
  if (lost) {
    if (message.is<InstallSnapshot>()) {
      reportSnapshot(message, false, REPORT_DELAY);
    } else if (random_.chance(100'000)) {
      loseLink(message.from, message.to);
    }
    return;
  }
  Nanos arrival = now_ + random_.between(weather_.delayMin, weather_.delayMax);
  auto slow = delays_.find({message.from, message.to});
  arrival += slow == delays_.end() ? 0 : slow->second;
  auto& last = lastArrival_[{message.from, message.to}];
  if (random_.chance(weather_.doublePerMillion)) {
    post(message, state, arrival + random_.between(0, SECOND));
  }
  if (random_.chance(weather_.latePerMillion)) {
    arrival += random_.between(SECOND, LATE_MAX);
  } else if (message.is<InstallSnapshot>()) {
    arrival += random_.between(0, SNAPSHOT_DELAY_MAX);
  } else if (weather_.inOrder) {
    last = arrival = std::max(arrival, last);
  }
  post(std::move(message), std::move(state), arrival);
}

// One of the two notices, or both.
void RaftCluster::loseLink(MemberId a, MemberId b) {
  auto choice = random_.below(3);
  if (choice != 0 && running(a)) {
    member(a).raft().linkLost(b);
  }
  if (choice != 1 && running(b)) {
    member(b).raft().linkLost(a);
  }
}

void RaftCluster::post(Message message, std::shared_ptr<const RaftSnapshot> state, Nanos at) {
  MemberId to = message.to;
  queue_.put(at, {Kind::DELIVER, to, 0, std::move(message), std::move(state)});
}

void RaftCluster::reportSnapshot(const Message& message, bool arrived, Nanos delay) {
  auto sender = nodes_.find(message.from);
  if (sender != nodes_.end()) {
    Event event{Kind::SNAPSHOT_REPORT, message.from, sender->second.life};
    event.message.to = message.to;
    event.arrived = arrived;
    queue_.put(now_ + delay, std::move(event));
  }
}

std::string RaftCluster::describe() const {
  std::string text;
  for (auto id : runningMembers()) {
    const auto& raft = nodes_.at(id).member->raft();
    text += "\n  member " + std::to_string(raw(id)) + (raft.isLeader() ? ", leader," : ",") + " term " +
            std::to_string(raw(raft.term())) + ", follows " + std::to_string(raw(raft.leader())) + ", last " +
            std::to_string(raw(raft.log().last())) + " of term " + std::to_string(raw(raft.log().lastTerm())) +
            ", durable " + std::to_string(raw(raft.durable())) + ", commit " + std::to_string(raw(raft.commit())) +
            (raft.isDamaged() ? ", damaged" : "") + ", members";
    for (const auto& member : raft.membership().members()) {
      text += (member.voter ? " " : " +") + std::to_string(raw(member.id));
    }
  }
  return text;
}

}  // namespace cairn::raft
