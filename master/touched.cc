#include "master/touched.h"

namespace cairn {
namespace {

// A name that will stand for something else, and the inode that it stands for now.
void addName(Leases::Change& change, const NamespaceReader& reader, uint64_t directory, capnp::Data::Reader name) {
  change.add(InodeId{directory}, name);
  auto found = reader.lookup(InodeId{directory}, std::string_view(name.asChars().begin(), name.size()));
  if (found.ok()) {
    change.add(found.value());
  }
}

}  // namespace

void addTouched(wire::Op::Reader op, const NamespaceReader& reader, Leases::Change& change) {
  switch (op.which()) {
    case wire::Op::MAKE:
      if (!op.getMake().getUnnamed()) {
        change.add(InodeId{op.getMake().getParent()}, op.getMake().getName());
      }
      break;
    case wire::Op::LINK:
      change.add(InodeId{op.getLink().getParent()}, op.getLink().getName());
      change.add(InodeId{op.getLink().getInode()});
      break;
    case wire::Op::UNLINK:
      addName(change, reader, op.getUnlink().getParent(), op.getUnlink().getName());
      break;
    case wire::Op::RENAME:
      addName(change, reader, op.getRename().getParent(), op.getRename().getName());
      addName(change, reader, op.getRename().getNewParent(), op.getRename().getNewName());
      break;
    case wire::Op::SET_ATTRIBUTES:
      change.add(InodeId{op.getSetAttributes().getInode()});
      break;
    case wire::Op::SET_XATTR:
      change.add(InodeId{op.getSetXattr().getInode()});
      break;
    case wire::Op::REMOVE_XATTR:
      change.add(InodeId{op.getRemoveXattr().getInode()});
      break;
    case wire::Op::WRITTEN:
      for (auto item : op.getWritten()) {
        change.add(InodeId{item.getInode()});
      }
      break;
    case wire::Op::DETACH:
      addName(change, reader, op.getDetach().getParent(), op.getDetach().getName());
      break;
    case wire::Op::LOCK:
    case wire::Op::RESERVE:
    case wire::Op::GIVE_BACK:
      break;  // nobody believes anything of locks and grants
  }
}

}  // namespace cairn
