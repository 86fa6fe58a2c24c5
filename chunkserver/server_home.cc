#include "chunkserver/server_home.h"

#include <cerrno>
#include <sstream>

namespace cairn {
namespace {

constexpr const char* FILE_NAME = "server.id";
constexpr const char* LOCK_NAME = "lock";
constexpr const char* FORMAT = "cairnfs-chunkserver";
constexpr int VERSION = 1;
constexpr uint64_t FILE_BYTES_MAX = 1 << 20;

}  // namespace

Error ServerHome::damaged(const std::string& line) const {
  return {EINVAL, disk_.hostPath(FILE_NAME) + " is damaged at \"" + line +
                      "\": restore the file, or name another directory to start a new chunkserver"};
}

Status ServerHome::parse(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  bool first = true, ended = false;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string word, value;
    words >> word >> value;
    bool fine = true;
    if (first) {
      if (word == FORMAT && value != std::to_string(VERSION)) {
        return Error{EINVAL, disk_.hostPath(FILE_NAME) + " has format " + value + "; this program knows format " +
                                 std::to_string(VERSION) + ": run the newer program"};
      }
      fine = word == FORMAT;
      first = false;
    } else if (word == "cluster") {
      ClusterId cluster;
      fine = cairn::parse(value, cluster);
      if (fine && cluster != cluster_) {
        return Error{ESTALE, disk_.hostPath("") + " belongs to cluster " + value + ", not to " + toText(cluster_) +
                                 ": name that cluster's file, or another directory"};
      }
    } else if (word == "server") {
      fine = cairn::parse(value, server_);
    } else if (word == "epoch") {
      fine = cairn::parse(value, epoch_);
    } else if (word == "volume") {
      VolumeId volume;
      std::string path;
      std::getline(words >> std::ws, path);
      fine = cairn::parse(value, volume) && !path.empty();
      volumes_[path] = volume;
    } else {
      fine = word == "end";
      ended = true;
    }
    if (!fine) {
      return damaged(line);
    }
  }
  if (!ended || server_.isNull()) {
    return damaged("its end");
  }
  return {};
}

Status ServerHome::save() {
  std::ostringstream text;
  text << FORMAT << " " << VERSION << "\ncluster " << toText(cluster_) << "\nserver " << toText(server_) << "\n";
  if (epoch_ != GroupEpoch{}) {
    text << "epoch " << toText(epoch_) << "\n";
  }
  for (auto& [path, volume] : volumes_) {
    text << "volume " << toText(volume) << " " << path << "\n";
  }
  text << "end\n";
  std::string bytes = text.str();
  return replaceFile(disk_, FILE_NAME, kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()));
}

Result<kj::Own<ServerHome>> ServerHome::open(Disk& disk, Random& random, ClusterId cluster) {
  auto home = kj::heap<ServerHome>(Private(), disk, cluster);
  auto lock = disk.lock(LOCK_NAME);
  if (!lock.ok()) {
    return lock.error();
  }
  home->lock_ = kj::mv(lock.value());
  if (disk.exists(FILE_NAME)) {
    auto bytes = readWholeFile(disk, FILE_NAME, FILE_BYTES_MAX);
    if (!bytes.ok()) {
      return bytes.error();
    }
    auto& contents = bytes.value();
    Status parsed = home->parse(std::string(contents.asChars().begin(), contents.size()));
    Status history = home->history_.open();
    if (!parsed.ok() || !history.ok()) {
      return parsed.ok() ? history.error() : parsed.error();
    }
    return kj::mv(home);
  }
  home->server_ = random.uuid<ServerId>();
  Status saved = home->save();
  if (!saved.ok()) {
    return saved.error();
  }
  return kj::mv(home);
}

VolumeId ServerHome::volumeAt(const std::string& path) const {
  auto it = volumes_.find(path);
  return it == volumes_.end() ? VolumeId() : it->second;
}

Status ServerHome::remember(const std::string& path, VolumeId volume) {
  if (volumeAt(path) == volume) {
    return {};
  }
  volumes_[path] = volume;
  return save();
}

Status ServerHome::rememberEpoch(GroupEpoch epoch) {
  if (epoch <= epoch_) {
    return {};
  }
  epoch_ = epoch;
  return save();
}

}  // namespace cairn
