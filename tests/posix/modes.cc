// chmod, chown, the umask, and when the set-user-id and set-group-id bits go.
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

void makeOwned(Kind kind, const std::string& path, mode_t mode) {
  make(kind, path);
  setOwner(path, OWNER_UID, GROUP_GID);
  setMode(path, mode);
}

// ---- chmod

void addChmodByKind(Suite& suite) {
  for (Kind kind : {Kind::REGULAR, Kind::DIRECTORY, Kind::FIFO, Kind::SOCKET, Kind::CHARACTER, Kind::BLOCK}) {
    for (mode_t mode : {0, 0777, 0421, 01000, 02000, 04000, 07777}) {
      suite.add("chmod/" + nameOf(kind) + "/" + octal(mode), [kind, mode] {
        make(kind, "x");
        works(::chmod("x", mode));
        same(modeOf("x"), mode, "mode");
        same(look("x").st_mode & S_IFMT, typeOf(kind), "type");
      });
    }
    suite.add("chmod/" + nameOf(kind) + "/by-owner/works", [kind] {
      makeOwned(kind, "x", 0);
      comesToAs(owner(), 0, [] { return ::chmod("x", 0751); });
      same(modeOf("x"), 0751u, "mode");
    });
    suite.add("chmod/" + nameOf(kind) + "/by-other/EPERM", [kind] {
      makeOwned(kind, "x", 0666);
      comesToAs(other(), EPERM, [] { return ::chmod("x", 0666); });
      comesToAs(member(), EPERM, [] { return ::chmod("x", 0666); });
      same(modeOf("x"), 0666u, "mode");
    });
    suite.add("chmod/" + nameOf(kind) + "/through-symlink", [kind] {
      make(kind, "x");
      works(::symlink("x", "link"));
      works(::chmod("link", 0640));
      same(modeOf("x"), 0640u, "mode of the target");
    });
  }
  suite.add("chmod/symlink/itself/EOPNOTSUPP", [] {
    make(Kind::SYMLINK, "x");
    fails(EOPNOTSUPP, ::fchmodat(AT_FDCWD, "x", 0600, AT_SYMLINK_NOFOLLOW));
  });
  suite.add("chmod/bits-beyond-the-twelve/ignored", [] {
    makeFile("x");
    works(::chmod("x", 0170640));
    same(look("x").st_mode, static_cast<mode_t>(S_IFREG | 0640), "mode");
  });
  suite.add("fchmod/descriptor-for-reading/works", [] {
    makeFile("x");
    File file("x", O_RDONLY);
    works(::fchmod(file, 0604));
    same(modeOf("x"), 0604u, "mode");
  });
  suite.add("fchmod/O_PATH/EBADF", [] {
    makeFile("x");
    File file("x", O_PATH);
    fails(EBADF, ::fchmod(file, 0604));
  });
}

// Only who is in the file's group may give it the set-group-id bit.
void addChmodSetGroup(Suite& suite) {
  for (Kind kind : {Kind::REGULAR, Kind::DIRECTORY, Kind::FIFO}) {
    for (gid_t gid : {GROUP_GID, SPARE_GID, other().gid}) {
      for (bool isRoot : {false, true}) {
        bool stays = isRoot || gid != other().gid;
        std::string group = gid == GROUP_GID ? "own" : gid == SPARE_GID ? "supplementary" : "foreign";
        suite.add("chmod/set-group-id/" + nameOf(kind) + "/" + group + "-group/" + (isRoot ? "root" : "owner") +
                      (stays ? "/stays" : "/dropped"),
                  [=] {
                    make(kind, "x");
                    setOwner("x", OWNER_UID, gid);
                    comesToAs(isRoot ? root() : owner(), 0, [] { return ::chmod("x", 06755); });
                    same(modeOf("x"), static_cast<mode_t>(stays ? 06755 : 04755), "mode");
                  });
      }
    }
  }
}

// ---- the umask, and what is inherited

struct Maker {
  const char* name;
  mode_t asked;
  long (*call)(mode_t mode);
};
constexpr Maker MAKERS[] = {
    {"open", 07666,
     [](mode_t mode) -> long {
       int fd = ::open("d/x", O_CREAT | O_WRONLY, mode);
       return fd < 0 ? fd : ::close(fd);
     }},
    {"mknod-file", 07666, [](mode_t mode) -> long { return ::mknod("d/x", S_IFREG | mode, 0); }},
    {"mkfifo", 0777, [](mode_t mode) -> long { return ::mkfifo("d/x", mode); }},
    {"mknod-socket", 0777, [](mode_t mode) -> long { return ::mknod("d/x", S_IFSOCK | mode, 0); }},
    {"mkdir", 01777, [](mode_t mode) -> long { return ::mkdir("d/x", mode); }},
};

void addUmask(Suite& suite) {
  for (const Maker& maker : MAKERS) {
    for (mode_t mask : {0, 022, 077, 0777, 0111, 0444, 0222}) {
      suite.add("umask/" + octal(mask) + "/" + maker.name, [&maker, mask] {
        makeDirectory("d", 0777);
        ::umask(mask);
        works(maker.call(maker.asked));
        ::umask(0);
        same(modeOf("d/x"), maker.asked & ~mask, "mode");
      });
    }
  }
  suite.add("umask/0777/symlink-has-all-bits", [] {
    ::umask(0777);
    make(Kind::SYMLINK, "x");
    same(modeOf("x"), 0777u, "mode");
  });
}

// Group and set-group-id bit of what is made in a set-group-id directory.
void addInherited(Suite& suite) {
  for (const Maker& maker : MAKERS) {
    for (const Caller* caller : {&owner(), &member(), &other(), &root()}) {
      for (bool setGroup : {false, true}) {
        for (mode_t mode : {0644, 0755, 02755, 02644}) {
          suite.add(std::string("inherit/") + (setGroup ? "set-group-id-directory/" : "plain-directory/") + maker.name +
                        "/" + caller->name + "/" + octal(mode),
                    [=, &maker] {
                      makeDirectory("d", 0777);
                      setOwner("d", 0, GROUP_GID);
                      setMode("d", setGroup ? 02777 : 0777);
                      comesToAs(*caller, 0, [&] { return maker.call(mode); });
                      struct stat made = look("d/x");
                      same(made.st_uid, caller->uid, "owner");
                      same(made.st_gid, setGroup ? GROUP_GID : caller->gid, "group");
                      mode_t wanted = mode;
                      if (S_ISDIR(made.st_mode)) {
                        wanted = setGroup ? mode | S_ISGID : mode & ~S_ISGID;
                      } else if (setGroup && mode == 02755 && caller == &other()) {
                        wanted = 0755;  // it would run as a group that its maker isn't in
                      }
                      same(made.st_mode & 07777, wanted, "mode");
                    });
        }
      }
    }
  }
}

// ---- chown

struct Chown {
  const char* name;
  uid_t uid;
  gid_t gid;
  bool byOwner;  // whether the owner, a member of GROUP_GID and SPARE_GID, may
};
constexpr uid_t SAME = static_cast<uid_t>(-1);
constexpr Chown CHOWNS[] = {
    {"nothing", SAME, SAME, true},
    {"same-owner", OWNER_UID, SAME, true},
    {"same-both", OWNER_UID, GROUP_GID, true},
    {"group-of-the-owner", SAME, SPARE_GID, true},
    {"foreign-group", SAME, 2999, false},
    {"group-of-root", SAME, 0, false},
    {"another-owner", 1999, SAME, false},
    {"another-owner-own-group", 1999, SPARE_GID, false},
    {"same-owner-foreign-group", OWNER_UID, 2999, false},
    {"root-as-owner", 0, SAME, false},
};

void addChown(Suite& suite, const Chown& change, Kind kind) {
  std::string name = std::string("chown/") + change.name + "/" + nameOf(kind);
  auto changed = [&change] {
    struct stat found = look("x");
    same(found.st_uid, change.uid == SAME ? OWNER_UID : change.uid, "owner");
    same(found.st_gid, change.gid == SAME ? GROUP_GID : change.gid, "group");
  };
  suite.add(name + "/by-root/works", [&change, kind, changed] {
    make(kind, "x");
    setOwner("x", OWNER_UID, GROUP_GID);
    works(::lchown("x", change.uid, change.gid));
    changed();
  });
  suite.add(name + "/by-owner/" + (change.byOwner ? "works" : "EPERM"), [&change, kind, changed] {
    make(kind, "x");
    setOwner("x", OWNER_UID, GROUP_GID);
    comesToAs(owner(), change.byOwner ? 0 : EPERM, [&] { return ::lchown("x", change.uid, change.gid); });
    if (change.byOwner) {
      changed();
    }
  });
  bool nothing = change.uid == SAME && change.gid == SAME;
  suite.add(name + "/by-other/" + (nothing ? "works" : "EPERM"), [&change, kind, nothing] {
    make(kind, "x");
    setOwner("x", OWNER_UID, GROUP_GID);
    for (const Caller* caller : {&member(), &other()}) {
      comesToAs(*caller, nothing ? 0 : EPERM, [&] { return ::lchown("x", change.uid, change.gid); });
    }
    same(look("x").st_uid, OWNER_UID, "owner");
    same(look("x").st_gid, GROUP_GID, "group");
  });
}

// ---- which change drops the set-id bits

struct Changer {
  const char* name;
  bool spared;     // root's doing it leaves the bits
  bool onlyOwner;  // nobody else may do it
  long (*call)();
};

long writing(int flags, long (*change)(int fd)) {
  File file("x", flags);
  return change(file);
}

constexpr Changer CHANGERS[] = {
    {"write", true, false, [] { return writing(O_WRONLY, [](int fd) -> long { return ::write(fd, "b", 1); }); }},
    {"write-append", true, false,
     [] { return writing(O_WRONLY | O_APPEND, [](int fd) -> long { return ::write(fd, "b", 1); }); }},
    {"pwrite-beyond-end", true, false,
     [] { return writing(O_WRONLY, [](int fd) -> long { return ::pwrite(fd, "b", 1, 10000); }); }},
    {"truncate", true, false, []() -> long { return ::truncate("x", 1); }},
    {"truncate-larger", true, false, []() -> long { return ::truncate("x", 10000); }},
    {"ftruncate", true, false, [] { return writing(O_WRONLY, [](int fd) -> long { return ::ftruncate(fd, 1); }); }},
    {"open-truncate", true, false, [] { return writing(O_WRONLY | O_TRUNC, [](int) -> long { return 0; }); }},
    {"fallocate", true, false,
     [] { return writing(O_WRONLY, [](int fd) -> long { return ::fallocate(fd, 0, 0, 9000); }); }},
    {"punch-hole", true, false,
     [] { return writing(O_WRONLY, [](int fd) -> long { return ::fallocate(fd, 3, 0, 4096); }); }},
    {"copy_file_range", true, false,
     [] {
       return writing(O_RDWR, [](int fd) -> long {
         off_t from = 0;
         off_t to = 100;
         return ::copy_file_range(fd, &from, fd, &to, 4, 0);
       });
     }},
    {"chown-owner", false, true, []() -> long { return ::chown("x", OWNER_UID, SAME); }},
    {"chown-group", false, true, []() -> long { return ::chown("x", SAME, SPARE_GID); }},
    {"chown-same", false, true, []() -> long { return ::chown("x", OWNER_UID, GROUP_GID); }},
};

constexpr mode_t SET_ID_MODES[] = {04777, 02777, 06777, 04666, 02767, 06767, 01777};

// Without S_IXGRP, S_ISGID makes nothing run as the group; only who isn't in it takes it away.
mode_t without(mode_t mode, bool inGroup) {
  mode &= ~S_ISUID;
  return (mode & S_IXGRP) != 0 || !inGroup ? mode & ~S_ISGID : mode;
}

}  // namespace

void addModes(Suite& suite) {
  addChmodByKind(suite);
  addChmodSetGroup(suite);
  addUmask(suite);
  addInherited(suite);
}

void addOwners(Suite& suite) {
  for (const Chown& change : CHOWNS) {
    for (Kind kind : KINDS) {
      addChown(suite, change, kind);
    }
  }
  suite.add("chown/through-symlink/target-changes", [] {
    makeFile("x");
    works(::symlink("x", "link"));
    works(::chown("link", 7, 8));
    same(look("x").st_uid, 7u, "owner of the target");
    same(look("link").st_uid, 0u, "owner of the symlink");
  });
  suite.add("chown/largest-ids", [] {
    makeFile("x");
    works(::chown("x", 4294967294u, 4294967293u));
    same(look("x").st_uid, 4294967294u, "owner");
    same(look("x").st_gid, 4294967293u, "group");
  });
  suite.add("fchown/descriptor-for-reading/works", [] {
    makeFile("x");
    File file("x", O_RDONLY);
    works(::fchown(file, 7, 8));
    same(look("x").st_gid, 8u, "group");
  });
  suite.add("chown/directory/set-id-bits-stay", [] {
    makeDirectory("x");
    setOwner("x", OWNER_UID, GROUP_GID);
    setMode("x", 06777);
    comesToAs(owner(), 0, [] { return ::chown("x", SAME, SPARE_GID); });
    same(modeOf("x"), 06777u, "mode");
  });
}

void addSetIds(Suite& suite) {
  for (const Changer& changer : CHANGERS) {
    for (mode_t mode : SET_ID_MODES) {
      for (const Caller* caller : {&owner(), &other(), &root()}) {
        if (changer.onlyOwner && caller == &other()) {
          continue;
        }
        bool stay = caller == &root() && changer.spared;
        mode_t wanted = stay ? mode : without(mode, caller != &other());
        suite.add(std::string("set-ids/") + changer.name + "/" + caller->name + "/" + octal(mode) + "/" + octal(wanted),
                  [=, &changer] {
                    makeFile("x", "bytes");
                    setOwner("x", OWNER_UID, GROUP_GID);
                    setMode("x", mode);
                    comesToAs(*caller, 0, changer.call);
                    same(octal(modeOf("x")), octal(wanted), "mode");
                  });
      }
    }
  }
  suite.add("set-ids/chown-nothing/go", [] {
    makeFile("x");
    setMode("x", 06711);
    works(::chown("x", SAME, SAME));
    same(octal(modeOf("x")), octal(0711), "mode");
  });
  suite.add("set-ids/write-of-nothing/stay", [] {
    makeFile("x", "bytes");
    setOwner("x", OWNER_UID, GROUP_GID);
    setMode("x", 06777);
    comesToAs(other(), 0, [] { return writing(O_WRONLY, [](int fd) -> long { return ::write(fd, "b", 0); }); });
    same(octal(modeOf("x")), octal(06777), "mode");
  });
  suite.add("set-ids/write/capability-goes", [] {
    // What security.capability holds for "may bind to low ports".
    const char capability[] = "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    makeFile("x", "bytes", 0777);
    works(::setxattr("x", "security.capability", capability, 20, 0));
    comesToAs(other(), 0, [] { return writing(O_WRONLY, [](int fd) -> long { return ::write(fd, "b", 1); }); });
    fails(ENODATA, ::getxattr("x", "security.capability", nullptr, 0));
  });
  suite.add("set-ids/chown/capability-goes", [] {
    const char capability[] = "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    makeFile("x", "bytes", 0777);
    works(::setxattr("x", "security.capability", capability, 20, 0));
    works(::chown("x", 5, 6));
    fails(ENODATA, ::getxattr("x", "security.capability", nullptr, 0));
  });
}

}  // namespace cairn::posix
