// Extended attributes: who may set, see and remove them, in each namespace, on each kind of file.
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

enum class Call { SET, GET, LIST, REMOVE };
constexpr Call CALLS[] = {Call::SET, Call::GET, Call::LIST, Call::REMOVE};
constexpr const char* CALL_NAMES[] = {"set", "get", "list", "remove"};
constexpr const char* SPACES[] = {"user", "trusted", "security"};

std::string get(const char* path, const char* name, Here at = Here::current()) {
  std::string value(65536, '\0');
  value.resize(static_cast<size_t>(works(::lgetxattr(path, name, value.data(), value.size()), at)));
  return value;
}

// Sorted, without those that this system's security modules may have put there.
std::vector<std::string> list(const char* path, Here at = Here::current()) {
  std::string names(65536, '\0');
  names.resize(static_cast<size_t>(works(::llistxattr(path, names.data(), names.size()), at)));
  std::vector<std::string> found;
  for (size_t begin = 0; begin < names.size(); begin = names.find('\0', begin) + 1) {
    std::string name = names.c_str() + begin;
    if (name.find(".selinux") == name.npos) {
      found.push_back(name);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

bool holdsUser(Kind kind) {
  return kind == Kind::REGULAR || kind == Kind::DIRECTORY;
}

// What a call comes to for an attribute that is there if it can be. `owns`: of the file, mode 0600.
int codeOf(Call call, const std::string& space, Kind kind, bool isRoot, bool owns) {
  bool changes = call == Call::SET || call == Call::REMOVE;
  if (space == "user") {
    if (!holdsUser(kind)) {
      return changes ? EPERM : ENODATA;
    }
    return isRoot || owns ? 0 : EACCES;
  }
  if (isRoot || (space == "security" && call == Call::GET)) {
    return 0;
  }
  return space == "trusted" && call == Call::GET ? ENODATA : EPERM;
}

long perform(Call call, const std::string& name) {
  char value[16];
  switch (call) {
    case Call::SET:
      return ::lsetxattr("x", name.c_str(), "new", 3, 0);
    case Call::GET:
      return ::lgetxattr("x", name.c_str(), value, sizeof value);
    case Call::REMOVE:
      return ::lremovexattr("x", name.c_str());
    case Call::LIST:
      return static_cast<long>(list("x").size());
  }
  return 0;
}

void prepare(Kind kind, const std::string& space, const std::string& name) {
  make(kind, "x");
  setOwner("x", OWNER_UID, GROUP_GID);
  if (kind != Kind::SYMLINK) {
    setMode("x", 0600);
  }
  if (space != "user" || holdsUser(kind)) {
    works(::lsetxattr("x", name.c_str(), "old", 3, 0));
  }
}

void addCallers(Suite& suite) {
  for (std::string space : SPACES) {
    std::string name = space + ".cairn";
    for (Kind kind : KINDS) {
      for (const Caller* caller : {&root(), &owner(), &other()}) {
        for (Call call : CALLS) {
          if (call == Call::LIST) {
            continue;
          }
          int code = codeOf(call, space, kind, caller == &root(), caller == &owner());
          suite.add("xattr/" + space + "/" + CALL_NAMES[static_cast<int>(call)] + "/" + nameOf(kind) + "/" +
                        caller->name + "/" + (code == 0 ? "works" : nameOf(code)),
                    [=] {
                      prepare(kind, space, name);
                      comesToAs(*caller, code, [&] { return perform(call, name); });
                      if (code == 0 && call == Call::SET) {
                        same(get("x", name.c_str()), "new", "value");
                      }
                      if (code == 0 && call == Call::REMOVE) {
                        fails(ENODATA, ::lgetxattr("x", name.c_str(), nullptr, 0));
                      }
                      if (code == EPERM && space != "user") {
                        same(get("x", name.c_str()), "old", "value");
                      }
                    });
        }
        bool seen = (space != "trusted" || caller == &root()) && (space != "user" || holdsUser(kind));
        suite.add("xattr/" + space + "/list/" + nameOf(kind) + "/" + caller->name + (seen ? "/seen" : "/hidden"), [=] {
          prepare(kind, space, name);
          as(*caller, [&] { same(list("x").size(), size_t{seen ? 1u : 0u}, "attributes in the list"); });
        });
      }
    }
  }
}

void addFlags(Suite& suite) {
  for (std::string space : SPACES) {
    for (Kind kind : {Kind::REGULAR, Kind::DIRECTORY}) {
      std::string name = space + ".cairn";
      std::string about = "xattr/" + space + "/" + nameOf(kind);
      suite.add(about + "/create-over-existing/EEXIST", [=] {
        make(kind, "x");
        works(::setxattr("x", name.c_str(), "old", 3, XATTR_CREATE));
        fails(EEXIST, ::setxattr("x", name.c_str(), "new", 3, XATTR_CREATE));
        same(get("x", name.c_str()), "old", "value");
      });
      suite.add(about + "/replace-missing/ENODATA", [=] {
        make(kind, "x");
        fails(ENODATA, ::setxattr("x", name.c_str(), "new", 3, XATTR_REPLACE));
        same(list("x").size(), size_t{0}, "attributes");
        works(::setxattr("x", name.c_str(), "old", 3, 0));
        works(::setxattr("x", name.c_str(), "newer", 5, XATTR_REPLACE));
        same(get("x", name.c_str()), "newer", "value");
      });
      suite.add(about + "/get-missing/ENODATA", [=] {
        make(kind, "x");
        fails(ENODATA, ::getxattr("x", name.c_str(), nullptr, 0));
        fails(ENODATA, ::removexattr("x", name.c_str()));
      });
      suite.add(about + "/unknown-flag/EINVAL", [=] {
        make(kind, "x");
        fails(EINVAL, ::setxattr("x", name.c_str(), "new", 3, 4));
      });
      suite.add(about + "/nothing-after-prefix/EINVAL", [=] {
        make(kind, "x");
        fails(EINVAL, ::setxattr("x", (space + ".").c_str(), "new", 3, 0));
      });
    }
  }
  for (const char* name : {"plain", "other.x", "User.x", "usr.x", "system.cairn"}) {
    suite.add(std::string("xattr/name/") + name + "/EOPNOTSUPP", [name] {
      makeFile("x");
      fails(EOPNOTSUPP, ::setxattr("x", name, "v", 1, 0));
      fails(EOPNOTSUPP, ::getxattr("x", name, nullptr, 0));
    });
  }
}

void addSizes(Suite& suite) {
  for (size_t length : {size_t{0}, size_t{1}, size_t{3}, size_t{4}, size_t{100}, size_t{255}, size_t{1000},
                        size_t{2048}, size_t{3500}}) {
    suite.add("xattr/value-of-" + std::to_string(length) + "-bytes/kept", [length] {
      makeFile("x");
      std::string value = pattern(length, 1);
      works(::setxattr("x", "user.a", value.data(), value.size(), 0));
      same(get("x", "user.a"), value, "value");
      same(works(::getxattr("x", "user.a", nullptr, 0)), static_cast<long>(length), "size when asked for");
      if (length > 1) {
        char few[1];
        fails(ERANGE, ::getxattr("x", "user.a", few, sizeof few));
      }
    });
  }
  for (size_t length : {size_t{4096}, size_t{16384}, size_t{65536}}) {
    suite.add("xattr/large-value-of-" + std::to_string(length) + "-bytes/kept", [length] {
      makeFile("x");
      std::string value = pattern(length, 1);
      works(::setxattr("x", "user.a", value.data(), value.size(), 0));
      same(get("x", "user.a"), value, "value");
    });
  }
}

void addLimits(Suite& suite) {
  suite.add("xattr/value-of-65537-bytes/E2BIG", [] {
    makeFile("x");
    std::string value(65537, 'v');
    fails(E2BIG, ::setxattr("x", "user.a", value.data(), value.size(), 0));
  });
  suite.add("xattr/name-of-255-bytes/kept", [] {
    makeFile("x");
    std::string name = "user." + std::string(250, 'n');
    works(::setxattr("x", name.c_str(), "v", 1, 0));
    same(get("x", name.c_str()), "v", "value");
    same(list("x").at(0), name, "name");
  });
  suite.add("xattr/name-of-256-bytes/ERANGE", [] {
    makeFile("x");
    std::string name = "user." + std::string(251, 'n');
    fails(ERANGE, ::setxattr("x", name.c_str(), "v", 1, 0));
    fails(ERANGE, ::getxattr("x", name.c_str(), nullptr, 0));
    fails(ERANGE, ::removexattr("x", name.c_str()));
  });
  suite.add("xattr/empty-name/ERANGE", [] {
    makeFile("x");
    fails(ERANGE, ::setxattr("x", "", "v", 1, 0));
  });
  suite.add("xattr/list-into-too-little-room/ERANGE", [] {
    makeFile("x");
    works(::setxattr("x", "user.a", "v", 1, 0));
    char few[3];
    fails(ERANGE, ::listxattr("x", few, sizeof few));
  });
  suite.add("xattr/fifty/all-listed", [] {
    makeFile("x");
    for (int i = 0; i < 50; i++) {
      works(::setxattr("x", ("user.name" + std::to_string(i)).c_str(), "value", 5, XATTR_CREATE));
    }
    same(list("x").size(), size_t{50}, "attributes");
    for (int i = 0; i < 50; i += 2) {
      works(::removexattr("x", ("user.name" + std::to_string(i)).c_str()));
    }
    same(list("x").size(), size_t{25}, "attributes");
    same(get("x", "user.name49"), "value", "one of them");
  });
}

void addLives(Suite& suite) {
  suite.add("xattr/rename/goes-along", [] {
    makeFile("x");
    works(::setxattr("x", "user.a", "v", 1, 0));
    works(::rename("x", "y"));
    same(get("y", "user.a"), "v", "value");
  });
  suite.add("xattr/hard-link/is-of-both", [] {
    makeFile("x");
    works(::link("x", "y"));
    works(::setxattr("x", "user.a", "v", 1, 0));
    same(get("y", "user.a"), "v", "value");
  });
  suite.add("xattr/new-file-of-the-old-name/has-none", [] {
    makeFile("x");
    works(::setxattr("x", "user.a", "v", 1, 0));
    works(::unlink("x"));
    makeFile("x");
    same(list("x").size(), size_t{0}, "attributes");
  });
  suite.add("xattr/unlinked-open-file/works", [] {
    makeFile("x");
    File file("x", O_RDWR);
    works(::unlink("x"));
    works(::fsetxattr(file, "user.a", "v", 1, 0));
    same(works(::fgetxattr(file, "user.a", nullptr, 0)), 1L, "size");
  });
  suite.add("xattr/descriptor-for-reading/may-set", [] {
    makeFile("x");
    File file("x", O_RDONLY);
    works(::fsetxattr(file, "user.a", "v", 1, 0));
  });
}

void addOddities(Suite& suite) {
  suite.add("xattr/symlink/followed", [] {
    makeFile("x");
    works(::symlink("x", "s"));
    works(::setxattr("s", "user.a", "v", 1, 0));
    same(get("x", "user.a"), "v", "value");
    works(::lsetxattr("s", "trusted.a", "of the link", 11, 0));
    same(list("x").size(), size_t{1}, "attributes of the target");
  });
  suite.add("xattr/user/sticky-directory-of-another/EPERM", [] {
    makeDirectory("x", 01777);
    comesToAs(other(), EPERM, [] { return ::setxattr("x", "user.a", "v", 1, 0); });
  });
  suite.add("xattr/user/no-read-permission/EACCES", [] {
    makeFile("x", {}, 0666);
    works(::setxattr("x", "user.a", "v", 1, 0));
    setMode("x", 0222);
    comesToAs(other(), EACCES, [] { return ::getxattr("x", "user.a", nullptr, 0); });
    comesToAs(other(), 0, [] { return ::setxattr("x", "user.a", "w", 1, 0); });
    as(other(), [] { same(list("x").size(), size_t{1}, "attributes"); });
  });
  suite.add("xattr/binary-value/kept", [] {
    makeFile("x");
    std::string value;
    for (int i = 0; i < 256; i++) {
      value += static_cast<char>(i);
    }
    works(::setxattr("x", "user.a", value.data(), value.size(), 0));
    same(get("x", "user.a"), value, "value");
  });
  suite.add("xattr/odd-bytes-in-name/kept", [] {
    makeFile("x");
    works(::setxattr("x", "user.\xff \n.b", "v", 1, 0));
    same(list("x").at(0), std::string("user.\xff \n.b"), "name");
  });
}

}  // namespace

void addXattrs(Suite& suite) {
  addCallers(suite);
  addFlags(suite);
  addSizes(suite);
  addLimits(suite);
  addLives(suite);
  addOddities(suite);
}

}  // namespace cairn::posix
