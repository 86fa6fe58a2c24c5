// What the cases of the POSIX suite are written with: expectations, files of every kind, callers.
#pragma once
#include <sys/stat.h>
#include <sys/types.h>

#include <ctime>
#include <functional>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cairn::posix {

using Here = std::source_location;

// ---- expectations: the first that doesn't hold ends the case

struct Failure {
  std::string why;
};

[[noreturn]] void fail(const std::string& why, Here at = Here::current());
std::string nameOf(int code);  // of an errno
// For the result of a system call: negative means errno.
long works(long result, Here at = Here::current());
void fails(int code, long result, Here at = Here::current());
void comesTo(int code, long result, Here at = Here::current());  // 0: works
void holds(bool condition, const std::string& what, Here at = Here::current());

inline std::string shown(const std::string& value) {
  constexpr size_t ENOUGH = 80;
  return "'" + (value.size() > ENOUGH ? value.substr(0, ENOUGH) + "..." : value) + "'";
}
template <class T>
std::string shown(T value) {
  return std::to_string(value);
}

template <class T>
void same(const T& got, const std::type_identity_t<T>& wanted, const std::string& what, Here at = Here::current()) {
  if (!(got == wanted)) {
    fail(what + ": " + shown(got) + ", not " + shown(wanted), at);
  }
}

// ---- files

enum class Kind { REGULAR, DIRECTORY, FULL_DIRECTORY, SYMLINK, FIFO, SOCKET, CHARACTER, BLOCK };
constexpr Kind KINDS[] = {Kind::REGULAR, Kind::DIRECTORY, Kind::SYMLINK, Kind::FIFO,
                          Kind::SOCKET,  Kind::CHARACTER, Kind::BLOCK};
constexpr Kind PLAIN_KINDS[] = {Kind::REGULAR, Kind::FIFO, Kind::SOCKET, Kind::CHARACTER, Kind::BLOCK};

std::string nameOf(Kind kind);
mode_t typeOf(Kind kind);
inline bool isDirectory(Kind kind) {
  return kind == Kind::DIRECTORY || kind == Kind::FULL_DIRECTORY;
}
// A symlink's target is "nowhere"; devices are those of /dev/null and of no driver.
void make(Kind kind, const std::string& path, mode_t mode = 0644, Here at = Here::current());
void makeFile(const std::string& path, const std::string& bytes = {}, mode_t mode = 0644, Here at = Here::current());
void makeDirectory(const std::string& path, mode_t mode = 0755, Here at = Here::current());
void setMode(const std::string& path, mode_t mode, Here at = Here::current());
void setOwner(const std::string& path, uid_t uid, gid_t gid, Here at = Here::current());

struct stat look(const std::string& path, Here at = Here::current());  // lstat
struct stat look(int fd, Here at = Here::current());
bool exists(const std::string& path);
mode_t modeOf(const std::string& path, Here at = Here::current());  // the twelve bits
std::string contents(const std::string& path, Here at = Here::current());
std::string contents(int fd, Here at = Here::current());  // from its beginning
void put(int fd, const std::string& bytes, off_t offset, Here at = Here::current());
std::string octal(mode_t mode);
// Bytes that are different at every offset for a while, and different for each seed.
std::string pattern(size_t length, unsigned seed);

// An open file that is closed at the end of its scope.
class File {
 public:
  File(const std::string& path, int flags, mode_t mode = 0644, Here at = Here::current());
  File(const File&) = delete;
  ~File();
  operator int() const { return fd_; }
  void close();

 private:
  int fd_;
};

// ---- callers

struct Caller {
  const char* name;
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
};
constexpr uid_t OWNER_UID = 1001;
constexpr gid_t GROUP_GID = 2001;
constexpr gid_t SPARE_GID = 2002;  // the owner is in it too
const Caller& root();
const Caller& owner();   // OWNER_UID, whose first group is GROUP_GID
const Caller& member();  // another user whose first group is GROUP_GID
const Caller& extra();   // one that has GROUP_GID among the supplementary groups
const Caller& other();

void become(const Caller& caller);
// Runs `body` with the ids of `caller`, then as root again.
template <class Body>
void as(const Caller& caller, Body&& body) {
  struct Back {
    ~Back() { become(root()); }
  } back;
  become(caller);
  std::forward<Body>(body)();
}
template <class Call>
void comesToAs(const Caller& caller, int code, Call&& call, Here at = Here::current()) {
  as(caller, [&] { comesTo(code, call(), at); });
}

// Runs `body` in another process and fails with what it failed with.
void elsewhere(const std::function<void()>& body, Here at = Here::current());

// ---- times

bool operator==(const timespec& a, const timespec& b);
bool operator<(const timespec& a, const timespec& b);
std::string shown(const timespec& time);
// Until a change made now gets a later time than any made before.
void letTimePass();
void setTimes(const std::string& path, timespec accessed, timespec modified, Here at = Here::current());

}  // namespace cairn::posix
