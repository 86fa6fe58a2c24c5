#include "fuse-client/fuse/statx_out.h"

namespace cairn {
namespace {

statx_timestamp extendedTime(const timespec& time) {
  statx_timestamp out{};
  out.tv_sec = time.tv_sec;
  out.tv_nsec = static_cast<uint32_t>(time.tv_nsec);
  return out;
}

}  // namespace

StatxOut statxOf(const struct stat& known, const timespec& born, Nanos valid) {
  StatxOut out;
  out.validSeconds = static_cast<uint64_t>(valid / SECOND);
  out.validNanos = static_cast<uint32_t>(valid % SECOND);
  out.stat.stx_mask = STATX_BASIC_STATS | STATX_BTIME;
  out.stat.stx_blksize = static_cast<uint32_t>(known.st_blksize);
  out.stat.stx_nlink = static_cast<uint32_t>(known.st_nlink);
  out.stat.stx_uid = known.st_uid;
  out.stat.stx_gid = known.st_gid;
  out.stat.stx_mode = static_cast<uint16_t>(known.st_mode);
  out.stat.stx_ino = known.st_ino;
  out.stat.stx_size = static_cast<uint64_t>(known.st_size);
  out.stat.stx_blocks = static_cast<uint64_t>(known.st_blocks);
  out.stat.stx_atime = extendedTime(known.st_atim);
  out.stat.stx_mtime = extendedTime(known.st_mtim);
  out.stat.stx_ctime = extendedTime(known.st_ctim);
  out.stat.stx_btime = extendedTime(born);
  out.stat.stx_rdev_major = major(known.st_rdev);
  out.stat.stx_rdev_minor = minor(known.st_rdev);
  return out;
}

}  // namespace cairn
