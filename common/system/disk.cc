#include "common/system/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "common/system/descriptor.h"

namespace cairn {

namespace {

Error failure(int code, const std::string& path, const char* doing) {
  return Error{code, path + ": " + doing + ": " + std::generic_category().message(code)};
}

Result<size_t> readFully(int fd, uint64_t offset, kj::ArrayPtr<kj::byte> out, int flags, const std::string& path) {
  size_t done = 0;
  while (done < out.size()) {
    iovec piece = {out.begin() + done, out.size() - done};
    ssize_t n = preadv2(fd, &piece, 1, static_cast<off_t>(offset + done), flags);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return failure(errno, path, "read");
    }
    if (n == 0) {
      break;
    }
    done += static_cast<size_t>(n);
  }
  return done;
}

Status syncData(int fd, const std::string& path) {
  if (fdatasync(fd) < 0) {
    return failure(errno, path, "sync");
  }
  return {};
}

Status syncNames(int fd, const std::string& path) {
  if (fsync(fd) < 0) {
    return failure(errno, path, "sync directory");
  }
  return {};
}

// What a job on a worker leaves behind. The task may be dropped while the job runs, so the job never
// touches the caller's memory: it fills this, which both own.
struct JobState final : kj::AtomicRefcounted {
  JobState(kj::Own<Descriptor> descriptor, std::string path) : descriptor(kj::mv(descriptor)), path(kj::mv(path)) {}
  kj::Own<Descriptor> descriptor;
  std::string path;
  kj::Array<kj::byte> bytes;
  Result<size_t> result = size_t{0};
  Status status;
};

Task<Status> syncOnWorker(Workers& workers, kj::Own<JobState> state, bool directory) {
  auto job = [state = kj::atomicAddRef(*state), directory]() mutable {
    int fd = state->descriptor->fd();
    state->status = directory ? syncNames(fd, state->path) : syncData(fd, state->path);
  };
  kj::Function<void()> function = kj::mv(job);
  co_await workers.run(kj::mv(function));
  co_return kj::mv(state->status);
}

Task<Result<size_t>> readOnWorker(Workers& workers, kj::Own<JobState> state, uint64_t offset,
                                  kj::ArrayPtr<kj::byte> out) {
  state->bytes = kj::heapArray<kj::byte>(out.size());
  auto job = [state = kj::atomicAddRef(*state), offset]() mutable {
    state->result = readFully(state->descriptor->fd(), offset, state->bytes, 0, state->path);
  };
  kj::Function<void()> function = kj::mv(job);
  co_await workers.run(kj::mv(function));
  if (state->result.ok()) {
    memcpy(out.begin(), state->bytes.begin(), state->result.value());
  }
  co_return kj::mv(state->result);
}

constexpr size_t DEVICE_ALIGNMENT = 4096;

// O_DIRECT wants memory, offset and length aligned. Where the file system has no such thing (tmpfs) the page cache is
// the device.
Result<size_t> readPastCache(int fd, uint64_t offset, kj::Array<kj::byte>& into, size_t size, const std::string& path) {
  into = kj::heapArray<kj::byte>(size + DEVICE_ALIGNMENT);
  auto start = reinterpret_cast<uintptr_t>(into.begin());
  auto aligned = into.slice((DEVICE_ALIGNMENT - start % DEVICE_ALIGNMENT) % DEVICE_ALIGNMENT, into.size());
  int direct = ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  Descriptor closing(direct);
  auto got = readFully(direct < 0 ? fd : direct, offset, aligned.slice(0, size), 0, path);
  if (direct >= 0 && !got.ok() && got.code() != EIO) {
    got = readFully(fd, offset, aligned.slice(0, size), 0, path);
  }
  if (got.ok()) {
    memmove(into.begin(), aligned.begin(), got.value());
  }
  return got;
}

Task<Result<size_t>> readDeviceOnWorker(Workers& workers, kj::Own<JobState> state, uint64_t offset,
                                        kj::ArrayPtr<kj::byte> out) {
  auto job = [state = kj::atomicAddRef(*state), offset, size = out.size()]() mutable {
    state->result = readPastCache(state->descriptor->fd(), offset, state->bytes, size, state->path);
  };
  kj::Function<void()> function = kj::mv(job);
  co_await workers.run(kj::mv(function));
  if (state->result.ok()) {
    memcpy(out.begin(), state->bytes.begin(), state->result.value());
  }
  co_return kj::mv(state->result);
}

class SystemFile final : public File {
 public:
  SystemFile(int fd, std::string path, Workers& workers)
      : descriptor_(kj::atomicRefcounted<Descriptor>(fd)), path_(kj::mv(path)), workers_(workers) {}

  Task<Result<size_t>> read(uint64_t offset, kj::ArrayPtr<kj::byte> out) override {
    auto cached = readCached(offset, out);
    if (cached.code() != EAGAIN) {
      return kj::Promise<Result<size_t>>(kj::mv(cached));
    }
    return readOnWorker(workers_, newJobState(), offset, out);
  }
  Task<Result<size_t>> readDevice(uint64_t offset, kj::ArrayPtr<kj::byte> out) override {
    return readDeviceOnWorker(workers_, newJobState(), offset, out);
  }
  Result<size_t> readCached(uint64_t offset, kj::ArrayPtr<kj::byte> out) override {
    auto got = readFully(fd(), offset, out, RWF_NOWAIT, path_);
    // Some file systems know no RWF_NOWAIT: to them everything is cold.
    return got.code() == EOPNOTSUPP ? failure(EAGAIN, path_, "read") : kj::mv(got);
  }
  Result<size_t> readNow(uint64_t offset, kj::ArrayPtr<kj::byte> out) override {
    return readFully(fd(), offset, out, 0, path_);
  }

  Status write(uint64_t offset, kj::ArrayPtr<const kj::byte> data) override {
    int code = writeFully(fd(), offset, data.begin(), data.size());
    return code == 0 ? Status() : Status(failure(code, path_, "write"));
  }

  Task<Status> sync() override { return syncOnWorker(workers_, newJobState(), false); }
  Status syncNow() override { return syncData(fd(), path_); }

  Status truncate(uint64_t size) override {
    if (ftruncate(fd(), static_cast<off_t>(size)) < 0) {
      return failure(errno, path_, "truncate");
    }
    return {};
  }
  Status punch(uint64_t offset, uint64_t length) override {
    constexpr int HOW = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (length > 0 && fallocate(fd(), HOW, static_cast<off_t>(offset), static_cast<off_t>(length)) < 0) {
      return failure(errno, path_, "punch a hole");
    }
    return {};
  }
  Result<FileInfo> info() override {
    struct stat found;
    if (fstat(fd(), &found) < 0) {
      return failure(errno, path_, "stat");
    }
    return FileInfo{static_cast<uint64_t>(found.st_size), static_cast<uint64_t>(found.st_blocks) * 512,
                    static_cast<uint64_t>(found.st_ino)};
  }

 private:
  int fd() const { return descriptor_->fd(); }
  kj::Own<JobState> newJobState() { return kj::atomicRefcounted<JobState>(kj::atomicAddRef(*descriptor_), path_); }

  kj::Own<Descriptor> descriptor_;
  std::string path_;
  Workers& workers_;
};

class SystemLock final : public DirectoryLock {
 public:
  explicit SystemLock(kj::Own<Descriptor> held) : held_(kj::mv(held)) {}

 private:
  kj::Own<Descriptor> held_;
};

class SystemDisk final : public Disk {
 public:
  SystemDisk(int fd, std::string root, Workers& workers)
      : directory_(kj::atomicRefcounted<Descriptor>(fd)), root_(kj::mv(root)), workers_(workers) {}

  Result<kj::Own<File>> open(const std::string& path, Mode mode) override {
    int flags = O_CLOEXEC;
    switch (mode) {
      case Mode::READ:
        flags |= O_RDONLY;
        break;
      case Mode::READ_WRITE:
        flags |= O_RDWR;
        break;
      case Mode::CREATE:
        flags |= O_RDWR | O_CREAT;
        break;
      case Mode::CREATE_EXCLUSIVE:
        flags |= O_RDWR | O_CREAT | O_EXCL;
        break;
    }
    int fd = openat(base(), path.c_str(), flags, 0600);
    if (fd < 0) {
      return failure(errno, hostPath(path), "open");
    }
    kj::Own<File> file = kj::heap<SystemFile>(fd, hostPath(path), workers_);
    return kj::mv(file);
  }

  Status remove(const std::string& path) override { return check(unlinkat(base(), path.c_str(), 0), path, "remove"); }
  Status rename(const std::string& from, const std::string& to) override {
    if (renameat(base(), from.c_str(), base(), to.c_str()) < 0) {
      int code = errno;
      return failure(code, hostPath(from), ("rename to " + to).c_str());
    }
    return {};
  }

  Status makeDirectory(const std::string& path) override {
    for (size_t end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1)) {
      auto parent = makeOneDirectory(path.substr(0, end));
      if (!parent.ok()) {
        return parent;
      }
    }
    return makeOneDirectory(path);
  }
  Status removeDirectory(const std::string& path) override {
    return check(unlinkat(base(), path.c_str(), AT_REMOVEDIR), path, "remove directory");
  }

  Result<std::vector<std::string>> list(const std::string& path) override {
    auto opened = openDirectory(path);
    if (!opened.ok()) {
      return opened.error();
    }
    int fd = dup(opened.value()->fd());
    DIR* stream = fd < 0 ? nullptr : fdopendir(fd);
    if (stream == nullptr) {
      return failure(errno, hostPath(path), "list");
    }
    KJ_DEFER(closedir(stream));
    std::vector<std::string> names;
    errno = 0;
    while (dirent* entry = readdir(stream)) {
      std::string name = entry->d_name;
      if (name != "." && name != "..") {
        names.push_back(kj::mv(name));
      }
      errno = 0;
    }
    if (errno != 0) {
      return failure(errno, hostPath(path), "list");
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  bool exists(const std::string& path) override { return faccessat(base(), path.c_str(), F_OK, 0) == 0; }

  Task<Status> syncDirectory(const std::string& path) override {
    auto opened = openDirectory(path);
    if (!opened.ok()) {
      return kj::Promise<Status>(opened.error());
    }
    auto state = kj::atomicRefcounted<JobState>(kj::mv(opened.value()), hostPath(path));
    return syncOnWorker(workers_, kj::mv(state), true);
  }
  Status syncDirectoryNow(const std::string& path) override {
    auto opened = openDirectory(path);
    return opened.ok() ? syncNames(opened.value()->fd(), hostPath(path)) : Status(opened.error());
  }

  Result<kj::Own<DirectoryLock>> lock(const std::string& path) override {
    int fd = openat(base(), path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
      return failure(errno, hostPath(path), "open the lock");
    }
    auto held = kj::atomicRefcounted<Descriptor>(fd);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
      return errno == EWOULDBLOCK ? lockedByOther(fd, path) : failure(errno, hostPath(path), "lock");
    }
    std::string pid = std::to_string(getpid()) + "\n";
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
      return failure(errno, hostPath(path), "write the lock's pid");
    }
    kj::Own<DirectoryLock> lock = kj::heap<SystemLock>(kj::mv(held));
    return kj::mv(lock);
  }

  Result<DiskSpace> space() override {
    struct statvfs found;
    if (fstatvfs(base(), &found) < 0) {
      return failure(errno, root_, "statvfs");
    }
    return DiskSpace{found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_favail};
  }

  std::string hostPath(const std::string& path) const override {
    return path.empty() || path == "." ? root_ : root_ + "/" + path;
  }

 private:
  int base() const { return directory_->fd(); }

  Status check(int result, const std::string& path, const char* doing) {
    return result < 0 ? Status(failure(errno, hostPath(path), doing)) : Status();
  }

  Status makeOneDirectory(const std::string& path) {
    if (path.empty() || mkdirat(base(), path.c_str(), 0700) == 0) {
      return {};
    }
    int code = errno;
    struct stat found;
    if (code == EEXIST && fstatat(base(), path.c_str(), &found, 0) == 0 && !S_ISDIR(found.st_mode)) {
      code = ENOTDIR;
    }
    return code == EEXIST ? Status() : Status(failure(code, hostPath(path), "make directory"));
  }

  Result<kj::Own<Descriptor>> openDirectory(const std::string& path) {
    int fd = openat(base(), path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
      return failure(errno, hostPath(path), "open directory");
    }
    return kj::atomicRefcounted<Descriptor>(fd);
  }

  Error lockedByOther(int fd, const std::string& path) {
    char text[32] = {};
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    std::string pid(text, n > 0 ? static_cast<size_t>(n) : 0);
    pid = pid.substr(0, pid.find('\n'));
    return Error{EWOULDBLOCK, hostPath(path) + ": in use by " + (pid.empty() ? "another process" : "process " + pid) +
                                  "; stop that one or name another directory"};
  }

  kj::Own<Descriptor> directory_;
  std::string root_;
  Workers& workers_;
};

}  // namespace

Result<kj::Own<Disk>> openSystemDisk(const std::string& directoryPath, Workers& workers) {
  int fd = ::open(directoryPath.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return failure(errno, directoryPath, "open directory");
  }
  kj::Own<Disk> disk = kj::heap<SystemDisk>(fd, directoryPath, workers);
  return kj::mv(disk);
}

}  // namespace cairn
