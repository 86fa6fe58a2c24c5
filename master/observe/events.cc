#include "master/observe/events.h"

namespace cairn {

const char* toText(Event::Level level) {
  switch (level) {
    case Event::Level::GOOD:
      return "good";
    case Event::Level::NOTE:
      return "note";
    case Event::Level::WARNING:
      return "warning";
    case Event::Level::CRITICAL:
      return "critical";
  }
  return "note";
}

void Events::add(int64_t at, Event::Level level, std::string text) {
  if (events_.size() == EVENTS_MAX) {
    events_.pop_front();
  }
  events_.push_back({at, level, std::move(text)});
}

void Events::watch(int64_t at, wire::ClusterStatus::Reader status) {
  watchServers(at, status);
  watchReasons(at, status);
  watchRepair(at, status);
  isKnown_ = true;
}

// A reason is told when its kind appears; its text changes with each second that something lasts.
void Events::watchReasons(int64_t at, wire::ClusterStatus::Reader status) {
  std::set<std::string> codes;
  for (auto reason : status.getReasons()) {
    std::string code = reason.getCode().cStr();
    bool isNew = codes.insert(code).second && !codes_.contains(code);
    if (isNew) {
      add(at, reason.getCritical() ? Event::Level::CRITICAL : Event::Level::WARNING, reason.getText().cStr());
    }
  }
  std::string health = status.getHealth().cStr();
  if (isKnown_ && health != health_) {
    auto level = health == "healthy" ? Event::Level::GOOD
                                     : health == "critical" ? Event::Level::CRITICAL : Event::Level::WARNING;
    add(at, level, "the cluster is " + health);
  }
  health_ = health;
  codes_ = std::move(codes);
}

void Events::watchServers(int64_t at, wire::ClusterStatus::Reader status) {
  std::set<std::string> online, servers;
  for (auto server : status.getServers()) {
    std::string name = server.getName().cStr();
    servers.insert(name);
    if (server.getOnline()) {
      online.insert(name);
    }
    bool was = online_.contains(name);
    if (isKnown_ && server.getOnline() && !was) {
      bool isNew = !servers_.contains(name);
      add(at, Event::Level::GOOD, "chunkserver " + name + (isNew ? " is new in the cluster" : " is back"));
    } else if (isKnown_ && !server.getOnline() && was) {
      add(at, Event::Level::WARNING, "chunkserver " + name + " is gone");
    }
  }
  for (auto& name : servers_) {
    if (isKnown_ && !servers.contains(name)) {
      add(at, Event::Level::NOTE, "chunkserver " + name + " was removed from the cluster");
    }
  }
  online_ = std::move(online);
  servers_ = std::move(servers);
}

void Events::watchRepair(int64_t at, wire::ClusterStatus::Reader status) {
  bool repairs = status.getRepairBytesPerSecond() > 0 && status.getRepairBytesLeft() > 0;
  bool over = status.getRepairBytesLeft() == 0;
  if (isKnown_ && repairs && !repairs_) {
    add(at, Event::Level::NOTE, "copies are being made again");
  } else if (isKnown_ && over && repairs_) {
    add(at, Event::Level::GOOD, "all copies are where they belong");
  }
  repairs_ = repairs || (repairs_ && !over);
}

}  // namespace cairn
