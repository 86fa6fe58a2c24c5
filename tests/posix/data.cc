// Bytes: what is written is read back, in every way of writing and reading, at every border that matters; and what
// was never written is zero.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

constexpr off_t PAGE = 4096;
constexpr off_t MIB = off_t{1} << 20;
constexpr off_t CHUNK = 4 * MIB;

struct Piece {
  const char* name;
  off_t offset;
  size_t length;
};
constexpr Piece PIECES[] = {
    {"first-byte", 0, 1},
    {"first-block", 0, 4096},
    {"within-a-block", 100, 300},
    {"last-of-a-block", 4095, 1},
    {"across-blocks", 4095, 2},
    {"across-three-blocks", 4000, 5000},
    {"unaligned-64-KiB", 65535, 65537},
    {"across-a-mebibyte", MIB - 1, 4098},
    {"up-to-a-chunk's-end", CHUNK - 4096, 4096},
    {"across-chunks", CHUNK - 1, 2},
    {"across-chunks-aligned", CHUNK - 4096, 8192},
    {"chunk's-begin", CHUNK, 4096},
    {"past-a-hole", 3 * CHUNK + 5, 1000},
    {"a-mebibyte-and-more", 4096, static_cast<size_t>(MIB) + 777},
};

struct Way {
  const char* name;
  int flags;
  bool aligned;  // only whole blocks
  void (*write)(int fd, const std::string& bytes, off_t offset);
};

void writeByMap(int fd, const std::string& bytes, off_t offset) {
  off_t end = offset + static_cast<off_t>(bytes.size());
  if (look(fd).st_size < end) {
    works(::ftruncate(fd, end));
  }
  off_t begin = offset / PAGE * PAGE;
  auto length = static_cast<size_t>(end - begin);
  void* map = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, begin);
  holds(map != MAP_FAILED, "it is mapped");
  std::memcpy(static_cast<char*>(map) + (offset - begin), bytes.data(), bytes.size());
  works(::munmap(map, length));
}

void writeDirect(int fd, const std::string& bytes, off_t offset) {
  void* memory = nullptr;
  holds(::posix_memalign(&memory, PAGE, bytes.size()) == 0, "there is memory");
  std::memcpy(memory, bytes.data(), bytes.size());
  long written = ::pwrite(fd, memory, bytes.size(), offset);
  ::free(memory);
  same(works(written), static_cast<long>(bytes.size()), "bytes written");
}

void writeVector(int fd, const std::string& bytes, off_t offset) {
  size_t third = bytes.size() / 3;
  auto* begin = const_cast<char*>(bytes.data());
  iovec parts[3] = {{begin, third}, {begin + third, third}, {begin + 2 * third, bytes.size() - 2 * third}};
  same(works(::pwritev(fd, parts, 3, offset)), static_cast<long>(bytes.size()), "bytes written");
}

void writeInSteps(int fd, const std::string& bytes, off_t offset) {
  constexpr size_t STEP = 1000;
  works(::lseek(fd, offset, SEEK_SET));
  for (size_t at = 0; at < bytes.size(); at += STEP) {
    size_t length = std::min(STEP, bytes.size() - at);
    same(works(::write(fd, bytes.data() + at, length)), static_cast<long>(length), "bytes written");
  }
}

constexpr Way WAYS[] = {
    {"pwrite", O_RDWR, false, [](int fd, const std::string& bytes, off_t offset) { put(fd, bytes, offset); }},
    {"pwrite-O_SYNC", O_RDWR | O_SYNC, false,
     [](int fd, const std::string& bytes, off_t offset) { put(fd, bytes, offset); }},
    {"write-in-steps", O_RDWR, false, writeInSteps},
    {"pwritev", O_RDWR, false, writeVector},
    {"pwrite-O_DIRECT", O_RDWR | O_DIRECT, true, writeDirect},
    {"map", O_RDWR, false, writeByMap},
};

void checkWhole(const std::string& path, const std::string& wanted, const std::string& when) {
  std::string got = contents(path);
  same(got.size(), wanted.size(), "size " + when);
  if (got != wanted) {
    auto at = std::mismatch(got.begin(), got.end(), wanted.begin()).first - got.begin();
    fail("another byte at " + std::to_string(at) + " " + when);
  }
}

void lay(std::string& model, const std::string& bytes, off_t offset) {
  size_t end = static_cast<size_t>(offset) + bytes.size();
  model.resize(std::max(model.size(), end), '\0');
  std::copy(bytes.begin(), bytes.end(), model.begin() + offset);
}

void addPieces(Suite& suite) {
  for (const Way& way : WAYS) {
    for (const Piece& piece : PIECES) {
      bool wholeBlocks = piece.offset % PAGE == 0 && piece.length % PAGE == 0;
      if (way.aligned && !wholeBlocks) {
        continue;
      }
      for (bool over : {false, true}) {
        suite.add(std::string("data/") + way.name + "/" + piece.name + (over ? "/over-others" : "/new-file"),
                  [=, &way, &piece] {
                    std::string model;
                    if (over) {
                      model = pattern(static_cast<size_t>(piece.offset) % (2 * MIB) + 5000, 1);
                    }
                    makeFile("x", model);
                    std::string bytes = pattern(piece.length, 2);
                    lay(model, bytes, piece.offset);
                    {
                      File file("x", way.flags);
                      way.write(file, bytes, piece.offset);
                      checkWhole("x", model, "before the close");
                    }
                    checkWhole("x", model, "after the close");
                  });
      }
    }
  }
}

void addReads(Suite& suite) {
  struct Read {
    const char* name;
    off_t offset;
    size_t length;
    long wanted;
  };
  constexpr long SIZE = 10000;
  static constexpr Read READS[] = {
      {"whole", 0, 20000, SIZE},          {"begin", 0, 1, 1},       {"last-byte", SIZE - 1, 1, 1},
      {"across-end", SIZE - 10, 100, 10}, {"at-end", SIZE, 100, 0}, {"past-end", SIZE + 5, 100, 0},
      {"far-past-end", 1L << 40, 10, 0},  {"nothing", 5, 0, 0},     {"unaligned", 4001, 4001, 4001}};
  for (const Read& read : READS) {
    suite.add(std::string("data/read/") + read.name, [&read] {
      std::string body = pattern(SIZE, 3);
      makeFile("x", body);
      File file("x", O_RDONLY);
      std::string got(read.length, 'z');
      same(works(::pread(file, got.data(), read.length, read.offset)), read.wanted, "bytes read");
      for (long i = 0; i < read.wanted; i++) {
        holds(got[static_cast<size_t>(i)] == body[static_cast<size_t>(read.offset + i)], "the bytes are those written");
      }
    });
  }
}

void addSizes(Suite& suite) {
  constexpr off_t SIZES[] = {0, 1, 4095, 4096, 4097, 100000, MIB, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 100};
  for (off_t from : {off_t{5000}, CHUNK + 5000}) {
    for (off_t to : SIZES) {
      suite.add("data/truncate/" + std::to_string(from) + "-to-" + std::to_string(to) + "/and-back", [=] {
        std::string model = pattern(static_cast<size_t>(from), 4);
        makeFile("x", model);
        File file("x", O_RDWR);
        works(::ftruncate(file, to));
        model.resize(static_cast<size_t>(to), '\0');
        same(look(file).st_size, to, "size");
        checkWhole("x", model, "after the truncate");
        works(::ftruncate(file, from));
        model.resize(static_cast<size_t>(from), '\0');
        checkWhole("x", model, "after the way back");
      });
    }
  }
  struct Bad {
    const char* name;
    off_t size;
    int code;
  };
  static constexpr Bad BAD[] = {
      {"negative", -1, EINVAL}, {"most-negative", LLONG_MIN, EINVAL}, {"largest", LLONG_MAX, EFBIG}};
  for (const Bad& bad : BAD) {
    suite.add(std::string("data/truncate/") + bad.name + "/" + nameOf(bad.code), [&bad] {
      makeFile("x", "bytes");
      fails(bad.code, ::truncate("x", bad.size));
      same(contents("x"), "bytes", "contents");
    });
  }
  suite.add("data/truncate/beyond-RLIMIT_FSIZE/EFBIG", [] {
    makeFile("x", "bytes");
    elsewhere([] {
      rlimit limit{1000, 1000};
      ::signal(SIGXFSZ, SIG_IGN);
      works(::setrlimit(RLIMIT_FSIZE, &limit));
      fails(EFBIG, ::truncate("x", 1001));
      works(::truncate("x", 1000));
      File file("x", O_RDWR);
      fails(EFBIG, ::pwrite(file, "b", 1, 1000));
      same(works(::pwrite(file, "0123456789", 10, 995)), 5L, "bytes up to the limit");
    });
  });
  for (Kind kind : {Kind::FIFO, Kind::SOCKET, Kind::CHARACTER, Kind::BLOCK, Kind::DIRECTORY}) {
    int code = kind == Kind::DIRECTORY ? EISDIR : EINVAL;
    suite.add("data/truncate/" + nameOf(kind) + "/" + nameOf(code), [=] {
      make(kind, "x");
      fails(code, ::truncate("x", 0));
    });
  }
}

// An address where nothing is.
class Unmapped {
 public:
  Unmapped() : begin_(::mmap(nullptr, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  ~Unmapped() { ::munmap(begin_, PAGE); }
  void* begin() { return begin_; }

 private:
  void* begin_;
};

void addPositions(Suite& suite) {
  suite.add("data/position/moves-with-reads-and-writes", [] {
    makeFile("x", "0123456789");
    File file("x", O_RDWR);
    char got[4];
    works(::read(file, got, 3));
    same(works(::lseek(file, 0, SEEK_CUR)), 3L, "position");
    works(::write(file, "ab", 2));
    same(works(::lseek(file, 0, SEEK_CUR)), 5L, "position");
    works(::pwrite(file, "c", 1, 9));
    same(works(::lseek(file, 0, SEEK_CUR)), 5L, "position after a pwrite");
    same(works(::lseek(file, -2, SEEK_END)), 8L, "position from the end");
    same(contents("x"), "012ab5678c", "contents");
  });
  suite.add("data/position/shared-by-duplicates", [] {
    makeFile("x", "0123456789");
    File file("x", O_RDWR);
    int copy = ::dup(file);
    works(::lseek(copy, 7, SEEK_SET));
    same(works(::lseek(file, 0, SEEK_CUR)), 7L, "position");
    File separate("x", O_RDWR);
    same(works(::lseek(separate, 0, SEEK_CUR)), 0L, "position of another opening");
  });
  suite.add("data/position/negative/EINVAL", [] {
    makeFile("x", "0123456789");
    File file("x", O_RDWR);
    fails(EINVAL, ::lseek(file, -1, SEEK_SET));
    fails(EINVAL, ::lseek(file, -11, SEEK_END));
    fails(EINVAL, ::lseek(file, 0, 77));
    char got[1];
    fails(EINVAL, ::pread(file, got, 1, -1));
    fails(EINVAL, ::pwrite(file, "b", 1, -1));
  });
}

void addOddities(Suite& suite) {
  suite.add("data/position/write-far-past-the-end/hole-is-zero", [] {
    File file("x", O_CREAT | O_RDWR);
    constexpr off_t FAR = off_t{1} << 33;
    put(file, "end", FAR);
    same(look("x").st_size, FAR + 3, "size");
    char got[8] = "1234567";
    same(works(::pread(file, got, 7, FAR - 4)), 7L, "bytes read");
    holds(std::memcmp(got, "\0\0\0\0end", 7) == 0, "zeros, then the bytes");
  });
  suite.add("data/bad-address/EFAULT", [] {
    makeFile("x", "0123456789");
    File file("x", O_RDWR);
    Unmapped nowhere;
    fails(EFAULT, ::pread(file, nowhere.begin(), 5, 0));
    fails(EFAULT, ::pwrite(file, nowhere.begin(), 5, 0));
    same(contents("x"), "0123456789", "contents");
  });
  suite.add("data/unaligned-O_DIRECT-memory/EINVAL-or-right", [] {
    std::string body = pattern(8192, 5);
    makeFile("x", body);
    File file("x", O_RDWR | O_DIRECT);
    std::string got(4096 + 1, '\0');
    long count = ::pread(file, got.data() + 1, 4096, 0);
    holds(count == 4096 ? got.substr(1) == body.substr(0, 4096) : count < 0 && errno == EINVAL, "right or refused");
  });
  suite.add("data/fsync/fdatasync/syncfs/work", [] {
    makeFile("x", "bytes");
    File file("x", O_RDWR);
    put(file, "more", 0);
    works(::fsync(file));
    works(::fdatasync(file));
    works(::syncfs(file));
    works(::sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE));
  });
}

void addAppendsAfter(Suite& suite) {
  for (const char* between : {"nothing", "truncate", "pwrite", "seek", "other-appender", "ftruncate-larger"}) {
    suite.add(std::string("append/after-") + between + "/goes-to-the-end", [between] {
      std::string what = between;
      makeFile("x", "0123456789");
      File file("x", O_RDWR | O_APPEND);
      std::string model = "0123456789";
      if (what == "truncate") {
        works(::truncate("x", 4));
        model.resize(4);
      } else if (what == "pwrite") {
        File plain("x", O_WRONLY);
        put(plain, "later", 20);
        lay(model, "later", 20);
      } else if (what == "seek") {
        works(::lseek(file, 2, SEEK_SET));
      } else if (what == "other-appender") {
        File appender("x", O_WRONLY | O_APPEND);
        works(::write(appender, "first", 5));
        model += "first";
      } else if (what == "ftruncate-larger") {
        works(::ftruncate(file, 5000));
        model.resize(5000, '\0');
      }
      same(works(::write(file, "end", 3)), 3L, "bytes written");
      model += "end";
      same(works(::lseek(file, 0, SEEK_CUR)), static_cast<long>(model.size()), "position");
      same(contents("x"), model, "contents");
    });
  }
}

void addAppendRules(Suite& suite) {
  suite.add("append/pwrite/goes-to-the-end-on-Linux", [] {
    makeFile("x", "0123456789");
    File file("x", O_RDWR | O_APPEND);
    works(::pwrite(file, "end", 3, 0));
    same(contents("x"), "0123456789end", "contents");
  });
  suite.add("append/many-processes/nothing-is-lost-or-torn", [] {
    constexpr int PROCESSES = 4;
    constexpr int RECORDS = 25;
    constexpr size_t LENGTH = 100;
    File file("x", O_CREAT | O_WRONLY | O_APPEND);
    for (int i = 0; i < PROCESSES; i++) {
      if (works(::fork()) == 0) {
        std::string record(LENGTH, static_cast<char>('a' + i));
        bool well = true;
        for (int j = 0; j < RECORDS; j++) {
          well = well && ::write(file, record.data(), LENGTH) == static_cast<ssize_t>(LENGTH);
        }
        ::_exit(well ? 0 : 1);
      }
    }
    for (int i = 0; i < PROCESSES; i++) {
      int status = 0;
      works(::wait(&status));
      same(status, 0, "how a writer ended");
    }
    std::string all = contents("x");
    same(all.size(), PROCESSES * RECORDS * LENGTH, "size");
    for (size_t at = 0; at < all.size(); at += LENGTH) {
      holds(all.substr(at, LENGTH) == std::string(LENGTH, all[at]), "a record in one piece");
    }
  });
  suite.add("append/set-by-fcntl/goes-to-the-end", [] {
    makeFile("x", "0123456789");
    File file("x", O_RDWR);
    works(::fcntl(file, F_SETFL, O_APPEND));
    works(::write(file, "end", 3));
    same(contents("x"), "0123456789end", "contents");
    works(::fcntl(file, F_SETFL, 0));
    put(file, "begin", 0);
    same(contents("x"), "begin56789end", "contents");
  });
}

}  // namespace

void addData(Suite& suite) {
  addPieces(suite);
  addReads(suite);
  addSizes(suite);
  addPositions(suite);
  addOddities(suite);
}

void addAppends(Suite& suite) {
  addAppendsAfter(suite);
  addAppendRules(suite);
}

}  // namespace cairn::posix
