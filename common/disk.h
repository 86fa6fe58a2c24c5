// Disk: the seam to files. All paths are relative to the directory that the Disk was opened on.
//
// Calls that only touch the page cache or a directory run inline; what waits for a device (sync, cold
// reads) is a task that runs on Workers. Errors carry the errno and the full path.
// Production: common/system/disk.cc. Simulation: tests/sim/world/sim_volume.h, which loses what was not synced.
#pragma once
#include <kj/array.h>
#include <kj/memory.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/task.h"

namespace cairn {

struct FileInfo {
  uint64_t sizeBytes = 0;
  uint64_t allocatedBytes = 0;
  uint64_t number = 0;  // stays as long as the file, and a copy has another
};

// An open file. Not shared between processes; closing does not sync.
class File {
 public:
  virtual ~File() noexcept(false) = default;

  // Fills `out` from `offset`, less only at the end of the file. `out` must outlive the task.
  virtual Task<Result<size_t>> read(uint64_t offset, kj::ArrayPtr<kj::byte> out) = 0;
  // The same past the page cache: what the device itself gives. Whole blocks of BLOCK_BYTES. What was written and isn't
  // on the device yet is written there first.
  virtual Task<Result<size_t>> readDevice(uint64_t offset, kj::ArrayPtr<kj::byte> out) = 0;
  // As read(), without waiting for a device: EAGAIN when not all of it is in the page cache.
  virtual Result<size_t> readCached(uint64_t offset, kj::ArrayPtr<kj::byte> out) = 0;
  // As read(), waiting inline. For small reads at start-up and for read-modify-write.
  virtual Result<size_t> readNow(uint64_t offset, kj::ArrayPtr<kj::byte> out) = 0;

  // Writes all of `data` into the page cache. Not durable before sync(). A short write is an error.
  virtual Status write(uint64_t offset, kj::ArrayPtr<const kj::byte> data) = 0;

  // Makes all earlier writes and the size durable (fdatasync). After an error the contents are in
  // doubt for good: never retry, close the store.
  virtual Task<Status> sync() = 0;
  // The same, waiting inline. For start-up and small rare files only.
  virtual Status syncNow() = 0;

  virtual Status truncate(uint64_t size) = 0;
  // Frees [offset, offset + length); reads of it give zeros.
  virtual Status punch(uint64_t offset, uint64_t length) = 0;
  virtual Result<FileInfo> info() = 0;
};

struct DiskSpace {
  uint64_t totalBytes = 0;
  uint64_t availableBytes = 0;  // to an unprivileged process
  uint64_t availableFiles = 0;
};

// Held while a process uses a directory; released by the destructor or the process's end.
class DirectoryLock {
 public:
  virtual ~DirectoryLock() noexcept(false) = default;
};

class Disk {
 public:
  enum class Mode {
    READ,             // ENOENT when absent
    READ_WRITE,       // ENOENT when absent
    CREATE,           // read and write; made when absent
    CREATE_EXCLUSIVE  // read and write; EEXIST when present
  };

  virtual ~Disk() noexcept(false) = default;

  virtual Result<kj::Own<File>> open(const std::string& path, Mode mode) = 0;
  virtual Status remove(const std::string& path) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  // Makes the directory and its missing parents; success when it is there already.
  virtual Status makeDirectory(const std::string& path) = 0;
  virtual Status removeDirectory(const std::string& path) = 0;
  // Names in a directory, sorted, without "." and "..".
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
  virtual bool exists(const std::string& path) = 0;
  // Makes created, renamed and removed names of a directory durable.
  virtual Task<Status> syncDirectory(const std::string& path) = 0;
  virtual Status syncDirectoryNow(const std::string& path) = 0;
  // EWOULDBLOCK when another process (or another holder in this one) has it; the error names its pid.
  virtual Result<kj::Own<DirectoryLock>> lock(const std::string& path) = 0;
  virtual Result<DiskSpace> space() = 0;
  // The host path of `path`, for messages and for LevelDB, which opens its own files through its Env.
  virtual std::string hostPath(const std::string& path) const = 0;
};

// Replaces `path` by `contents` so that a crash leaves the old or the new whole: write aside, sync,
// rename, sync the directory.
Status replaceFile(Disk& disk, const std::string& path, kj::ArrayPtr<const kj::byte> contents);
// All of a file, at most `limitBytes` (EFBIG when larger).
Result<kj::Array<kj::byte>> readWholeFile(Disk& disk, const std::string& path, uint64_t limitBytes);

}  // namespace cairn
