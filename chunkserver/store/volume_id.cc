#include "chunkserver/store/volume_id.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <sstream>

#include "chunkserver/store/codec.h"
#include "common/checksum.h"

namespace cairn {

namespace {

const char* const LOCK_FILE = "lock";
constexpr uint64_t ID_FILE_MAX = 4096;

// What an empty directory may hold: a lock, a creation that was cut short, what mkfs leaves.
bool countsAsEmpty(const std::string& name) {
  return name == LOCK_FILE || name == std::string(VOLUME_ID_FILE) + ".new" || name == "lost+found";
}

Error refuse(int code, const std::string& path, const std::string& why) {
  return Error{code, path + ": " + why};
}

Status checkUnmarked(Disk& disk, const std::vector<std::string>& names, bool create) {
  std::string path = disk.hostPath(".");
  for (const char* ours : {"chunks", "index", "quarantine"}) {
    if (std::find(names.begin(), names.end(), ours) != names.end()) {
      return refuse(ENOENT, path,
                    fmt::format("has {}/ but no {}: the volume's marker is gone. Not touching it: put the file back, "
                                "or name another directory",
                                ours, VOLUME_ID_FILE));
    }
  }
  auto foreign = std::find_if_not(names.begin(), names.end(), countsAsEmpty);
  if (foreign != names.end()) {
    return refuse(ENOTEMPTY, path, fmt::format("holds \"{}\" and isn't a volume; name an empty directory", *foreign));
  }
  if (!create) {
    return refuse(ENOENT, path,
                  fmt::format("no {} here: the disk isn't mounted, or this was never a volume; mount it, or start "
                              "with leave to create one",
                              VOLUME_ID_FILE));
  }
  return {};
}

Status checkOwner(const std::string& path, const VolumeIdentity& found, const VolumeOptions& options) {
  if (found.cluster != options.cluster) {
    return refuse(EPERM, path,
                  fmt::format("belongs to cluster {}, this is cluster {}; name another directory",
                              toText(found.cluster), toText(options.cluster)));
  }
  if (found.server != options.server) {
    return refuse(EPERM, path,
                  fmt::format("belongs to chunkserver {}, this one is {}; start that one on it, or name another "
                              "directory",
                              toText(found.server), toText(options.server)));
  }
  return {};
}

std::string fieldOf(std::istringstream& lines, const char* name) {
  std::string key;
  std::string value;
  lines >> key >> value;
  return key == name ? value : "";
}

}  // namespace

std::string encodeVolumeId(const VolumeIdentity& identity) {
  std::string text = fmt::format("cairnfs volume {}\ncluster {}\nserver {}\nvolume {}\n", VOLUME_FORMAT,
                                 toText(identity.cluster), toText(identity.server), toText(identity.volume));
  return text + fmt::format("checksum {:016x}\n", hash64(text));
}

Result<VolumeIdentity> decodeVolumeId(std::string_view text, const std::string& path) {
  std::istringstream lines{std::string(text)};
  std::string program;
  std::string word;
  uint32_t format = 0;
  lines >> program >> word >> format;
  if (program == "cairnfs" && word == "volume" && lines && format > VOLUME_FORMAT) {
    return refuse(
        EPROTONOSUPPORT, path,
        fmt::format("format {} is newer than this program's {}; use the newer program", format, VOLUME_FORMAT));
  }
  VolumeIdentity identity;
  bool whole = program == "cairnfs" && word == "volume" && parse(fieldOf(lines, "cluster"), identity.cluster) &&
               parse(fieldOf(lines, "server"), identity.server) && parse(fieldOf(lines, "volume"), identity.volume);
  if (!whole || text != encodeVolumeId(identity)) {
    return refuse(EUCLEAN, path, "damaged; restore it from a backup or start with an empty directory");
  }
  return identity;
}

Result<ClaimedVolume> claimVolume(Disk& disk, Random& random, const VolumeOptions& options) {
  auto names = disk.list(".");
  if (!names.ok()) {
    return names.error();
  }
  bool marked = disk.exists(VOLUME_ID_FILE);
  if (!marked) {
    auto status = checkUnmarked(disk, names.value(), options.create);
    if (!status.ok()) {
      return status.error();
    }
  }
  ClaimedVolume claimed;
  auto lock = disk.lock(LOCK_FILE);
  if (!lock.ok()) {
    return lock.error();
  }
  claimed.lock = kj::mv(lock.value());
  std::string path = disk.hostPath(VOLUME_ID_FILE);
  if (!marked && !disk.exists(VOLUME_ID_FILE)) {
    claimed.identity = VolumeIdentity{options.cluster, options.server, random.uuid<VolumeId>()};
    claimed.created = true;
    auto status = replaceFile(disk, VOLUME_ID_FILE, asBytes(encodeVolumeId(claimed.identity)));
    return status.ok() ? Result<ClaimedVolume>(kj::mv(claimed)) : status.error();
  }
  auto text = readWholeFile(disk, VOLUME_ID_FILE, ID_FILE_MAX);
  if (!text.ok()) {
    return text.error();
  }
  auto identity = decodeVolumeId(asText(text.value()), path);
  if (!identity.ok()) {
    return identity.error();
  }
  claimed.identity = identity.value();
  auto status = checkOwner(disk.hostPath("."), claimed.identity, options);
  return status.ok() ? Result<ClaimedVolume>(kj::mv(claimed)) : status.error();
}

}  // namespace cairn
