// Names: what makes and removes them, links, and what is in the way.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

constexpr Kind ALL_KINDS[] = {Kind::REGULAR, Kind::DIRECTORY, Kind::FULL_DIRECTORY, Kind::SYMLINK,
                              Kind::FIFO,    Kind::SOCKET,    Kind::CHARACTER,      Kind::BLOCK};

long bindTo(const char* path) {
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int result = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  int code = errno;
  ::close(fd);
  errno = code;
  return result;
}

struct Maker {
  const char* name;
  int code;  // when the name is taken
  long (*call)(const char* path);
};
constexpr Maker MAKERS[] = {
    {"mkdir", EEXIST, [](const char* p) -> long { return ::mkdir(p, 0755); }},
    {"mknod-file", EEXIST, [](const char* p) -> long { return ::mknod(p, S_IFREG | 0644, 0); }},
    {"mknod-socket", EEXIST, [](const char* p) -> long { return ::mknod(p, S_IFSOCK | 0644, 0); }},
    {"mknod-device", EEXIST, [](const char* p) -> long { return ::mknod(p, S_IFCHR | 0644, 259); }},
    {"mkfifo", EEXIST, [](const char* p) -> long { return ::mkfifo(p, 0644); }},
    {"symlink", EEXIST, [](const char* p) -> long { return ::symlink("target", p); }},
    {"link", EEXIST, [](const char* p) -> long { return ::link("source", p); }},
    {"open-exclusive", EEXIST, [](const char* p) -> long { return ::open(p, O_CREAT | O_EXCL | O_RDWR, 0644); }},
    {"bind", EADDRINUSE, bindTo},
};

void addTaken(Suite& suite) {
  for (const Maker& maker : MAKERS) {
    for (Kind kind : ALL_KINDS) {
      for (bool asUser : {false, true}) {
        suite.add(std::string(maker.name) + "/over-" + nameOf(kind) + (asUser ? "/by-user/" : "/by-root/") +
                      nameOf(maker.code),
                  [=, &maker] {
                    makeFile("source");
                    setOwner("source", other().uid, other().gid);
                    make(kind, "x");
                    ino_t before = look("x").st_ino;
                    comesToAs(asUser ? other() : root(), maker.code, [&] { return maker.call("x"); });
                    same(look("x").st_ino, before, "inode at the name");
                  });
      }
    }
    // That the name is taken counts before that the directory is closed to writers.
    suite.add(std::string(maker.name) + "/taken-in-read-only-directory/" + nameOf(maker.code), [&maker] {
      makeFile("source");
      setOwner("source", other().uid, other().gid);
      makeDirectory("d", 0755);
      makeFile("d/x");
      comesToAs(other(), maker.code, [&] { return maker.call("d/x"); });
    });
    suite.add(std::string(maker.name) + "/in-removed-directory/ENOENT", [&maker] {
      makeDirectory("d");
      works(::chdir("d"));
      works(::rmdir("../d"));
      makeFile("../source");
      fails(ENOENT, maker.name == std::string("link") ? ::link("../source", "x") : maker.call("x"));
    });
    for (const char* dots : {".", "..", "d/.", "d/..", "/"}) {
      bool slash = dots[0] == '/';
      int code = maker.name == std::string("open-exclusive") ? EEXIST : maker.code;
      suite.add(std::string(maker.name) + "/" + (slash ? "root-directory" : dots) + "/" + nameOf(code),
                [&maker, dots, code] {
                  makeFile("source");
                  makeDirectory("d");
                  fails(code, maker.call(dots));
                });
    }
  }
}

void addRemovals(Suite& suite) {
  for (Kind kind : ALL_KINDS) {
    int unlinking = isDirectory(kind) ? EISDIR : 0;
    suite.add("unlink/" + nameOf(kind) + "/" + (unlinking == 0 ? "works" : nameOf(unlinking)), [=] {
      make(kind, "x");
      comesTo(unlinking, ::unlink("x"));
      same(exists("x"), unlinking != 0, "it is there");
    });
    suite.add("unlink/" + nameOf(kind) + "/by-user/" + (unlinking == 0 ? "works" : nameOf(unlinking)), [=] {
      make(kind, "x", 0);
      comesToAs(other(), unlinking, [] { return ::unlink("x"); });
    });
    int removing = kind == Kind::DIRECTORY ? 0 : kind == Kind::FULL_DIRECTORY ? ENOTEMPTY : ENOTDIR;
    suite.add("rmdir/" + nameOf(kind) + "/" + (removing == 0 ? "works" : nameOf(removing)), [=] {
      make(kind, "x");
      nlink_t before = look(".").st_nlink;
      comesTo(removing, ::rmdir("x"));
      same(exists("x"), removing != 0, "it is there");
      same(look(".").st_nlink, removing == 0 ? before - 1 : before, "links of the parent");
    });
    suite.add("unlinkat/AT_REMOVEDIR/" + nameOf(kind) + "/" + (removing == 0 ? "works" : nameOf(removing)), [=] {
      make(kind, "x");
      comesTo(removing, ::unlinkat(AT_FDCWD, "x", AT_REMOVEDIR));
    });
    suite.add("rmdir/with-only-" + nameOf(kind) + "-inside/ENOTEMPTY", [=] {
      makeDirectory("d");
      make(kind, "d/x");
      fails(ENOTEMPTY, ::rmdir("d"));
      holds(exists("d/x"), "it is still there");
    });
    suite.add("unlink/in-read-only-directory/" + nameOf(kind) + "/EACCES", [=] {
      makeDirectory("d", 0755);
      make(kind, "d/x", 0777);
      comesToAs(other(), EACCES, [&] { return isDirectory(kind) ? ::rmdir("d/x") : ::unlink("d/x"); });
    });
  }
}

void addDotRemovals(Suite& suite) {
  struct Dots {
    const char* path;
    int removing;
    int unlinking;
  };
  static constexpr Dots DOTS[] = {{".", EINVAL, EISDIR},
                                  {"..", ENOTEMPTY, EISDIR},
                                  {"d/.", EINVAL, EISDIR},
                                  {"d/..", ENOTEMPTY, EISDIR},
                                  {"d/../.", EINVAL, EISDIR}};
  for (const Dots& dots : DOTS) {
    suite.add(std::string("rmdir/") + dots.path + "/" + nameOf(dots.removing), [&dots] {
      makeDirectory("d");
      fails(dots.removing, ::rmdir(dots.path));
    });
    suite.add(std::string("unlink/") + dots.path + "/" + nameOf(dots.unlinking), [&dots] {
      makeDirectory("d");
      fails(dots.unlinking, ::unlink(dots.path));
    });
  }
  suite.add("unlinkat/unknown-flag/EINVAL", [] {
    makeFile("x");
    fails(EINVAL, ::unlinkat(AT_FDCWD, "x", AT_SYMLINK_NOFOLLOW));
    holds(exists("x"), "it is still there");
  });
  suite.add("rmdir/symlink-to-directory/ENOTDIR", [] {
    makeDirectory("d");
    works(::symlink("d", "link"));
    fails(ENOTDIR, ::rmdir("link"));
    fails(ENOTDIR, ::rmdir("link/"));
  });
}

void addLinks(Suite& suite) {
  for (Kind kind : ALL_KINDS) {
    int code = isDirectory(kind) ? EPERM : 0;
    suite.add("link/" + nameOf(kind) + "/" + (code == 0 ? "works" : nameOf(code)), [=] {
      make(kind, "x");
      struct stat before = look("x");
      comesTo(code, ::link("x", "y"));
      same(look("x").st_nlink, code == 0 ? before.st_nlink + 1 : before.st_nlink, "links");
      same(exists("y"), code == 0, "the other name is there");
      if (code == 0) {
        same(look("y").st_ino, before.st_ino, "inode");
        same(look("y").st_mode, before.st_mode, "mode");
        works(::unlink("x"));
        same(look("y").st_nlink, nlink_t{1}, "links after an unlink");
      }
    });
    suite.add("link/" + nameOf(kind) + "/to-other-directory/" + (code == 0 ? "works" : nameOf(code)), [=] {
      makeDirectory("d");
      makeDirectory("d/e");
      make(kind, "d/x");
      comesTo(code, ::link("d/x", "d/e/y"));
    });
  }
}

void addLinkat(Suite& suite) {
  suite.add("linkat/AT_SYMLINK_FOLLOW/links-the-target", [] {
    makeFile("x");
    works(::symlink("x", "s"));
    works(::linkat(AT_FDCWD, "s", AT_FDCWD, "y", AT_SYMLINK_FOLLOW));
    same(look("y").st_ino, look("x").st_ino, "inode");
  });
  suite.add("linkat/AT_SYMLINK_FOLLOW/dangling/ENOENT", [] {
    make(Kind::SYMLINK, "s");
    fails(ENOENT, ::linkat(AT_FDCWD, "s", AT_FDCWD, "y", AT_SYMLINK_FOLLOW));
  });
  suite.add("linkat/unknown-flag/EINVAL", [] {
    makeFile("x");
    fails(EINVAL, ::linkat(AT_FDCWD, "x", AT_FDCWD, "y", AT_SYMLINK_NOFOLLOW));
  });
  suite.add("linkat/AT_EMPTY_PATH/open-file/works", [] {
    makeFile("x", "bytes");
    File file("x", O_RDONLY);
    works(::linkat(file, "", AT_FDCWD, "y", AT_EMPTY_PATH));
    same(contents("y"), "bytes", "contents");
  });
  suite.add("linkat/AT_EMPTY_PATH/unlinked-file/ENOENT", [] {
    makeFile("x", "bytes");
    File file("x", O_RDONLY);
    works(::unlink("x"));
    fails(ENOENT, ::linkat(file, "", AT_FDCWD, "y", AT_EMPTY_PATH));
  });
  suite.add("link/300-names/counted", [] {
    makeFile("x", "bytes");
    for (int i = 0; i < 300; i++) {
      works(::link("x", ("y" + std::to_string(i)).c_str()));
    }
    same(look("x").st_nlink, nlink_t{301}, "links");
    for (int i = 0; i < 300; i += 2) {
      works(::unlink(("y" + std::to_string(i)).c_str()));
    }
    same(look("y299").st_nlink, nlink_t{151}, "links");
  });
}

void addSymlinks(Suite& suite) {
  for (size_t length : {size_t{1}, size_t{59}, size_t{60}, size_t{61}, size_t{255}, size_t{256}, size_t{1000},
                        size_t{4094}, size_t{4095}}) {
    suite.add("symlink/target-of-" + std::to_string(length) + "-bytes/kept", [length] {
      std::string target(length, 't');
      works(::symlink(target.c_str(), "x"));
      same(look("x").st_size, static_cast<off_t>(length), "size");
      std::string back(PATH_MAX, '\0');
      same(works(::readlink("x", back.data(), back.size())), static_cast<long>(length), "length");
      same(back.substr(0, length), target, "target");
      char begin[4];
      size_t least = std::min<size_t>(length, sizeof begin);
      same(works(::readlink("x", begin, sizeof begin)), static_cast<long>(least), "a cut one's length");
    });
  }
  suite.add("symlink/target-of-4096-bytes/ENAMETOOLONG",
            [] { fails(ENAMETOOLONG, ::symlink(std::string(4096, 't').c_str(), "x")); });
  suite.add("symlink/empty-target/ENOENT", [] { fails(ENOENT, ::symlink("", "x")); });
  suite.add("readlink/no-room/EINVAL", [] {
    make(Kind::SYMLINK, "x");
    char target[1];
    fails(EINVAL, ::readlink("x", target, 0));
  });
  for (Kind kind : ALL_KINDS) {
    if (kind != Kind::SYMLINK) {
      suite.add("readlink/" + nameOf(kind) + "/EINVAL", [kind] {
        make(kind, "x");
        char target[10];
        fails(EINVAL, ::readlink("x", target, sizeof target));
      });
    }
  }
}

void addMknod(Suite& suite) {
  struct Device {
    const char* name;
    mode_t type;
    dev_t device;
    int user;  // what it comes to for a user
  };
  static constexpr Device DEVICES[] = {{"file", S_IFREG, 0, 0},
                                       {"fifo", S_IFIFO, 0, 0},
                                       {"socket", S_IFSOCK, 0, 0},
                                       {"character-device", S_IFCHR, 0x103, EPERM},
                                       {"block-device", S_IFBLK, 0x103, EPERM},
                                       {"whiteout", S_IFCHR, 0, 0},
                                       {"no-type", 0, 0, 0},
                                       {"directory", S_IFDIR, 0, EPERM},
                                       {"symlink", S_IFLNK, 0, EINVAL},
                                       {"unknown-type", 0110000, 0, EINVAL}};
  for (const Device& device : DEVICES) {
    for (bool asUser : {false, true}) {
      int code = asUser || device.type == S_IFDIR || device.user == EINVAL ? device.user : 0;
      suite.add(std::string("mknod/") + device.name + (asUser ? "/by-user/" : "/by-root/") +
                    (code == 0 ? "works" : nameOf(code)),
                [=, &device] {
                  comesToAs(asUser ? other() : root(), code,
                            [&] { return ::mknod("x", device.type | 0640, device.device); });
                  same(exists("x"), code == 0, "it is there");
                  if (code == 0) {
                    mode_t type = device.type == 0 ? S_IFREG : device.type;
                    same(look("x").st_mode, type | 0640, "mode");
                    same(look("x").st_rdev, device.device, "device");
                    same(look("x").st_uid, asUser ? other().uid : 0, "owner");
                  }
                });
    }
  }
  suite.add("mknod/large-device-number/kept", [] {
    constexpr dev_t DEVICE = 0xfffabcdef;  // major 0xabc | ..., minor of 20 bits
    dev_t wanted = DEVICE & 0xffffffff;
    works(::mknod("x", S_IFBLK | 0600, wanted));
    same(look("x").st_rdev, wanted, "device");
  });
}

}  // namespace

void addNames(Suite& suite) {
  addTaken(suite);
  addRemovals(suite);
  addDotRemovals(suite);
  addLinks(suite);
  addLinkat(suite);
  addSymlinks(suite);
  addMknod(suite);
  suite.add("mkdir/links/two-and-one-for-each-inside", [] {
    makeDirectory("d");
    same(look("d").st_nlink, nlink_t{2}, "links of an empty one");
    for (const char* name : {"d/a", "d/b", "d/c"}) {
      makeDirectory(name);
    }
    makeFile("d/file");
    same(look("d").st_nlink, nlink_t{5}, "links with three directories inside");
    same(look("d/a/..").st_ino, look("d").st_ino, "inode of ..");
  });
  suite.add("mkdir/deep/200-levels", [] {
    for (int i = 0; i < 200; i++) {
      makeDirectory("d");
      works(::chdir("d"));
    }
    makeFile("x");
    for (int i = 0; i < 200; i++) {
      works(::chdir(".."));
    }
    holds(exists("d/d/d/d"), "the way down again");
  });
}

}  // namespace cairn::posix
