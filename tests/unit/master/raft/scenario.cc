#include "tests/unit/master/raft/scenario.h"

#include <kj/debug.h>

#include <algorithm>
#include <sstream>

namespace cairn::raft {

namespace {

MemberId idOf(const std::string& word) {
  return MemberId{std::stoull(word)};
}

std::string textOf(MemberId id) {
  return id == NOBODY ? "nobody" : std::to_string(raw(id));
}

std::vector<std::string> wordsOf(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) {
    words.push_back(word);
  }
  return words;
}

std::string trimmed(const std::string& text) {
  auto begin = text.find_first_not_of(' ');
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

Payload payloadOf(const std::string& text) {
  return Payload(kj::heapArray<kj::byte>(kj::StringPtr(text.c_str()).asBytes()));
}

const char* nameOf(Refusal refusal) {
  constexpr const char* NAMES[] = {"NONE",           "NOT_LEADER", "TRANSFERRING", "TOO_MUCH", "TERM_NOT_COMMITTED",
                                   "CHANGE_PENDING", "BEHIND",     "NOT_ALLOWED"};
  return NAMES[static_cast<size_t>(refusal)];
}

const char* nameOf(Role role) {
  constexpr const char* NAMES[] = {"follower", "pre-candidate", "candidate", "leader"};
  return NAMES[static_cast<size_t>(role)];
}

constexpr size_t STEPS_MAX = 100000;  // of one deliver: more is an endless exchange

}  // namespace

std::string Scenario::run(const std::string& text) {
  std::string line = trimmed(text.substr(0, text.find('#')));
  if (line.empty()) {
    return "";
  }
  if (line.starts_with("expect ")) {
    return expect(line);
  }
  return dispatch(wordsOf(line), line);
}

std::string Scenario::dispatch(const Words& words, const std::string& line) {
  auto arrow = std::find(words.begin(), words.end(), "->");
  std::string expected = arrow == words.end() ? "NONE" : *(arrow + 1);
  Words call(words.begin(), arrow);
  bool known = false;
  std::string returned = this->call(call, known);
  if (known) {
    return returned == expected ? "" : line.substr(0, line.find(" ->")) + " -> " + returned;
  }
  bool done = setUp(words) || network(words) || machine(words);
  return done ? "" : "no such line";
}

// ---- what lines do ----

bool Scenario::setUp(const Words& words) {
  if (words[0] == "members") {
    for (size_t i = 1; i < words.size(); i++) {
      initial_.set({idOf(words[i]), true, {}});
    }
  } else if (words[0] == "option") {
    option(words[1], std::stoull(words[2]));
  } else if (words[0] == "learner" && words.size() == 2) {
    makeMember(idOf(words[1]), Membership());
  } else if (words[0] == "log") {
    setLog(idOf(words[1]), Words(words.begin() + 2, words.end()));
  } else if (words[0] == "term") {
    member(words[1]).disk().setHard({Term{std::stoull(words[2])}, NOBODY});
  } else {
    return false;
  }
  return true;
}

void Scenario::option(const std::string& name, size_t value) {
  std::map<std::string, size_t*> numbers = {{"append-entries", &options_.appendEntriesMax},
                                            {"memory-bytes", &options_.memoryBytesMax},
                                            {"in-flight", &options_.flight.messagesMax},
                                            {"uncommitted-bytes", &options_.uncommittedBytesMax},
                                            {"promotion-lag", &options_.promotionLagMax}};
  if (name == "promise-ms") {
    options_.promise = static_cast<Nanos>(value) * MILLISECOND;
  } else {
    *numbers.at(name) = value;
  }
}

void Scenario::makeMember(MemberId id, const Membership& membership) {
  auto options = options_;
  options.self = id;
  options.rare = &rare_;
  auto send = [this](Message message, std::shared_ptr<const RaftSnapshot> state) {
    std::pair<MemberId, MemberId> way(message.from, message.to);
    if (!cut_.contains(way)) {
      (holding_.contains(way) ? held_ : queue_).push_back({std::move(message), std::move(state)});
    }
  };
  members_[id] = std::make_unique<RaftMember>(options, random_, membership, *this, send);
}

RaftMember& Scenario::member(const std::string& name) {
  MemberId id = idOf(name);
  if (!members_.contains(id)) {
    KJ_REQUIRE(initial_.contains(id), "no such member", name);
    makeMember(id, initial_);
  }
  return *members_.at(id);
}

void Scenario::setLog(MemberId id, const Words& terms) {
  auto& disk = member(textOf(id)).disk();
  for (size_t i = 0; i < terms.size(); i++) {
    Term term{std::stoull(terms[i])};
    disk.add({term, LogIndex{i + 1}, EntryType::COMMAND, payloadOf(terms[i])});
    disk.setHard({term, NOBODY});
  }
}

bool Scenario::network(const Words& words) {
  if (words[0] == "cut") {
    forPairs(words, 1, [this](MemberId a, MemberId b) { cut_.insert({a, b}); });
  } else if (words[0] == "isolate") {
    for (const auto& [other, unused] : members_) {
      cut_.insert({idOf(words[1]), other});
      cut_.insert({other, idOf(words[1])});
    }
  } else if (words[0] == "heal") {
    cut_.clear();
  } else if (words[0] == "hold") {
    forPairs(words, 1, [this](MemberId a, MemberId b) { holding_.insert({a, b}); });
  } else if (words[0] == "release") {
    holding_.clear();
    queue_.insert(queue_.end(), std::make_move_iterator(held_.begin()), std::make_move_iterator(held_.end()));
    held_.clear();
  } else if (words[0] == "drop") {
    queue_.clear();
  } else if (words[0] == "deliver") {
    deliver(words);
  } else {
    return false;
  }
  return true;
}

// "1 2": both ways; "1 > 2": one.
void Scenario::forPairs(const Words& words, size_t first, const std::function<void(MemberId, MemberId)>& act) {
  bool oneWay = words[first + 1] == ">";
  MemberId a = idOf(words[first]), b = idOf(words[first + (oneWay ? 2 : 1)]);
  act(a, b);
  if (!oneWay) {
    act(b, a);
  }
}

bool Scenario::machine(const Words& words) {
  if (words[0] == "start") {
    for (const auto& known : initial_.members()) {
      member(textOf(known.id));
    }
    for (auto& [id, each] : members_) {
      if (!each->running() && (words.size() == 1 || idOf(words[1]) == id)) {
        each->start(now_);
      }
    }
  } else if (words[0] == "crash") {
    member(words[1]).crash(false);
  } else if (words[0] == "rot") {
    member(words[1]).disk().rot(LogIndex{std::stoull(words[2])});
  } else if (words[0] == "disk") {
    words[2] == "slow" ? (void)slow_.insert(idOf(words[1])) : (void)slow_.erase(idOf(words[1]));
  } else if (words[0] == "write") {
    member(words[1]).finishWrite();
  } else if (words[0] == "snapshot") {
    member(words[1]).makeSnapshot(std::stoull(words[2]));
  } else if (words[0] == "link-lost") {
    member(words[1]).raft().linkLost(idOf(words[2]));
  } else if (words[0] == "clock") {
    now_ += std::stoll(words[1]) * MILLISECOND;
  } else if (words[0] == "snapshot-lost") {
    member(words[1]).raft().snapshotSent(idOf(words[2]), false);
  } else if (words[0] == "tick") {
    member(words[1]).timeIs(now_);
    for (size_t i = 0; i < std::stoull(words[2]); i++) {
      member(words[1]).tick();
    }
  } else {
    return false;
  }
  return true;
}

std::string Scenario::call(const Words& words, bool& known) {
  known = true;
  std::string returned = "NONE";
  if (words.size() < 2) {
    known = false;
  } else if (words[0] == "campaign") {
    member(words[1]).raft().campaign();
  } else if (words[0] == "propose") {
    for (size_t i = 2; i < words.size() && returned == "NONE"; i++) {
      returned = nameOf(member(words[1]).raft().propose(payloadOf(words[i])).refusal);
    }
  } else if (words[0] == "transfer") {
    returned = nameOf(member(words[1]).raft().transfer(idOf(words[2])));
  } else if (words[0] == "read") {
    auto id = member(words[1]).raft().requestRead();
    returned = id ? "NONE" : "NOT_LEADER";
    readNames_[id.value_or(ReadId{})] = words[2];
  } else if (words.size() == 3 && (words[0] == "learner" || words[0] == "promote" || words[0] == "remove")) {
    returned = change(words);
  } else {
    known = false;
  }
  if (known) {
    member(words[1]).settle();
  }
  return returned;
}

std::string Scenario::change(const Words& words) {
  auto& raft = member(words[1]).raft();
  auto membership = raft.membership();
  if (words[0] == "remove") {
    membership.remove(idOf(words[2]));
  } else {
    membership.set({idOf(words[2]), words[0] == "promote", {}});
  }
  return nameOf(raft.proposeMembership(membership).refusal);
}

void Scenario::deliver(const Words& words) {
  bool all = words.size() == 1;
  MemberId from = all ? NOBODY : idOf(words[1]), to = all ? NOBODY : idOf(words[3]);
  bool moved = true;
  for (size_t steps = 0; moved; steps++) {
    KJ_REQUIRE(steps < STEPS_MAX, "the members never come to rest");
    moved = deliverOne(from, to);
    for (auto& [id, each] : members_) {
      bool writes = all && !slow_.contains(id) && each->running() && each->disk().busy();
      if (writes) {
        each->finishWrite();
        moved = true;
      }
    }
    moved = moved && all;
  }
  while (!all && deliverOne(from, to)) {
  }
}

bool Scenario::deliverOne(MemberId from, MemberId to) {
  for (auto at = queue_.begin(); at != queue_.end(); ++at) {
    if (from == NOBODY || (at->message.from == from && at->message.to == to)) {
      auto next = std::move(*at);
      queue_.erase(at);
      auto found = members_.find(next.message.to);
      if (found != members_.end() && found->second->running()) {
        found->second->timeIs(now_);
        found->second->deliver(std::move(next.message), std::move(next.state));
      }
      return true;
    }
  }
  return false;
}

// ---- what lines expect ----

std::string Scenario::expect(const std::string& line) {
  auto colon = line.find(':');
  std::string who = trimmed(line.substr(7, colon - 7));
  if (who == "queue") {
    std::string is = "expect queue: " + describeQueue();
    return trimmed(is) == line ? "" : is;
  }
  std::istringstream parts(line.substr(colon + 1));
  std::string is = "expect " + who + ":";
  const char* separator = " ";
  for (std::string part; std::getline(parts, part, ',');) {
    is += separator + describe(idOf(who), wordsOf(part)[0]);
    separator = ", ";
  }
  return is == line ? "" : is;
}

// The parts of a member's state by their first words.
std::string Scenario::describe(MemberId id, const std::string& part) const {
  const auto& member = *members_.at(id);
  if (!member.running()) {
    return "down";
  }
  const auto& raft = member.raft();
  auto number = [&part](auto value) { return part + " " + std::to_string(raw(value)); };
  if (part == "term")
    return number(raft.term());
  if (part == "commit")
    return number(raft.commit());
  if (part == "applied")
    return number(member.state().index);
  if (part == "durable")
    return number(raft.durable());
  if (part == "base")
    return number(raft.log().base().index);
  if (part == "last")
    return number(raft.log().last());
  if (part == "votes")
    return "votes for " + textOf(raft.hardState().votedFor);
  if (part == "follows")
    return "follows " + textOf(raft.leader());
  if (part == "lease" || part == "no")
    return raft.leaseHolds(now_) ? "lease" : "no lease";
  if (part == "damaged" || part == "whole")
    return raft.isDamaged() ? "damaged" : "whole";
  std::string text = part;
  if (part == "log") {
    for (LogIndex at = next(raft.log().base().index); at <= raft.log().last(); at = next(at)) {
      text += " " + std::to_string(raw(*raft.log().term(at)));
    }
  } else if (part == "members") {
    for (const auto& known : raft.membership().members()) {
      text += (known.voter ? " " : " +") + textOf(known.id);
    }
  } else if (part == "reads") {
    auto found = reads_.find(id);
    for (const auto& read : found == reads_.end() ? std::vector<std::string>() : found->second) {
      text += " " + read;
    }
  } else {
    return nameOf(raft.role());
  }
  return text;
}

std::string Scenario::describeQueue() const {
  std::string text;
  for (const auto& each : queue_) {
    text += (text.empty() ? "" : ", ") + textOf(each.message.from) + ">" + textOf(each.message.to) + " " +
            kindName(each.message);
  }
  return text;
}

void Scenario::onApplied(MemberId, const Entry&, const RaftState&) {}
void Scenario::onInstalled(MemberId, const RaftSnapshot&) {}

void Scenario::onRead(MemberId member, const ReadReady& ready, const RaftState&) {
  reads_[member].push_back(readNames_[ready.id] + "@" + std::to_string(raw(ready.index)));
}

void Scenario::onReadFailed(MemberId member, const ReadId& id) {
  reads_[member].push_back(readNames_[id] + "-failed");
}

}  // namespace cairn::raft
