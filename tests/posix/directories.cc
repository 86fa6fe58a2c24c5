// Listing directories: everything once, whatever changes meanwhile; positions; statfs.
#include <dirent.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

class Listing {
 public:
  explicit Listing(const std::string& path, Here at = Here::current()) : directory_(::opendir(path.c_str())) {
    holds(directory_ != nullptr, "the directory opens", at);
  }
  Listing(const Listing&) = delete;
  ~Listing() { ::closedir(directory_); }
  DIR* get() { return directory_; }
  const dirent* next() { return ::readdir(directory_); }
  // Names with how often they came, without . and ..
  std::map<std::string, int> rest() {
    std::map<std::string, int> names;
    while (const dirent* entry = next()) {
      std::string name = entry->d_name;
      if (name != "." && name != "..") {
        names[name]++;
      }
    }
    return names;
  }

 private:
  DIR* directory_;
};

std::string numbered(int i) {
  return "name-" + std::to_string(i);
}

void fill(const std::string& directory, int count) {
  makeDirectory(directory);
  makeFile(directory + "/" + numbered(0));
  for (int i = 1; i < count; i++) {
    works(::link((directory + "/" + numbered(0)).c_str(), (directory + "/" + numbered(i)).c_str()));
  }
}

void eachOnce(const std::map<std::string, int>& names, int from, int to) {
  for (int i = from; i < to; i++) {
    auto found = names.find(numbered(i));
    same(found == names.end() ? 0 : found->second, 1, "times that " + numbered(i) + " was listed");
  }
}

constexpr int MANY = 300;

void addCounts(Suite& suite) {
  for (int count : {0, 1, 2, 30, MANY, 1100}) {
    suite.add("readdir/" + std::to_string(count) + "-names/each-once", [count] {
      makeDirectory("d");
      if (count > 0) {
        works(::rmdir("d"));
        fill("d", count);
      }
      Listing listing("d");
      auto names = listing.rest();
      same(names.size(), static_cast<size_t>(count), "names");
      eachOnce(names, 0, count);
      ::rewinddir(listing.get());
      same(listing.rest().size(), static_cast<size_t>(count), "names after a rewind");
    });
  }
  for (Kind kind : KINDS) {
    suite.add("readdir/type/" + nameOf(kind), [kind] {
      makeDirectory("d");
      make(kind, "d/x");
      Listing listing("d");
      while (const dirent* entry = listing.next()) {
        if (entry->d_name == std::string("x")) {
          same(entry->d_ino, look("d/x").st_ino, "inode");
          holds(entry->d_type == DT_UNKNOWN || static_cast<mode_t>(DTTOIF(entry->d_type)) == typeOf(kind),
                "the type is right or unknown");
          return;
        }
      }
      fail("it isn't listed");
    });
  }
}

void addEntries(Suite& suite) {
  suite.add("readdir/dots/right-inodes", [] {
    makeDirectory("d");
    Listing listing("d");
    int seen = 0;
    while (const dirent* entry = listing.next()) {
      std::string name = entry->d_name;
      same(entry->d_ino, look(name == "." ? "d" : ".").st_ino, "inode of " + name);
      seen++;
    }
    same(seen, 2, "entries");
  });
  suite.add("readdir/longest-and-odd-names/kept", [] {
    makeDirectory("d");
    std::set<std::string> wanted;
    for (int i = 1; i < 256; i++) {
      if (i != '/') {
        wanted.insert("odd" + std::string(1, static_cast<char>(i)));
        wanted.insert(std::string(static_cast<size_t>(i), 'n'));
      }
    }
    for (const std::string& name : wanted) {
      makeFile("d/" + name);
    }
    Listing listing("d");
    std::set<std::string> got;
    for (const auto& name : listing.rest()) {
      got.insert(name.first);
    }
    holds(got == wanted, "the names are those that were made");
  });
}

void addPositions(Suite& suite) {
  suite.add("readdir/seekdir/back-to-every-place", [] {
    fill("d", MANY);
    Listing listing("d");
    std::vector<std::pair<long, std::string>> places;
    for (long at = ::telldir(listing.get());; at = ::telldir(listing.get())) {
      const dirent* entry = listing.next();
      if (entry == nullptr) {
        break;
      }
      places.emplace_back(at, entry->d_name);
    }
    same(places.size(), size_t{MANY + 2}, "entries");
    for (size_t i = places.size(); i-- > 0; i -= std::min<size_t>(i, 6)) {
      ::seekdir(listing.get(), places[i].first);
      same(std::string(listing.next()->d_name), places[i].second, "name at the place");
    }
  });
  suite.add("readdir/seekdir/after-removing-what-was-there/goes-on-behind", [] {
    fill("d", MANY);
    Listing listing("d");
    std::vector<std::string> order;
    std::vector<long> places;
    while (const dirent* entry = listing.next()) {
      order.emplace_back(entry->d_name);
      places.push_back(::telldir(listing.get()));
    }
    size_t middle = order.size() / 2;
    works(::unlink(("d/" + order[middle]).c_str()));
    works(::unlink(("d/" + order[middle + 1]).c_str()));
    ::seekdir(listing.get(), places[middle - 1]);
    same(std::string(listing.next()->d_name), order[middle + 2], "name behind the two that went");
  });
}

void addChanges(Suite& suite) {
  for (const char* what : {"unlink", "rename-away", "create", "rename-within", "link"}) {
    suite.add(std::string("readdir/while-names-change/") + what + "/others-once", [what] {
      std::string change = what;
      fill("d", MANY);
      makeDirectory("e");
      Listing listing("d");
      for (int i = 0; i < 20; i++) {
        listing.next();
      }
      for (int i = 0; i < MANY; i += 3) {
        std::string name = "d/" + numbered(i);
        if (change == "unlink") {
          works(::unlink(name.c_str()));
        } else if (change == "rename-away") {
          works(::rename(name.c_str(), ("e/" + numbered(i)).c_str()));
        } else if (change == "create") {
          makeFile(name + "-new");
        } else if (change == "rename-within") {
          works(::rename(name.c_str(), (name + "-new").c_str()));
        } else {
          works(::link(name.c_str(), (name + "-new").c_str()));
        }
      }
      auto seen = listing.rest();
      for (const auto& name : seen) {
        same(name.second, 1, "times that " + name.first + " was listed");
      }
      ::rewinddir(listing.get());
      auto now = listing.rest();
      eachOnce(now, 1, 3);
      bool goes = change == "unlink" || change.starts_with("rename");
      same(now.count(numbered(3)), size_t{goes ? 0u : 1u}, "a changed name, listed anew");
      int untouched = 0;
      for (int i = 0; i < MANY; i++) {
        untouched += i % 3 != 0 && seen.count(numbered(i)) != 0 ? 1 : 0;
      }
      holds(untouched >= MANY * 2 / 3 - 20, "what was there all the time and hadn't come is listed");
    });
  }
}

void addRemovals(Suite& suite) {
  suite.add("readdir/remove-what-comes/empties", [] {
    fill("d", MANY);
    {
      Listing listing("d");
      while (const dirent* entry = listing.next()) {
        if (entry->d_name[0] != '.') {
          works(::unlinkat(::dirfd(listing.get()), entry->d_name, 0));
        }
      }
    }
    works(::rmdir("d"));
  });
  suite.add("readdir/removed-directory/lists-nothing", [] {
    makeDirectory("d");
    Listing listing("d");
    works(::rmdir("d"));
    errno = 0;
    same(listing.rest().size(), size_t{0}, "names");
  });
  suite.add("readdir/made-after-the-open/listed", [] {
    makeDirectory("d");
    Listing listing("d");
    makeFile("d/x");
    same(listing.rest().count("x"), size_t{1}, "times that it is listed");
  });
  suite.add("readdir/two-at-once/do-not-disturb", [] {
    fill("d", 50);
    Listing first("d");
    Listing second("d");
    std::set<std::string> a;
    std::set<std::string> b;
    for (;;) {
      const dirent* one = first.next();
      if (one != nullptr) {
        a.insert(one->d_name);
      }
      const dirent* two = second.next();
      if (two != nullptr) {
        b.insert(two->d_name);
      }
      if (one == nullptr && two == nullptr) {
        break;
      }
    }
    holds(a == b && a.size() == 52, "both have everything");
  });
}

void addBuffers(Suite& suite) {
  suite.add("readdir/file/ENOTDIR", [] {
    makeFile("x");
    holds(::opendir("x") == nullptr && errno == ENOTDIR, "opendir says ENOTDIR");
  });
  suite.add("readdir/small-buffers/each-once", [] {
    fill("d", 100);
    File directory("d", O_RDONLY | O_DIRECTORY);
    std::set<uint64_t> places;
    char room[128];
    int entries = 0;
    for (;;) {
      long length = works(::getdents64(directory, room, sizeof room));
      if (length == 0) {
        break;
      }
      for (long at = 0; at < length; entries++) {
        auto* entry = reinterpret_cast<dirent64*>(room + at);
        places.insert(static_cast<uint64_t>(entry->d_off));
        at += entry->d_reclen;
      }
    }
    same(entries, 102, "entries");
    same(places.size(), size_t{102}, "different places");
  });
  suite.add("readdir/no-room/EINVAL", [] {
    fill("d", 3);
    File directory("d", O_RDONLY | O_DIRECTORY);
    char room[8];
    fails(EINVAL, ::getdents64(directory, room, sizeof room));
  });
}

}  // namespace

void addDirectories(Suite& suite) {
  addCounts(suite);
  addEntries(suite);
  addPositions(suite);
  addChanges(suite);
  addRemovals(suite);
  addBuffers(suite);
  suite.add("directory/fsync/works", [] {
    File directory(".", O_RDONLY | O_DIRECTORY);
    makeFile("x");
    works(::fsync(directory));
    works(::fdatasync(directory));
  });
  for (const char* path : {".", "x", "d"}) {
    suite.add(std::string("statvfs/") + path + "/sane", [path] {
      makeFile("x");
      makeDirectory("d");
      struct statvfs found {};
      works(::statvfs(path, &found));
      same(found.f_namemax, 255ul, "longest name");
      holds(found.f_bsize >= 512 && found.f_frsize >= 512, "block sizes");
      holds(found.f_blocks > 0 && found.f_bfree <= found.f_blocks && found.f_bavail <= found.f_bfree, "blocks");
      holds(found.f_files > 0 && found.f_ffree <= found.f_files, "files");
    });
  }
  suite.add("statvfs/descriptor/same-file-system", [] {
    File directory(".", O_RDONLY);
    struct statvfs byPath {};
    struct statvfs byDescriptor {};
    works(::statvfs(".", &byPath));
    works(::fstatvfs(directory, &byDescriptor));
    same(byPath.f_blocks, byDescriptor.f_blocks, "blocks");
    same(byPath.f_fsid, byDescriptor.f_fsid, "id of the file system");
  });
}

}  // namespace cairn::posix
