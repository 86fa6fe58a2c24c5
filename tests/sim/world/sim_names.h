// The directory tree of one simulated volume: names as they are now, and as a power cut would leave them.
//
// A change of names (create, remove, rename) is one atomic step, undone or kept as a whole. Without a sync of the
// directory a cut keeps any subset of the steps - except in *journaled* directories, where it keeps a prefix, and
// where the sync of any file commits the names too: so ext4, XFS and btrfs behave, and LevelDB relies on it.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/random.h"

namespace cairn {

class SimNames {
 public:
  using NodeId = uint64_t;
  static constexpr NodeId ROOT = 1;

  // Where a path leads: its directory, its last name, and what is there.
  struct Place {
    NodeId directory;
    std::string name;
    std::optional<NodeId> node;
  };

  SimNames();

  // An errno, or 0. The root itself has an empty name.
  int find(const std::string& path, Place& out) const;
  bool isDirectory(NodeId node) const { return directories_.count(node) > 0; }
  std::vector<std::string> list(NodeId directory) const;
  bool isEmpty(NodeId directory) const { return directories_.at(directory).now.empty(); }

  NodeId addFile(const Place& place);
  NodeId addDirectory(const Place& place);
  void remove(const Place& place);
  void rename(const Place& from, const Place& to);

  void setJournaled(NodeId directory) { directories_.at(directory).journaled = true; }
  bool isJournaled(NodeId directory) const { return directories_.at(directory).journaled; }
  // Makes the names of `directory` durable, and whatever they hang on; of a journaled one its own name as well.
  void sync(NodeId directory);
  void powerCut(Random& random);

  // Files that have a name, each with its path.
  std::map<NodeId, std::string> files() const;
  // Nodes that have a name, or could get one back by a power cut.
  std::set<NodeId> reachable() const;

 private:
  struct Directory {
    std::map<std::string, NodeId> now;
    std::map<std::string, NodeId> stored;
    bool journaled = false;
  };
  struct Assignment {
    NodeId directory;
    std::string name;
    std::optional<NodeId> node;  // none: the name goes away
  };
  using Step = std::vector<Assignment>;

  void take(Step step);
  void store(const Step& step);
  void collect(NodeId directory, const std::string& path, std::map<NodeId, std::string>& out) const;

  std::map<NodeId, Directory> directories_;
  std::vector<Step> unsynced_;  // in the order they were made
  NodeId next_ = ROOT + 1;
};

}  // namespace cairn
