// Times: who may set them to what, and which operation moves which.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

constexpr timespec LONG_AGO = {1'000'000'000, 123'456'789};

void equalTime(const timespec& got, const timespec& wanted, const std::string& what, Here at = Here::current()) {
  if (!(got == wanted)) {
    fail(what + ": " + shown(got) + ", not " + shown(wanted), at);
  }
}

// ---- utimensat: who may

struct Wish {
  const char* name;
  timespec times[2];
  bool null;
  enum { TOUCH, SET, NOTHING } sort;  // touching asks for less than setting
};
constexpr timespec NOW = {0, UTIME_NOW};
constexpr timespec OMIT = {0, UTIME_OMIT};
constexpr Wish WISHES[] = {
    {"null", {}, true, Wish::TOUCH},
    {"now-now", {NOW, NOW}, false, Wish::TOUCH},
    {"omit-omit", {OMIT, OMIT}, false, Wish::NOTHING},
    {"now-omit", {NOW, OMIT}, false, Wish::SET},
    {"omit-now", {OMIT, NOW}, false, Wish::SET},
    {"set-set", {LONG_AGO, LONG_AGO}, false, Wish::SET},
    {"set-omit", {LONG_AGO, OMIT}, false, Wish::SET},
    {"omit-set", {OMIT, LONG_AGO}, false, Wish::SET},
    {"set-now", {LONG_AGO, NOW}, false, Wish::SET},
    {"now-set", {NOW, LONG_AGO}, false, Wish::SET},
};

void checkTime(const timespec& got, const timespec& before, const timespec& asked, const std::string& what) {
  if (asked.tv_nsec == UTIME_OMIT) {
    equalTime(got, before, what + ", left out");
  } else if (asked.tv_nsec == UTIME_NOW) {
    holds(before < got, what + " is now");
  } else {
    equalTime(got, asked, what);
  }
}

void addWish(Suite& suite, const Wish& wish, Kind kind, const Caller& caller, mode_t mode) {
  bool owns = caller.uid == 0 || caller.uid == OWNER_UID;
  int code = 0;
  if (!owns && wish.sort == Wish::SET) {
    code = EPERM;
  } else if (!owns && wish.sort == Wish::TOUCH && (mode & 0222) == 0) {
    code = EACCES;
  }
  suite.add("utimensat/" + nameOf(kind) + "/" + wish.name + "/" + caller.name + "/" + octal(mode) + "/" +
                (code == 0 ? "works" : nameOf(code)),
            [=, &wish, &caller] {
              constexpr timespec BEFORE = {5, 6};
              make(kind, "x");
              setOwner("x", OWNER_UID, GROUP_GID);
              setMode("x", mode);
              setTimes("x", BEFORE, BEFORE);
              comesToAs(caller, code, [&] { return ::utimensat(AT_FDCWD, "x", wish.null ? nullptr : wish.times, 0); });
              struct stat after = look("x");
              bool unchanged = code != 0;
              timespec accessed = unchanged ? OMIT : wish.null ? NOW : wish.times[0];
              timespec modified = unchanged ? OMIT : wish.null ? NOW : wish.times[1];
              checkTime(after.st_atim, BEFORE, accessed, "atime");
              checkTime(after.st_mtim, BEFORE, modified, "mtime");
            });
}

void addKept(Suite& suite) {
  struct Moment {
    const char* name;
    timespec time;
  };
  static constexpr Moment MOMENTS[] = {
      {"epoch", {0, 0}},
      {"first-nanosecond", {0, 1}},
      {"last-nanosecond", {1, 999'999'999}},
      {"before-1970", {-1, 0}},
      {"before-1970-with-nanoseconds", {-1'000'000, 999'999'999}},
      {"year-1901", {-2'147'483'648, 0}},
      {"year-2038", {2'147'483'647, 999'999'999}},
      {"after-2038", {2'147'483'648, 5}},
      {"year-2106", {4'294'967'296, 123'456'789}},
      {"year-2446", {15'032'385'535, 0}},
  };
  for (const Moment& moment : MOMENTS) {
    for (Kind kind : KINDS) {
      suite.add(std::string("utimensat/kept/") + moment.name + "/" + nameOf(kind), [&moment, kind] {
        constexpr timespec ANOTHER = {77, 88};
        make(kind, "x");
        setTimes("x", moment.time, ANOTHER);
        equalTime(look("x").st_atim, moment.time, "atime");
        equalTime(look("x").st_mtim, ANOTHER, "mtime");
        setTimes("x", ANOTHER, moment.time);
        equalTime(look("x").st_mtim, moment.time, "mtime");
      });
    }
  }
}

void addUtimensatRules(Suite& suite) {
  for (long nanos : {-1L, 1'000'000'000L, 2'000'000'000L}) {
    for (int which : {0, 1}) {
      suite.add("utimensat/nanoseconds-out-of-range/" + std::string(which == 0 ? "atime" : "mtime") + "/" +
                    std::to_string(nanos) + "/EINVAL",
                [=] {
                  makeFile("x");
                  setTimes("x", LONG_AGO, LONG_AGO);
                  timespec times[2] = {{1, 1}, {1, 1}};
                  times[which].tv_nsec = nanos;
                  fails(EINVAL, ::utimensat(AT_FDCWD, "x", times, 0));
                  equalTime(look("x").st_mtim, LONG_AGO, "mtime");
                });
    }
  }
  suite.add("utimensat/unknown-flag/EINVAL", [] {
    makeFile("x");
    fails(EINVAL, ::utimensat(AT_FDCWD, "x", nullptr, 0x4));
  });
  suite.add("utimensat/symlink/itself", [] {
    makeFile("x");
    works(::symlink("x", "link"));
    setTimes("x", {1, 1}, {1, 1});
    setTimes("link", LONG_AGO, LONG_AGO);
    equalTime(look("link").st_mtim, LONG_AGO, "mtime of the symlink");
    equalTime(look("x").st_mtim, {1, 1}, "mtime of its target");
  });
  suite.add("futimens/descriptor-for-reading/works", [] {
    makeFile("x");
    File file("x", O_RDONLY);
    timespec times[2] = {{1, 2}, LONG_AGO};
    works(::futimens(file, times));
    equalTime(look("x").st_mtim, LONG_AGO, "mtime");
  });
  suite.add("futimens/after-write/stays", [] {
    timespec times[2] = {{1, 2}, LONG_AGO};
    {
      File file("x", O_CREAT | O_RDWR);
      put(file, "bytes", 0);
      works(::futimens(file, times));
      equalTime(look("x").st_mtim, LONG_AGO, "mtime while it is open");
    }
    equalTime(look("x").st_mtim, LONG_AGO, "mtime after the close");
  });
}

void addUtimensatEffects(Suite& suite) {
  suite.add("utimensat/omit-omit/ctime-stays", [] {
    makeFile("x");
    timespec before = look("x").st_ctim;
    letTimePass();
    timespec times[2] = {OMIT, OMIT};
    works(::utimensat(AT_FDCWD, "x", times, 0));
    equalTime(look("x").st_ctim, before, "ctime");
  });
  suite.add("utimensat/set/ctime-moves", [] {
    makeFile("x");
    timespec before = look("x").st_ctim;
    letTimePass();
    setTimes("x", LONG_AGO, LONG_AGO);
    holds(before < look("x").st_ctim, "a later ctime");
  });
  suite.add("utimensat/immutable-in-the-past/order-of-ctime", [] {
    makeFile("x");
    setTimes("x", LONG_AGO, LONG_AGO);
    holds(LONG_AGO < look("x").st_ctim, "ctime is that of the change");
  });
}

struct statx lookMore(const std::string& path) {
  struct statx found {};
  works(::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &found));
  return found;
}

void addBirth(Suite& suite) {
  for (Kind kind : KINDS) {
    suite.add("btime/" + nameOf(kind) + "/given-and-stays", [kind] {
      timespec before{};
      timespec after{};
      ::clock_gettime(CLOCK_REALTIME_COARSE, &before);
      make(kind, "x");
      letTimePass();
      ::clock_gettime(CLOCK_REALTIME, &after);
      struct statx made = lookMore("x");
      holds((made.stx_mask & STATX_BTIME) != 0, "there is a btime");
      timespec born = {made.stx_btime.tv_sec, static_cast<long>(made.stx_btime.tv_nsec)};
      holds(!(born < before) && born < after, "btime is that of the making");
      setTimes("x", LONG_AGO, LONG_AGO);
      works(::lchown("x", 5, 6));
      works(::rename("x", "y"));
      struct statx later = lookMore("y");
      equalTime({later.stx_btime.tv_sec, static_cast<long>(later.stx_btime.tv_nsec)}, born, "btime later");
    });
  }
}

}  // namespace

void addTimeSettings(Suite& suite) {
  for (const Wish& wish : WISHES) {
    for (const Caller* caller : {&root(), &owner(), &member(), &other()}) {
      for (mode_t mode : {0444, 0666}) {
        addWish(suite, wish, Kind::REGULAR, *caller, mode);
        addWish(suite, wish, Kind::DIRECTORY, *caller, mode | 0111);
      }
    }
    addWish(suite, wish, Kind::FIFO, other(), 0666);
    addWish(suite, wish, Kind::SOCKET, other(), 0444);
    addWish(suite, wish, Kind::CHARACTER, owner(), 0444);
  }
  addKept(suite);
  addUtimensatRules(suite);
  addUtimensatEffects(suite);
  addBirth(suite);
}

}  // namespace cairn::posix
