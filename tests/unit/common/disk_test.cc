// Both sides of the Disk seam keep the same contract; then what only the host's files can show.
#include "common/disk.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "common/system/disk.h"
#include "common/system/workers.h"
#include "tests/sim/world/world.h"

namespace cairn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

std::string readText(File& file, uint64_t offset, size_t length) {
  auto out = kj::heapArray<kj::byte>(length);
  auto got = file.readNow(offset, out);
  return got.ok() ? std::string(out.asChars().begin(), got.value()) : "error " + got.error().why;
}

// A place to run a promise and a disk to run it on.
struct Bench {
  virtual ~Bench() noexcept(false) = default;
  virtual Disk& disk() = 0;
  virtual kj::WaitScope& scope() = 0;
  template <typename T>
  T await(Task<T> task) {
    return wait(kj::mv(task).promise());
  }
  virtual Status wait(kj::Promise<Status> promise) = 0;
  virtual Result<size_t> wait(kj::Promise<Result<size_t>> promise) = 0;
};

struct SystemBench final : Bench {
  SystemBench() : io(kj::setupAsyncIo()), workers(newSystemWorkers(2)) {
    char name[] = "/tmp/cairn-disk-XXXXXX";
    KJ_ASSERT(mkdtemp(name) != nullptr);
    path = name;
    opened = openSystemDisk(path, *workers).value();
  }
  ~SystemBench() noexcept(false) { std::filesystem::remove_all(path); }
  Disk& disk() override { return *opened; }
  kj::WaitScope& scope() override { return io.waitScope; }
  Status wait(kj::Promise<Status> promise) override { return promise.wait(io.waitScope); }
  Result<size_t> wait(kj::Promise<Result<size_t>> promise) override { return promise.wait(io.waitScope); }

  kj::AsyncIoContext io;
  kj::Own<Workers> workers;
  std::string path;
  kj::Own<Disk> opened;
};

struct SimBench final : Bench {
  SimBench() : world(1), opened(world.volume("v").open()) {}
  Disk& disk() override { return *opened; }
  kj::WaitScope& scope() override { return world.waitScope(); }
  Status wait(kj::Promise<Status> promise) override { return world.await(kj::mv(promise), SECOND); }
  Result<size_t> wait(kj::Promise<Result<size_t>> promise) override { return world.await(kj::mv(promise), SECOND); }

  World world;
  kj::Own<Disk> opened;
};

class DiskContract : public testing::TestWithParam<bool> {
 protected:
  DiskContract() {
    if (GetParam()) {
      bench_ = std::make_unique<SystemBench>();
    } else {
      bench_ = std::make_unique<SimBench>();
    }
  }
  Disk& disk() { return bench_->disk(); }
  kj::Own<File> open(const std::string& path, Disk::Mode mode = Disk::Mode::CREATE) {
    auto opened = disk().open(path, mode);
    KJ_ASSERT(opened.ok(), opened.error().why);
    return kj::mv(opened.value());
  }
  std::unique_ptr<Bench> bench_;
};

INSTANTIATE_TEST_SUITE_P(Seam, DiskContract, testing::Bool(),
                         [](const auto& info) { return info.param ? "System" : "Sim"; });

TEST_P(DiskContract, WhatIsWrittenIsRead) {
  auto file = open("f");
  ASSERT_TRUE(file->write(0, bytesOf("hello")).ok());
  ASSERT_TRUE(file->write(10'000, bytesOf("world")).ok());
  EXPECT_EQ(readText(*file, 0, 5), "hello");
  EXPECT_EQ(readText(*file, 9'998, 100), std::string("\0\0world", 7));
  EXPECT_EQ(readText(*file, 10'005, 10), "");
  EXPECT_EQ(readText(*file, 50'000, 10), "");
  EXPECT_EQ(file->info().value().sizeBytes, 10'005u);
  kj::byte out[5];
  EXPECT_EQ(bench_->await(file->read(0, out)).value(), 5u);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(out), 5), "hello");
}

TEST_P(DiskContract, ModesOfOpening) {
  EXPECT_EQ(disk().open("f", Disk::Mode::READ).code(), ENOENT);
  EXPECT_EQ(disk().open("f", Disk::Mode::READ_WRITE).code(), ENOENT);
  EXPECT_EQ(disk().open("no/f", Disk::Mode::CREATE).code(), ENOENT);
  open("f", Disk::Mode::CREATE_EXCLUSIVE);
  EXPECT_EQ(disk().open("f", Disk::Mode::CREATE_EXCLUSIVE).code(), EEXIST);
  open("f", Disk::Mode::READ);
  open("f", Disk::Mode::READ_WRITE);
  EXPECT_THAT(disk().open("g", Disk::Mode::READ).error().why, HasSubstr(disk().hostPath("g")));
}

TEST_P(DiskContract, TruncateAndPunchLeaveZeros) {
  auto file = open("f");
  ASSERT_TRUE(file->write(0, bytesOf(std::string(20'000, 'x'))).ok());
  uint64_t full = file->info().value().allocatedBytes;
  ASSERT_TRUE(file->punch(4096, 8192).ok());
  EXPECT_LT(file->info().value().allocatedBytes, full);
  EXPECT_EQ(file->info().value().sizeBytes, 20'000u);
  EXPECT_EQ(readText(*file, 4095, 3), std::string("x\0\0", 3));
  EXPECT_EQ(readText(*file, 12'287, 2), std::string("\0x", 2));
  ASSERT_TRUE(file->truncate(100).ok());
  ASSERT_TRUE(file->truncate(200).ok());
  EXPECT_EQ(readText(*file, 99, 200), "x" + std::string(100, '\0'));
}

TEST_P(DiskContract, Names) {
  ASSERT_TRUE(disk().makeDirectory("a/b/c").ok());
  ASSERT_TRUE(disk().makeDirectory("a/b").ok()) << "there already";
  open("a/z");
  open("a/y");
  EXPECT_THAT(disk().list("a").value(), ElementsAre("b", "y", "z"));
  EXPECT_THAT(disk().list(".").value(), ElementsAre("a"));
  EXPECT_THAT(disk().list("").value(), ElementsAre("a"));
  EXPECT_EQ(disk().list("none").code(), ENOENT);
  EXPECT_EQ(disk().makeDirectory("a/z/d").code(), ENOTDIR);
  EXPECT_EQ(disk().makeDirectory("a/z").code(), ENOTDIR);
  ASSERT_TRUE(disk().rename("a/y", "a/b/moved").ok());
  EXPECT_TRUE(disk().exists("a/b/moved"));
  EXPECT_FALSE(disk().exists("a/y"));
  EXPECT_EQ(disk().rename("a/y", "a/q").code(), ENOENT);
  EXPECT_EQ(disk().removeDirectory("a/b").code(), ENOTEMPTY);
  EXPECT_EQ(disk().remove("a/none").code(), ENOENT);
  ASSERT_TRUE(disk().remove("a/b/moved").ok());
  ASSERT_TRUE(disk().removeDirectory("a/b/c").ok());
  ASSERT_TRUE(disk().removeDirectory("a/b").ok());
  EXPECT_THAT(disk().list("a").value(), ElementsAre("z"));
}

TEST_P(DiskContract, RenameReplacesAndOpenFilesLiveOn) {
  auto old = open("f");
  ASSERT_TRUE(old->write(0, bytesOf("old")).ok());
  auto young = open("g");
  ASSERT_TRUE(young->write(0, bytesOf("young")).ok());
  ASSERT_TRUE(disk().rename("g", "f").ok());
  EXPECT_EQ(readText(*open("f", Disk::Mode::READ), 0, 9), "young");
  EXPECT_EQ(readText(*old, 0, 9), "old");
  ASSERT_TRUE(disk().remove("f").ok());
  EXPECT_EQ(readText(*young, 0, 9), "young");
}

TEST_P(DiskContract, SyncsSucceed) {
  auto file = open("f");
  ASSERT_TRUE(file->write(0, bytesOf("x")).ok());
  EXPECT_TRUE(bench_->await(file->sync()).ok());
  EXPECT_TRUE(file->syncNow().ok());
  EXPECT_TRUE(bench_->await(disk().syncDirectory(".")).ok());
  EXPECT_TRUE(disk().syncDirectoryNow("").ok());
  EXPECT_EQ(disk().syncDirectoryNow("none").code(), ENOENT);
  EXPECT_EQ(bench_->await(disk().syncDirectory("none")).code(), ENOENT);
}

TEST_P(DiskContract, TasksOutliveTheirFile) {
  auto file = open("f");
  ASSERT_TRUE(file->write(0, bytesOf("x")).ok());
  auto sync = file->sync();
  file = nullptr;
  EXPECT_TRUE(bench_->await(kj::mv(sync)).ok());
}

TEST_P(DiskContract, OneHolderOfALock) {
  auto held = disk().lock("lock");
  ASSERT_TRUE(held.ok()) << held.error().why;
  auto second = disk().lock("lock");
  EXPECT_EQ(second.code(), EWOULDBLOCK);
  EXPECT_THAT(second.error().why, HasSubstr("in use by process"));
  held = Error{EIO, "let go"};
  EXPECT_TRUE(disk().lock("lock").ok());
}

TEST_P(DiskContract, ReplaceFileAndReadWhole) {
  for (std::string text : {std::string("one"), std::string(), std::string(9000, 'q')}) {
    ASSERT_TRUE(replaceFile(disk(), "f", bytesOf(text)).ok());
    auto got = readWholeFile(disk(), "f", 9000);
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(std::string(got.value().asChars().begin(), got.value().size()), text);
  }
  EXPECT_EQ(readWholeFile(disk(), "f", 8999).code(), EFBIG);
  EXPECT_EQ(readWholeFile(disk(), "none", 10).code(), ENOENT);
  EXPECT_THAT(disk().list("").value(), ElementsAre("f")) << "nothing is left aside";
}

TEST_P(DiskContract, SpaceIsTold) {
  auto space = disk().space();
  ASSERT_TRUE(space.ok());
  EXPECT_GT(space.value().totalBytes, 0u);
  EXPECT_LE(space.value().availableBytes, space.value().totalBytes);
  EXPECT_GT(space.value().availableFiles, 0u);
}

// ---------------------------------------------------------------- only on the host

TEST(SystemDisk, MissingDirectoryIsAnError) {
  auto io = kj::setupAsyncIo();
  auto workers = newSystemWorkers(1);
  auto opened = openSystemDisk("/tmp/cairn-there-is-no-such-directory", *workers);
  EXPECT_EQ(opened.code(), ENOENT);
  EXPECT_THAT(opened.error().why, HasSubstr("/tmp/cairn-there-is-no-such-directory"));
}

TEST(SystemDisk, LockOfAnotherProcessNamesIt) {
  SystemBench bench;
  int ready[2], done[2];
  KJ_SYSCALL(pipe2(ready, O_CLOEXEC));
  KJ_SYSCALL(pipe2(done, O_CLOEXEC));
  pid_t child = fork();
  if (child == 0) {
    auto held = bench.disk().lock("lock");
    char byte = held.ok() ? 'y' : 'n';
    (void)!::write(ready[1], &byte, 1);
    (void)!::read(done[0], &byte, 1);
    _exit(0);  // without letting go: the kernel does
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  auto refused = bench.disk().lock("lock");
  EXPECT_EQ(refused.code(), EWOULDBLOCK);
  EXPECT_THAT(refused.error().why, HasSubstr("process " + std::to_string(child)));
  ASSERT_EQ(::write(done[1], &byte, 1), 1);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(bench.disk().lock("lock").ok());
  for (int fd : {ready[0], ready[1], done[0], done[1]}) {
    close(fd);
  }
}

TEST(SystemDisk, ColdReadsComeFromTheDevice) {
  SystemBench bench;
  std::string text(64 << 10, 'c');
  auto file = bench.disk().open("f", Disk::Mode::CREATE).value();
  ASSERT_TRUE(file->write(0, bytesOf(text)).ok());
  ASSERT_TRUE(file->syncNow().ok());
  int fd = ::open((bench.path + "/f").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
  close(fd);
  auto out = kj::heapArray<kj::byte>(text.size());
  auto got = bench.await(file->read(0, out));
  ASSERT_TRUE(got.ok()) << got.error().why;
  EXPECT_EQ(std::string(out.asChars().begin(), got.value()), text);
}

TEST(SystemDisk, DroppedReadsLeaveTheBufferAlone) {
  SystemBench bench;
  auto file = bench.disk().open("f", Disk::Mode::CREATE).value();
  ASSERT_TRUE(file->write(0, bytesOf(std::string(1 << 20, 'c'))).ok());
  ASSERT_TRUE(file->syncNow().ok());
  for (int i = 0; i < 20; i++) {
    int fd = ::open((bench.path + "/f").c_str(), O_RDONLY | O_CLOEXEC);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    auto out = kj::heapArray<kj::byte>(1 << 20);
    auto dropped = file->read(0, out);
  }  // the sanitizer sees a thread that still writes there
  kj::byte one[1];
  EXPECT_EQ(file->readNow(0, one).value(), 1u);
}

TEST(SystemDisk, WriteToAFullDeviceFails) {
  auto io = kj::setupAsyncIo();
  auto workers = newSystemWorkers(1);
  auto opened = openSystemDisk("/dev", *workers);
  ASSERT_TRUE(opened.ok());
  auto full = opened.value()->open("full", Disk::Mode::READ_WRITE);
  ASSERT_TRUE(full.ok());
  auto status = full.value()->write(0, bytesOf("x"));
  EXPECT_EQ(status.code(), ENOSPC);
  EXPECT_THAT(status.error().why, HasSubstr("/dev/full"));
}

// O_DIRECT, on a file system that has it: also what isn't on the device yet, and nothing after the end.
TEST(SystemDisk, theDeviceGivesWhatWasWritten) {
  SystemBench bench;
  auto file = bench.disk().open("f", Disk::Mode::CREATE).value();
  std::string text(3 * BLOCK_BYTES, 'a');
  text.replace(BLOCK_BYTES, 5, "block");
  ASSERT_TRUE(file->write(0, bytesOf(text)).ok());
  auto out = kj::heapArray<kj::byte>(4 * BLOCK_BYTES);
  auto got = bench.await(file->readDevice(0, out));
  ASSERT_TRUE(got.ok()) << got.error().why;
  EXPECT_EQ(std::string(out.asChars().begin(), got.value()), text);
  auto second = bench.await(file->readDevice(BLOCK_BYTES, out.slice(0, BLOCK_BYTES)));
  ASSERT_TRUE(second.ok()) << second.error().why;
  EXPECT_EQ(std::string(out.asChars().begin(), 5), "block");
}

}  // namespace
}  // namespace cairn
