// Locks between two programs of one machine: records (fcntl), open file descriptions, whole files (flock).
#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

struct Range {
  const char* name;
  off_t start;
  off_t length;  // 0: up to the end, wherever it will be
};
constexpr Range HELD = {"held", 100, 100};
constexpr Range ASKED[] = {{"the-same", 100, 100},        {"before", 0, 100},       {"after", 200, 50},
                           {"across-begin", 50, 51},      {"across-end", 199, 100}, {"inside", 150, 1},
                           {"around", 0, 1000},           {"to-the-end", 150, 0},   {"from-its-end-on", 200, 0},
                           {"whole-file", 0, 0},          {"last-byte", 199, 1},    {"negative-length", 150, -60},
                           {"negative-before", 100, -100}};

struct flock lockOf(short type, const Range& range) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = range.start;
  lock.l_len = range.length;
  return lock;
}

bool overlap(const Range& asked) {
  off_t begin = asked.length < 0 ? asked.start + asked.length : asked.start;
  off_t end = asked.length < 0 ? asked.start : asked.length == 0 ? LLONG_MAX : asked.start + asked.length;
  return begin < HELD.start + HELD.length && HELD.start < end;
}

const char* nameOfType(short type) {
  return type == F_RDLCK ? "read" : "write";
}

void addConflicts(Suite& suite, const char* family, int setting, int getting) {
  for (short held : {short{F_RDLCK}, short{F_WRLCK}}) {
    for (short asked : {short{F_RDLCK}, short{F_WRLCK}}) {
      for (const Range& range : ASKED) {
        bool conflict = overlap(range) && (held == F_WRLCK || asked == F_WRLCK);
        suite.add(std::string("lock/") + family + "/" + nameOfType(held) + "-held/" + nameOfType(asked) + "-asked/" +
                      range.name + (conflict ? "/EAGAIN" : "/works"),
                  [=, &range] {
                    makeFile("x", "bytes");
                    File holder("x", O_RDWR);
                    struct flock mine = lockOf(held, HELD);
                    works(::fcntl(holder, setting, &mine));
                    elsewhere([=, &range] {
                      File asker("x", O_RDWR);
                      struct flock test = lockOf(asked, range);
                      works(::fcntl(asker, getting, &test));
                      same<int>(test.l_type, conflict ? held : F_UNLCK, "type of the lock in the way");
                      if (conflict) {
                        same(test.l_start, HELD.start, "its begin");
                        same(test.l_len, HELD.length, "its length");
                      }
                      struct flock wanted = lockOf(asked, range);
                      comesTo(conflict ? EAGAIN : 0, ::fcntl(asker, setting, &wanted));
                    });
                  });
      }
    }
  }
}

bool isTaken(off_t start, off_t length) {
  try {
    elsewhere([&] {
      File file("x", O_RDWR);
      struct flock wanted = lockOf(F_WRLCK, {"", start, length});
      works(::fcntl(file, F_SETLK, &wanted));
    });
  } catch (const Failure&) {
    return true;
  }
  return false;
}

bool isFree(off_t start, off_t length) {
  return !isTaken(start, length);
}

void set(int fd, short type, off_t start, off_t length, Here at = Here::current()) {
  struct flock lock = lockOf(type, {"", start, length});
  works(::fcntl(fd, F_SETLK, &lock), at);
}

void addRecordRules(Suite& suite) {
  suite.add("lock/record/unlock-the-middle/splits", [] {
    makeFile("x");
    File file("x", O_RDWR);
    set(file, F_WRLCK, 0, 300);
    set(file, F_UNLCK, 100, 100);
    holds(isTaken(0, 100) && isTaken(200, 100), "both ends are taken");
    holds(isFree(100, 100), "the middle is free");
  });
  suite.add("lock/record/neighbours/join", [] {
    makeFile("x");
    File file("x", O_RDWR);
    set(file, F_WRLCK, 0, 100);
    set(file, F_WRLCK, 100, 100);
    elsewhere([] {
      File other("x", O_RDWR);
      struct flock test = lockOf(F_WRLCK, {"", 0, 0});
      works(::fcntl(other, F_GETLK, &test));
      same(test.l_len, off_t{200}, "length of the lock in the way");
    });
  });
  suite.add("lock/record/write-to-read/lets-readers-in", [] {
    makeFile("x");
    File file("x", O_RDWR);
    set(file, F_WRLCK, 0, 100);
    set(file, F_RDLCK, 0, 100);
    elsewhere([] {
      File reader("x", O_RDONLY);
      set(reader, F_RDLCK, 0, 100);
    });
    holds(isTaken(0, 100), "writers stay out");
  });
  suite.add("lock/record/close-of-any-descriptor/frees-all", [] {
    makeFile("x");
    File file("x", O_RDWR);
    set(file, F_WRLCK, 0, 100);
    { File another("x", O_RDONLY); }
    holds(isFree(0, 100), "free");
  });
  suite.add("lock/record/end-of-the-process/frees-all", [] {
    makeFile("x");
    elsewhere([] {
      int fd = ::open("x", O_RDWR);
      set(fd, F_WRLCK, 0, 100);
    });
    holds(isFree(0, 100), "free");
  });
}

void addRecordErrors(Suite& suite) {
  suite.add("lock/record/fork/child-has-none", [] {
    makeFile("x");
    File file("x", O_RDWR);
    set(file, F_WRLCK, 0, 100);
    elsewhere([&file] {
      struct flock wanted = lockOf(F_WRLCK, {"", 0, 100});
      fails(EAGAIN, ::fcntl(file, F_SETLK, &wanted));
    });
  });
  suite.add("lock/record/own-lock/never-in-the-way", [] {
    makeFile("x");
    File file("x", O_RDWR);
    set(file, F_WRLCK, 0, 100);
    struct flock test = lockOf(F_WRLCK, {"", 0, 0});
    works(::fcntl(file, F_GETLK, &test));
    same<int>(test.l_type, F_UNLCK, "type");
    set(file, F_WRLCK, 50, 500);
  });
  suite.add("lock/record/write-lock-on-read-only-descriptor/EBADF", [] {
    makeFile("x");
    File file("x", O_RDONLY);
    struct flock wanted = lockOf(F_WRLCK, {"", 0, 100});
    fails(EBADF, ::fcntl(file, F_SETLK, &wanted));
    set(file, F_RDLCK, 0, 100);
  });
  suite.add("lock/record/read-lock-on-write-only-descriptor/EBADF", [] {
    makeFile("x");
    File file("x", O_WRONLY);
    struct flock wanted = lockOf(F_RDLCK, {"", 0, 100});
    fails(EBADF, ::fcntl(file, F_SETLK, &wanted));
  });
  suite.add("lock/record/before-the-beginning/EINVAL", [] {
    makeFile("x");
    File file("x", O_RDWR);
    struct flock wanted = lockOf(F_WRLCK, {"", 10, -11});
    fails(EINVAL, ::fcntl(file, F_SETLK, &wanted));
  });
  suite.add("lock/record/from-the-end/counts-the-size", [] {
    makeFile("x", "0123456789");
    File file("x", O_RDWR);
    struct flock wanted = lockOf(F_WRLCK, {"", -3, 3});
    wanted.l_whence = SEEK_END;
    works(::fcntl(file, F_SETLK, &wanted));
    holds(isTaken(7, 3) && isFree(0, 7) && isFree(10, 0), "bytes 7 to 9");
  });
}

// That another process waits for a lock is seen in /proc.
bool sleepsInLock(pid_t pid) {
  std::string path = "/proc/" + std::to_string(pid) + "/syscall";
  int fd = ::open(path.c_str(), O_RDONLY);
  char text[64] = {};
  ssize_t length = fd < 0 ? -1 : ::read(fd, text, sizeof text - 1);
  ::close(fd);
  long call = length > 0 && text[0] != 'r' ? std::strtol(text, nullptr, 10) : -1;  // "running", or the call's number
  return call == SYS_fcntl || call == SYS_flock;
}

pid_t waiter(const std::function<long()>& call) {
  pid_t child = static_cast<pid_t>(works(::fork()));
  if (child == 0) {
    ::_exit(call() < 0 ? errno : 0);
  }
  while (!sleepsInLock(child)) {
    int status = 0;
    holds(::waitpid(child, &status, WNOHANG) == 0, "it waits");
  }
  return child;
}

int codeOf(pid_t child) {
  int status = 0;
  works(::waitpid(child, &status, 0));
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

long waitFor(int operation, off_t start) {
  int fd = ::open("x", O_RDWR);
  struct flock wanted = lockOf(F_WRLCK, {"", start, 10});
  return ::fcntl(fd, operation, &wanted);
}

void addDeadlock(Suite& suite) {
  suite.add("lock/record/two-wait-for-each-other/EDEADLK", [] {
    makeFile("x");
    File file("x", O_RDWR);
    set(file, F_WRLCK, 0, 10);
    int ready[2];
    works(::pipe(ready));
    pid_t child = waiter([&ready]() -> long {
      int fd = ::open("x", O_RDWR);
      set(fd, F_WRLCK, 100, 10);
      works(::write(ready[1], "", 1));
      return waitFor(F_SETLKW, 0);
    });
    // It may have been seen sleeping over its first lock.
    char byte = 0;
    works(::read(ready[0], &byte, 1));
    while (!sleepsInLock(child)) {
      holds(::waitpid(child, nullptr, WNOHANG) == 0, "it waits");
    }
    struct flock wanted = lockOf(F_WRLCK, {"", 100, 10});
    fails(EDEADLK, ::fcntl(file, F_SETLKW, &wanted));
    set(file, F_UNLCK, 0, 10);
    same(codeOf(child), 0, "how the other ended");
  });
}

void addWaits(Suite& suite) {
  suite.add("lock/record/waits/until-it-is-free", [] {
    makeFile("x");
    File file("x", O_RDWR);
    set(file, F_WRLCK, 0, 100);
    pid_t child = waiter([] { return waitFor(F_SETLKW, 0); });
    set(file, F_UNLCK, 0, 100);
    same(codeOf(child), 0, "how the waiter ended");
  });
  suite.add("lock/description/waits/until-it-is-free", [] {
    makeFile("x");
    auto file = std::make_unique<File>("x", O_RDWR);
    struct flock mine = lockOf(F_WRLCK, HELD);
    works(::fcntl(*file, F_OFD_SETLK, &mine));
    pid_t child = waiter([] { return waitFor(F_OFD_SETLKW, 100); });
    mine.l_type = F_UNLCK;
    works(::fcntl(*file, F_OFD_SETLK, &mine));
    same(codeOf(child), 0, "how the waiter ended");
  });
  suite.add("lock/file/waits/until-it-is-free", [] {
    makeFile("x");
    File file("x", O_RDWR);
    works(::flock(file, LOCK_EX));
    pid_t child = waiter([]() -> long { return ::flock(::open("x", O_RDWR), LOCK_SH); });
    works(::flock(file, LOCK_UN));
    same(codeOf(child), 0, "how the waiter ended");
  });
  suite.add("lock/record/waits/EINTR-by-a-signal", [] {
    makeFile("x");
    File file("x", O_RDWR);
    set(file, F_WRLCK, 0, 100);
    struct sigaction nothing {};
    nothing.sa_handler = [](int) {};
    works(::sigaction(SIGUSR1, &nothing, nullptr));
    pid_t child = waiter([] { return waitFor(F_SETLKW, 0); });
    works(::kill(child, SIGUSR1));
    same(codeOf(child), EINTR, "what the waiter got");
  });
}

void addWholeFiles(Suite& suite) {
  struct Kind {
    const char* name;
    int held;
    int asked;
    int code;
  };
  static constexpr Kind KINDS_OF_FLOCK[] = {{"shared-shared", LOCK_SH, LOCK_SH, 0},
                                            {"shared-exclusive", LOCK_SH, LOCK_EX, EWOULDBLOCK},
                                            {"exclusive-shared", LOCK_EX, LOCK_SH, EWOULDBLOCK},
                                            {"exclusive-exclusive", LOCK_EX, LOCK_EX, EWOULDBLOCK},
                                            {"released-exclusive", LOCK_UN, LOCK_EX, 0}};
  for (const Kind& kind : KINDS_OF_FLOCK) {
    for (bool elsewhereAsked : {false, true}) {
      suite.add(std::string("lock/file/") + kind.name + (elsewhereAsked ? "/another-process/" : "/same-process/") +
                    (kind.code == 0 ? "works" : nameOf(kind.code)),
                [=, &kind] {
                  makeFile("x");
                  File holder("x", O_RDONLY);
                  works(::flock(holder, LOCK_EX));
                  works(::flock(holder, kind.held));
                  auto ask = [&kind] {
                    File asker("x", O_RDONLY);
                    comesTo(kind.code, ::flock(asker, kind.asked | LOCK_NB));
                  };
                  if (elsewhereAsked) {
                    elsewhere(ask);
                  } else {
                    ask();
                  }
                });
    }
  }
}

void addFileRules(Suite& suite) {
  suite.add("lock/file/duplicate/shares-it", [] {
    makeFile("x");
    File holder("x", O_RDWR);
    works(::flock(holder, LOCK_EX));
    int copy = ::dup(holder);
    works(::flock(copy, LOCK_EX | LOCK_NB));
    holder.close();
    File asker("x", O_RDWR);
    fails(EWOULDBLOCK, ::flock(asker, LOCK_EX | LOCK_NB));
    works(::flock(copy, LOCK_UN));
    works(::flock(asker, LOCK_EX | LOCK_NB));
  });
  suite.add("lock/file/last-close/frees", [] {
    makeFile("x");
    {
      File holder("x", O_RDWR);
      works(::flock(holder, LOCK_EX));
    }
    File asker("x", O_RDWR);
    works(::flock(asker, LOCK_EX | LOCK_NB));
  });
  suite.add("lock/file/bad-operation/EINVAL", [] {
    makeFile("x");
    File file("x", O_RDWR);
    fails(EINVAL, ::flock(file, 0));
  });
  suite.add("lock/file/directory/works", [] {
    makeDirectory("d");
    File directory("d", O_RDONLY);
    works(::flock(directory, LOCK_EX));
    File asker("d", O_RDONLY);
    fails(EWOULDBLOCK, ::flock(asker, LOCK_SH | LOCK_NB));
  });
}

void addDescriptions(Suite& suite) {
  suite.add("lock/description/two-of-one-process/conflict", [] {
    makeFile("x");
    File first("x", O_RDWR);
    File second("x", O_RDWR);
    struct flock lock = lockOf(F_WRLCK, HELD);
    works(::fcntl(first, F_OFD_SETLK, &lock));
    lock = lockOf(F_WRLCK, HELD);
    fails(EAGAIN, ::fcntl(second, F_OFD_SETLK, &lock));
  });
  suite.add("lock/description/close-of-another-descriptor/stays", [] {
    makeFile("x");
    File first("x", O_RDWR);
    struct flock lock = lockOf(F_WRLCK, {"", 0, 100});
    works(::fcntl(first, F_OFD_SETLK, &lock));
    { File another("x", O_RDONLY); }
    holds(isTaken(0, 100), "taken");
    first.close();
    holds(isFree(0, 100), "free after the last close");
  });
  suite.add("lock/description/pid-must-be-zero/EINVAL", [] {
    makeFile("x");
    File file("x", O_RDWR);
    struct flock lock = lockOf(F_WRLCK, HELD);
    lock.l_pid = 1;
    fails(EINVAL, ::fcntl(file, F_OFD_SETLK, &lock));
  });
}

}  // namespace

void addLocks(Suite& suite) {
  addConflicts(suite, "record", F_SETLK, F_GETLK);
  addConflicts(suite, "description", F_OFD_SETLK, F_OFD_GETLK);
  addRecordRules(suite);
  addRecordErrors(suite);
  addWaits(suite);
  addDeadlock(suite);
  addWholeFiles(suite);
  addFileRules(suite);
  addDescriptions(suite);
}

}  // namespace cairn::posix
