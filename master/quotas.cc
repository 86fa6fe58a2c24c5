#include "master/quotas.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "master/namespace/quota.h"

namespace cairn {

Quotas::Need Quotas::needOf(SessionId by, wire::Op::Reader op) const {
  constexpr uint32_t SIZE = 8;  // of SetAttributes.which
  auto& reader = replica_.reader();
  if (op.isReserve()) {
    InodeId root{op.getReserve().getRoot()};
    return {root, op.getReserve().getBytes(), NamespaceReader::Grant{by, root, 0}};
  }
  if (op.isSetAttributes() && (op.getSetAttributes().getWhich() & SIZE) != 0) {
    auto set = op.getSetAttributes();
    auto file = reader.record(InodeId{set.getInode()});
    uint64_t known = file ? file->size + set.getGranted() : 0;
    return file && set.getSize() > known ? Need{file->parent, set.getSize() - known, {}} : Need{};
  }
  if (op.isLink()) {
    auto file = reader.record(InodeId{op.getLink().getInode()});
    bool unnamed = file && file->links == 0 && S_ISREG(file->mode);
    return unnamed ? Need{InodeId{op.getLink().getParent()}, file->size, {}} : Need{};
  }
  return {};
}

bool Quotas::isShort(SessionId by, wire::Op::Reader op) const {
  return replica_.reader().hasQuotas() && raw(shortFor(needOf(by, op))) != 0;
}

Task<void> Quotas::makeRoom(SessionId by, wire::Op::Reader op) {
  co_await makeRoomFor(needOf(by, op));
}

Task<void> Quotas::makeRoom(InodeId directory, uint64_t bytes) {
  Need need{directory, bytes, {}};
  co_await makeRoomFor(kj::mv(need));
}

// The highest one: its grants have those of the others among them.
InodeId Quotas::shortFor(const Need& need) const {
  InodeId found{};
  for (auto& quota : replica_.reader().quotasAbove(need.directory)) {
    bool isShort = quota.account.bytesMax > 0 && bytesLeft(quota.account) < need.bytes;
    found = isShort && quota.account.granted > 0 ? quota.root : found;
  }
  return found;
}

// All are asked at the same time.
Task<void> Quotas::makeRoomFor(Need need) {
  const InodeId top = shortFor(need);
  auto asked = raw(top) == 0 ? std::vector<NamespaceReader::Grant>() : grantsBelow(top);
  auto answers = kj::heapArrayBuilder<kj::Promise<void>>(asked.size());
  for (auto& grant : asked) {
    bool spared = need.but && need.but->session == grant.session && need.but->root == grant.root;
    answers.add(spared ? kj::Promise<void>(kj::READY_NOW) : leases_.giveBack(grant.session, grant.root).promise());
  }
  co_await kj::joinPromises(answers.finish());
}

Status Quotas::refuses(wire::Op::Reader op) const {
  if (!op.isReserve()) {
    return {};
  }
  auto& reader = replica_.reader();
  const InodeId root{op.getReserve().getRoot()};
  auto account = reader.account(root);
  if (!account || account->bytesMax == 0 || reader.bytesLeft(root) > 0 || !replica_.isCurrent()) {
    return {};
  }
  return Error{EDQUOT, "the quota of directory " + std::to_string(raw(root)) + ", or one above it, is used up"};
}

Task<void> Quotas::recallGrants(InodeId directory) {
  auto grants = grantsBelow(directory);
  auto answers = kj::heapArrayBuilder<kj::Promise<void>>(grants.size());
  for (auto& grant : grants) {
    answers.add(leases_.giveBack(grant.session, grant.root).promise());
  }
  co_await kj::joinPromises(answers.finish());
}

Task<void> Quotas::recallWriters(InodeId directory) {
  Leases::Change change(leases_, SessionId{});
  for (InodeId inode : leases_.writtenFiles()) {
    if (isBelow(inode, directory)) {
      change.add(inode);
    }
  }
  const Nanos end = clock_.monotonic() + WRITERS_WAIT;
  while (change.mustRecall() && clock_.monotonic() < end) {
    auto recalled = change.recall().exclusiveJoin(clock_.after(end - clock_.monotonic()));
    co_await kj::mv(recalled);
  }
}

std::vector<NamespaceReader::Grant> Quotas::grantsBelow(InodeId directory) const {
  auto found = replica_.reader().grants();
  std::erase_if(found, [&](const NamespaceReader::Grant& grant) { return !isBelow(grant.root, directory); });
  return found;
}

bool Quotas::isBelow(InodeId inode, InodeId directory) const {
  auto& reader = replica_.reader();
  auto record = reader.record(inode);
  InodeId at = record && !S_ISDIR(record->mode) ? record->parent : inode;
  for (auto account = reader.account(at); account && at != directory; account = reader.account(at)) {
    at = account->parent;
  }
  return at == directory;
}

}  // namespace cairn
