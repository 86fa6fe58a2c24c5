#include "tests/posix/support.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace cairn::posix {
namespace {

std::string place(const Here& at) {
  std::string file = at.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(at.line());
}

const char* FULL_DIRECTORY_ENTRY = "/inside";

}  // namespace

void fail(const std::string& why, Here at) {
  throw Failure{place(at) + ": " + why};
}

std::string nameOf(int code) {
  const char* name = ::strerrorname_np(code);
  return name == nullptr ? std::to_string(code) : name;
}

long works(long result, Here at) {
  if (result < 0) {
    fail("it fails with " + nameOf(errno), at);
  }
  return result;
}

void fails(int code, long result, Here at) {
  int got = errno;
  if (result >= 0) {
    fail("it works, and should fail with " + nameOf(code), at);
  }
  if (got != code) {
    fail("it fails with " + nameOf(got) + ", not with " + nameOf(code), at);
  }
}

void comesTo(int code, long result, Here at) {
  if (code == 0) {
    works(result, at);
  } else {
    fails(code, result, at);
  }
}

void holds(bool condition, const std::string& what, Here at) {
  if (!condition) {
    fail("not so: " + what, at);
  }
}

std::string nameOf(Kind kind) {
  switch (kind) {
    case Kind::REGULAR:
      return "file";
    case Kind::DIRECTORY:
      return "directory";
    case Kind::FULL_DIRECTORY:
      return "full-directory";
    case Kind::SYMLINK:
      return "symlink";
    case Kind::FIFO:
      return "fifo";
    case Kind::SOCKET:
      return "socket";
    case Kind::CHARACTER:
      return "character-device";
    case Kind::BLOCK:
      return "block-device";
  }
  return {};
}

mode_t typeOf(Kind kind) {
  switch (kind) {
    case Kind::REGULAR:
      return S_IFREG;
    case Kind::DIRECTORY:
    case Kind::FULL_DIRECTORY:
      return S_IFDIR;
    case Kind::SYMLINK:
      return S_IFLNK;
    case Kind::FIFO:
      return S_IFIFO;
    case Kind::SOCKET:
      return S_IFSOCK;
    case Kind::CHARACTER:
      return S_IFCHR;
    case Kind::BLOCK:
      return S_IFBLK;
  }
  return 0;
}

void make(Kind kind, const std::string& path, mode_t mode, Here at) {
  const dev_t NULL_DEVICE = makedev(1, 3);
  const dev_t NO_DRIVER = makedev(240, 300);
  if (isDirectory(kind)) {
    mode |= (mode & 0444) >> 2;  // a directory that can be read can be entered
    makeDirectory(path, mode, at);
    if (kind == Kind::FULL_DIRECTORY) {
      makeFile(path + FULL_DIRECTORY_ENTRY, {}, 0644, at);
    }
    return;
  }
  if (kind == Kind::SYMLINK) {
    works(::symlink("nowhere", path.c_str()), at);
    return;
  }
  dev_t device = kind == Kind::CHARACTER ? NULL_DEVICE : kind == Kind::BLOCK ? NO_DRIVER : 0;
  works(::mknod(path.c_str(), typeOf(kind) | mode, device), at);
}

void makeFile(const std::string& path, const std::string& bytes, mode_t mode, Here at) {
  if (bytes.empty()) {
    works(::mknod(path.c_str(), S_IFREG | mode, 0), at);
    return;
  }
  File file(path, O_CREAT | O_EXCL | O_WRONLY, mode, at);
  put(file, bytes, 0, at);
}

void makeDirectory(const std::string& path, mode_t mode, Here at) {
  works(::mkdir(path.c_str(), mode), at);
}

void setMode(const std::string& path, mode_t mode, Here at) {
  works(::chmod(path.c_str(), mode), at);
}

void setOwner(const std::string& path, uid_t uid, gid_t gid, Here at) {
  works(::lchown(path.c_str(), uid, gid), at);
}

struct stat look(const std::string& path, Here at) {
  struct stat found {};
  works(::lstat(path.c_str(), &found), at);
  return found;
}

struct stat look(int fd, Here at) {
  struct stat found {};
  works(::fstat(fd, &found), at);
  return found;
}

bool exists(const std::string& path) {
  struct stat found {};
  return ::lstat(path.c_str(), &found) == 0;
}

mode_t modeOf(const std::string& path, Here at) {
  return look(path, at).st_mode & 07777;
}

std::string contents(const std::string& path, Here at) {
  File file(path, O_RDONLY, 0, at);
  return contents(file, at);
}

std::string contents(int fd, Here at) {
  std::string bytes;
  std::string part(size_t{1} << 20, '\0');
  for (;;) {
    long count = works(::pread(fd, part.data(), part.size(), static_cast<off_t>(bytes.size())), at);
    if (count == 0) {
      return bytes;
    }
    bytes.append(part.data(), static_cast<size_t>(count));
  }
}

void put(int fd, const std::string& bytes, off_t offset, Here at) {
  same(::pwrite(fd, bytes.data(), bytes.size(), offset), static_cast<ssize_t>(bytes.size()), "bytes written", at);
}

std::string octal(mode_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%04o", mode);
  return text;
}

std::string pattern(size_t length, unsigned seed) {
  std::string bytes(length, '\0');
  uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
  for (size_t i = 0; i < length; i++) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    bytes[i] = static_cast<char>(state >> 56);
  }
  return bytes;
}

File::File(const std::string& path, int flags, mode_t mode, Here at) : fd_(::open(path.c_str(), flags, mode)) {
  works(fd_, at);
}

File::~File() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

void File::close() {
  works(::close(std::exchange(fd_, -1)));
}

const Caller& root() {
  static const Caller caller{"root", 0, 0, {}};
  return caller;
}
const Caller& owner() {
  static const Caller caller{"owner", OWNER_UID, GROUP_GID, {SPARE_GID}};
  return caller;
}
const Caller& member() {
  static const Caller caller{"member", 1002, GROUP_GID, {}};
  return caller;
}
const Caller& extra() {
  static const Caller caller{"extra-member", 1003, 2003, {3000, GROUP_GID, 3001}};
  return caller;
}
const Caller& other() {
  static const Caller caller{"other", 1004, 2004, {}};
  return caller;
}

void become(const Caller& caller) {
  // Root's saved id stays, and with it the way back.
  if (::setresuid(0, 0, 0) != 0 || ::setgroups(caller.groups.size(), caller.groups.data()) != 0 ||
      ::setresgid(caller.gid, caller.gid, 0) != 0 || ::setresuid(caller.uid, caller.uid, 0) != 0) {
    std::perror("setresuid");
    ::abort();
  }
}

void elsewhere(const std::function<void()>& body, Here at) {
  int ends[2];
  works(::pipe2(ends, O_CLOEXEC), at);
  pid_t child = static_cast<pid_t>(works(::fork(), at));
  if (child == 0) {
    std::string why;
    try {
      body();
    } catch (const Failure& failure) {
      why = failure.why;
    }
    bool said = ::write(ends[1], why.data(), why.size()) == static_cast<ssize_t>(why.size());
    ::_exit(said ? 0 : 1);
  }
  ::close(ends[1]);
  char why[4096];
  ssize_t length = ::read(ends[0], why, sizeof why);
  ::close(ends[0]);
  int status = 0;
  works(::waitpid(child, &status, 0), at);
  if (length > 0) {
    throw Failure{std::string(why, static_cast<size_t>(length))};
  }
  holds(status == 0, "the other process ends well", at);
}

bool operator==(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool operator<(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

std::string shown(const timespec& time) {
  return std::to_string(time.tv_sec) + " s " + std::to_string(time.tv_nsec) + " ns";
}

void letTimePass() {
  // The kernel's times move in steps of its tick.
  timespec before{};
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &before);
  for (int steps = 0; steps < 2; before = now, steps++) {
    do {
      ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    } while (now == before);
  }
}

void setTimes(const std::string& path, timespec accessed, timespec modified, Here at) {
  timespec times[2] = {accessed, modified};
  works(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), at);
}

}  // namespace cairn::posix
