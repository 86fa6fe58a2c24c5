// open: flags against kinds of files, and what a descriptor may then do.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

struct Opening {
  const char* name;
  int flags;
  int file;
  int directory;
  int symlink;  // one that points to a file
  int dangling;
};
constexpr Opening OPENINGS[] = {
    {"O_RDONLY", O_RDONLY, 0, 0, 0, ENOENT},
    {"O_WRONLY", O_WRONLY, 0, EISDIR, 0, ENOENT},
    {"O_RDWR", O_RDWR, 0, EISDIR, 0, ENOENT},
    {"O_RDWR-O_APPEND", O_RDWR | O_APPEND, 0, EISDIR, 0, ENOENT},
    {"O_RDONLY-O_TRUNC", O_RDONLY | O_TRUNC, 0, EISDIR, 0, ENOENT},
    {"O_WRONLY-O_TRUNC", O_WRONLY | O_TRUNC, 0, EISDIR, 0, ENOENT},
    {"O_RDONLY-O_CREAT", O_RDONLY | O_CREAT, 0, EISDIR, 0, 0},
    {"O_RDWR-O_CREAT", O_RDWR | O_CREAT, 0, EISDIR, 0, 0},
    {"O_RDWR-O_CREAT-O_TRUNC", O_RDWR | O_CREAT | O_TRUNC, 0, EISDIR, 0, 0},
    {"O_RDWR-O_CREAT-O_EXCL", O_RDWR | O_CREAT | O_EXCL, EEXIST, EEXIST, EEXIST, EEXIST},
    {"O_RDONLY-O_DIRECTORY", O_RDONLY | O_DIRECTORY, ENOTDIR, 0, ENOTDIR, ENOENT},
    {"O_RDWR-O_DIRECTORY", O_RDWR | O_DIRECTORY, ENOTDIR, EISDIR, ENOTDIR, ENOENT},
    {"O_RDONLY-O_CREAT-O_DIRECTORY", O_RDONLY | O_CREAT | O_DIRECTORY, EINVAL, EINVAL, EINVAL, EINVAL},
    {"O_RDONLY-O_NOFOLLOW", O_RDONLY | O_NOFOLLOW, 0, 0, ELOOP, ELOOP},
    {"O_RDWR-O_CREAT-O_NOFOLLOW", O_RDWR | O_CREAT | O_NOFOLLOW, 0, EISDIR, ELOOP, ELOOP},
    {"O_RDONLY-O_DIRECTORY-O_NOFOLLOW", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, ENOTDIR, 0, ENOTDIR, ENOTDIR},
    {"O_PATH", O_PATH, 0, 0, 0, ENOENT},
    {"O_PATH-O_NOFOLLOW", O_PATH | O_NOFOLLOW, 0, 0, 0, 0},
    {"O_PATH-O_DIRECTORY", O_PATH | O_DIRECTORY, ENOTDIR, 0, ENOTDIR, ENOENT},
    {"O_RDONLY-O_NOATIME", O_RDONLY | O_NOATIME, 0, 0, 0, ENOENT},
    {"O_RDWR-O_SYNC", O_RDWR | O_SYNC, 0, EISDIR, 0, ENOENT},
    {"O_RDWR-O_DSYNC", O_RDWR | O_DSYNC, 0, EISDIR, 0, ENOENT},
    {"O_RDWR-O_DIRECT", O_RDWR | O_DIRECT, 0, EISDIR, 0, ENOENT},
    {"O_RDONLY-O_NONBLOCK", O_RDONLY | O_NONBLOCK, 0, 0, 0, ENOENT},
};

void addFlags(Suite& suite) {
  struct Target {
    const char* name;
    const char* path;
    int Opening::*code;
  };
  static constexpr Target TARGETS[] = {{"file", "file", &Opening::file},
                                       {"directory", "directory", &Opening::directory},
                                       {"symlink-to-file", "link", &Opening::symlink},
                                       {"dangling-symlink", "dangling", &Opening::dangling}};
  for (const Opening& opening : OPENINGS) {
    for (const Target& target : TARGETS) {
      int code = opening.*target.code;
      suite.add(std::string("open/") + opening.name + "/" + target.name + "/" + (code == 0 ? "works" : nameOf(code)),
                [=, &opening, &target] {
                  makeFile("file", "bytes");
                  makeDirectory("directory");
                  works(::symlink("file", "link"));
                  make(Kind::SYMLINK, "dangling");
                  int fd = ::open(target.path, opening.flags, 0600);
                  comesTo(code, fd);
                  bool truncates = code == 0 && (opening.flags & O_TRUNC) != 0 && target.code != &Opening::dangling;
                  same(look("file").st_size, static_cast<off_t>(truncates ? 0 : 5), "size of the file");
                  bool makes = code == 0 && target.code == &Opening::dangling && (opening.flags & O_CREAT) != 0;
                  same(exists("nowhere"), makes, "the symlink's target is there");
                });
    }
  }
}

struct Use {
  const char* name;
  int reading;
  int writing;
  int both;
  int path;
  long (*call)(int fd);
};
char byte[1];
constexpr Use USES[] = {
    {"read", 0, EBADF, 0, EBADF, [](int fd) -> long { return ::read(fd, byte, 1); }},
    {"pread", 0, EBADF, 0, EBADF, [](int fd) -> long { return ::pread(fd, byte, 1, 2); }},
    {"write", EBADF, 0, 0, EBADF, [](int fd) -> long { return ::write(fd, "b", 1); }},
    {"pwrite", EBADF, 0, 0, EBADF, [](int fd) -> long { return ::pwrite(fd, "b", 1, 2); }},
    {"read-of-nothing", 0, EBADF, 0, EBADF, [](int fd) -> long { return ::read(fd, byte, 0); }},
    {"write-of-nothing", EBADF, 0, 0, EBADF, [](int fd) -> long { return ::write(fd, byte, 0); }},
    {"ftruncate", EINVAL, 0, 0, EBADF, [](int fd) -> long { return ::ftruncate(fd, 1); }},
    {"fallocate", EBADF, 0, 0, EBADF, [](int fd) -> long { return ::fallocate(fd, 0, 0, 1); }},
    {"fsync", 0, 0, 0, EBADF, [](int fd) -> long { return ::fsync(fd); }},
    {"fdatasync", 0, 0, 0, EBADF, [](int fd) -> long { return ::fdatasync(fd); }},
    {"lseek", 0, 0, 0, EBADF, [](int fd) -> long { return ::lseek(fd, 1, SEEK_SET); }},
    {"fchown", 0, 0, 0, EBADF, [](int fd) -> long { return ::fchown(fd, 1, 1); }},
    {"fstat", 0, 0, 0, 0,
     [](int fd) -> long {
       struct stat found {};
       return ::fstat(fd, &found);
     }},
    {"map-shared-for-writing", EACCES, EACCES, 0, EBADF,
     [](int fd) -> long {
       return ::mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0;
     }},
    {"map-private-for-writing", 0, EACCES, 0, EBADF,
     [](int fd) -> long {
       return ::mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0;
     }},
    {"fchdir", ENOTDIR, ENOTDIR, ENOTDIR, ENOTDIR, [](int fd) -> long { return ::fchdir(fd); }},
};

void addUses(Suite& suite) {
  for (const Use& use : USES) {
    struct Mode {
      const char* name;
      int flags;
      int code;
    };
    for (const Mode& mode : {Mode{"O_RDONLY", O_RDONLY, use.reading}, Mode{"O_WRONLY", O_WRONLY, use.writing},
                             Mode{"O_RDWR", O_RDWR, use.both}, Mode{"O_PATH", O_PATH, use.path}}) {
      suite.add(std::string("descriptor/") + mode.name + "/" + use.name + "/" +
                    (mode.code == 0 ? "works" : nameOf(mode.code)),
                [mode, &use] {
                  makeFile("x", "bytes");
                  File file("x", mode.flags);
                  comesTo(mode.code, use.call(file));
                });
    }
    suite.add(std::string("descriptor/closed/") + use.name + "/EBADF", [&use] {
      makeFile("x", "bytes");
      int fd = static_cast<int>(works(::open("x", O_RDWR)));
      works(::close(fd));
      fails(EBADF, use.call(fd));
    });
  }
  for (const Use& use : USES) {
    std::string name = use.name;
    bool seeking = name == "lseek" || name == "fsync" || name == "fdatasync" || name == "fchown" || name == "fstat" ||
                   name == "fchdir";
    int code = seeking                                                          ? 0
               : name == "read" || name == "pread" || name == "read-of-nothing" ? EISDIR
               : name == "ftruncate"                                            ? EINVAL
               : name == "map-shared-for-writing"                               ? EACCES
               : name == "map-private-for-writing"                              ? ENODEV
                                                                                : EBADF;
    suite.add("descriptor/directory/" + name + "/" + (code == 0 ? "works" : nameOf(code)), [code, &use] {
      makeDirectory("d");
      File directory("d", O_RDONLY);
      comesTo(code, use.call(directory));
    });
  }
}

void addCreation(Suite& suite) {
  suite.add("open/create/two-at-once/one-file", [] {
    constexpr int PROCESSES = 8;
    for (int i = 0; i < PROCESSES; i++) {
      if (works(::fork()) == 0) {
        int fd = ::open("x", O_CREAT | O_WRONLY | O_APPEND, 0644);
        ::_exit(fd >= 0 && ::write(fd, "b", 1) == 1 ? 0 : 1);
      }
    }
    for (int i = 0; i < PROCESSES; i++) {
      int status = 0;
      works(::wait(&status));
      same(status, 0, "how a writer ended");
    }
    same(look("x").st_size, off_t{PROCESSES}, "size");
  });
  suite.add("open/create-exclusive/many-at-once/one-wins", [] {
    constexpr int PROCESSES = 8;
    int winners = 0;
    for (int i = 0; i < PROCESSES; i++) {
      if (works(::fork()) == 0) {
        ::_exit(::open("x", O_CREAT | O_EXCL | O_WRONLY, 0644) >= 0 ? 0 : errno);
      }
    }
    for (int i = 0; i < PROCESSES; i++) {
      int status = 0;
      works(::wait(&status));
      holds(status == 0 || WEXITSTATUS(status) == EEXIST, "it works or fails with EEXIST");
      winners += status == 0 ? 1 : 0;
    }
    same(winners, 1, "winners");
  });
  suite.add("open/O_NOATIME/not-owner/EPERM", [] {
    makeFile("x", "bytes", 0666);
    comesToAs(other(), EPERM, [] { return ::open("x", O_RDONLY | O_NOATIME); });
  });
  suite.add("open/slash-after-new-name/EISDIR", [] { fails(EISDIR, ::open("x/", O_CREAT | O_RDWR, 0644)); });
  suite.add("open/truncate/another-descriptor-sees-it", [] {
    makeFile("x", "bytes");
    File first("x", O_RDWR);
    File second("x", O_RDWR | O_TRUNC);
    same(look(first).st_size, off_t{0}, "size");
    same(::read(first, byte, 1), ssize_t{0}, "bytes read");
    put(second, "abc", 0);
    same(contents(first), "abc", "contents");
  });
  suite.add("open/truncate-without-permission/EACCES-and-whole", [] {
    makeFile("x", "bytes", 0444);
    comesToAs(other(), EACCES, [] { return ::open("x", O_WRONLY | O_TRUNC); });
    same(contents("x"), "bytes", "contents");
  });
}

void addExecution(Suite& suite) {
  suite.add("execve/script/runs", [] {
    makeFile("x", "#!/bin/sh\nexit 7\n", 0755);
    pid_t child = static_cast<pid_t>(works(::fork()));
    if (child == 0) {
      ::execl("./x", "x", nullptr);
      ::_exit(1);
    }
    int status = 0;
    works(::waitpid(child, &status, 0));
    same(WEXITSTATUS(status), 7, "exit code");
  });
  suite.add("execve/open-for-writing/ETXTBSY", [] {
    makeFile("x", "#!/bin/sh\nexit 7\n", 0755);
    File file("x", O_WRONLY);
    char* const words[] = {nullptr};
    fails(ETXTBSY, ::execve("./x", words, words));
  });
}

void addTemporaryFlags(Suite& suite) {
  struct Temporary {
    const char* name;
    int flags;
    int code;
  };
  static constexpr Temporary TEMPORARIES[] = {
      {"read-write", O_RDWR, 0}, {"write-only", O_WRONLY, 0}, {"read-only", O_RDONLY, EINVAL}};
  for (const Temporary& temporary : TEMPORARIES) {
    suite.add(std::string("tmpfile/") + temporary.name + "/" + (temporary.code == 0 ? "works" : nameOf(temporary.code)),
              [&temporary] {
                int fd = ::open(".", O_TMPFILE | temporary.flags, 0640);
                comesTo(temporary.code, fd);
                if (fd >= 0) {
                  struct stat found = look(fd);
                  same(found.st_nlink, nlink_t{0}, "links");
                  same(found.st_mode, static_cast<mode_t>(S_IFREG | 0640), "mode");
                }
              });
  }
}

void giveName(int fd, const char* path) {
  std::string self = "/proc/self/fd/" + std::to_string(fd);
  works(::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path, AT_SYMLINK_FOLLOW));
}

void addTemporary(Suite& suite) {
  suite.add("tmpfile/link/gets-a-name", [] {
    File file(".", O_TMPFILE | O_RDWR, 0640);
    put(file, "bytes", 0);
    giveName(file, "x");
    same(look("x").st_nlink, nlink_t{1}, "links");
    same(contents("x"), "bytes", "contents");
    same(look("x").st_ino, look(file).st_ino, "inode");
  });
  suite.add("tmpfile/link/twice", [] {
    File file(".", O_TMPFILE | O_RDWR, 0640);
    giveName(file, "x");
    giveName(file, "y");
    same(look(file).st_nlink, nlink_t{2}, "links");
  });
  suite.add("tmpfile/link/as-user/works", [] {
    become(other());
    File file(".", O_TMPFILE | O_RDWR, 0600);
    put(file, "bytes", 0);
    giveName(file, "x");
    same(look("x").st_uid, other().uid, "owner");
  });
  suite.add("tmpfile/O_EXCL/cannot-be-linked", [] {
    File file(".", O_TMPFILE | O_EXCL | O_RDWR, 0640);
    std::string self = "/proc/self/fd/" + std::to_string(file);
    fails(ENOENT, ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, "x", AT_SYMLINK_FOLLOW));
  });
  suite.add("tmpfile/directory-stays-empty", [] {
    makeDirectory("d");
    File file("d", O_TMPFILE | O_RDWR, 0640);
    put(file, "bytes", 0);
    same(contents(file), "bytes", "contents");
    works(::rmdir("d"));
  });
  suite.add("tmpfile/read-only-directory/EACCES", [] {
    makeDirectory("d", 0755);
    comesToAs(other(), EACCES, [] { return ::open("d", O_TMPFILE | O_RDWR, 0640); });
  });
  suite.add("tmpfile/missing-directory/ENOENT", [] { fails(ENOENT, ::open("none", O_TMPFILE | O_RDWR, 0640)); });
  suite.add("tmpfile/file/ENOTDIR", [] {
    makeFile("x");
    fails(ENOTDIR, ::open("x", O_TMPFILE | O_RDWR, 0640));
  });
  suite.add("tmpfile/umask", [] {
    ::umask(027);
    File file(".", O_TMPFILE | O_RDWR, 0666);
    same(look(file).st_mode & 07777, 0640u, "mode");
  });
  suite.add("tmpfile/set-group-id-directory/inherits-group", [] {
    makeDirectory("d");
    setOwner("d", 0, GROUP_GID);
    setMode("d", 02777);
    File file("d", O_TMPFILE | O_RDWR, 0640);
    same(look(file).st_gid, GROUP_GID, "group");
  });
}

}  // namespace

void addOpens(Suite& suite) {
  addFlags(suite);
  addUses(suite);
  addCreation(suite);
  addExecution(suite);
  addTemporaryFlags(suite);
  addTemporary(suite);
}

}  // namespace cairn::posix
