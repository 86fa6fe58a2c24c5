#include "common/disk.h"

#include <cerrno>

namespace cairn {

namespace {

std::string directoryOf(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

Status writeWhole(Disk& disk, const std::string& path, kj::ArrayPtr<const kj::byte> contents) {
  auto opened = disk.open(path, Disk::Mode::CREATE);
  if (!opened.ok()) {
    return opened.error();
  }
  File& file = *opened.value();
  auto emptied = file.truncate(0);
  if (!emptied.ok()) {
    return emptied;
  }
  auto written = file.write(0, contents);
  if (!written.ok()) {
    return written;
  }
  return file.syncNow();
}

}  // namespace

Status replaceFile(Disk& disk, const std::string& path, kj::ArrayPtr<const kj::byte> contents) {
  std::string aside = path + ".new";
  auto status = writeWhole(disk, aside, contents);
  if (status.ok()) {
    status = disk.rename(aside, path);
  }
  if (!status.ok()) {
    // Best effort: a leftover is overwritten by the next call, and the first error is the one to tell.
    (void)disk.remove(aside);
    return status;
  }
  return disk.syncDirectoryNow(directoryOf(path));
}

Result<kj::Array<kj::byte>> readWholeFile(Disk& disk, const std::string& path, uint64_t limitBytes) {
  auto opened = disk.open(path, Disk::Mode::READ);
  if (!opened.ok()) {
    return opened.error();
  }
  File& file = *opened.value();
  auto info = file.info();
  if (!info.ok()) {
    return info.error();
  }
  uint64_t size = info.value().sizeBytes;
  if (size > limitBytes) {
    return Error{EFBIG, disk.hostPath(path) + ": " + std::to_string(size) + " bytes, at most " +
                            std::to_string(limitBytes) + " are expected here"};
  }
  auto contents = kj::heapArray<kj::byte>(size);
  auto got = file.readNow(0, contents);
  if (!got.ok()) {
    return got.error();
  }
  if (got.value() != size) {
    return Error{EIO, disk.hostPath(path) + ": ends after " + std::to_string(got.value()) + " of its " +
                          std::to_string(size) + " bytes"};
  }
  return kj::mv(contents);
}

}  // namespace cairn
