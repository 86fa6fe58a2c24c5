#include "tools/recover/scan_all.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "chunkserver/store/volume_id.h"
#include "common/log.h"
#include "common/system/held.h"
#include "master/log/identity.h"
#include "tools/recover/rebuild.h"
#include "tools/recover/scan.h"

namespace cairn::rescue {

namespace {

constexpr char LOCK[] = "/lock";
constexpr char CLUSTER_FILE[] = "cluster";
constexpr char CANDIDATE[] = "names.new";
constexpr uint64_t TEXT_BYTES_MAX = 4096;

struct Source {
  std::string path;
  kj::Own<Disk> disk;
  VolumeIdentity identity;
};

// What a worker does; owned by the job too, for the task may be dropped.
struct ScanJob final : kj::AtomicRefcounted {
  ScanJob(Disk& disk, leveldb::Env& env, Disk* map, FoundDisk& found) : scanner(disk, env, map, found) {}
  Scanner scanner;
  Status status;
};

class Scan {
 public:
  Scan(ScanOptions options, ScanParts parts) : options_(std::move(options)), parts_(std::move(parts)) {}

  Task<Result<std::vector<FoundDisk>>> run() {
    auto found = findSources();
    if (found.ok()) {
      found = chooseCluster();
    }
    if (found.ok() && options_.map != nullptr) {
      found = bindMap();
    }
    if (!found.ok()) {
      co_return found.error();
    }
    auto read = co_await readVolumes();
    if (read.ok() && options_.map != nullptr) {
      auto names = co_await makeNames();
      read = names;
    }
    if (!read.ok()) {
      co_return read.error();
    }
    co_return std::move(found_);
  }

 private:
  Status findSources();
  Status addPath(const std::string& path, bool below);
  Status chooseCluster();
  Status bindMap();
  Task<Status> readVolumes();
  Task<Status> readOne(size_t index);
  Task<Status> makeNames();
  Task<Status> tryCapsules(Capsules& capsules, LogIndex& best, GroupEpoch& epoch);
  Status tryMaster(Source& master, LogIndex& best, GroupEpoch& epoch);
  Status keepCandidate();

  const ScanOptions options_;
  const ScanParts parts_;
  std::vector<Source> volumes_;
  std::vector<Source> masters_;
  ClusterId cluster_;
  std::vector<FoundDisk> found_;
};

Status Scan::findSources() {
  for (auto& path : options_.paths) {
    size_t before = volumes_.size() + masters_.size();
    auto added = addPath(path, true);
    if (!added.ok()) {
      return added;
    }
    if (volumes_.size() + masters_.size() == before) {
      return Error{EINVAL, path + ": neither a volume of a chunkserver nor a master's data directory: name these"};
    }
  }
  return {};
}

Status Scan::addPath(const std::string& path, bool below) {
  auto disk = parts_.opener(path);
  if (!disk.ok()) {
    return disk.error();
  }
  auto held = isHeld(path + LOCK);
  if (!held.ok()) {
    return held.error();
  }
  if (held.value()) {
    return Error{EBUSY, path + ": a daemon runs there, and changes it: stop it first"};
  }
  bool isVolume = disk.value()->exists(VOLUME_ID_FILE) || disk.value()->exists("chunks");
  if (isVolume) {
    auto identity = identify(*disk.value());
    if (!identity.ok()) {
      return identity.error();
    }
    volumes_.push_back({path, kj::mv(disk.value()), identity.value()});
  } else if (isMaster(*disk.value())) {
    masters_.push_back({path, kj::mv(disk.value())});
  } else if (below) {
    auto names = disk.value()->list("");
    for (auto& name : names.ok() ? names.value() : std::vector<std::string>()) {
      bool isDirectory = disk.value()->list(name).ok();
      auto added = isDirectory ? addPath(path + "/" + name, false) : Status();
      if (!added.ok()) {
        return added;
      }
    }
  }
  return {};
}

Status Scan::chooseCluster() {
  ClusterId wanted;
  if (!options_.cluster.empty() && !parse(options_.cluster, wanted)) {
    return Error{EINVAL, "\"" + options_.cluster + "\" is no cluster's id: it has 32 hexadecimal digits"};
  }
  std::set<ClusterId> clusters;
  std::string listed;
  for (auto& volume : volumes_) {
    clusters.insert(volume.identity.cluster);
    listed += "\n  " + toText(volume.identity.cluster) + "  " + volume.path;
  }
  if (clusters.empty()) {
    return Error{EINVAL, "there is no volume of a chunkserver among these"};
  }
  if (wanted.isNull() && clusters.size() > 1) {
    return Error{EINVAL, "these disks are of several clusters; choose one with --cluster:" + listed};
  }
  cluster_ = wanted.isNull() ? *clusters.begin() : wanted;
  std::erase_if(volumes_, [this](const Source& volume) { return volume.identity.cluster != cluster_; });
  Error none{EINVAL, "none of these disks is of cluster " + toText(cluster_) + ":" + listed};
  return volumes_.empty() ? Status(none) : Status();
}

// A map is of one cluster.
Status Scan::bindMap() {
  std::string text = toText(cluster_) + "\n";
  auto there = readWholeFile(*options_.map, CLUSTER_FILE, TEXT_BYTES_MAX);
  if (there.ok() && std::string(there.value().asChars().begin(), there.value().size()) != text) {
    return Error{EINVAL, options_.map->hostPath("") + " is a map of another cluster: name another one"};
  }
  return there.ok() ? Status() : replaceFile(*options_.map, CLUSTER_FILE, kj::StringPtr(text.c_str()).asBytes());
}

Task<Status> Scan::readVolumes() {
  found_.resize(volumes_.size());
  std::vector<kj::Promise<Status>> reading;
  for (size_t i = 0; i < volumes_.size(); ++i) {
    reading.push_back(readOne(i));
  }
  Status result;
  for (auto& one : reading) {
    auto read = co_await kj::mv(one);
    result = result.ok() ? read : result;
  }
  co_return result;
}

Task<Status> Scan::readOne(size_t index) {
  found_[index].path = volumes_[index].path;
  found_[index].identity = volumes_[index].identity;
  auto job = kj::atomicRefcounted<ScanJob>(*volumes_[index].disk, parts_.env, options_.map, found_[index]);
  kj::Function<void()> work = [mine = kj::atomicAddRef(*job)]() mutable { mine->status = mine->scanner.run(); };
  co_await parts_.workers.run(kj::mv(work));
  co_return job->status;
}

// ---- the names ----

// The newest state that a capsule with its tail, or a master's own directory, gives.
Task<Status> Scan::makeNames() {
  LogIndex best{};
  GroupEpoch epoch{};
  if (options_.map->exists(NAMES_DIRECTORY)) {
    auto removed = removeTree(*options_.map, NAMES_DIRECTORY);
    if (!removed.ok()) {
      co_return removed;
    }
  }
  Capsules capsules;
  for (auto& volume : volumes_) {
    capsules.add(*volume.disk, cluster_);
  }
  auto tried = co_await tryCapsules(capsules, best, epoch);
  if (!tried.ok()) {
    co_return tried;
  }
  for (auto& master : masters_) {
    auto taken = tryMaster(master, best, epoch);
    if (!taken.ok()) {
      spdlog::warn("{}: can't be used for names: {}", master.path, taken.error().why);
    }
  }
  if (raw(best) == 0) {
    spdlog::warn("no disk has a whole copy of the masters' state: files are named by what their chunks say");
  }
  co_return removeTree(*options_.map, CANDIDATE);
}

Task<Status> Scan::tryCapsules(Capsules& capsules, LogIndex& best, GroupEpoch& epoch) {
  auto choice = capsules.choose();
  if (!choice) {
    co_return Status();
  }
  auto made = removeTree(*options_.map, CANDIDATE);
  if (made.ok()) {
    made = options_.map->makeDirectory(CANDIDATE);
  }
  auto disk = made.ok() ? parts_.opener(options_.map->hostPath(CANDIDATE)) : Result<kj::Own<Disk>>(made.error());
  if (!disk.ok()) {
    co_return disk.error();
  }
  made = co_await makeMaster(capsules, *choice, cluster_, NAMES_MEMBER, *disk.value(), parts_.random);
  if (!made.ok()) {
    co_return made;
  }
  best = choice->end;
  epoch = choice->capsule.epoch;
  co_return keepCandidate();
}

Status Scan::tryMaster(Source& master, LogIndex& best, GroupEpoch& epoch) {
  auto own = epochOf(*master.disk);
  auto made = own.ok() ? removeTree(*options_.map, CANDIDATE) : Status(own.error());
  if (made.ok()) {
    made = options_.map->makeDirectory(CANDIDATE);
  }
  auto disk = made.ok() ? parts_.opener(options_.map->hostPath(CANDIDATE)) : Result<kj::Own<Disk>>(made.error());
  if (!disk.ok()) {
    return disk.error();
  }
  made = copyMaster(*master.disk, *disk.value(), cluster_, NAMES_MEMBER, own.value(), parts_.random);
  auto names = made.ok() ? Names::open(*disk.value(), parts_.env, cluster_) : Result<kj::Own<Names>>(made.error());
  if (!names.ok()) {
    return names.error();
  }
  LogIndex end = names.value()->reader().appliedIndex();
  bool isOfCluster = names.value()->reader().cluster() == cluster_;
  bool isBetter = own.value() > epoch || (own.value() == epoch && end > best);
  if (!isOfCluster || !isBetter) {
    return {};
  }
  best = end;
  epoch = own.value();
  return keepCandidate();
}

Status Scan::keepCandidate() {
  auto removed = removeTree(*options_.map, NAMES_DIRECTORY);
  return removed.ok() ? options_.map->rename(CANDIDATE, NAMES_DIRECTORY) : removed;
}

}  // namespace

Task<Result<std::vector<FoundDisk>>> scanAll(ScanOptions options, ScanParts parts) {
  auto scan = kj::heap<Scan>(std::move(options), kj::mv(parts));
  co_return co_await scan->run();
}

}  // namespace cairn::rescue
