// Who may do what: the nine permission bits for the owner, for members of the group (by their first group or by
// another) and for everybody else. The class that applies is the first that fits, even if a later one would allow more.
#include <dirent.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

constexpr unsigned READ = 4;
constexpr unsigned WRITE = 2;
constexpr unsigned SEARCH = 1;
constexpr unsigned ALL = 7;

struct Class {
  const Caller& (*caller)();
  unsigned shift;  // where its three bits are
};
constexpr Class CLASSES[] = {{owner, 6}, {member, 3}, {extra, 3}, {other, 0}};

// `bits` for one class; the others may do exactly the rest.
mode_t modeFor(const Class& c, unsigned bits) {
  mode_t mode = 0;
  for (unsigned shift : {0u, 3u, 6u}) {
    mode |= (shift == c.shift ? bits : ALL & ~bits) << shift;
  }
  return mode;
}

struct Attempt {
  const char* name;
  unsigned wants;
  int code;  // when the bits aren't there
  long (*call)();
};

long opening(const char* path, int flags) {
  int fd = ::open(path, flags);
  return fd < 0 ? fd : ::close(fd);
}

constexpr Attempt ON_FILE[] = {
    {"open-read", READ, EACCES, [] { return opening("x", O_RDONLY); }},
    {"open-write", WRITE, EACCES, [] { return opening("x", O_WRONLY); }},
    {"open-read-write", READ | WRITE, EACCES, [] { return opening("x", O_RDWR); }},
    {"open-truncate-read", READ | WRITE, EACCES, [] { return opening("x", O_RDONLY | O_TRUNC); }},
    {"open-create", READ, EACCES, [] { return opening("x", O_RDONLY | O_CREAT); }},
    {"truncate", WRITE, EACCES, []() -> long { return ::truncate("x", 0); }},
    {"access-read", READ, EACCES, []() -> long { return ::access("x", R_OK); }},
    {"access-write", WRITE, EACCES, []() -> long { return ::access("x", W_OK); }},
    {"access-execute", SEARCH, EACCES, []() -> long { return ::access("x", X_OK); }},
    {"access-all", ALL, EACCES, []() -> long { return ::access("x", R_OK | W_OK | X_OK); }},
    {"access-effective", READ | SEARCH, EACCES,
     []() -> long { return ::faccessat(AT_FDCWD, "x", R_OK | X_OK, AT_EACCESS); }},
    {"get-user-xattr", READ, EACCES, []() -> long { return ::getxattr("x", "user.a", nullptr, 0); }},
    {"set-user-xattr", WRITE, EACCES, []() -> long { return ::setxattr("x", "user.a", "b", 1, 0); }},
};

constexpr Attempt IN_DIRECTORY[] = {
    {"list", READ, EACCES, [] { return opening("d", O_RDONLY | O_DIRECTORY); }},
    {"search", SEARCH, EACCES, []() -> long { return ::access("d/x", F_OK); }},
    {"enter", SEARCH, EACCES, []() -> long { return ::chdir("d"); }},
    {"create", WRITE | SEARCH, EACCES, []() -> long { return ::mknod("d/new", S_IFREG | 0644, 0); }},
    {"open-create", WRITE | SEARCH, EACCES,
     []() -> long {
       int fd = ::open("d/new", O_CREAT | O_RDWR, 0644);
       return fd < 0 ? fd : ::close(fd);
     }},
    {"mkdir", WRITE | SEARCH, EACCES, []() -> long { return ::mkdir("d/new", 0755); }},
    {"mkfifo", WRITE | SEARCH, EACCES, []() -> long { return ::mkfifo("d/new", 0644); }},
    {"symlink", WRITE | SEARCH, EACCES, []() -> long { return ::symlink("x", "d/new"); }},
    {"link-into", WRITE | SEARCH, EACCES, []() -> long { return ::link("mine", "d/new"); }},
    {"unlink", WRITE | SEARCH, EACCES, []() -> long { return ::unlink("d/x"); }},
    {"rmdir", WRITE | SEARCH, EACCES, []() -> long { return ::rmdir("d/empty"); }},
    {"rename-within", WRITE | SEARCH, EACCES, []() -> long { return ::rename("d/x", "d/new"); }},
    {"rename-out", WRITE | SEARCH, EACCES, []() -> long { return ::rename("d/x", "new"); }},
    {"rename-in", WRITE | SEARCH, EACCES, []() -> long { return ::rename("mine", "d/new"); }},
    {"rename-over", WRITE | SEARCH, EACCES, []() -> long { return ::rename("mine", "d/x"); }},
    {"bind", WRITE | SEARCH, EACCES, []() -> long { return ::mknod("d/new", S_IFSOCK | 0644, 0); }},
};

void prepareFile(mode_t mode) {
  makeFile("x", "bytes");
  works(::setxattr("x", "user.a", "b", 1, 0));
  setOwner("x", OWNER_UID, GROUP_GID);
  setMode("x", mode);
}

void prepareDirectory(const Caller& caller, mode_t mode) {
  makeDirectory("d", 0777);
  makeFile("d/x", {}, 0666);
  makeDirectory("d/empty", 0777);
  makeFile("mine", {}, 0666);
  setOwner("mine", caller.uid, caller.gid);
  setOwner("d", OWNER_UID, GROUP_GID);
  setMode("d", mode);
}

void addClasses(Suite& suite) {
  for (const Class& c : CLASSES) {
    for (unsigned bits = 0; bits <= ALL; bits++) {
      auto name = [&](const char* what, const Attempt& attempt) {
        bool allowed = (bits & attempt.wants) == attempt.wants;
        return std::string("permission/") + what + "/" + attempt.name + "/" + c.caller().name + "/" +
               octal(modeFor(c, bits)) + "/" + (allowed ? "works" : nameOf(attempt.code));
      };
      for (const Attempt& attempt : ON_FILE) {
        suite.add(name("file", attempt), [&c, bits, &attempt] {
          prepareFile(modeFor(c, bits));
          bool allowed = (bits & attempt.wants) == attempt.wants;
          comesToAs(c.caller(), allowed ? 0 : attempt.code, attempt.call);
        });
      }
      for (const Attempt& attempt : IN_DIRECTORY) {
        suite.add(name("directory", attempt), [&c, bits, &attempt] {
          prepareDirectory(c.caller(), modeFor(c, bits));
          bool allowed = (bits & attempt.wants) == attempt.wants;
          comesToAs(c.caller(), allowed ? 0 : attempt.code, attempt.call);
        });
      }
    }
  }
}

// Root may do all but execute what nobody may execute.
void addRoot(Suite& suite) {
  for (const Attempt& attempt : ON_FILE) {
    int code = (attempt.wants & SEARCH) != 0 ? EACCES : 0;
    suite.add(std::string("permission/file/") + attempt.name + "/by-root/0000/" + (code == 0 ? "works" : nameOf(code)),
              [&attempt, code] {
                prepareFile(0);
                comesTo(code, attempt.call());
              });
    suite.add(std::string("permission/file/") + attempt.name + "/by-root/0001/works", [&attempt] {
      prepareFile(1);
      works(attempt.call());
    });
  }
  for (const Attempt& attempt : IN_DIRECTORY) {
    suite.add(std::string("permission/directory/") + attempt.name + "/by-root/0000/works", [&attempt] {
      prepareDirectory(root(), 0);
      works(attempt.call());
    });
  }
}

void addKept(Suite& suite) {
  suite.add("permission/kept-by-descriptor/read-after-chmod", [] {
    makeFile("x", "bytes");
    File file("x", O_RDWR);
    setMode("x", 0);
    become(other());
    same(contents(file), "bytes", "what is read");
    put(file, "more", 0);
  });
  suite.add("permission/kept-by-descriptor/create-read-only-for-writing", [] {
    become(other());
    File file("x", O_CREAT | O_RDWR, 0400);
    put(file, "bytes", 0);
    fails(EACCES, ::open("x", O_WRONLY));
    same(contents("x"), "bytes", "contents");
  });
  suite.add("permission/kept-by-descriptor/create-with-no-mode", [] {
    become(other());
    File file("x", O_CREAT | O_RDWR, 0);
    put(file, "bytes", 0);
    works(::ftruncate(file, 2));
    same(contents(file), "by", "contents");
  });
  suite.add("permission/groups-changed-and-nothing-else", [] {
    makeFile("x", "bytes", 0640);
    setOwner("x", 0, GROUP_GID);
    comesToAs(extra(), 0, [] { return opening("x", O_RDONLY); });
    Caller without = extra();
    without.groups = {3000};
    comesToAs(without, EACCES, [] { return opening("x", O_RDONLY); });
    comesToAs(extra(), 0, [] { return opening("x", O_RDONLY); });
  });
  suite.add("permission/access-asks-with-real-ids", [] {
    makeFile("x", {}, 0600);
    works(::setresuid(other().uid, 0, 0));
    fails(EACCES, ::access("x", R_OK));
    works(::faccessat(AT_FDCWD, "x", R_OK, AT_EACCESS));
    works(opening("x", O_RDONLY));
  });
  suite.add("permission/many-groups/the-last-counts", [] {
    makeFile("x", "bytes", 0640);
    setOwner("x", 0, GROUP_GID);
    Caller crowd = extra();
    crowd.groups.clear();
    for (gid_t gid = 10000; gid < 10400; gid++) {
      crowd.groups.push_back(gid);
    }
    comesToAs(crowd, EACCES, [] { return opening("x", O_RDONLY); });
    crowd.uid++;
    crowd.groups.push_back(GROUP_GID);
    comesToAs(crowd, 0, [] { return opening("x", O_RDONLY); });
  });
}

}  // namespace

void addPermissions(Suite& suite) {
  addClasses(suite);
  addRoot(suite);
  addKept(suite);
}

// In a sticky directory a name goes only with the consent of the file's owner, the directory's, or root.
void addSticky(Suite& suite) {
  struct Removal {
    const char* name;
    bool directory;
    long (*call)();
  };
  static constexpr Removal REMOVALS[] = {
      {"unlink", false, []() -> long { return ::unlink("d/x"); }},
      {"rmdir", true, []() -> long { return ::rmdir("d/x"); }},
      {"rename-within", false, []() -> long { return ::rename("d/x", "d/new"); }},
      {"rename-out", false, []() -> long { return ::rename("d/x", "new"); }},
      {"rename-directory-within", true, []() -> long { return ::rename("d/x", "d/new"); }},
      {"rename-over", false, []() -> long { return ::rename("mine", "d/x"); }},
      {"rename-over-directory", true, []() -> long { return ::rename("my-directory", "d/x"); }},
      {"exchange", false, []() -> long { return ::renameat2(AT_FDCWD, "mine", AT_FDCWD, "d/x", 2); }},
  };
  for (const Removal& removal : REMOVALS) {
    for (bool sticky : {false, true}) {
      for (bool ownsDirectory : {false, true}) {
        for (bool ownsFile : {false, true}) {
          for (bool isRoot : {false, true}) {
            int code = sticky && !ownsDirectory && !ownsFile && !isRoot ? EPERM : 0;
            std::string name = std::string(sticky ? "sticky/" : "not-sticky/") + removal.name + "/" +
                               (isRoot ? "root" : "user") + (ownsDirectory ? "/own-directory" : "/foreign-directory") +
                               (ownsFile ? "/own-file/" : "/foreign-file/") + (code == 0 ? "works" : nameOf(code));
            suite.add(name, [=, &removal] {
              const Caller& caller = other();
              makeDirectory("d", sticky ? 01777 : 0777);
              make(removal.directory ? Kind::DIRECTORY : Kind::REGULAR, "d/x", 0777);
              makeFile("mine");
              makeDirectory("my-directory", 0777);
              for (const char* own : {"mine", "my-directory"}) {
                setOwner(own, caller.uid, caller.gid);
              }
              setOwner("d", ownsDirectory ? caller.uid : OWNER_UID, GROUP_GID);
              setOwner("d/x", ownsFile ? caller.uid : OWNER_UID, GROUP_GID);
              comesToAs(isRoot ? root() : caller, code, removal.call);
            });
          }
        }
      }
    }
  }
}

}  // namespace cairn::posix
