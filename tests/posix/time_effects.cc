// Which operation moves which time, of the file and of the directories concerned; and that a failed one moves none.
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

constexpr unsigned A = 1;  // atime
constexpr unsigned M = 2;  // mtime
constexpr unsigned C = 4;  // ctime

struct Effect {
  const char* name;
  Kind kind;  // of d/x
  long (*call)();
  unsigned file;       // what of d/x moves
  unsigned directory;  // what of d moves
  const char* after = "d/x";
};

long onOpen(int flags, long (*call)(int fd)) {
  File file("d/x", flags);
  return call(file);
}

constexpr Effect EFFECTS[] = {
    {"chmod", Kind::REGULAR, []() -> long { return ::chmod("d/x", 0600); }, C, 0},
    {"chmod-to-the-same", Kind::REGULAR, []() -> long { return ::chmod("d/x", 0644); }, C, 0},
    {"chmod-directory", Kind::DIRECTORY, []() -> long { return ::chmod("d/x", 0700); }, C, 0},
    {"chown", Kind::REGULAR, []() -> long { return ::lchown("d/x", 5, 6); }, C, 0},
    {"chown-symlink", Kind::SYMLINK, []() -> long { return ::lchown("d/x", 5, 6); }, C, 0},
    {"chown-directory", Kind::DIRECTORY, []() -> long { return ::lchown("d/x", 5, 6); }, C, 0},
    {"write", Kind::REGULAR, [] { return onOpen(O_WRONLY, [](int fd) -> long { return ::write(fd, "b", 1); }); }, M | C,
     0},
    {"write-append", Kind::REGULAR,
     [] { return onOpen(O_WRONLY | O_APPEND, [](int fd) -> long { return ::write(fd, "b", 1); }); }, M | C, 0},
    {"write-of-nothing", Kind::REGULAR,
     [] { return onOpen(O_WRONLY, [](int fd) -> long { return ::write(fd, "b", 0); }); }, 0, 0},
    {"write-synchronous", Kind::REGULAR,
     [] { return onOpen(O_WRONLY | O_SYNC, [](int fd) -> long { return ::write(fd, "b", 1); }); }, M | C, 0},
    {"read", Kind::REGULAR,
     [] {
       return onOpen(O_RDONLY, [](int fd) -> long {
         char byte;
         return ::read(fd, &byte, 1);
       });
     },
     A, 0},
    {"read-with-O_NOATIME", Kind::REGULAR,
     [] {
       return onOpen(O_RDONLY | O_NOATIME, [](int fd) -> long {
         char byte;
         return ::read(fd, &byte, 1);
       });
     },
     0, 0},
    {"open", Kind::REGULAR, [] { return onOpen(O_RDWR, [](int) -> long { return 0; }); }, 0, 0},
    {"open-create-existing", Kind::REGULAR, [] { return onOpen(O_RDWR | O_CREAT, [](int) -> long { return 0; }); }, 0,
     0},
    {"open-truncate", Kind::REGULAR, [] { return onOpen(O_WRONLY | O_TRUNC, [](int) -> long { return 0; }); }, M | C,
     0},
    {"truncate-smaller", Kind::REGULAR, []() -> long { return ::truncate("d/x", 1); }, M | C, 0},
    {"truncate-larger", Kind::REGULAR, []() -> long { return ::truncate("d/x", 100); }, M | C, 0},
    {"truncate-to-the-same", Kind::REGULAR, []() -> long { return ::truncate("d/x", 5); }, M | C, 0},
    {"ftruncate-to-the-same", Kind::REGULAR,
     [] { return onOpen(O_WRONLY, [](int fd) -> long { return ::ftruncate(fd, 5); }); }, M | C, 0},
    {"fallocate-larger", Kind::REGULAR,
     [] { return onOpen(O_WRONLY, [](int fd) -> long { return ::fallocate(fd, 0, 0, 9000); }); }, M | C, 0},
    {"punch-hole", Kind::REGULAR,
     [] {
       return onOpen(O_WRONLY, [](int fd) -> long {
         return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
       });
     },
     M | C, 0},
    {"copy_file_range", Kind::REGULAR,
     [] {
       return onOpen(O_RDWR, [](int fd) -> long {
         off_t from = 0;
         off_t to = 100;
         return ::copy_file_range(fd, &from, fd, &to, 5, 0);
       });
     },
     A | M | C, 0},
    {"fsync", Kind::REGULAR, [] { return onOpen(O_RDWR, [](int fd) -> long { return ::fsync(fd); }); }, 0, 0},
    {"stat", Kind::REGULAR, []() -> long { return ::access("d/x", R_OK); }, 0, 0},
    {"link", Kind::REGULAR, []() -> long { return ::link("d/x", "d/y"); }, C, M | C},
    {"link-elsewhere", Kind::REGULAR, []() -> long { return ::link("d/x", "y"); }, C, 0},
    {"link-symlink", Kind::SYMLINK, []() -> long { return ::link("d/x", "d/y"); }, C, M | C},
    {"unlink-of-one-of-two", Kind::REGULAR,
     []() -> long {
       works(::link("d/x", "y"));
       return ::unlink("d/x");
     },
     C, M | C, "y"},
    {"rename-within", Kind::REGULAR, []() -> long { return ::rename("d/x", "d/y"); }, C, M | C, "d/y"},
    {"rename-away", Kind::REGULAR, []() -> long { return ::rename("d/x", "y"); }, C, M | C, "y"},
    {"rename-directory-within", Kind::DIRECTORY, []() -> long { return ::rename("d/x", "d/y"); }, C, M | C, "d/y"},
    {"rename-directory-away", Kind::DIRECTORY, []() -> long { return ::rename("d/x", "y"); }, C, M | C, "y"},
    {"rename-symlink", Kind::SYMLINK, []() -> long { return ::rename("d/x", "d/y"); }, C, M | C, "d/y"},
    {"rename-onto-itself", Kind::REGULAR, []() -> long { return ::rename("d/x", "d/x"); }, 0, 0},
    {"setxattr", Kind::REGULAR, []() -> long { return ::setxattr("d/x", "user.a", "b", 1, 0); }, C, 0},
    {"setxattr-directory", Kind::DIRECTORY, []() -> long { return ::setxattr("d/x", "user.a", "b", 1, 0); }, C, 0},
    {"setxattr-trusted-fifo", Kind::FIFO, []() -> long { return ::setxattr("d/x", "trusted.a", "b", 1, 0); }, C, 0},
    {"getxattr", Kind::REGULAR, []() -> long { return ::listxattr("d/x", nullptr, 0); }, 0, 0},
    {"readlink", Kind::SYMLINK,
     []() -> long {
       char target[20];
       return ::readlink("d/x", target, sizeof target);
     },
     A, 0},
    {"mkdir-beside", Kind::REGULAR, []() -> long { return ::mkdir("d/y", 0755); }, 0, M | C},
    {"mkdir-inside", Kind::DIRECTORY, []() -> long { return ::mkdir("d/x/y", 0755); }, M | C, 0},
    {"create-inside", Kind::DIRECTORY, []() -> long { return ::mknod("d/x/y", S_IFREG, 0); }, M | C, 0},
    {"symlink-inside", Kind::DIRECTORY, []() -> long { return ::symlink("t", "d/x/y"); }, M | C, 0},
    {"unlink-inside", Kind::FULL_DIRECTORY, []() -> long { return ::unlink("d/x/inside"); }, M | C, 0},
    {"write-inside", Kind::FULL_DIRECTORY, []() -> long { return ::truncate("d/x/inside", 9); }, 0, 0},
    {"utimensat", Kind::REGULAR, []() -> long { return ::utimensat(AT_FDCWD, "d/x", nullptr, 0); }, A | M | C, 0},
    {"map-write", Kind::REGULAR,
     [] {
       return onOpen(O_RDWR | O_NOATIME, [](int fd) -> long {
         void* map = ::mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, fd, 0);
         holds(map != MAP_FAILED, "it is mapped");
         *static_cast<char*>(map) = 'x';
         works(::msync(map, 4096, MS_SYNC));
         return ::munmap(map, 4096);
       });
     },
     M | C, 0},
};

// Calls that fail, and move nothing.
struct Failing {
  const char* name;
  int code;
  long (*call)();
};
constexpr Failing FAILING[] = {
    {"mkdir", EEXIST, []() -> long { return ::mkdir("d/x", 0755); }},
    {"mknod", EEXIST, []() -> long { return ::mknod("d/x", S_IFIFO, 0); }},
    {"open-exclusive", EEXIST, []() -> long { return ::open("d/x", O_CREAT | O_EXCL, 0644); }},
    {"link", EEXIST, []() -> long { return ::link("d/x", "d/x"); }},
    {"symlink", EEXIST, []() -> long { return ::symlink("a", "d/x"); }},
    {"rmdir", ENOTDIR, []() -> long { return ::rmdir("d/x"); }},
    {"unlink-directory", EISDIR, []() -> long { return ::unlink("d"); }},
    {"rmdir-full", ENOTEMPTY, []() -> long { return ::rmdir("d"); }},
    {"rename", ENOTEMPTY, []() -> long { return ::rename("d/x", "d"); }},
    {"truncate", EINVAL, []() -> long { return ::truncate("d/x", -1); }},
    {"setxattr", ENODATA, []() -> long { return ::setxattr("d/x", "user.n", "", 0, XATTR_REPLACE); }},
};

unsigned moved(const struct stat& before, const struct stat& after) {
  return (before.st_atim == after.st_atim ? 0 : A) | (before.st_mtim == after.st_mtim ? 0 : M) |
         (before.st_ctim == after.st_ctim ? 0 : C);
}

std::string named(unsigned times) {
  return times == 0
             ? "none"
             : std::string((times & A) != 0 ? "a" : "") + ((times & M) != 0 ? "m" : "") + ((times & C) != 0 ? "c" : "");
}

void prepare(Kind kind) {
  constexpr timespec LONG_AGO = {1'000'000'000, 1};
  makeDirectory("d");
  if (kind == Kind::REGULAR) {
    File file("d/x", O_CREAT | O_RDWR);
    put(file, "bytes", 0);
    works(::fsync(file));  // a write may be told of later; that is a case of its own
  } else {
    make(kind, "d/x");
  }
  setTimes("d/x", LONG_AGO, LONG_AGO);
  setTimes("d", LONG_AGO, LONG_AGO);
  letTimePass();
}

void addMade(Suite& suite) {
  for (Kind kind : KINDS) {
    suite.add("times/of-the-new/" + nameOf(kind) + "/all-equal-and-now", [kind] {
      timespec before{};
      ::clock_gettime(CLOCK_REALTIME_COARSE, &before);
      make(kind, "x");
      struct stat made = look("x");
      holds(made.st_atim == made.st_mtim && made.st_mtim == made.st_ctim, "one time");
      holds(!(made.st_mtim < before), "not earlier than the call");
    });
  }
  suite.add("times/written-and-closed/settled", [] {
    constexpr time_t SECONDS = 2;
    makeFile("x", "bytes");
    struct stat first = look("x");
    timespec begin{};
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
      letTimePass();
      same(named(moved(first, look("x"))), "none", "times that moved without a call");
      ::clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < begin.tv_sec + SECONDS);
  });
  suite.add("times/read-again-soon/atime-stays", [] {
    makeFile("x", "bytes");
    letTimePass();
    contents("x");
    timespec first = look("x").st_atim;
    letTimePass();
    contents("x");
    holds(look("x").st_atim == first, "relatime: one move a day is enough");
  });
  suite.add("times/list-directory/atime-moves", [] {
    makeDirectory("d");
    makeFile("d/x");
    setTimes("d", {1, 1}, {2, 2});
    DIR* directory = ::opendir("d");
    holds(directory != nullptr, "it opens");
    while (::readdir(directory) != nullptr) {
    }
    ::closedir(directory);
    holds((timespec{1, 1}) < look("d").st_atim, "a later atime");
  });
}

}  // namespace

void addTimeEffects(Suite& suite) {
  for (const Effect& effect : EFFECTS) {
    suite.add(std::string("times/") + effect.name + "/" + named(effect.file) + "-of-it/" + named(effect.directory) +
                  "-of-its-directory",
              [&effect] {
                prepare(effect.kind);
                struct stat file = look("d/x");
                struct stat directory = look("d");
                works(effect.call());
                same(named(moved(file, look(effect.after))), named(effect.file), "times of the file that moved");
                same(named(moved(directory, look("d")) & ~A), named(effect.directory), "times of the directory");
              });
  }
  for (const Failing& failing : FAILING) {
    suite.add(std::string("times/failed-") + failing.name + "/none-moves", [&failing] {
      prepare(Kind::REGULAR);
      struct stat file = look("d/x");
      struct stat directory = look("d");
      fails(failing.code, failing.call());
      same(named(moved(file, look("d/x"))), "none", "times of the file that moved");
      same(named(moved(directory, look("d"))), "none", "times of the directory that moved");
    });
  }
  addMade(suite);
}

}  // namespace cairn::posix
