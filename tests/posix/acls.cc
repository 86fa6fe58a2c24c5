// POSIX access control lists, through the attributes in which Linux keeps them: which entry decides, what the mask
// does, how the mode follows, and what is inherited.
#include <endian.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

constexpr const char* ACCESS = "system.posix_acl_access";
constexpr const char* DEFAULT = "system.posix_acl_default";

enum Tag : uint16_t { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };
constexpr uint32_t NOBODY = 0xffffffff;

struct Entry {
  Tag tag;
  uint16_t bits;
  uint32_t id = NOBODY;
};
using Acl = std::vector<Entry>;

std::string encoded(const Acl& acl) {
  constexpr uint32_t VERSION = 2;
  std::string bytes;
  auto add = [&bytes](auto value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
  add(htole32(VERSION));
  for (const Entry& entry : acl) {
    add(htole16(entry.tag));
    add(htole16(entry.bits));
    add(htole32(entry.id));
  }
  return bytes;
}

long set(const char* path, const char* which, const Acl& acl) {
  std::string bytes = encoded(acl);
  return ::setxattr(path, which, bytes.data(), bytes.size(), 0);
}

std::string get(const char* path, const char* which, Here at = Here::current()) {
  std::string value(4096, '\0');
  value.resize(static_cast<size_t>(works(::getxattr(path, which, value.data(), value.size()), at)));
  return value;
}

const Caller& named() {
  static const Caller caller{"named-user", 1010, 2010, {}};
  return caller;
}
const Caller& inNamedGroup() {
  static const Caller caller{"in-named-group", 1011, 2011, {}};
  return caller;
}
const Caller& inBothGroups() {
  static const Caller caller{"in-both-groups", 1012, 2011, {GROUP_GID}};
  return caller;
}

struct Decision {
  const char* name;
  const Caller& (*caller)();
  uint16_t owner, user, group, namedGroup, mask, other;  // the entries' bits
  unsigned allowed;                                      // what the caller may
};
constexpr Decision DECISIONS[] = {
    {"owner-entry-decides", owner, 4, 7, 7, 7, 7, 7, 4},
    {"owner-entry-is-not-masked", owner, 7, 0, 0, 0, 0, 0, 7},
    {"named-user-entry-decides", named, 7, 4, 7, 7, 7, 7, 4},
    {"named-user-entry-gives-more", named, 0, 6, 0, 0, 7, 0, 6},
    {"named-user-is-masked", named, 7, 7, 7, 7, 4, 7, 4},
    {"named-user-masked-to-nothing", named, 7, 7, 7, 7, 0, 0, 0},
    {"group-entry-decides", member, 7, 7, 4, 7, 7, 7, 4},
    {"group-is-masked", member, 7, 7, 7, 7, 2, 7, 2},
    {"supplementary-group-counts", extra, 7, 7, 6, 0, 7, 0, 6},
    {"named-group-entry-decides", inNamedGroup, 7, 7, 7, 5, 7, 7, 5},
    {"named-group-is-masked", inNamedGroup, 7, 7, 7, 7, 1, 7, 1},
    {"either-group-may-allow-first", inBothGroups, 0, 0, 4, 2, 7, 0, 4 | 2},
    {"both-groups-deny-and-other-does-not-count", inBothGroups, 7, 7, 0, 0, 7, 7, 0},
    {"other-entry-decides", other, 7, 7, 7, 7, 7, 4, 4},
    {"other-is-not-masked", other, 0, 0, 0, 0, 0, 6, 6},
};

void addDecisions(Suite& suite) {
  for (const Decision& decision : DECISIONS) {
    for (unsigned bit : {4u, 2u, 1u}) {
      int wanted = bit == 4 ? R_OK : bit == 2 ? W_OK : X_OK;
      int code = (decision.allowed & bit) != 0 ? 0 : EACCES;
      suite.add(std::string("acl/decides/") + decision.name + "/" +
                    (bit == 4   ? "read"
                     : bit == 2 ? "write"
                                : "execute") +
                    "/" + (code == 0 ? "works" : nameOf(code)),
                [=, &decision] {
                  makeFile("x", {}, 0700);
                  setOwner("x", OWNER_UID, GROUP_GID);
                  works(set("x", ACCESS,
                            {{USER_OBJ, decision.owner},
                             {USER, decision.user, named().uid},
                             {GROUP_OBJ, decision.group},
                             {GROUP, decision.namedGroup, 2011},
                             {MASK, decision.mask},
                             {OTHER, decision.other}}));
                  comesToAs(decision.caller(), code, [&] { return ::access("x", wanted); });
                  if (bit != 1) {
                    comesToAs(decision.caller(), code, [&] { return ::open("x", bit == 4 ? O_RDONLY : O_WRONLY); });
                  }
                });
    }
  }
}

const Acl SIX = {{USER_OBJ, 7}, {USER, 6, 1010}, {GROUP_OBJ, 5}, {GROUP, 4, 2011}, {MASK, 6}, {OTHER, 1}};

void addMode(Suite& suite) {
  suite.add("acl/mode/shows-the-mask-as-group", [] {
    makeFile("x", {}, 0600);
    works(set("x", ACCESS, SIX));
    same(octal(modeOf("x")), "0761", "mode");
    same(get("x", ACCESS), encoded(SIX), "list");
  });
  suite.add("acl/mode/chmod-sets-the-mask", [] {
    makeFile("x", {}, 0600);
    works(set("x", ACCESS, SIX));
    works(::chmod("x", 0640));
    Acl wanted = SIX;
    wanted[0].bits = 6;
    wanted[4].bits = 4;
    wanted[5].bits = 0;
    same(get("x", ACCESS), encoded(wanted), "list");
  });
  suite.add("acl/mode/minimal-list-is-the-mode", [] {
    makeFile("x", {}, 0600);
    works(set("x", ACCESS, {{USER_OBJ, 7}, {GROUP_OBJ, 5}, {OTHER, 0}}));
    same(octal(modeOf("x")), "0750", "mode");
    fails(ENODATA, ::getxattr("x", ACCESS, nullptr, 0));
  });
  suite.add("acl/mode/removed/group-entry-shows-again", [] {
    makeFile("x", {}, 0600);
    works(set("x", ACCESS, SIX));
    works(::removexattr("x", ACCESS));
    fails(ENODATA, ::getxattr("x", ACCESS, nullptr, 0));
    same(octal(modeOf("x")), "0761", "mode");
  });
}

void addChanges(Suite& suite) {
  suite.add("acl/remove-missing/works", [] {
    makeFile("x");
    works(::removexattr("x", ACCESS));
  });
  suite.add("acl/set/not-owner/EPERM", [] {
    makeFile("x", {}, 0666);
    comesToAs(other(), EPERM, [] { return set("x", ACCESS, SIX); });
    comesToAs(other(), EPERM, [] { return ::removexattr("x", ACCESS); });
  });
  suite.add("acl/set/owner/works", [] {
    makeFile("x");
    setOwner("x", OWNER_UID, GROUP_GID);
    comesToAs(owner(), 0, [] { return set("x", ACCESS, SIX); });
  });
  suite.add("acl/set/drops-set-group-id-of-foreign-group", [] {
    makeFile("x");
    setOwner("x", OWNER_UID, other().gid);
    setMode("x", 02755);
    comesToAs(owner(), 0, [] { return set("x", ACCESS, SIX); });
    same(octal(modeOf("x")), "0761", "mode");
  });
  suite.add("acl/set/moves-ctime", [] {
    makeFile("x");
    timespec before = look("x").st_ctim;
    letTimePass();
    works(set("x", ACCESS, SIX));
    holds(before < look("x").st_ctim, "a later ctime");
  });
  suite.add("acl/listed", [] {
    makeDirectory("x");
    works(set("x", ACCESS, SIX));
    works(set("x", DEFAULT, SIX));
    std::string names(1000, '\0');
    names.resize(static_cast<size_t>(works(::listxattr("x", names.data(), names.size()))));
    holds(names.find(ACCESS) != names.npos && names.find(DEFAULT) != names.npos, "both are listed");
  });
  suite.add("acl/chown/stays", [] {
    makeFile("x");
    works(set("x", ACCESS, SIX));
    works(::chown("x", 5, 6));
    same(get("x", ACCESS), encoded(SIX), "list");
  });
}

void addBad(Suite& suite) {
  struct Bad {
    const char* name;
    Acl acl;
  };
  static const Bad BAD[] = {
      {"no-owner", {{GROUP_OBJ, 7}, {OTHER, 7}}},
      {"no-group", {{USER_OBJ, 7}, {OTHER, 7}}},
      {"no-other", {{USER_OBJ, 7}, {GROUP_OBJ, 7}}},
      {"named-without-mask", {{USER_OBJ, 7}, {USER, 7, 5}, {GROUP_OBJ, 7}, {OTHER, 7}}},
      {"two-owners", {{USER_OBJ, 7}, {USER_OBJ, 7}, {GROUP_OBJ, 7}, {OTHER, 7}}},
      {"two-masks", {{USER_OBJ, 7}, {GROUP_OBJ, 7}, {MASK, 7}, {MASK, 7}, {OTHER, 7}}},
      {"wrong-order", {{GROUP_OBJ, 7}, {USER_OBJ, 7}, {OTHER, 7}}},
      {"bits-beyond-seven", {{USER_OBJ, 15}, {GROUP_OBJ, 7}, {OTHER, 7}}},
      {"unknown-tag", {{USER_OBJ, 7}, {static_cast<Tag>(3), 7}, {GROUP_OBJ, 7}, {OTHER, 7}}},
  };
  for (const Bad& bad : BAD) {
    for (const char* which : {ACCESS, DEFAULT}) {
      suite.add(std::string("acl/bad/") + bad.name + "/" + (which == ACCESS ? "access" : "default") + "/EINVAL",
                [which, &bad] {
                  makeDirectory("x");
                  fails(EINVAL, set("x", which, bad.acl));
                  same(octal(modeOf("x")), "0755", "mode");
                });
    }
  }
  suite.add("acl/bad/version/EOPNOTSUPP", [] {
    makeFile("x");
    std::string bytes = encoded(SIX);
    bytes[0] = 1;
    fails(EOPNOTSUPP, ::setxattr("x", ACCESS, bytes.data(), bytes.size(), 0));
  });
  suite.add("acl/bad/cut-short/EINVAL", [] {
    makeFile("x");
    std::string bytes = encoded(SIX);
    fails(EINVAL, ::setxattr("x", ACCESS, bytes.data(), bytes.size() - 1, 0));
  });
  suite.add("acl/default/of-a-file/EACCES", [] {
    makeFile("x");
    fails(EACCES, set("x", DEFAULT, SIX));
  });
}

// What is made in a directory with a default list.
void addInherited(Suite& suite) {
  suite.add("acl/default/file-inherits-masked-by-mode", [] {
    makeDirectory("d");
    works(set("d", DEFAULT, SIX));
    ::umask(077);  // counts for nothing where there is a default list
    makeFile("d/x", {}, 0640);
    Acl wanted = SIX;
    wanted[0].bits = 6;
    wanted[4].bits = 4;
    wanted[5].bits = 0;
    same(get("d/x", ACCESS), encoded(wanted), "list");
    same(octal(modeOf("d/x")), "0640", "mode");
  });
  suite.add("acl/default/umask-does-not-count", [] {
    makeDirectory("d");
    works(set("d", DEFAULT, {{USER_OBJ, 7}, {GROUP_OBJ, 7}, {OTHER, 7}}));
    ::umask(077);
    makeFile("d/x", {}, 0666);
    same(octal(modeOf("d/x")), "0666", "mode");
    makeDirectory("d/e", 0777);
    same(octal(modeOf("d/e")), "0777", "mode of a directory");
  });
  suite.add("acl/default/directory-inherits-both", [] {
    makeDirectory("d");
    works(set("d", DEFAULT, SIX));
    makeDirectory("d/e", 0777);
    same(get("d/e", DEFAULT), encoded(SIX), "default list");
    same(get("d/e", ACCESS), encoded(SIX), "access list");
  });
  suite.add("acl/default/symlink-inherits-nothing", [] {
    makeDirectory("d");
    works(set("d", DEFAULT, SIX));
    make(Kind::SYMLINK, "d/x");
    same(octal(modeOf("d/x")), "0777", "mode");
  });
  suite.add("acl/default/fifo-inherits", [] {
    makeDirectory("d");
    works(set("d", DEFAULT, SIX));
    make(Kind::FIFO, "d/x", 0777);
    same(get("d/x", ACCESS), encoded(SIX), "list");
  });
}

void addDirectoryLists(Suite& suite) {
  suite.add("acl/default/changes-nothing-for-the-directory", [] {
    makeDirectory("d", 0750);
    works(set("d", DEFAULT, SIX));
    same(octal(modeOf("d")), "0750", "mode");
    fails(ENODATA, ::getxattr("d", ACCESS, nullptr, 0));
  });
  suite.add("acl/default/removed/inherited-no-more", [] {
    makeDirectory("d");
    works(set("d", DEFAULT, SIX));
    works(::removexattr("d", DEFAULT));
    makeFile("d/x", {}, 0640);
    fails(ENODATA, ::getxattr("d/x", ACCESS, nullptr, 0));
  });
  suite.add("acl/directory/named-user-may-search-and-list", [] {
    makeDirectory("d", 0700);
    makeFile("d/x");
    works(set("d", ACCESS, {{USER_OBJ, 7}, {USER, 5, named().uid}, {GROUP_OBJ, 0}, {MASK, 5}, {OTHER, 0}}));
    comesToAs(named(), 0, [] { return ::access("d/x", F_OK); });
    comesToAs(named(), 0, [] { return ::open("d", O_RDONLY | O_DIRECTORY); });
    comesToAs(named(), EACCES, [] { return ::mknod("d/y", S_IFREG, 0); });
    comesToAs(other(), EACCES, [] { return ::access("d/x", F_OK); });
  });
  suite.add("acl/directory/named-user-may-create-and-remove", [] {
    makeDirectory("d", 0700);
    makeFile("d/x");
    works(set("d", ACCESS, {{USER_OBJ, 7}, {USER, 7, named().uid}, {GROUP_OBJ, 0}, {MASK, 7}, {OTHER, 0}}));
    comesToAs(named(), 0, [] { return ::mknod("d/y", S_IFREG, 0); });
    comesToAs(named(), 0, [] { return ::unlink("d/x"); });
    comesToAs(named(), 0, [] { return ::rename("d/y", "d/z"); });
  });
}

}  // namespace

void addAcls(Suite& suite) {
  addDecisions(suite);
  addMode(suite);
  addChanges(suite);
  addBad(suite);
  addInherited(suite);
  addDirectoryLists(suite);
}

}  // namespace cairn::posix
