// Sparse files: fallocate in its modes, SEEK_HOLE and SEEK_DATA, st_blocks; and copy_file_range.
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "tests/posix/suite.h"
#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

constexpr off_t BLOCK = 4096;
constexpr off_t CHUNK = off_t{4} << 20;
constexpr int PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

struct Mode {
  const char* name;
  int bits;
  bool zeroes;
  bool grows;
};
constexpr Mode MODES[] = {
    {"allocate", 0, false, true},
    {"keep-size", FALLOC_FL_KEEP_SIZE, false, false},
    {"punch", PUNCH, true, false},
    {"zero", FALLOC_FL_ZERO_RANGE, true, true},
    {"zero-keep-size", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, true, false},
};

struct Range {
  const char* name;
  off_t offset;
  off_t length;
};
constexpr off_t SIZE = 5 * BLOCK + 100;
constexpr Range RANGES[] = {
    {"one-block", BLOCK, BLOCK},
    {"within-a-block", BLOCK + 10, 100},
    {"across-blocks", BLOCK + 10, BLOCK},
    {"several-blocks-unaligned", 100, 3 * BLOCK},
    {"from-the-beginning", 0, 10},
    {"up-to-the-end", 4 * BLOCK, SIZE - 4 * BLOCK},
    {"across-the-end", 4 * BLOCK + 7, 3 * BLOCK},
    {"past-the-end", SIZE + BLOCK, BLOCK},
    {"all", 0, SIZE},
    {"one-byte", 2 * BLOCK - 1, 1},
};

void addAllocations(Suite& suite) {
  for (const Mode& mode : MODES) {
    for (const Range& range : RANGES) {
      suite.add(std::string("fallocate/") + mode.name + "/" + range.name, [&mode, &range] {
        std::string model = pattern(SIZE, 1);
        makeFile("x", model);
        File file("x", O_RDWR);
        works(::fallocate(file, mode.bits, range.offset, range.length));
        auto end = static_cast<size_t>(range.offset + range.length);
        if (mode.grows && end > model.size()) {
          model.resize(end, '\0');
        }
        if (mode.zeroes) {
          size_t begin = std::min(static_cast<size_t>(range.offset), model.size());
          std::fill(model.begin() + static_cast<long>(begin),
                    model.begin() + static_cast<long>(std::min(end, model.size())), '\0');
        }
        same(look(file).st_size, static_cast<off_t>(model.size()), "size");
        holds(contents(file) == model, "the bytes are right");
        file.close();
        holds(contents("x") == model, "the bytes are right after the close");
      });
    }
    suite.add(std::string("fallocate/") + mode.name + "/across-chunks", [&mode] {
      std::string model = pattern(CHUNK + 3 * BLOCK, 2);
      makeFile("x", model);
      File file("x", O_RDWR);
      works(::fallocate(file, mode.bits, CHUNK - BLOCK - 5, 2 * BLOCK + 10));
      if (mode.zeroes) {
        std::fill_n(model.begin() + CHUNK - BLOCK - 5, 2 * BLOCK + 10, '\0');
      }
      holds(contents(file) == model, "the bytes are right");
    });
    suite.add(std::string("fallocate/") + mode.name + "/of-an-empty-file", [&mode] {
      File file("x", O_CREAT | O_RDWR);
      works(::fallocate(file, mode.bits, 1000, 9000));
      same(look(file).st_size, off_t{mode.grows ? 10000 : 0}, "size");
      holds(contents(file) == std::string(mode.grows ? 10000 : 0, '\0'), "zeros");
    });
    struct Bad {
      const char* name;
      off_t offset;
      off_t length;
      int code;
    };
    for (const Bad& bad : {Bad{"no-length", 0, 0, EINVAL}, Bad{"negative-length", 0, -1, EINVAL},
                           Bad{"negative-offset", -1, 10, EINVAL}, Bad{"too-far", LLONG_MAX - 5, 10, EFBIG}}) {
      suite.add(std::string("fallocate/") + mode.name + "/" + bad.name + "/" + nameOf(bad.code), [&mode, bad] {
        makeFile("x", "bytes");
        File file("x", O_RDWR);
        fails(bad.code, ::fallocate(file, mode.bits, bad.offset, bad.length));
        same(contents("x"), "bytes", "contents");
      });
    }
  }
}

void addRules(Suite& suite) {
  struct Bad {
    const char* name;
    int bits;
    int code;
  };
  static constexpr Bad BAD[] = {{"punch-without-keep-size", FALLOC_FL_PUNCH_HOLE, EOPNOTSUPP},
                                {"punch-and-zero", PUNCH | FALLOC_FL_ZERO_RANGE, EOPNOTSUPP},
                                {"unknown", 0x1000, EOPNOTSUPP}};
  for (const Bad& bad : BAD) {
    suite.add(std::string("fallocate/flags/") + bad.name + "/" + nameOf(bad.code), [&bad] {
      makeFile("x", "bytes");
      File file("x", O_RDWR);
      fails(bad.code, ::fallocate(file, bad.bits, 0, 4096));
    });
  }
  for (const Mode& mode : MODES) {
    for (Kind kind : {Kind::FIFO, Kind::DIRECTORY}) {
      int code = kind == Kind::FIFO ? ESPIPE : EBADF;  // a directory can't be opened for writing
      suite.add(std::string("fallocate/") + mode.name + "/" + nameOf(kind) + "/" + nameOf(code), [kind, code, &mode] {
        make(kind, "x");
        File file("x", kind == Kind::FIFO ? O_RDWR : O_RDONLY);
        fails(code, ::fallocate(file, mode.bits, 0, 10));
      });
    }
  }
}

void addSeeks(Suite& suite) {
  // Data in [0, B), a hole, data in [64 B, 65 B), a hole up to 128 B.
  auto prepared = [] {
    File file("x", O_CREAT | O_RDWR);
    put(file, pattern(BLOCK, 1), 0);
    put(file, pattern(BLOCK, 2), 64 * BLOCK);
    works(::ftruncate(file, 128 * BLOCK));
  };
  struct Seek {
    const char* name;
    int whence;
    off_t from;
    long wanted;  // negative: an errno
  };
  static constexpr Seek SEEKS[] = {
      {"data-at-data", SEEK_DATA, 0, 0},
      {"data-inside-data", SEEK_DATA, 100, 100},
      {"data-from-hole", SEEK_DATA, BLOCK, 64 * BLOCK},
      {"data-from-inside-hole", SEEK_DATA, 30 * BLOCK + 7, 64 * BLOCK},
      {"data-in-last-hole", SEEK_DATA, 70 * BLOCK, -ENXIO},
      {"data-at-end", SEEK_DATA, 128 * BLOCK, -ENXIO},
      {"data-past-end", SEEK_DATA, 129 * BLOCK, -ENXIO},
      {"hole-from-data", SEEK_HOLE, 0, BLOCK},
      {"hole-inside-data", SEEK_HOLE, 4095, BLOCK},
      {"hole-at-hole", SEEK_HOLE, BLOCK, BLOCK},
      {"hole-inside-hole", SEEK_HOLE, 30 * BLOCK + 7, 30 * BLOCK + 7},
      {"hole-after-second-data", SEEK_HOLE, 64 * BLOCK, 65 * BLOCK},
      {"hole-at-end", SEEK_HOLE, 128 * BLOCK, -ENXIO},
      {"hole-past-end", SEEK_HOLE, 129 * BLOCK, -ENXIO},
      {"data-negative", SEEK_DATA, -1, -ENXIO},
      {"hole-negative", SEEK_HOLE, -1, -ENXIO},
  };
  for (const Seek& seek : SEEKS) {
    for (bool synced : {false, true}) {
      suite.add(std::string("seek/") + seek.name + (synced ? "/on-disk" : "/in-memory"), [=, &seek] {
        prepared();
        File file("x", O_RDWR);
        if (synced) {
          works(::fsync(file));
        }
        long got = ::lseek(file, seek.from, seek.whence);
        if (seek.wanted < 0) {
          fails(static_cast<int>(-seek.wanted), got);
        } else {
          same(works(got), seek.wanted, "position");
          same(works(::lseek(file, 0, SEEK_CUR)), seek.wanted, "position afterwards");
        }
      });
    }
  }
}

void addSeekRules(Suite& suite) {
  suite.add("seek/full-file/hole-is-at-the-end", [] {
    makeFile("x", pattern(10000, 1));
    File file("x", O_RDONLY);
    same(works(::lseek(file, 0, SEEK_HOLE)), 10000L, "position");
    same(works(::lseek(file, 9999, SEEK_DATA)), 9999L, "position");
  });
  suite.add("seek/empty-file/ENXIO", [] {
    makeFile("x");
    File file("x", O_RDONLY);
    fails(ENXIO, ::lseek(file, 0, SEEK_DATA));
    fails(ENXIO, ::lseek(file, 0, SEEK_HOLE));
  });
  suite.add("seek/punched/is-a-hole", [] {
    makeFile("x", pattern(128 * BLOCK, 1));
    File file("x", O_RDWR);
    works(::fallocate(file, PUNCH, 16 * BLOCK, 64 * BLOCK));
    same(works(::lseek(file, 0, SEEK_HOLE)), static_cast<long>(16 * BLOCK), "hole");
    same(works(::lseek(file, 16 * BLOCK, SEEK_DATA)), static_cast<long>(80 * BLOCK), "data");
  });
  suite.add("seek/written-again/is-data", [] {
    makeFile("x", pattern(128 * BLOCK, 1));
    File file("x", O_RDWR);
    works(::fallocate(file, PUNCH, 0, 128 * BLOCK));
    put(file, "b", 50 * BLOCK);
    same(works(::lseek(file, 0, SEEK_DATA)), static_cast<long>(50 * BLOCK), "data");
  });
}

void addBlocks(Suite& suite) {
  auto blocks = [](const char* path) { return look(path).st_blocks * 512; };
  suite.add("blocks/empty-file/none", [blocks] {
    makeFile("x");
    same(blocks("x"), 0L, "bytes taken");
  });
  suite.add("blocks/full-file/as-large", [blocks] {
    makeFile("x", pattern(1 << 20, 1));
    File file("x", O_RDWR);
    works(::fsync(file));
    holds(blocks("x") >= (1 << 20) && blocks("x") <= (1 << 20) + 65536, "a mebibyte or a little more");
  });
  suite.add("blocks/only-size/none", [blocks] {
    makeFile("x");
    works(::truncate("x", off_t{1} << 30));
    same(blocks("x"), 0L, "bytes taken");
  });
  suite.add("blocks/sparse/little", [blocks] {
    File file("x", O_CREAT | O_RDWR);
    put(file, "b", 1 << 30);
    works(::fsync(file));
    holds(blocks("x") > 0 && blocks("x") <= 65536, "about a block");
  });
  suite.add("blocks/punched/fewer", [blocks] {
    makeFile("x", pattern(1 << 20, 1));
    File file("x", O_RDWR);
    works(::fsync(file));
    works(::fallocate(file, PUNCH, 0, 1 << 19));
    works(::fsync(file));
    holds(blocks("x") <= (1 << 19) + 65536, "about half a mebibyte");
  });
  suite.add("blocks/truncated/fewer", [blocks] {
    makeFile("x", pattern(1 << 20, 1));
    File file("x", O_RDWR);
    works(::fsync(file));
    works(::ftruncate(file, 4096));
    holds(blocks("x") <= 65536, "about a block");
  });
}

// ---- copy_file_range

struct Copy {
  const char* name;
  off_t from;
  off_t to;
  size_t length;
};
constexpr Copy COPIES[] = {
    {"first-block", 0, 0, 4096},
    {"all", 0, 0, 100000},
    {"unaligned", 123, 4567, 10000},
    {"to-beyond-the-end", 0, 200000, 5000},
    {"across-the-source's-end", 99000, 0, 5000},
    {"one-byte", 50000, 4095, 1},
    {"across-chunks", 1000, CHUNK - 2000, 4000},
    {"nothing", 10, 10, 0},
    {"past-the-source's-end", 100001, 0, 10},
};

void addCopyCases(Suite& suite) {
  for (const Copy& copy : COPIES) {
    for (bool within : {false, true}) {
      suite.add(
          std::string("copy_file_range/") + copy.name + (within ? "/within-a-file" : "/between-files"), [=, &copy] {
            std::string source = pattern(100000, 1);
            makeFile("x", source);
            std::string model = within ? source : pattern(30000, 2);
            if (!within) {
              makeFile("y", model);
            }
            size_t there =
                static_cast<size_t>(copy.from) >= source.size() ? 0 : source.size() - static_cast<size_t>(copy.from);
            size_t length = std::min(copy.length, there);
            bool overlap = within && std::abs(copy.from - copy.to) < static_cast<off_t>(copy.length);
            File in("x", O_RDWR);
            File out(within ? "x" : "y", O_RDWR);
            off_t from = copy.from;
            off_t to = copy.to;
            if (overlap && length > 0) {
              fails(EINVAL, ::copy_file_range(in, &from, out, &to, copy.length, 0));
              return;
            }
            size_t done = 0;
            while (done < length) {
              long count = works(::copy_file_range(in, &from, out, &to, copy.length - done, 0));
              holds(count > 0, "something is copied");
              done += static_cast<size_t>(count);
            }
            same(from, copy.from + static_cast<off_t>(length), "offset in the source");
            same(works(::copy_file_range(in, &from, out, &to, 0, 0)), 0L, "copied of nothing");
            if (length > 0) {
              std::string bytes = source.substr(static_cast<size_t>(copy.from), length);
              model.resize(std::max(model.size(), static_cast<size_t>(copy.to) + length), '\0');
              std::copy(bytes.begin(), bytes.end(), model.begin() + copy.to);
            }
            holds(contents(out) == model, "the bytes are right");
          });
    }
  }
}

void addCopyRules(Suite& suite) {
  struct Bad {
    const char* name;
    const char* from;
    int fromFlags;
    const char* to;
    int toFlags;
    unsigned flags;
    int code;
  };
  static constexpr Bad BAD[] = {
      {"source-not-readable", "x", O_WRONLY, "y", O_WRONLY, 0, EBADF},
      {"target-not-writable", "x", O_RDONLY, "y", O_RDONLY, 0, EBADF},
      {"target-appends", "x", O_RDONLY, "y", O_WRONLY | O_APPEND, 0, EBADF},
      {"source-is-directory", "d", O_RDONLY, "y", O_WRONLY, 0, EISDIR},
      {"source-is-fifo", "fifo", O_RDWR, "y", O_WRONLY, 0, EINVAL},
      {"target-is-fifo", "x", O_RDONLY, "fifo", O_RDWR, 0, EINVAL},
      {"flags", "x", O_RDONLY, "y", O_WRONLY, 1, EINVAL},
  };
  for (const Bad& bad : BAD) {
    suite.add(std::string("copy_file_range/") + bad.name + "/" + nameOf(bad.code), [&bad] {
      makeFile("x", "source");
      makeFile("y", "target");
      makeDirectory("d");
      make(Kind::FIFO, "fifo");
      File in(bad.from, bad.fromFlags);
      File out(bad.to, bad.toFlags);
      fails(bad.code, ::copy_file_range(in, nullptr, out, nullptr, 3, bad.flags));
      same(contents("y"), "target", "contents of the target");
    });
  }
  suite.add("copy_file_range/without-offsets/moves-positions", [] {
    makeFile("x", "0123456789");
    makeFile("y", "abcdefghij");
    File in("x", O_RDONLY);
    File out("y", O_RDWR);
    works(::lseek(in, 2, SEEK_SET));
    works(::lseek(out, 5, SEEK_SET));
    same(works(::copy_file_range(in, nullptr, out, nullptr, 3, 0)), 3L, "copied");
    same(works(::lseek(in, 0, SEEK_CUR)), 5L, "position of the source");
    same(works(::lseek(out, 0, SEEK_CUR)), 8L, "position of the target");
    same(contents("y"), "abcde234ij", "contents");
  });
  suite.add("copy_file_range/bytes-just-written/are-copied", [] {
    File in("x", O_CREAT | O_RDWR);
    File out("y", O_CREAT | O_RDWR);
    std::string body = pattern(50000, 1);
    put(in, body, 0);
    put(out, "old", 40000);
    off_t from = 0;
    off_t to = 0;
    same(works(::copy_file_range(in, &from, out, &to, body.size(), 0)), static_cast<long>(body.size()), "copied");
    holds(contents(out) == body, "the bytes are right");
  });
}

}  // namespace

void addHoles(Suite& suite) {
  addAllocations(suite);
  addRules(suite);
  addSeeks(suite);
  addSeekRules(suite);
  addBlocks(suite);
}

void addCopies(Suite& suite) {
  addCopyCases(suite);
  addCopyRules(suite);
}

}  // namespace cairn::posix
