// Files that have lost their last name and live on while they are open; and files that carry no bytes of their own:
// FIFOs, sockets, devices.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

struct Loss {
  const char* name;
  void (*lose)();  // x loses its last name
};
constexpr Loss LOSSES[] = {
    {"unlinked", [] { works(::unlink("x")); }},
    {"replaced",
     [] {
       makeFile("spare", "spare");
       works(::rename("spare", "x"));
       works(::unlink("x"));
     }},
    {"unlinked-twice",
     [] {
       works(::link("x", "y"));
       works(::unlink("x"));
       works(::unlink("y"));
     }},
};

struct Life {
  const char* name;
  void (*live)(int fd);  // fd: open for both, "bytes" in it
};
constexpr Life LIVES[] = {
    {"read", [](int fd) { same(contents(fd), "bytes", "contents"); }},
    {"write",
     [](int fd) {
       put(fd, "more", 3);
       same(contents(fd), "bytmore", "contents");
     }},
    {"write-and-sync",
     [](int fd) {
       put(fd, pattern(100000, 1), 0);
       works(::fsync(fd));
       holds(contents(fd) == pattern(100000, 1), "the bytes are right");
     }},
    {"truncate",
     [](int fd) {
       works(::ftruncate(fd, 2));
       same(contents(fd), "by", "contents");
       works(::ftruncate(fd, 0));
       works(::ftruncate(fd, 3));
       same(contents(fd), std::string(3, '\0'), "contents");
     }},
    {"fstat",
     [](int fd) {
       same(look(fd).st_nlink, nlink_t{0}, "links");
       same(look(fd).st_size, off_t{5}, "size");
     }},
    {"fchmod",
     [](int fd) {
       works(::fchmod(fd, 0601));
       same(look(fd).st_mode & 07777, 0601u, "mode");
     }},
    {"fchown",
     [](int fd) {
       works(::fchown(fd, 7, 8));
       same(look(fd).st_gid, 8u, "group");
     }},
    {"futimens",
     [](int fd) {
       timespec times[2] = {{1, 2}, {3, 4}};
       works(::futimens(fd, times));
       same(look(fd).st_mtim.tv_sec, time_t{3}, "mtime");
     }},
    {"fsetxattr",
     [](int fd) {
       works(::fsetxattr(fd, "user.a", "v", 1, 0));
       same(works(::fgetxattr(fd, "user.a", nullptr, 0)), 1L, "size of the value");
     }},
    {"fallocate",
     [](int fd) {
       works(::fallocate(fd, 0, 0, 10000));
       same(look(fd).st_size, off_t{10000}, "size");
     }},
    {"reopen",
     [](int fd) {
       File again("/proc/self/fd/" + std::to_string(fd), O_RDWR);
       put(again, "B", 0);
       same(contents(fd), "Bytes", "contents");
     }},
    {"new-file-of-the-name",
     [](int fd) {
       makeFile("x", "another");
       put(fd, "B", 0);
       same(contents("x"), "another", "contents of the new file");
       same(contents(fd), "Bytes", "contents of the old one");
     }},
    {"link-by-proc",
     [](int fd) {
       std::string self = "/proc/self/fd/" + std::to_string(fd);
       fails(ENOENT, ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, "z", AT_SYMLINK_FOLLOW));
     }},
};

void addLives(Suite& suite) {
  for (const Loss& loss : LOSSES) {
    for (const Life& life : LIVES) {
      suite.add(std::string("open-") + loss.name + "/" + life.name, [&loss, &life] {
        makeFile("x", "bytes");
        File file("x", O_RDWR);
        loss.lose();
        life.live(file);
      });
    }
  }
  for (Kind kind : PLAIN_KINDS) {
    suite.add("open-unlinked/path-descriptor/" + nameOf(kind), [kind] {
      make(kind, "x");
      File file("x", O_PATH | O_NOFOLLOW);
      works(::unlink("x"));
      same(look(file).st_mode & S_IFMT, typeOf(kind), "type");
      same(look(file).st_nlink, nlink_t{0}, "links");
    });
  }
  for (Kind kind : {Kind::FIFO, Kind::REGULAR}) {
    suite.add("open-unlinked/attributes-of-" + nameOf(kind) + "/can-be-changed", [kind] {
      make(kind, "x");
      File file("x", O_RDWR);
      works(::unlink("x"));
      works(::fchmod(file, 0604));
      works(::fchown(file, 5, 6));
      same(look(file).st_mode & 07777, 0604u, "mode");
      same(look(file).st_uid, 5u, "owner");
    });
  }
  suite.add("open-removed/directory/holds-nothing", [] {
    makeDirectory("d");
    File directory("d", O_RDONLY | O_DIRECTORY);
    works(::rmdir("d"));
    same(look(directory).st_nlink, nlink_t{0}, "links");
    fails(ENOENT, ::mkdirat(directory, "e", 0755));
    fails(ENOENT, ::openat(directory, "x", O_CREAT | O_RDWR, 0644));
    fails(ENOENT, ::openat(directory, "x", O_RDONLY));
    works(::fchmod(directory, 0700));
    works(::fsync(directory));
  });
  suite.add("open-removed/directory/dots", [] {
    makeDirectory("d");
    works(::chdir("d"));
    works(::rmdir("../d"));
    same(look(".").st_nlink, nlink_t{0}, "links of .");
    fails(EBUSY, ::rename(".", "../e"));
    works(::chdir(".."));
    makeDirectory("d");
  });
}

void addFifos(Suite& suite) {
  suite.add("fifo/carries-bytes", [] {
    make(Kind::FIFO, "x");
    File both("x", O_RDWR);
    works(::write(both, "through", 7));
    char got[10];
    same(works(::read(both, got, sizeof got)), 7L, "bytes read");
    holds(std::memcmp(got, "through", 7) == 0, "the bytes are right");
    same(look("x").st_size, off_t{0}, "size");
  });
  suite.add("fifo/write-without-reader/ENXIO", [] {
    make(Kind::FIFO, "x");
    fails(ENXIO, ::open("x", O_WRONLY | O_NONBLOCK));
  });
  suite.add("fifo/read-without-writer/opens-at-once", [] {
    make(Kind::FIFO, "x");
    File reader("x", O_RDONLY | O_NONBLOCK);
    char got[1];
    same(works(::read(reader, got, 1)), 0L, "bytes read");
  });
  suite.add("fifo/two-processes/meet", [] {
    make(Kind::FIFO, "x");
    pid_t child = static_cast<pid_t>(works(::fork()));
    if (child == 0) {
      int fd = ::open("x", O_WRONLY);
      ::_exit(::write(fd, "hello", 5) == 5 ? 0 : 1);
    }
    File reader("x", O_RDONLY);
    char got[10];
    same(works(::read(reader, got, sizeof got)), 5L, "bytes read");
  });
  suite.add("fifo/two-names/are-one", [] {
    make(Kind::FIFO, "x");
    works(::link("x", "y"));
    File one("x", O_RDWR);
    File other("y", O_RDWR);
    works(::write(one, "b", 1));
    char got[1];
    same(works(::read(other, got, 1)), 1L, "bytes read");
  });
  suite.add("fifo/lseek/ESPIPE", [] {
    make(Kind::FIFO, "x");
    File both("x", O_RDWR);
    fails(ESPIPE, ::lseek(both, 0, SEEK_SET));
    char got[1];
    fails(ESPIPE, ::pread(both, got, 1, 0));
  });
  suite.add("fifo/no-permission/EACCES", [] {
    make(Kind::FIFO, "x", 0600);
    comesToAs(other(), EACCES, [] { return ::open("x", O_RDONLY | O_NONBLOCK); });
  });
}

sockaddr_un addressOf(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  return address;
}

int bound(const char* path) {
  int fd = static_cast<int>(works(::socket(AF_UNIX, SOCK_STREAM, 0)));
  sockaddr_un address = addressOf(path);
  works(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address));
  works(::listen(fd, 5));
  return fd;
}

long connecting(const char* path) {
  int fd = static_cast<int>(works(::socket(AF_UNIX, SOCK_STREAM, 0)));
  sockaddr_un address = addressOf(path);
  return ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
}

void addSockets(Suite& suite) {
  suite.add("socket/bind-and-connect/work", [] {
    int listener = bound("x");
    works(connecting("x"));
    works(::accept(listener, nullptr, nullptr));
    same(look("x").st_mode & S_IFMT, static_cast<mode_t>(S_IFSOCK), "type");
  });
  suite.add("socket/bind/umask-counts", [] {
    ::umask(027);
    bound("x");
    same(modeOf("x"), 0750u, "mode");
  });
  suite.add("socket/renamed/connects", [] {
    bound("x");
    works(::rename("x", "y"));
    works(connecting("y"));
    fails(ENOENT, connecting("x"));
  });
  suite.add("socket/hard-link/connects", [] {
    bound("x");
    works(::link("x", "y"));
    works(connecting("y"));
  });
  suite.add("socket/nobody-listens/ECONNREFUSED", [] {
    make(Kind::SOCKET, "x");
    fails(ECONNREFUSED, connecting("x"));
  });
  suite.add("socket/connect-to-file/ECONNREFUSED", [] {
    makeFile("x");
    fails(ECONNREFUSED, connecting("x"));
  });
  suite.add("socket/connect-without-permission/EACCES", [] {
    bound("x");
    setMode("x", 0700);
    comesToAs(other(), EACCES, [] { return connecting("x"); });
  });
  suite.add("socket/open/ENXIO", [] {
    make(Kind::SOCKET, "x");
    fails(ENXIO, ::open("x", O_RDONLY));
  });
  suite.add("socket/closed/file-stays", [] {
    ::close(bound("x"));
    holds(exists("x"), "it is still there");
    fails(ECONNREFUSED, connecting("x"));
  });
}

void addDevices(Suite& suite) {
  for (Kind kind : {Kind::CHARACTER, Kind::BLOCK}) {
    suite.add("device/" + nameOf(kind) + "/nodev/EACCES", [kind] {
      make(kind, "x", 0666);
      fails(EACCES, ::open("x", O_RDWR));
      works(::access("x", R_OK));
    });
    suite.add("device/" + nameOf(kind) + "/attributes/kept", [kind] {
      make(kind, "x", 0640);
      setOwner("x", 5, 6);
      works(::link("x", "y"));
      struct stat found = look("y");
      same(found.st_size, off_t{0}, "size");
      same(found.st_nlink, nlink_t{2}, "links");
      same(found.st_uid, 5u, "owner");
      holds(found.st_rdev != 0, "a device number");
    });
  }
}

}  // namespace

void addUnlinked(Suite& suite) {
  addLives(suite);
}

void addSpecialFiles(Suite& suite) {
  addFifos(suite);
  addSockets(suite);
  addDevices(suite);
}

}  // namespace cairn::posix
