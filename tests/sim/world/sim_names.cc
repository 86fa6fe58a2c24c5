#include "tests/sim/world/sim_names.h"

#include <kj/debug.h>

#include <algorithm>
#include <cerrno>

namespace cairn {

SimNames::SimNames() {
  directories_[ROOT];
}

int SimNames::find(const std::string& path, Place& out) const {
  NodeId at = ROOT;
  out = Place{ROOT, "", ROOT};
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    std::string name = path.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty() || name == ".") {
      continue;
    }
    if (name == "..") {
      return EINVAL;
    }
    if (!out.node) {
      return ENOENT;
    }
    at = *out.node;
    auto directory = directories_.find(at);
    if (directory == directories_.end()) {
      return ENOTDIR;
    }
    auto entry = directory->second.now.find(name);
    out = Place{at, name, std::nullopt};
    if (entry != directory->second.now.end()) {
      out.node = entry->second;
    }
  }
  return 0;
}

std::vector<std::string> SimNames::list(NodeId directory) const {
  std::vector<std::string> names;
  for (const auto& [name, node] : directories_.at(directory).now) {
    names.push_back(name);
  }
  return names;
}

void SimNames::take(Step step) {
  for (const auto& change : step) {
    auto& now = directories_.at(change.directory).now;
    if (change.node) {
      now[change.name] = *change.node;
    } else {
      now.erase(change.name);
    }
  }
  unsynced_.push_back(std::move(step));
}

void SimNames::store(const Step& step) {
  for (const auto& change : step) {
    auto& stored = directories_.at(change.directory).stored;
    if (change.node) {
      stored[change.name] = *change.node;
    } else {
      stored.erase(change.name);
    }
  }
}

SimNames::NodeId SimNames::addFile(const Place& place) {
  NodeId node = next_++;
  take({{place.directory, place.name, node}});
  return node;
}

SimNames::NodeId SimNames::addDirectory(const Place& place) {
  NodeId node = next_++;
  directories_[node];
  take({{place.directory, place.name, node}});
  return node;
}

void SimNames::remove(const Place& place) {
  take({{place.directory, place.name, std::nullopt}});
}

void SimNames::rename(const Place& from, const Place& to) {
  take({{from.directory, from.name, std::nullopt}, {to.directory, to.name, from.node}});
}

void SimNames::sync(NodeId directory) {
  // Backwards, so that a rename into this directory takes along the earlier steps of the other one.
  std::set<NodeId> touched{directory};
  bool journaled = isJournaled(directory);
  auto belongs = [&touched, journaled](const Assignment& change) {
    return touched.count(change.directory) > 0 || (journaled && change.node && touched.count(*change.node) > 0);
  };
  std::vector<bool> chosen(unsynced_.size());
  for (size_t i = unsynced_.size(); i-- > 0;) {
    const Step& step = unsynced_[i];
    chosen[i] = std::any_of(step.begin(), step.end(), belongs);
    for (const auto& change : step) {
      if (chosen[i]) {
        touched.insert(change.directory);
      }
    }
  }
  std::vector<Step> left;
  for (size_t i = 0; i < unsynced_.size(); i++) {
    if (chosen[i]) {
      store(unsynced_[i]);
    } else {
      left.push_back(std::move(unsynced_[i]));
    }
  }
  unsynced_ = std::move(left);
}

void SimNames::powerCut(Random& random) {
  constexpr uint64_t KEPT_PER_EIGHT[] = {0, 8, 4, 4};
  uint64_t keptPerEight = KEPT_PER_EIGHT[random.below(4)];
  std::set<NodeId> ended;  // journaled directories whose journal ends before this step
  for (const Step& step : unsynced_) {
    bool keep = random.below(8) < keptPerEight;
    for (const auto& change : step) {
      keep = keep && ended.count(change.directory) == 0;
    }
    if (keep) {
      store(step);
      continue;
    }
    for (const auto& change : step) {
      if (directories_.at(change.directory).journaled) {
        ended.insert(change.directory);
      }
    }
  }
  unsynced_.clear();
  for (auto& [node, directory] : directories_) {
    directory.now = directory.stored;
  }
}

void SimNames::collect(NodeId directory, const std::string& path, std::map<NodeId, std::string>& out) const {
  for (const auto& [name, node] : directories_.at(directory).now) {
    std::string full = path.empty() ? name : path + "/" + name;
    if (isDirectory(node)) {
      collect(node, full, out);
    } else {
      out.emplace(node, full);
    }
  }
}

std::map<SimNames::NodeId, std::string> SimNames::files() const {
  std::map<NodeId, std::string> out;
  collect(ROOT, "", out);
  return out;
}

std::set<SimNames::NodeId> SimNames::reachable() const {
  std::set<NodeId> out;
  for (const auto& [node, directory] : directories_) {
    for (const auto* names : {&directory.now, &directory.stored}) {
      for (const auto& [name, child] : *names) {
        out.insert(child);
      }
    }
  }
  for (const Step& step : unsynced_) {
    for (const auto& change : step) {
      if (change.node) {
        out.insert(*change.node);
      }
    }
  }
  return out;
}

}  // namespace cairn
