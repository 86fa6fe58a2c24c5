#include "fuse-client/client/wire.h"

#include <kj/debug.h>
#include <sys/stat.h>

namespace cairn {
namespace {

constexpr uint8_t CHUNK_BITS_MIN = 12;  // one block
constexpr uint8_t CHUNK_BITS_MAX = 30;

FileTime readTime(wire::Time::Reader in) { return {in.getSeconds(), in.getNanos()}; }

Layout readLayout(wire::Layout::Reader in) {
  Layout out;
  out.object = ObjectId{in.getObject()};
  out.cls = ClassId{in.getClass()};
  out.chunkBits = in.getChunkBits();
  out.generation = in.getGeneration();
  out.movedFrom = ObjectId{in.getMovedFrom()};
  for (auto cut : in.getCuts()) {
    out.cuts.push_back({cut.getGeneration(), cut.getFirstDead()});
  }
  return out;
}

}  // namespace

Attributes readAttributes(wire::Attributes::Reader in) {
  Attributes out;
  out.inode = InodeId{in.getInode()};
  out.mode = in.getMode();
  out.uid = in.getUid();
  out.gid = in.getGid();
  out.links = in.getLinks();
  out.device = in.getDevice();
  out.sizeBytes = in.getSize();
  out.allocatedBytes = in.getAllocatedBytes();
  out.accessed = readTime(in.getAccessed());
  out.modified = readTime(in.getModified());
  out.changed = readTime(in.getChanged());
  out.created = readTime(in.getCreated());
  out.layout = readLayout(in.getLayout());
  out.parent = InodeId{in.getParent()};
  out.lacks = in.getLacks();
  out.quotaRoot = InodeId{in.getQuotaRoot()};
  KJ_REQUIRE(!S_ISREG(out.mode) || (out.layout.chunkBits >= CHUNK_BITS_MIN && out.layout.chunkBits <= CHUNK_BITS_MAX),
             "master named a chunk size that can't be", out.layout.chunkBits);
  return out;
}

void writeCaller(const Caller& in, wire::Caller::Builder out) {
  out.setUid(in.uid);
  out.setGid(in.gid);
  auto groups = out.initGroups(static_cast<unsigned>(in.groups.size()));
  for (unsigned i = 0; i < groups.size(); ++i) {
    groups.set(i, in.groups[i]);
  }
}

void writeTime(FileTime in, wire::Time::Builder out) {
  out.setSeconds(in.seconds);
  out.setNanos(in.nanos);
}

Status readOutcome(wire::Outcome::Reader in) {
  if (in.getErrno() == 0) {
    return {};
  }
  return Error{in.getErrno(), in.getWhy().cStr()};
}

}  // namespace cairn
