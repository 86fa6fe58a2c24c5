#include "tests/sim/cluster/names.h"

namespace cairn {

// `apply` changes a listing as the operation would; false when it would have been refused there.
void NameModel::change(const std::function<bool(Listing&)>& apply, End end) {
  std::set<Listing> next;
  for (auto& world : worlds_) {
    Listing after = world;
    bool works = apply(after);
    if (end != End::DONE) {
      next.insert(world);
    }
    if (works && end != End::REFUSED) {
      next.insert(after);
    }
  }
  worlds_ = std::move(next);
}

void NameModel::created(const std::string& name, FileNumber file, End end) {
  change([&](Listing& world) { return world.emplace(name, end == End::DONE ? file : ANY).second; }, end);
}

void NameModel::removed(const std::string& name, End end) {
  change([&](Listing& world) { return world.erase(name) != 0; }, end);
}

void NameModel::renamed(const std::string& from, const std::string& to, End end) {
  auto apply = [&](Listing& world) {
    auto it = world.find(from);
    if (it == world.end()) {
      return false;
    }
    FileNumber file = it->second;
    world.erase(it);
    world[to] = file;
    return true;
  };
  change(apply, end);
}

bool NameModel::matches(const Listing& world, const Listing& seen) {
  if (world.size() != seen.size()) {
    return false;
  }
  for (auto& [name, file] : world) {
    auto it = seen.find(name);
    if (it == seen.end() || (file != ANY && it->second != file)) {
      return false;
    }
  }
  return true;
}

std::string NameModel::text(const Listing& listing) {
  std::string out = "{";
  for (auto& [name, file] : listing) {
    out += " " + name + "=" + (file == ANY ? "?" : std::to_string(file));
  }
  return out + " }";
}

std::string NameModel::observe(const Listing& listing) {
  for (auto& world : worlds_) {
    if (matches(world, listing)) {
      worlds_ = {listing};
      return {};
    }
  }
  std::string out = "the directory shows " + text(listing) + ", but only these may be:";
  for (auto& world : worlds_) {
    out += " " + text(world);
  }
  return out;
}

}  // namespace cairn
