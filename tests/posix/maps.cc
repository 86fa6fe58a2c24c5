// Mapped files: what a map and reads and writes see of each other, and what signals come of a map's end.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

constexpr size_t PAGE = 4096;

class Map {
 public:
  Map(int fd, size_t length, int protection, int flags, off_t offset = 0, Here at = Here::current())
      : length_(length), begin_(static_cast<char*>(::mmap(nullptr, length, protection, flags, fd, offset))) {
    holds(begin_ != MAP_FAILED, "it is mapped", at);
  }
  Map(const Map&) = delete;
  ~Map() { ::munmap(begin_, length_); }
  char* begin() { return begin_; }
  void sync(Here at = Here::current()) { works(::msync(begin_, length_, MS_SYNC), at); }

 private:
  size_t length_;
  char* begin_;
};

constexpr int RW = PROT_READ | PROT_WRITE;

void addShared(Suite& suite) {
  for (bool sync : {false, true}) {
    suite.add(std::string("map/shared/write-by-map/") + (sync ? "synced" : "not-synced") + "/read-sees-it", [sync] {
      makeFile("x", pattern(3 * PAGE, 1));
      File file("x", O_RDWR);
      Map map(file, 3 * PAGE, RW, MAP_SHARED);
      std::memcpy(map.begin() + PAGE - 2, "mapped", 6);
      if (sync) {
        map.sync();
      }
      same(contents("x").substr(PAGE - 2, 6), "mapped", "bytes");
    });
  }
  suite.add("map/shared/write/map-sees-it", [] {
    makeFile("x", pattern(3 * PAGE, 1));
    File file("x", O_RDWR);
    Map map(file, 3 * PAGE, PROT_READ, MAP_SHARED);
    holds(map.begin()[PAGE] == pattern(3 * PAGE, 1)[PAGE], "a byte of the file");
    put(file, "written", PAGE + 5);
    same(std::string(map.begin() + PAGE + 5, 7), "written", "bytes in the map");
  });
  suite.add("map/shared/write-through-another-descriptor/map-sees-it", [] {
    makeFile("x", pattern(3 * PAGE, 1));
    File file("x", O_RDONLY);
    Map map(file, 3 * PAGE, PROT_READ, MAP_SHARED);
    holds(map.begin()[0] == pattern(3 * PAGE, 1)[0], "a byte of the file");
    File writer("x", O_WRONLY);
    put(writer, "written", 0);
    same(std::string(map.begin(), 7), "written", "bytes in the map");
  });
}

void addMapPairs(Suite& suite) {
  suite.add("map/shared/two-maps/see-each-other", [] {
    makeFile("x", pattern(2 * PAGE, 1));
    File file("x", O_RDWR);
    Map first(file, 2 * PAGE, RW, MAP_SHARED);
    Map second(file, PAGE, RW, MAP_SHARED, PAGE);
    second.begin()[7] = 'Z';
    same<int>(first.begin()[PAGE + 7], 'Z', "byte in the first map");
  });
  suite.add("map/shared/another-process/sees-it", [] {
    makeFile("x", pattern(PAGE, 1));
    File file("x", O_RDWR);
    Map map(file, PAGE, RW, MAP_SHARED);
    elsewhere([] {
      File theirs("x", O_RDWR);
      Map other(theirs, PAGE, RW, MAP_SHARED);
      std::memcpy(other.begin(), "hello", 5);
    });
    same(std::string(map.begin(), 5), "hello", "bytes in the map");
  });
}

void addMapLives(Suite& suite) {
  suite.add("map/shared/close-then-write/kept", [] {
    makeFile("x", pattern(PAGE, 1));
    auto open = [] { return static_cast<int>(works(::open("x", O_RDWR))); };
    int fd = open();
    {
      Map map(fd, PAGE, RW, MAP_SHARED);
      works(::close(fd));
      std::memcpy(map.begin() + 10, "late", 4);
    }
    same(contents("x").substr(10, 4), "late", "bytes");
  });
  suite.add("map/shared/unlinked/works", [] {
    makeFile("x", pattern(PAGE, 1));
    File file("x", O_RDWR);
    Map map(file, PAGE, RW, MAP_SHARED);
    works(::unlink("x"));
    std::memcpy(map.begin(), "bytes", 5);
    map.sync();
    same(contents(file).substr(0, 5), "bytes", "contents");
  });
  suite.add("map/shared/moves-mtime", [] {
    makeFile("x", pattern(PAGE, 1));
    setTimes("x", {1, 1}, {1, 1});
    File file("x", O_RDWR);
    Map map(file, PAGE, RW, MAP_SHARED);
    map.begin()[0] = 'Z';
    map.sync();
    holds((timespec{1, 1}) < look("x").st_mtim, "a later mtime");
  });
}

void addMapSizes(Suite& suite) {
  suite.add("map/shared/grown-by-ftruncate/reaches-the-new-end", [] {
    makeFile("x", pattern(100, 1));
    File file("x", O_RDWR);
    Map map(file, 4 * PAGE, RW, MAP_SHARED);
    works(::ftruncate(file, 4 * PAGE));
    same<int>(map.begin()[3 * PAGE], 0, "byte in the new part");
    map.begin()[3 * PAGE + 1] = 'Z';
    map.sync();
    same<int>(contents("x")[3 * PAGE + 1], 'Z', "byte in the file");
  });
  suite.add("map/shared/beyond-the-end-of-the-last-page/not-in-the-file", [] {
    makeFile("x", pattern(100, 1));
    {
      File file("x", O_RDWR);
      Map map(file, PAGE, RW, MAP_SHARED);
      same<int>(map.begin()[100], 0, "byte behind the end");
      map.begin()[200] = 'Z';
      map.sync();
    }
    same(look("x").st_size, off_t{100}, "size");
    works(::truncate("x", 300));
    same<int>(contents("x")[200], 0, "byte at that place in the longer file");
  });
  suite.add("map/shared/punched-hole/map-sees-zeros", [] {
    makeFile("x", pattern(4 * PAGE, 1));
    File file("x", O_RDWR);
    Map map(file, 4 * PAGE, RW, MAP_SHARED);
    map.begin()[PAGE + 1] = 'Z';
    works(::fallocate(file, 3, PAGE, PAGE));
    same<int>(map.begin()[PAGE + 1], 0, "byte in the map");
    holds(map.begin()[2 * PAGE] == pattern(4 * PAGE, 1)[2 * PAGE], "the next page is whole");
  });
}

void addPrivate(Suite& suite) {
  suite.add("map/private/write/stays-in-the-map", [] {
    makeFile("x", pattern(PAGE, 1));
    File file("x", O_RDONLY);
    Map map(file, PAGE, RW, MAP_PRIVATE);
    std::memcpy(map.begin(), "mine", 4);
    same(contents("x"), pattern(PAGE, 1), "contents");
    same(std::string(map.begin(), 4), "mine", "bytes in the map");
  });
  suite.add("map/private/written-page/does-not-see-later-writes", [] {
    makeFile("x", pattern(PAGE, 1));
    File file("x", O_RDWR);
    Map map(file, PAGE, RW, MAP_PRIVATE);
    std::memcpy(map.begin(), "mine", 4);
    put(file, "theirs", 0);
    same(std::string(map.begin(), 4), "mine", "bytes in the map");
  });
  suite.add("map/private/executable/runs-read-only", [] {
    makeFile("x", pattern(PAGE, 1));
    File file("x", O_RDONLY);
    Map map(file, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE);
    holds(map.begin()[5] == pattern(PAGE, 1)[5], "a byte of the file");
  });
}

void addSignals(Suite& suite) {
  auto endsBy = [](const std::function<void()>& body) {
    pid_t child = static_cast<pid_t>(works(::fork()));
    if (child == 0) {
      body();
      ::_exit(0);
    }
    int status = 0;
    works(::waitpid(child, &status, 0));
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  };
  suite.add("map/past-the-end/SIGBUS", [endsBy] {
    makeFile("x", pattern(100, 1));
    File file("x", O_RDWR);
    Map map(file, 3 * PAGE, RW, MAP_SHARED);
    same(endsBy([&] { map.begin()[PAGE] = 'Z'; }), SIGBUS, "signal");
    same(endsBy([&] { map.begin()[PAGE - 1] = 'Z'; }), 0, "signal within the last page");
  });
  suite.add("map/cut-off-by-truncate/SIGBUS", [endsBy] {
    makeFile("x", pattern(3 * PAGE, 1));
    File file("x", O_RDWR);
    Map map(file, 3 * PAGE, RW, MAP_SHARED);
    map.begin()[2 * PAGE] = 'Z';
    works(::ftruncate(file, PAGE));
    same(endsBy([&] { map.begin()[2 * PAGE] = 'Z'; }), SIGBUS, "signal");
  });
  suite.add("map/read-only/SIGSEGV", [endsBy] {
    makeFile("x", pattern(PAGE, 1));
    File file("x", O_RDWR);
    Map map(file, PAGE, PROT_READ, MAP_SHARED);
    same(endsBy([&] { map.begin()[0] = 'Z'; }), SIGSEGV, "signal");
  });
  suite.add("map/no-length/EINVAL", [] {
    makeFile("x", "bytes");
    File file("x", O_RDWR);
    holds(::mmap(nullptr, 0, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED && errno == EINVAL, "EINVAL");
    holds(::mmap(nullptr, 10, PROT_READ, MAP_SHARED, file, 1) == MAP_FAILED && errno == EINVAL, "EINVAL, unaligned");
  });
}

}  // namespace

void addMaps(Suite& suite) {
  addShared(suite);
  addMapPairs(suite);
  addMapLives(suite);
  addMapSizes(suite);
  addPrivate(suite);
  addSignals(suite);
  suite.add("map/shared/while-an-appender-is-open/each-where-it-belongs", [] {
    makeFile("x", pattern(PAGE, 1));
    File file("x", O_RDWR);
    Map map(file, PAGE, RW, MAP_SHARED);
    File appender("x", O_WRONLY | O_APPEND);
    std::memcpy(map.begin(), "begin", 5);
    map.sync();
    works(::write(appender, "end", 3));
    std::string all = contents("x");
    same(all.size(), PAGE + 3, "size");
    same(all.substr(0, 5) + all.substr(PAGE), "beginend", "first and last bytes");
  });
  for (int flags : {O_RDWR | O_SYNC, O_RDWR | O_APPEND, O_RDWR | O_DIRECT}) {
    const char* name = (flags & O_APPEND) != 0 ? "O_APPEND" : (flags & O_DIRECT) != 0 ? "O_DIRECT" : "O_SYNC";
    suite.add(std::string("map/shared/of-descriptor-with-") + name + "/works", [flags] {
      makeFile("x", pattern(PAGE, 1));
      File file("x", flags);
      Map map(file, PAGE, RW, MAP_SHARED);
      std::memcpy(map.begin() + 5, "bytes", 5);
      map.sync();
      same(contents("x").substr(5, 5), "bytes", "contents");
      same(look("x").st_size, static_cast<off_t>(PAGE), "size");
    });
  }
}

}  // namespace cairn::posix
