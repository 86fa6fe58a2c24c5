// rename: every kind of file onto every other, with every flag, within a directory and from one to another.
#include <fcntl.h>
#include <linux/fs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <optional>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

constexpr Kind ALL_KINDS[] = {Kind::REGULAR, Kind::DIRECTORY, Kind::FULL_DIRECTORY, Kind::SYMLINK,
                              Kind::FIFO,    Kind::SOCKET,    Kind::CHARACTER,      Kind::BLOCK};

long renameWith(const char* from, const char* to, unsigned flags) {
  return ::renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

struct Flags {
  const char* name;
  unsigned bits;
};
constexpr Flags FLAGS[] = {
    {"plain", 0}, {"noreplace", RENAME_NOREPLACE}, {"exchange", RENAME_EXCHANGE}, {"whiteout", RENAME_WHITEOUT}};

// What renaming `source` onto `target` (nothing: a free name) must come to.
int codeOf(Kind source, std::optional<Kind> target, unsigned flags) {
  if (flags == RENAME_EXCHANGE) {
    return target ? 0 : ENOENT;
  }
  if (!target) {
    return 0;
  }
  if (flags == RENAME_NOREPLACE) {
    return EEXIST;
  }
  if (isDirectory(source)) {
    return !isDirectory(*target) ? ENOTDIR : *target == Kind::FULL_DIRECTORY ? ENOTEMPTY : 0;
  }
  return isDirectory(*target) ? EISDIR : 0;
}

nlink_t subdirectories(const char* directory) {
  return look(directory).st_nlink - 2;
}

void checkMoved(Kind source, std::optional<Kind> target, unsigned flags, bool within, const struct stat& from,
                const struct stat& to) {
  const char* into = within ? "d/y" : "e/y";
  const char* directory = within ? "d" : "e";
  struct stat now = look(into);
  same(now.st_ino, from.st_ino, "inode at the new name");
  same(now.st_mode, from.st_mode, "mode at the new name");
  same(now.st_nlink, from.st_nlink, "links at the new name");
  nlink_t inOld = 0;
  nlink_t inNew = isDirectory(source) ? 1 : 0;
  if (flags == RENAME_EXCHANGE) {
    same(look("d/x").st_ino, to.st_ino, "inode at the old name");
    inOld = target && isDirectory(*target) ? 1 : 0;
  } else if (flags == RENAME_WHITEOUT) {
    struct stat left = look("d/x");
    same(left.st_mode, static_cast<mode_t>(S_IFCHR), "what is left at the old name");
    same(left.st_rdev, dev_t{0}, "its device");
  } else {
    holds(!exists("d/x"), "the old name is free");
  }
  same(subdirectories(directory), within ? inOld + inNew : inNew, "directories counted in the new parent");
  if (!within) {
    same(subdirectories("d"), inOld, "directories counted in the old parent");
  }
  if (source == Kind::FULL_DIRECTORY) {
    holds(exists(std::string(into) + "/inside"), "what it held came along");
  }
  if (isDirectory(source)) {
    same(look(std::string(into) + "/..").st_ino, look(directory).st_ino, "its ..");
  }
}

void checkPair(Kind source, std::optional<Kind> target, unsigned flags, bool within) {
  makeDirectory("d");
  makeDirectory("e");
  const char* into = within ? "d/y" : "e/y";
  make(source, "d/x", 0640);
  if (target) {
    make(*target, into, 0604);
  }
  int code = codeOf(source, target, flags);
  struct stat from = look("d/x");
  struct stat to = target ? look(into) : from;
  comesTo(code, renameWith("d/x", into, flags));
  if (code == 0) {
    checkMoved(source, target, flags, within, from, to);
    return;
  }
  same(look("d/x").st_ino, from.st_ino, "inode at the old name");
  same(exists(into), target.has_value(), "the target is there");
  if (target) {
    same(look(into).st_ino, to.st_ino, "inode at the new name");
  }
}

void addPairs(Suite& suite) {
  for (Kind source : ALL_KINDS) {
    for (int number = -1; number < static_cast<int>(std::size(ALL_KINDS)); number++) {
      std::optional<Kind> target = number < 0 ? std::nullopt : std::optional(ALL_KINDS[number]);
      for (const Flags& flags : FLAGS) {
        int code = codeOf(source, target, flags.bits);
        for (bool within : {true, false}) {
          suite.add("rename/" + std::string(flags.name) + "/" + nameOf(source) + "-to-" +
                        (target ? nameOf(*target) : "free-name") + (within ? "/same-directory/" : "/other-directory/") +
                        (code == 0 ? "works" : nameOf(code)),
                    [=] { checkPair(source, target, flags.bits, within); });
        }
      }
    }
  }
}

// ---- names of one file

void addSameFile(Suite& suite) {
  for (Kind kind : {Kind::REGULAR, Kind::SYMLINK, Kind::FIFO, Kind::SOCKET, Kind::CHARACTER}) {
    for (bool within : {true, false}) {
      for (const Flags& flags : FLAGS) {
        std::string to = within ? "d/y" : "e/y";
        int code = flags.bits == RENAME_NOREPLACE ? EEXIST : 0;
        suite.add("rename/" + std::string(flags.name) + "/" + nameOf(kind) + "-to-its-other-name" +
                      (within ? "/same-directory/" : "/other-directory/") + (code == 0 ? "both-stay" : nameOf(code)),
                  [=] {
                    makeDirectory("d");
                    makeDirectory("e");
                    make(kind, "d/x");
                    works(::link("d/x", to.c_str()));
                    comesTo(code, renameWith("d/x", to.c_str(), flags.bits));
                    same(look("d/x").st_ino, look(to).st_ino, "inode");
                    same(look(to).st_nlink, nlink_t{2}, "links");
                  });
      }
    }
  }
  for (Kind kind : ALL_KINDS) {
    suite.add("rename/plain/" + nameOf(kind) + "-onto-itself/works", [kind] {
      make(kind, "x");
      works(::rename("x", "x"));
      same(look("x").st_mode & S_IFMT, typeOf(kind), "type");
    });
    suite.add("rename/noreplace/" + nameOf(kind) + "-onto-itself/EEXIST", [kind] {
      make(kind, "x");
      fails(EEXIST, renameWith("x", "x", RENAME_NOREPLACE));
    });
  }
}

// ---- flags that don't go together

void addFlags(Suite& suite) {
  struct Bad {
    const char* name;
    unsigned bits;
  };
  static constexpr Bad BAD[] = {{"noreplace-and-exchange", RENAME_NOREPLACE | RENAME_EXCHANGE},
                                {"exchange-and-whiteout", RENAME_EXCHANGE | RENAME_WHITEOUT},
                                {"all", 7},
                                {"unknown", 8},
                                {"unknown-high", 1u << 31}};
  for (const Bad& bad : BAD) {
    suite.add(std::string("rename/flags/") + bad.name + "/EINVAL", [&bad] {
      makeFile("x");
      makeFile("y");
      fails(EINVAL, renameWith("x", "y", bad.bits));
      fails(EINVAL, renameWith("none", "y", bad.bits));
    });
  }
  suite.add("rename/flags/noreplace-and-whiteout/works", [] {
    makeFile("x");
    works(renameWith("x", "y", RENAME_NOREPLACE | RENAME_WHITEOUT));
    same(look("x").st_mode, static_cast<mode_t>(S_IFCHR), "what is left");
    holds(exists("y"), "the new name");
  });
  suite.add("rename/whiteout/set-group-id-directory/inherits-group", [] {
    makeDirectory("d");
    makeFile("d/x");
    setOwner("d", 0, GROUP_GID);
    setMode("d", 02755);
    works(renameWith("d/x", "d/y", RENAME_WHITEOUT));
    same(look("d/x").st_gid, GROUP_GID, "group of what is left");
  });
  suite.add("rename/whiteout/by-user/works", [] {
    makeFile("x");
    setOwner("x", other().uid, other().gid);
    comesToAs(other(), 0, [] { return renameWith("x", "y", RENAME_WHITEOUT); });
    same(look("x").st_mode, static_cast<mode_t>(S_IFCHR), "what is left");
  });
}

// ---- no cycle of directories, ever

struct Cycle {
  const char* name;
  const char* from;
  const char* to;
  unsigned flags;
  int code;
};
constexpr Cycle CYCLES[] = {
    {"into-itself", "a", "a/new", 0, EINVAL},
    {"into-child", "a", "a/b/new", 0, EINVAL},
    {"into-grandchild", "a", "a/b/c/new", 0, EINVAL},
    {"onto-child", "a", "a/b", 0, EINVAL},
    {"onto-grandchild", "a", "a/b/c", 0, EINVAL},
    {"onto-parent", "a/b", "a", 0, ENOTEMPTY},
    {"onto-grandparent", "a/b/c", "a", 0, ENOTEMPTY},
    {"file-onto-parent", "a/file", "a", 0, ENOTEMPTY},
    {"noreplace-into-child", "a", "a/b/new", RENAME_NOREPLACE, EINVAL},
    {"noreplace-onto-child", "a", "a/b", RENAME_NOREPLACE, EEXIST},
    {"exchange-with-child", "a", "a/b", RENAME_EXCHANGE, EINVAL},
    {"exchange-with-grandchild", "a", "a/b/c", RENAME_EXCHANGE, EINVAL},
    {"exchange-with-parent", "a/b", "a", RENAME_EXCHANGE, EINVAL},
    {"exchange-with-grandparent", "a/b/c", "a", RENAME_EXCHANGE, EINVAL},
    {"exchange-file-with-parent", "a/file", "a", RENAME_EXCHANGE, EINVAL},
    {"exchange-with-free-name-in-child", "a", "a/b/new", RENAME_EXCHANGE, ENOENT},
    {"through-symlink-into-child", "a", "link/new", 0, EINVAL},
    {"dot", "a/.", "new", 0, EBUSY},
    {"dot-dot", "a/b/..", "new", 0, EBUSY},
    {"to-dot", "a", "e/.", 0, EBUSY},
    {"to-dot-dot", "e", "a/b/..", 0, EBUSY},
    {"noreplace-to-dot", "a", "e/.", RENAME_NOREPLACE, EEXIST},
};

void addCycles(Suite& suite) {
  for (const Cycle& cycle : CYCLES) {
    suite.add(std::string("rename/cycle/") + cycle.name + "/" + nameOf(cycle.code), [&cycle] {
      for (const char* directory : {"a", "a/b", "a/b/c", "e"}) {
        makeDirectory(directory);
      }
      makeFile("a/file");
      works(::symlink("a/b", "link"));
      fails(cycle.code, renameWith(cycle.from, cycle.to, cycle.flags));
      holds(exists("a/b/c") && exists("a/file") && exists("e"), "the tree is as it was");
    });
  }
  suite.add("rename/cycle/two-directories-each-below-the-other/EINVAL", [] {
    makeDirectory("a");
    makeDirectory("b");
    works(::rename("a", "b/a"));
    fails(EINVAL, ::rename("b", "b/a/b"));
    works(::rename("b/a", "a"));
    works(::rename("b", "a/b"));
    holds(exists("a/b"), "the tree");
  });
  suite.add("rename/cycle/after-exchange-of-depths/parents-are-right", [] {
    for (const char* directory : {"a", "a/b", "a/b/c", "e", "e/f"}) {
      makeDirectory(directory);
    }
    works(renameWith("a/b", "e", RENAME_EXCHANGE));
    holds(exists("e/c") && exists("a/b/f"), "the trees have changed places");
    same(look("a/b/f/../..").st_ino, look("a").st_ino, "two up");
    fails(EINVAL, ::rename("a", "a/b/f/a"));
    works(::rename("a", "e/c/a"));
    fails(EINVAL, ::rename("e", "e/c/a/b/f/e"));
  });
}

// ---- permissions that only rename asks for, and what comes of open files and working directories

void addMoveRules(Suite& suite) {
  suite.add("rename/rules/directory-without-write-to-other-directory/EACCES", [] {
    makeDirectory("e", 0777);
    makeDirectory("x", 0555);
    setOwner("x", other().uid, other().gid);
    comesToAs(other(), EACCES, [] { return ::rename("x", "e/x"); });  // its .. would change
    comesToAs(other(), 0, [] { return ::rename("x", "y"); });
  });
  suite.add("rename/rules/exchange-with-directory-without-write/EACCES", [] {
    makeDirectory("e", 0777);
    makeDirectory("e/x", 0555);
    makeDirectory("x", 0777);
    setOwner("e/x", other().uid, other().gid);
    setOwner("x", other().uid, other().gid);
    comesToAs(other(), EACCES, [] { return renameWith("x", "e/x", RENAME_EXCHANGE); });
  });
  suite.add("rename/rules/file-without-any-permission/works", [] {
    makeFile("x", {}, 0);
    comesToAs(other(), 0, [] { return ::rename("x", "y"); });
  });
  suite.add("rename/rules/open-file/stays-open", [] {
    makeFile("x", "bytes");
    File file("x", O_RDWR);
    works(::rename("x", "y"));
    put(file, "B", 0);
    same(contents("y"), "Bytes", "contents");
    makeFile("x", "another");
    same(contents(file), "Bytes", "contents of the open one");
  });
  suite.add("rename/rules/open-victim/stays-readable", [] {
    makeFile("x", "new");
    makeFile("y", "victim");
    File victim("y", O_RDWR);
    works(::rename("x", "y"));
    same(contents(victim), "victim", "contents of the victim");
    same(look(victim).st_nlink, nlink_t{0}, "its links");
    same(contents("y"), "new", "contents at the name");
  });
  suite.add("rename/rules/victim-with-two-names/keeps-one", [] {
    makeFile("x", "new");
    makeFile("y", "victim");
    works(::link("y", "z"));
    works(::rename("x", "y"));
    same(contents("z"), "victim", "contents");
    same(look("z").st_nlink, nlink_t{1}, "links");
  });
}

void addDirectoryMoves(Suite& suite) {
  suite.add("rename/rules/working-directory/goes-along", [] {
    makeDirectory("d");
    makeDirectory("e");
    works(::chdir("d"));
    works(::rename("../d", "../e/moved"));
    makeFile("x");
    holds(exists("../moved/x"), "made where the directory now is");
    char path[PATH_MAX];
    holds(::getcwd(path, sizeof path) != nullptr, "getcwd works");
    holds(std::string(path).ends_with("/e/moved"), "it names the new place");
  });
  suite.add("rename/rules/working-directory-replaced/is-gone", [] {
    makeDirectory("d");
    makeDirectory("e");
    works(::chdir("e"));
    works(::rename("../d", "../e"));
    fails(ENOENT, ::mknod("x", S_IFREG, 0));
    char path[PATH_MAX];
    holds(::getcwd(path, sizeof path) == nullptr && errno == ENOENT, "getcwd says ENOENT");
  });
  suite.add("rename/rules/through-open-directories/works", [] {
    makeDirectory("d");
    makeDirectory("e");
    makeFile("d/x");
    File from("d", O_RDONLY | O_DIRECTORY);
    File to("e", O_RDONLY | O_DIRECTORY);
    works(::rename("d", "f"));
    works(::renameat(from, "x", to, "y"));
    holds(exists("e/y") && !exists("f/x"), "moved");
    fails(ENOTDIR, ::renameat(File("e/y", O_RDONLY), "x", to, "z"));
    fails(EBADF, ::renameat(-1, "x", to, "z"));
  });
  suite.add("rename/rules/case-of-names/counts", [] {
    makeFile("x");
    works(::rename("x", "X"));
    holds(exists("X") && !exists("x"), "only the new one");
  });
}

}  // namespace

void addRenames(Suite& suite) {
  addPairs(suite);
  addSameFile(suite);
  addFlags(suite);
  addCycles(suite);
}

void addRenameRules(Suite& suite) {
  addMoveRules(suite);
  addDirectoryMoves(suite);
}

}  // namespace cairn::posix
