#include "fuse-client/fuse/mountpoint.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

namespace cairn {
namespace {

constexpr const char* DEVICE = "/dev/fuse";
constexpr long FUSE_MAGIC = 0x65735546;

Error refuse(const std::string& why) {
  return Error{EXIT_REFUSED, why};
}
Error fail(const std::string& why) {
  return Error{EXIT_FAILED, why};
}
std::string cause(int code) {
  return ::strerror(code);
}

Status checkDevice() {
  int fd = ::open(DEVICE, O_RDWR | O_CLOEXEC);
  if (fd >= 0) {
    ::close(fd);
    return {};
  }
  int code = errno;
  std::string what = std::string(DEVICE) + ": " + cause(code) + ". ";
  if (code == ENOENT || code == ENODEV || code == ENXIO) {
    return fail(
        what +
        "The kernel's FUSE is not there: load it with 'modprobe fuse', or give the container --device /dev/fuse");
  }
  if (code == EACCES || code == EPERM) {
    return fail(what +
                "Give this user access (chmod 666 /dev/fuse), run as root, or give the container --device /dev/fuse");
  }
  return fail(what + "Nothing can be mounted before this device opens");
}

bool findProgram(const std::string& name) {
  const char* path = ::getenv("PATH");
  std::istringstream folders(std::string(path == nullptr ? "/usr/bin:/bin" : path) + ":/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (::access((folder + "/" + name).c_str(), X_OK) == 0) {
      return true;
    }
  }
  return false;
}

Status checkHelper(const MountOptions& options) {
  if (!findProgram("fusermount3")) {
    return fail(
        "fusermount3: not found. An ordinary user mounts through it: install the package fuse3, or run as root");
  }
  if (!options.allowOther) {
    return {};
  }
  std::ifstream config("/etc/fuse.conf");
  for (std::string line; std::getline(config, line);) {
    if (line == "user_allow_other") {
      return {};
    }
  }
  return refuse("option allow_other: only root may use it, unless /etc/fuse.conf has the line user_allow_other");
}

// A path as the kernel lists it: \040 is a space.
std::string unescaped(const std::string& place) {
  std::string plain;
  for (size_t i = 0; i < place.size(); i++) {
    if (place[i] == '\\' && i + 3 < place.size()) {
      plain += static_cast<char>(std::stoi(place.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      plain += place[i];
    }
  }
  return plain;
}

// "fuse.dfs /etc/cairnfs/cluster.toml" when `path` is where something is mounted; else empty.
std::string mountedOn(const std::string& path) {
  std::ifstream mounts("/proc/self/mountinfo");
  std::string found;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, place, word, type, source;
    fields >> id >> parent >> device >> root >> place;
    while (fields >> word && word != "-") {
    }
    fields >> type >> source;
    if (unescaped(place) == path) {
      found = type + " " + source;  // the last one is on top
    }
  }
  return found;
}

Status checkEmpty(const std::string& path) {
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) {
    return refuse(path + ": can't be listed: " + cause(errno) + ". Mount on a directory of your own");
  }
  std::string found;
  while (const dirent* entry = ::readdir(directory)) {
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) {
      found = entry->d_name;
      break;
    }
  }
  ::closedir(directory);
  if (!found.empty()) {
    return refuse(path + ": the directory is not empty (there is '" + found +
                  "'). Mount on an empty one, or add -o nonempty to hide what is in it");
  }
  return {};
}

Status checkMountPoint(const MountOptions& options) {
  const std::string& path = options.mountPoint;
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) {
    int code = errno;
    if (code == ENOENT) {
      return refuse(path + ": the mount point does not exist. Make it first: mkdir -p " + path);
    }
    if (code == ENOTCONN) {
      return refuse(path + ": a mount whose process is gone is still here. Remove it first: fusermount3 -uz " + path);
    }
    return refuse(path + ": the mount point can't be used: " + cause(code) +
                  ". Mount on a directory that you may read");
  }
  if (!S_ISDIR(info.st_mode)) {
    return refuse(path + ": the mount point is not a directory. Give an empty directory");
  }
  auto there = mountedOn(absolutePath(path));
  if (!there.empty()) {
    return refuse(path + ": something is mounted here already (" + there + "). Unmount it first: umount " + path +
                  " (if its process is gone: fusermount3 -uz " + path + ")");
  }
  return options.nonEmpty ? Status() : checkEmpty(path);
}

}  // namespace

std::string absolutePath(const std::string& path) {
  char resolved[PATH_MAX];
  return ::realpath(path.c_str(), resolved) == nullptr ? path : std::string(resolved);
}

Status checkHost(const MountOptions& options, bool asRoot) {
  auto mountPoint = checkMountPoint(options);
  if (!mountPoint.ok()) {
    return mountPoint;
  }
  auto device = checkDevice();
  if (!device.ok() || asRoot) {
    return device;
  }
  return checkHelper(options);
}

pid_t startUnmount(const std::string& mountPoint, int fuseDescriptor) {
  const char* path = mountPoint.c_str();
  pid_t pid = ::fork();
  if (pid != 0) {
    return pid;
  }
  // Only async-signal-safe calls here: other threads of the parent may have held locks.
  ::close(fuseDescriptor);
  if (::umount2(path, MNT_DETACH) == 0) {
    ::_exit(0);
  }
  ::execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--", path, static_cast<char*>(nullptr));
  ::_exit(1);
}

std::string mountedDevice(const std::string& mountPoint) {
  std::ifstream mounts("/proc/self/mountinfo");
  std::string device;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, number, root, place;
    fields >> id >> parent >> number >> root >> place;
    if (unescaped(place) == mountPoint) {
      device = number;
    }
  }
  return device;
}

void raiseReadAhead(const std::string& mountPoint, uint64_t bytes) {
  std::ofstream knob("/sys/class/bdi/" + mountedDevice(mountPoint) + "/read_ahead_kb");
  knob << bytes / 1024 << std::flush;
}

void prepareProcess() {
  rlimit files;
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  ::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);  // needs CAP_SYS_RESOURCE; ordinary users go without
}

bool mountAnswers(const std::string& mountPoint) {
  struct statfs info;
  struct stat root;
  return ::statfs(mountPoint.c_str(), &info) == 0 && info.f_type == FUSE_MAGIC &&
         ::stat(mountPoint.c_str(), &root) == 0;
}

}  // namespace cairn
