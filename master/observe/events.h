// Events: what has happened to the cluster lately, for people: servers coming and going, masters beginning to lead,
// reasons why it isn't healthy, repairs. The newest few are kept, in memory. Pure.
#pragma once
#include <deque>
#include <set>
#include <string>

#include "common/clock.h"
#include "schema/master.capnp.h"

namespace cairn {

struct Event {
  enum class Level { GOOD, NOTE, WARNING, CRITICAL };
  int64_t at = 0;  // seconds since 1970
  Level level = Level::NOTE;
  std::string text;
};

const char* toText(Event::Level level);

class Events {
 public:
  static constexpr size_t EVENTS_MAX = 256;

  void add(int64_t at, Event::Level level, std::string text);
  // Compares how the cluster stands with how it stood when this was called last.
  void watch(int64_t at, wire::ClusterStatus::Reader status);
  // Another master leads: what this one saw last is old.
  void forgetLast() { isKnown_ = false; }
  const std::deque<Event>& list() const { return events_; }  // oldest first

 private:
  void watchReasons(int64_t at, wire::ClusterStatus::Reader status);
  void watchServers(int64_t at, wire::ClusterStatus::Reader status);
  void watchRepair(int64_t at, wire::ClusterStatus::Reader status);

  std::deque<Event> events_;
  bool isKnown_ = false;
  std::string health_;
  std::set<std::string> codes_;   // of the reasons
  std::set<std::string> online_;  // names of chunkservers
  std::set<std::string> servers_;
  bool repairs_ = false;
};

}  // namespace cairn
