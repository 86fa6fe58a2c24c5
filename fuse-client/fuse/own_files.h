// The mount's own files: the directory `.dfs` in its root, which readdir doesn't show, with what the mount knows of
// itself. Nothing of it is in the cluster or needs it, so that it can be read while the cluster is away. As in /proc a
// file's text is made when it is opened, and its size is 0.
#pragma once
#include <fuse_lowlevel.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <map>
#include <string>

#include "common/clock.h"

namespace cairn {

enum class OwnFile { CONFIG, LEADER, STATS, WHY };

class OwnFiles {
 public:
  static constexpr const char* DIRECTORY = ".dfs";
  static constexpr std::array<const char*, 4> NAMES = {"config", "leader", "stats", "why"};
  // No inode of a cluster gets there: they are counted from 1 on.
  static constexpr fuse_ino_t FIRST_NODE = UINT64_MAX - 15;

  // `now`: the time that they show.
  explicit OwnFiles(Nanos now) : now_(now) {}

  static bool has(fuse_ino_t node) { return node >= FIRST_NODE; }
  static bool isFile(fuse_ino_t node) { return node > FIRST_NODE && node <= FIRST_NODE + NAMES.size(); }
  // REQUIRES: isFile(node).
  static OwnFile fileOf(fuse_ino_t node) { return static_cast<OwnFile>(node - FIRST_NODE - 1); }
  static fuse_ino_t nodeOf(size_t file) { return FIRST_NODE + 1 + file; }
  // 0: there is no such file.
  static fuse_ino_t find(const char* name) {
    for (size_t i = 0; i < NAMES.size(); ++i) {
      if (std::strcmp(name, NAMES[i]) == 0) {
        return nodeOf(i);
      }
    }
    return 0;
  }

  // Something of the cluster has the directory's name.
  void hide() { shown_ = false; }
  // In the mount's root this name means the directory.
  bool isShadowed(const std::string& name) const { return shown_ && name == DIRECTORY; }
  bool isDirectory(fuse_ino_t parent, const char* name) const {
    return shown_ && parent == FUSE_ROOT_ID && std::strcmp(name, DIRECTORY) == 0;
  }
  struct stat statOf(fuse_ino_t node) const {
    struct stat out {};
    bool file = isFile(node);
    out.st_ino = node;
    out.st_mode = file ? S_IFREG | 0444 : S_IFDIR | 0555;
    out.st_nlink = file ? 1 : 2;
    out.st_atim.tv_sec = out.st_mtim.tv_sec = out.st_ctim.tv_sec = static_cast<time_t>(now_ / SECOND);
    return out;
  }

  // Open ones, each with its text.
  uint64_t open(std::string text) {
    texts_[++last_] = std::move(text);
    return last_;
  }
  // Null: it isn't open.
  const std::string* text(uint64_t handle) const {
    auto found = texts_.find(handle);
    return found == texts_.end() ? nullptr : &found->second;
  }
  void close(uint64_t handle) { texts_.erase(handle); }

 private:
  const Nanos now_;
  bool shown_ = true;
  uint64_t last_ = 0;
  std::map<uint64_t, std::string> texts_;
};

}  // namespace cairn
