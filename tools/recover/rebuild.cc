#include "tools/recover/rebuild.h"

#include <algorithm>
#include <cerrno>

#include "common/cluster_file.h"
#include "master/log/identity.h"
#include "master/recovering.h"

namespace cairn::rescue {

namespace {

constexpr char IDENTITY[] = "identity";
constexpr char EPOCH_KEY[] = "epoch = ";
constexpr uint64_t IDENTITY_BYTES_MAX = 64 << 10;
constexpr size_t COPY_BYTES = 1 << 20;
const char* const COPIED[] = {"log", "snapshots"};

Status copyFile(Disk& from, Disk& to, const std::string& path) {
  auto source = from.open(path, Disk::Mode::READ);
  auto target = source.ok() ? to.open(path, Disk::Mode::CREATE_EXCLUSIVE) : Result<kj::Own<File>>(source.error());
  if (!target.ok()) {
    return target.error();
  }
  auto bytes = kj::heapArray<kj::byte>(COPY_BYTES);
  for (uint64_t offset = 0;;) {
    auto got = source.value()->readNow(offset, bytes);
    if (!got.ok()) {
      return got.error();
    }
    if (got.value() == 0) {
      return target.value()->syncNow();
    }
    auto written = target.value()->write(offset, bytes.slice(0, got.value()));
    if (!written.ok()) {
      return written;
    }
    offset += got.value();
  }
}

Status copyDirectory(Disk& from, Disk& to, const std::string& path) {
  auto names = from.list(path);
  auto made = to.makeDirectory(path);
  if (!names.ok() || !made.ok()) {
    return names.ok() ? made : Status(names.error());
  }
  for (auto& name : names.value()) {
    auto copied = copyFile(from, to, path + "/" + name);
    if (!copied.ok()) {
      return copied;
    }
  }
  return to.syncDirectoryNow(path);
}

}  // namespace

bool isMaster(Disk& disk) { return disk.exists(IDENTITY) && disk.exists(COPIED[0]); }

Result<GroupEpoch> epochOf(Disk& master) {
  auto bytes = readWholeFile(master, IDENTITY, IDENTITY_BYTES_MAX);
  if (!bytes.ok()) {
    return bytes.error();
  }
  std::string text(bytes.value().asChars().begin(), bytes.value().size());
  GroupEpoch epoch{};
  size_t at = text.find(EPOCH_KEY);
  if (at != std::string::npos) {
    size_t begins = at + sizeof(EPOCH_KEY) - 1;
    if (!parse(text.substr(begins, text.find('\n', at) - begins), epoch)) {
      return Error{EIO, master.hostPath(IDENTITY) + ": damaged"};
    }
  }
  return epoch;
}

Status copyMaster(Disk& from, Disk& to, ClusterId cluster, const std::string& member, GroupEpoch epoch,
                  Random& random) {
  auto directory = openDirectory(to, cluster, member, random);
  if (!directory.ok()) {
    return directory.error();
  }
  for (const char* path : COPIED) {
    auto copied = from.exists(path) ? copyDirectory(from, to, path) : Status();
    if (!copied.ok()) {
      return copied;
    }
  }
  auto identity = directory.value().identity;
  identity.epoch = epoch;
  return saveIdentity(to, identity);
}

Task<Result<GroupEpoch>> rebuild(Disk& names, Disk& to, leveldb::Env& env, ClusterId cluster, std::string member,
                                 Random& random) {
  auto listed = to.list("");
  if (!listed.ok() || !listed.value().empty()) {
    co_return listed.ok() ? Error{ENOTEMPTY, to.hostPath("") + " isn't empty: name an empty directory"}
                          : listed.error();
  }
  auto epoch = epochOf(names);
  auto copied = epoch.ok() ? copyMaster(names, to, cluster, member, epoch.value(), random) : Status(epoch.error());
  if (!copied.ok()) {
    co_return copied.error();
  }
  ClusterFile file;
  file.cluster = cluster;
  RecoveryParts parts{to, env, random, file, member};
  auto plan = planRecovery(parts);
  if (!plan.ok()) {
    co_return plan.error();
  }
  co_return co_await cairn::recover(parts, plan.value().id);
}

Status removeTree(Disk& disk, const std::string& path) {
  auto names = disk.list(path);
  if (!names.ok()) {
    return names.code() == ENOENT ? Status() : Status(names.error());
  }
  for (auto& name : names.value()) {
    std::string below = path + "/" + name;
    bool isDirectory = disk.list(below).ok();
    auto removed = isDirectory ? removeTree(disk, below) : disk.remove(below);
    if (!removed.ok()) {
      return removed;
    }
  }
  return disk.removeDirectory(path);
}

}  // namespace cairn::rescue
