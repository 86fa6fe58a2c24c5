#include "fuse-client/fuse/kept_memory.h"

#include <kj/debug.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cairn {

int KeptMemory::make(const char* name) {
  return ::memfd_create(name, MFD_CLOEXEC);
}

KeptMemory::KeptMemory(int descriptor) : descriptor_(descriptor) {
  struct stat info;
  KJ_SYSCALL(::fstat(descriptor_, &info), "memory kept for a successor");
  if (info.st_size > 0) {
    grow(static_cast<size_t>(info.st_size));
  }
}

KeptMemory::~KeptMemory() {
  if (start_ != nullptr) {
    ::munmap(start_, sizeBytes_);
  }
  ::close(descriptor_);
}

void KeptMemory::grow(size_t sizeBytes) {
  struct stat info;
  KJ_SYSCALL(::fstat(descriptor_, &info));
  if (static_cast<size_t>(info.st_size) < sizeBytes) {
    KJ_SYSCALL(::ftruncate(descriptor_, static_cast<off_t>(sizeBytes)), "memory kept for a successor: no room");
  }
  void* start = start_ == nullptr ? ::mmap(nullptr, sizeBytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0)
                                  : ::mremap(start_, sizeBytes_, sizeBytes, MREMAP_MAYMOVE);
  KJ_ASSERT(start != MAP_FAILED, "memory kept for a successor can't be mapped");
  start_ = start;
  sizeBytes_ = sizeBytes;
}

}  // namespace cairn
