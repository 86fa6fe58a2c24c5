// EventQueue: what will happen, by time; events of the same time in the order in which they were put in.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/clock.h"

namespace cairn::raft {

template <typename Event>
class EventQueue {
 public:
  bool empty() const { return heap_.empty(); }
  Nanos nextTime() const { return heap_.front().at; }

  void put(Nanos at, Event event) {
    size_t place = places_.size();
    if (free_.empty()) {
      places_.push_back(std::move(event));
    } else {
      place = free_.back();
      free_.pop_back();
      places_[place] = std::move(event);
    }
    heap_.push_back({at, ++count_, place});
    std::push_heap(heap_.begin(), heap_.end());
  }

  Event take() {
    std::pop_heap(heap_.begin(), heap_.end());
    size_t place = heap_.back().place;
    heap_.pop_back();
    free_.push_back(place);
    return std::move(places_[place]);
  }

 private:
  struct Item {
    Nanos at;
    uint64_t number;
    size_t place;
    bool operator<(const Item& other) const { return at != other.at ? at > other.at : number > other.number; }
  };

  std::vector<Item> heap_;
  std::vector<Event> places_;
  std::vector<size_t> free_;
  uint64_t count_ = 0;
};

}  // namespace cairn::raft
