// How a path is followed, and what is wrong with it: every call that takes one, with every kind of bad path. Which
// mistake counts first is part of it.
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

enum class Needs { NOTHING, FILE, DIRECTORY, SYMLINK };

struct PathCall {
  const char* name;
  Needs needs;   // what has to be at the path for the call to work
  bool follows;  // a symlink at the end of the path
  long (*call)(const char* path);
};

long openAndClose(const char* path, int flags) {
  int fd = ::open(path, flags, 0644);
  return fd < 0 ? fd : ::close(fd);
}

const timespec TIMES[2] = {{1, 2}, {3, 4}};

constexpr PathCall CALLS[] = {
    {"open-read", Needs::FILE, true, [](const char* p) { return openAndClose(p, O_RDONLY); }},
    {"open-write", Needs::FILE, true, [](const char* p) { return openAndClose(p, O_WRONLY); }},
    {"open-truncate", Needs::FILE, true, [](const char* p) { return openAndClose(p, O_WRONLY | O_TRUNC); }},
    {"open-path", Needs::FILE, true, [](const char* p) { return openAndClose(p, O_PATH); }},
    {"open-create", Needs::NOTHING, true, [](const char* p) { return openAndClose(p, O_RDWR | O_CREAT); }},
    {"open-exclusive", Needs::NOTHING, false, [](const char* p) { return openAndClose(p, O_RDWR | O_CREAT | O_EXCL); }},
    {"creat", Needs::NOTHING, true,
     [](const char* p) {
       int fd = ::creat(p, 0644);
       return static_cast<long>(fd < 0 ? fd : ::close(fd));
     }},
    {"open-directory", Needs::DIRECTORY, true, [](const char* p) { return openAndClose(p, O_RDONLY | O_DIRECTORY); }},
    {"mkdir", Needs::NOTHING, false, [](const char* p) -> long { return ::mkdir(p, 0755); }},
    {"rmdir", Needs::DIRECTORY, false, [](const char* p) -> long { return ::rmdir(p); }},
    {"mknod-file", Needs::NOTHING, false, [](const char* p) -> long { return ::mknod(p, S_IFREG | 0644, 0); }},
    {"mkfifo", Needs::NOTHING, false, [](const char* p) -> long { return ::mkfifo(p, 0644); }},
    {"symlink", Needs::NOTHING, false, [](const char* p) -> long { return ::symlink("nowhere", p); }},
    {"unlink", Needs::FILE, false, [](const char* p) -> long { return ::unlink(p); }},
    {"unlinkat", Needs::FILE, false, [](const char* p) -> long { return ::unlinkat(AT_FDCWD, p, 0); }},
    {"link-from", Needs::FILE, false, [](const char* p) -> long { return ::link(p, "spare"); }},
    {"link-to", Needs::NOTHING, false, [](const char* p) -> long { return ::link("file", p); }},
    {"rename-from", Needs::FILE, false, [](const char* p) -> long { return ::rename(p, "spare"); }},
    {"rename-to", Needs::NOTHING, false, [](const char* p) -> long { return ::rename("file", p); }},
    {"exchange", Needs::FILE, false,
     [](const char* p) -> long { return ::renameat2(AT_FDCWD, "file", AT_FDCWD, p, RENAME_EXCHANGE); }},
    {"stat", Needs::FILE, true,
     [](const char* p) -> long {
       struct stat found {};
       return ::stat(p, &found);
     }},
    {"lstat", Needs::FILE, false,
     [](const char* p) -> long {
       struct stat found {};
       return ::lstat(p, &found);
     }},
    {"statx", Needs::FILE, true,
     [](const char* p) -> long {
       struct statx found {};
       return ::statx(AT_FDCWD, p, 0, STATX_BASIC_STATS, &found);
     }},
    {"access", Needs::FILE, true, [](const char* p) -> long { return ::access(p, R_OK); }},
    {"chmod", Needs::FILE, true, [](const char* p) -> long { return ::chmod(p, 0600); }},
    {"chown", Needs::FILE, true, [](const char* p) -> long { return ::chown(p, 5, 6); }},
    {"lchown", Needs::FILE, false, [](const char* p) -> long { return ::lchown(p, 5, 6); }},
    {"truncate", Needs::FILE, true, [](const char* p) -> long { return ::truncate(p, 10); }},
    {"utimensat", Needs::FILE, true, [](const char* p) -> long { return ::utimensat(AT_FDCWD, p, TIMES, 0); }},
    {"readlink", Needs::SYMLINK, false,
     [](const char* p) -> long {
       char target[PATH_MAX];
       return ::readlink(p, target, sizeof target);
     }},
    {"setxattr", Needs::FILE, true, [](const char* p) -> long { return ::setxattr(p, "user.a", "b", 1, 0); }},
    {"listxattr", Needs::FILE, true, [](const char* p) -> long { return ::listxattr(p, nullptr, 0); }},
    {"llistxattr", Needs::FILE, false, [](const char* p) -> long { return ::llistxattr(p, nullptr, 0); }},
    {"chdir", Needs::DIRECTORY, true, [](const char* p) -> long { return ::chdir(p); }},
    {"statfs", Needs::FILE, true,
     [](const char* p) -> long {
       struct statfs found {};
       return ::statfs(p, &found);
     }},
};

void prepare(Needs needs, const std::string& path) {
  if (needs == Needs::FILE) {
    makeFile(path);
  } else if (needs == Needs::DIRECTORY) {
    makeDirectory(path);
  } else if (needs == Needs::SYMLINK) {
    make(Kind::SYMLINK, path);
  }
}

std::string longName(size_t length) {
  return std::string(length, 'n');
}

// What is wrong with a path before its last name, whatever the call.
struct BadParent {
  const char* condition;
  int code;
  std::string (*path)();  // made in the case's directory
};

const BadParent BAD_PARENTS[] = {
    {"missing-parent", ENOENT, [] { return std::string("none/x"); }},
    {"missing-grandparent", ENOENT, [] { return std::string("none/none/x"); }},
    {"file-as-parent", ENOTDIR, [] { return std::string("file/x"); }},
    {"file-as-grandparent", ENOTDIR, [] { return std::string("file/x/y"); }},
    {"dots-after-file", ENOTDIR, [] { return std::string("file/../x"); }},
    {"fifo-as-parent", ENOTDIR,
     [] {
       make(Kind::FIFO, "fifo");
       return std::string("fifo/x");
     }},
    {"dangling-symlink-as-parent", ENOENT,
     [] {
       make(Kind::SYMLINK, "dangling");
       return std::string("dangling/x");
     }},
    {"symlink-to-file-as-parent", ENOTDIR,
     [] {
       works(::symlink("file", "link"));
       return std::string("link/x");
     }},
    {"symlink-loop-as-parent", ELOOP,
     [] {
       works(::symlink("two", "one"));
       works(::symlink("one", "two"));
       return std::string("one/x");
     }},
    {"symlink-to-itself-as-parent", ELOOP,
     [] {
       works(::symlink("one", "one"));
       return std::string("one/x");
     }},
    {"long-name-in-parent", ENAMETOOLONG, [] { return longName(NAME_MAX + 1) + "/x"; }},
    {"missing-before-long-name", ENOENT, [] { return "none/" + longName(NAME_MAX + 1); }},
    {"file-before-long-name", ENOTDIR, [] { return "file/" + longName(NAME_MAX + 1); }},
    {"long-last-name", ENAMETOOLONG, [] { return longName(NAME_MAX + 1); }},
    {"long-path", ENAMETOOLONG, [] { return std::string(PATH_MAX, '/'); }},
    {"empty-path", ENOENT, [] { return std::string(); }},
};

void addBadParents(Suite& suite, const PathCall& call) {
  for (const BadParent& bad : BAD_PARENTS) {
    suite.add(std::string(call.name) + "/" + bad.condition + "/" + nameOf(bad.code), [&call, &bad] {
      makeFile("file");
      std::string path = bad.path();
      fails(bad.code, call.call(path.c_str()));
      holds(exists("file") && !exists("spare"), "nothing has changed");
    });
  }
  suite.add(std::string(call.name) + "/bad-address/EFAULT", [&call] {
    makeFile("file");
    fails(EFAULT, call.call(reinterpret_cast<const char*>(sizeof(long))));
  });
}

// Directories that `other` may not search, or may search only.
void addClosedParents(Suite& suite, const PathCall& call) {
  std::string name = call.name;
  auto refused = [&call](mode_t outer, mode_t inner) {
    makeFile("file", {}, 0666);
    makeDirectory("outer", 0777);
    makeDirectory("outer/inner", 0777);
    prepare(call.needs, "outer/inner/x");
    setMode("outer/inner", inner);
    setMode("outer", outer);
    comesToAs(other(), EACCES, [&] { return call.call("outer/inner/x"); });
    comesToAs(other(), EACCES, [&] { return call.call("outer/inner/none/../x"); });
    setMode("outer", 0777);
    setMode("outer/inner", 0777);
    holds(exists("file"), "nothing has changed");
  };
  suite.add(name + "/no-search-in-parent/EACCES", [refused] { refused(0777, 0776); });
  suite.add(name + "/no-search-in-grandparent/EACCES", [refused] { refused(0776, 0777); });
  suite.add(name + "/closed-before-missing/EACCES", [&call] {
    makeFile("file");
    makeDirectory("closed", 0700);
    comesToAs(other(), EACCES, [&] { return call.call("closed/none"); });
  });
}

void addLastName(Suite& suite, const PathCall& call) {
  std::string name = call.name;
  if (call.needs == Needs::NOTHING) {
    return;
  }
  suite.add(name + "/missing/ENOENT", [&call] {
    makeFile("file");
    fails(ENOENT, call.call("none"));
    holds(!exists("none") && !exists("spare"), "nothing was made");
  });
  if (!call.follows) {
    return;
  }
  suite.add(name + "/dangling-symlink/ENOENT", [&call] {
    make(Kind::SYMLINK, "dangling");
    fails(ENOENT, call.call("dangling"));
    holds(!exists("nowhere"), "nothing was made");
  });
  suite.add(name + "/symlink-loop/ELOOP", [&call] {
    works(::symlink("two", "one"));
    works(::symlink("one", "two"));
    fails(ELOOP, call.call("one"));
  });
}

// Unusual paths that are right.
struct GoodPath {
  const char* condition;
  std::string (*path)();  // where the object then is, by this path
};

std::string chain(int links) {
  makeDirectory("d");
  std::string before = "d";
  for (int i = 0; i < links; i++) {
    std::string link = "link" + std::to_string(i);
    works(::symlink(before.c_str(), link.c_str()));
    before = link;
  }
  return before + "/x";
}

std::string besidesDirectory(const char* path) {
  makeDirectory("d");
  return path;
}

const GoodPath GOOD_PATHS[] = {
    {"plain", [] { return std::string("x"); }},
    {"longest-name", [] { return longName(NAME_MAX); }},
    {"longest-path",
     [] {
       std::string path;
       while (path.size() + 3 <= PATH_MAX - 1 - NAME_MAX) {
         path += "./";
       }
       return path + longName(PATH_MAX - 1 - path.size() > NAME_MAX ? NAME_MAX : PATH_MAX - 1 - path.size());
     }},
    {"double-slashes", [] { return besidesDirectory("d////x"); }},
    {"dots", [] { return besidesDirectory("./d/./.././d/x"); }},
    {"symlink-to-directory", [] { return chain(1); }},
    {"most-symlinks", [] { return chain(40); }},
    {"odd-bytes", [] { return std::string("\xff\xfe\x01 \n*"); }},
};

void addGoodPaths(Suite& suite, const PathCall& call) {
  for (const GoodPath& good : GOOD_PATHS) {
    suite.add(std::string(call.name) + "/" + good.condition + "/works", [&call, &good] {
      std::string path = good.path();
      makeFile("file");
      prepare(call.needs, path);
      works(call.call(path.c_str()));
    });
  }
  suite.add(std::string(call.name) + "/too-many-symlinks/ELOOP", [&call] {
    std::string path = chain(41);
    makeFile("file");
    prepare(call.needs, "d/x");
    fails(ELOOP, call.call(path.c_str()));
  });
}

// A slash after a name says that it is a directory's.
void addSlashes(Suite& suite, const PathCall& call) {
  std::string name = call.name;
  if (call.needs == Needs::FILE) {
    suite.add(name + "/slash-after-file/ENOTDIR", [&call] {
      makeFile("file");
      makeFile("x");
      fails(ENOTDIR, call.call("x/"));
    });
  } else if (call.needs == Needs::DIRECTORY) {
    suite.add(name + "/slash-after-directory/works", [&call] {
      makeDirectory("x");
      works(call.call("x/"));
    });
    for (Kind kind : PLAIN_KINDS) {
      suite.add(name + "/over-" + nameOf(kind) + "/ENOTDIR", [&call, kind] {
        make(kind, "x");
        fails(ENOTDIR, call.call("x"));
        holds(exists("x"), "it is still there");
      });
    }
  }
}

}  // namespace

void addPaths(Suite& suite) {
  for (const PathCall& call : CALLS) {
    addBadParents(suite, call);
    addClosedParents(suite, call);
    addLastName(suite, call);
    addGoodPaths(suite, call);
    addSlashes(suite, call);
  }
}

}  // namespace cairn::posix
