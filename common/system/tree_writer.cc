#include "common/system/tree_writer.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/system/descriptor.h"

namespace cairn {

namespace {

constexpr char UNFINISHED[] = ".cairn-unfinished";
constexpr mode_t PRIVATE_FILE = 0600;
constexpr mode_t PRIVATE_DIRECTORY = 0700;
constexpr size_t NAME_BYTES_MAX = 255;

Error failure(const std::string& path, const char* doing) {
  int code = errno;
  return {code, path + ": cannot " + doing + ": " + strerror(code)};
}

void fillTimes(const TreeAttributes& from, timespec (&times)[2]) {
  times[0] = {from.accessedSeconds, from.accessedNanos};
  times[1] = {from.modifiedSeconds, from.modifiedNanos};
}

// Owner first, for changing it clears bits of the mode; times last, for all else changes them.
Status setAll(int fd, const std::string& path, const TreeAttributes& attributes) {
  timespec times[2];
  fillTimes(attributes, times);
  if (::fchown(fd, attributes.uid, attributes.gid) != 0) {
    return failure(path, "set the owner");
  }
  if (::fchmod(fd, attributes.mode & 07777) != 0) {
    return failure(path, "set the mode");
  }
  for (auto& [name, value] : attributes.xattrs) {
    if (::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) != 0) {
      return failure(path, ("set the extended attribute " + name).c_str());
    }
  }
  return ::futimens(fd, times) == 0 ? Status() : Status(failure(path, "set the times"));
}

// A directory's descriptor and a name in it.
struct Place {
  kj::Own<Descriptor> directory;
  std::string name;
  std::string path;
};

class FileOutput final : public TreeWriter::Output {
 public:
  FileOutput(Place place, int fd) : place_(kj::mv(place)), file_(kj::atomicRefcounted<Descriptor>(fd)) {}
  ~FileOutput() noexcept(false) {
    if (!finished_) {
      ::unlinkat(place_.directory->fd(), unfinished().c_str(), 0);
    }
  }
  Status write(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes) override {
    while (bytes.size() > 0) {
      ssize_t wrote = ::pwrite(file_->fd(), bytes.begin(), bytes.size(), static_cast<off_t>(offset));
      if (wrote < 0 && errno != EINTR) {
        return failure(place_.path, "write");
      }
      size_t count = wrote < 0 ? 0 : static_cast<size_t>(wrote);
      offset += count;
      bytes = bytes.slice(count, bytes.size());
    }
    return {};
  }
  Status finish(uint64_t size, const TreeAttributes& attributes) override {
    if (::ftruncate(file_->fd(), static_cast<off_t>(size)) != 0) {
      return failure(place_.path, "set the size");
    }
    auto set = setAll(file_->fd(), place_.path, attributes);
    if (!set.ok()) {
      return set;
    }
    int fd = place_.directory->fd();
    if (::renameat(fd, unfinished().c_str(), fd, place_.name.c_str()) != 0) {
      return failure(place_.path, "put in its place");
    }
    finished_ = true;
    return {};
  }
  std::string unfinished() const { return UNFINISHED; }

 private:
  Place place_;
  kj::Own<Descriptor> file_;
  bool finished_ = false;
};

class SystemTreeWriter final : public TreeWriter {
 public:
  SystemTreeWriter(std::string root, int fd) : root_(std::move(root)), fd_(kj::atomicRefcounted<Descriptor>(fd)) {}

  bool isDone(const std::string& path, uint64_t size, const TreeAttributes& attributes) override {
    auto place = find(path);
    struct stat found {};
    return place.ok() &&
           ::fstatat(place.value().directory->fd(), place.value().name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(found.st_mode) && static_cast<uint64_t>(found.st_size) == size &&
           found.st_mtim.tv_sec == attributes.modifiedSeconds &&
           found.st_mtim.tv_nsec == static_cast<long>(attributes.modifiedNanos);
  }

  Result<kj::Own<Output>> createFile(const std::string& path) override {
    auto place = find(path);
    if (!place.ok()) {
      return place.error();
    }
    int fd = ::openat(place.value().directory->fd(), UNFINISHED, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                      PRIVATE_FILE);
    if (fd < 0) {
      return failure(path, "make the file");
    }
    kj::Own<Output> output = kj::heap<FileOutput>(kj::mv(place.value()), fd);
    return kj::mv(output);
  }

  Status makeDirectory(const std::string& path) override {
    auto place = find(path);
    if (!place.ok()) {
      return place.error();
    }
    if (::mkdirat(place.value().directory->fd(), place.value().name.c_str(), PRIVATE_DIRECTORY) == 0) {
      return {};
    }
    if (errno != EEXIST) {
      return failure(path, "make the directory");
    }
    auto there = enter(path);  // not what a symbolic link names
    return there.ok() ? Status() : Status(there.error());
  }

  Status finishDirectory(const std::string& path, const TreeAttributes& attributes) override {
    auto directory = enter(path);
    return directory.ok() ? setAll(directory.value()->fd(), path, attributes) : Status(directory.error());
  }

  Status makeSymlink(const std::string& path, const std::string& target, const TreeAttributes& attributes) override {
    auto place = clear(path);
    if (!place.ok()) {
      return place.error();
    }
    if (::symlinkat(target.c_str(), place.value().directory->fd(), place.value().name.c_str()) != 0) {
      return failure(path, "make the symbolic link");
    }
    return setOwnerAndTimes(place.value(), attributes);
  }

  Status makeNode(const std::string& path, uint32_t device, const TreeAttributes& attributes) override {
    auto place = clear(path);
    if (!place.ok()) {
      return place.error();
    }
    int fd = place.value().directory->fd();
    if (::mknodat(fd, place.value().name.c_str(), attributes.mode & S_IFMT, device) != 0) {
      return failure(path, "make the special file");
    }
    auto set = setOwnerAndTimes(place.value(), attributes);
    if (set.ok() && ::fchmodat(fd, place.value().name.c_str(), attributes.mode & 07777, 0) != 0) {
      return failure(path, "set the mode");
    }
    return set;
  }

  Status makeLink(const std::string& existing, const std::string& path) override {
    auto from = find(existing);
    auto to = clear(path);
    if (!from.ok() || !to.ok()) {
      return from.ok() ? to.error() : from.error();
    }
    int made = ::linkat(from.value().directory->fd(), from.value().name.c_str(), to.value().directory->fd(),
                        to.value().name.c_str(), 0);
    return made == 0 ? Status() : Status(failure(path, "make the link"));
  }

 private:
  Result<kj::Own<Descriptor>> enter(const std::string& path) {
    open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    const char* name = path.empty() ? "." : path.c_str();
    long fd = ::syscall(SYS_openat2, fd_->fd(), name, &how, sizeof(how));
    if (fd < 0) {
      return failure(root_ + "/" + path, "enter the directory");
    }
    return kj::atomicRefcounted<Descriptor>(static_cast<int>(fd));
  }

  Result<Place> find(const std::string& path) {
    size_t slash = path.rfind('/');
    std::string parent = slash == std::string::npos ? "" : path.substr(0, slash);
    std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    if (!isName(name)) {
      return Error{EINVAL, path + ": this can't be a name"};
    }
    auto directory = enter(parent);
    if (!directory.ok()) {
      return directory.error();
    }
    return Place{kj::mv(directory.value()), std::move(name), path};
  }

  // The same, with nothing there any more.
  Result<Place> clear(const std::string& path) {
    auto place = find(path);
    if (!place.ok()) {
      return place;
    }
    if (::unlinkat(place.value().directory->fd(), place.value().name.c_str(), 0) != 0 && errno != ENOENT) {
      return failure(path, "replace what is there");
    }
    return place;
  }

  static Status setOwnerAndTimes(const Place& place, const TreeAttributes& attributes) {
    timespec times[2];
    fillTimes(attributes, times);
    int fd = place.directory->fd();
    if (::fchownat(fd, place.name.c_str(), attributes.uid, attributes.gid, AT_SYMLINK_NOFOLLOW) != 0) {
      return failure(place.path, "set the owner");
    }
    int set = ::utimensat(fd, place.name.c_str(), times, AT_SYMLINK_NOFOLLOW);
    return set == 0 ? Status() : Status(failure(place.path, "set the times"));
  }

  const std::string root_;
  kj::Own<Descriptor> fd_;
};

}  // namespace

bool TreeWriter::isName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name != UNFINISHED && name.size() <= NAME_BYTES_MAX &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

Result<kj::Own<TreeWriter>> TreeWriter::open(const std::string& directory) {
  if (::mkdir(directory.c_str(), PRIVATE_DIRECTORY) != 0 && errno != EEXIST) {
    return failure(directory, "make the directory");
  }
  int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return failure(directory, "open the directory");
  }
  kj::Own<TreeWriter> writer = kj::heap<SystemTreeWriter>(directory, fd);
  return kj::mv(writer);
}

}  // namespace cairn
