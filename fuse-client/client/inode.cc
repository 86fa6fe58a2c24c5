#include "fuse-client/client/inode.h"

#include <algorithm>

#include "fuse-client/client/wire.h"

namespace cairn {

// ---- attributes ---------------------------------------------------------------------------------

bool Inode::hasLocalChanges() const {
  return hasUnsent() || report.reported < report.change || report.end > committed_.sizeBytes;
}

uint64_t Inode::effectiveSize() const {
  return hasLocalChanges() ? std::max(committed_.sizeBytes, localEnd_) : committed_.sizeBytes;
}

Attributes Inode::effective() const {
  Attributes out = committed_;
  out.sizeBytes = effectiveSize();
  if (report.reported < report.change) {
    out.modified = report.modified;
    out.changed = std::max(out.changed, report.modified);
  }
  out.accessed = accessed_.value_or(out.accessed);
  // Bytes on their way count as allocated, so that no program takes a file for empty.
  out.allocatedBytes += std::max<int64_t>(report.allocatedDelta, 0) + writes.dirty.bytes() + writes.underWay.bytes();
  return out;
}

bool Inode::isIdle() const {
  return handles == 0 && !isShared() && !hasLocalChanges() && writes.unsynced.empty() && writes.calls == 0 &&
         !report.queued && !report.underWay && errors_ == told_ && bytes.users == 0 && !bytes.leaving &&
         !bytes.asking && table_.now() >= promisedUntil_;
}

bool Inode::isLeased() const {
  return known_ && table_.leases().lasts(leasedUnder_) && !table_.leases().isInDoubt(LeaseBook::keyOf(id));
}

bool Inode::mayBeLeased() const {
  return leasedUnder_ == table_.leases().link();
}

Nanos Inode::ageNanos() const {
  return isLeased() ? 0 : table_.now() - learnedAt_;
}

void Inode::learn(const Attributes& attributes, uint64_t index, bool leased) {
  if (known_ && index != 0 && index < index_) {
    layoutAt_ = table_.now();  // what is known is newer still
    return;
  }
  bool changed = attributes.layout != committed_.layout || attributes.modified != committed_.modified ||
                 attributes.sizeBytes != committed_.sizeBytes;
  if (known_ && changed) {
    invalidate(0, UINT64_MAX);  // perhaps another client's doing
  }
  take(attributes, index, leased);
}

// While it was leased no other client can have had a part in it, so what is kept of the file's bytes stays.
void Inode::reported(const Attributes& attributes, uint64_t index, bool leased) {
  if (!isLeased()) {
    learn(attributes, index, leased);
  } else if (index > index_) {
    take(attributes, index, leased);
  }
}

void Inode::take(const Attributes& attributes, uint64_t index, bool leased) {
  const ObjectId before = committed_.layout.object;
  if (known_ && attributes.layout.object != before) {
    if (attributes.layout.movedFrom == before) {
      formerObjects_.insert(before);
    } else {
      formerObjects_.clear();
    }
  }
  if (accessed_ && isReadSuperseded(attributes)) {
    accessed_.reset();
  }
  layoutAt_ = table_.now();
  known_ = true;
  committed_ = attributes;
  index_ = std::max(index_, index);
  learnedAt_ = table_.now();
  // Cuts leave the layout by themselves, with no recall.
  leasedUnder_ = leased && attributes.layout.cuts.empty() ? table_.leases().link() : 0;
}

void Inode::written(uint64_t end, FileTime now) {
  localEnd_ = hasLocalChanges() ? std::max(localEnd_, end) : end;
  ++report.change;
  report.modified = now;
  noteSafety();
}

void Inode::noteSafety() {
  bool unsent = hasLocalChanges() || writes.calls > 0 || errors_ > told_;
  Safety now = gone ? Safety::SAFE
               : unsent ? Safety::UNSENT
               : writes.unsynced.empty() ? Safety::SAFE : Safety::UNSYNCED;
  if (now != noted_) {
    noted_ = now;
    table_.note(id, now);
  }
}

bool Inode::wouldMoveAccess(FileTime now, AccessTimes mode) const {
  constexpr int64_t ENOUGH_SECONDS = 24 * 60 * 60;
  const FileTime accessed = accessed_.value_or(committed_.accessed);
  if (mode != AccessTimes::RELATIVE) {
    return mode == AccessTimes::STRICT && known_ && accessed != now;
  }
  bool writes = report.reported < report.change;
  const FileTime modified = writes ? report.modified : committed_.modified;
  const FileTime changed = writes ? std::max(committed_.changed, modified) : committed_.changed;
  return known_ && (accessed <= modified || accessed <= changed || now.seconds - accessed.seconds >= ENOUGH_SECONDS);
}

// By this mount's report, or by somebody else's word after what was read here. Others may have set the time to what it
// was before, which only the change time shows.
bool Inode::isReadSuperseded(const Attributes& attributes) const {
  bool readAgain = attributes.accessed == accessedTold_ && *accessed_ > accessedTold_;
  bool said = attributes.accessed != committed_.accessed && !readAgain;
  return said || (!mayBeLeased() && attributes.changed > *accessed_);
}

void Inode::truncated(uint64_t size) {
  localEnd_ = std::min(localEnd_, size);
  ++report.truncations;
  report.end = std::min(report.end, size);
  report.promised = std::min(report.promised, size);
}

void Inode::invalidate(uint64_t from, uint64_t to) {
  for (auto* reader : readers) {
    reader->invalidate(from, to);
  }
}

// ---- errors -------------------------------------------------------------------------------------

void Inode::fail(const Error& error) {
  error_ = error;
  ++errors_;
  noteSafety();
}

Status Inode::errorSince(uint64_t& seen) {
  if (seen >= errors_) {
    return {};
  }
  seen = errors_;
  told_ = errors_;
  noteSafety();
  return error_;
}

// ---- chunks -------------------------------------------------------------------------------------

void Inode::describe(wire::Target::Builder target) const {
  target.setInode(raw(id));
  target.setMode(committed_.mode);
  target.setUid(committed_.uid);
  target.setGid(committed_.gid);
  target.setPath(name);
}

Nanos Inode::layoutAgeNanos() const {
  return table_.now() - layoutAt_;
}

Task<Status> Inode::refreshLayout() {
  ObjectId before = committed_.layout.object;
  Status done = co_await table_.refresh(*this);
  if (done.ok() && !hasBytesOf(before)) {
    co_return Error{ESTALE, "the file was truncated to nothing by another client"};
  }
  if (done.code() == ENOENT) {
    co_return Error{ESTALE, done.error().why};
  }
  co_return done;
}

// ---- the table ----------------------------------------------------------------------------------

kj::Maybe<Inode&> InodeTable::find(InodeId id) {
  auto it = inodes_.find(raw(id));
  if (it == inodes_.end()) {
    return nullptr;
  }
  return *it->second;
}

kj::Own<Inode> InodeTable::get(InodeId id) {
  auto& inode = inodes_[raw(id)];
  if (inode.get() == nullptr) {
    inode = kj::refcounted<Inode>(*this, id);
    inode->place_ = byUse_.insert(byUse_.end(), inode.get());
    auto out = kj::addRef(*inode);
    evict();
    return out;
  }
  byUse_.splice(byUse_.end(), byUse_, inode->place_);
  return kj::addRef(*inode);
}

void InodeTable::evict() {
  for (unsigned tries = 0; tries < EVICT_TRIES && inodes_.size() > context_.options.limits.inodesMax; ++tries) {
    Inode* oldest = byUse_.front();
    if (oldest->isIdle()) {
      if (oldest->learnedUnder_ == leases_.link()) {
        leases_.giveUp(oldest->id);
      }
      evicted_(oldest->id);
      byUse_.pop_front();
      inodes_.erase(raw(oldest->id));
    } else {
      byUse_.splice(byUse_.end(), byUse_, oldest->place_);
    }
  }
}

Attributes InodeTable::learn(wire::Attributes::Reader in, const Grant& grant, uint8_t bit, const std::string& name) {
  Attributes attributes = readAttributes(in);
  auto inode = get(attributes.inode);
  bool granted = grant.has(bit);
  bool stands = leases_.stands(grant);
  inode->learnedUnder_ = grant.link;
  inode->learn(attributes, grant.index, granted && stands);
  if (!name.empty()) {
    inode->name = name;
  }
  return inode->effective();
}

void InodeTable::learn(Inode& inode, wire::Attributes::Reader in, const Grant& grant, bool leased) {
  inode.learnedUnder_ = grant.link;
  inode.learn(readAttributes(in), grant.index, leased);
}

void InodeTable::learn(wire::Reply::Reader reply, const Grant& grant) {
  auto take = [&](bool present, wire::Attributes::Reader attributes, uint8_t bit) {
    if (present) {
      learn(attributes, grant, bit);
    }
  };
  take(reply.hasParent(), reply.getParent(), wire::LEASED_NAMES);
  take(reply.hasNewParent(), reply.getNewParent(), wire::LEASED_NEW_PARENT);
  take(reply.hasReplaced(), reply.getReplaced(), 0);
  take(reply.hasAttributes(), reply.getAttributes(), wire::LEASED_ATTRIBUTES);
}

void InodeTable::reported(Inode& inode, wire::Attributes::Reader in, const Grant& grant) {
  bool leased = grant.has(wire::LEASED_ATTRIBUTES) && leases_.stands(grant);
  inode.learnedUnder_ = grant.link;
  inode.reported(readAttributes(in), grant.index, leased);
}

Task<Status> InodeTable::refresh(Inode& inode) {
  auto keep = kj::addRef(inode);
  auto query = kj::heap<MasterSession::QueryDraft>();
  (*query)->setAttributes(raw(inode.id));
  auto answer = co_await session_.query(kj::mv(query));
  if (!answer.ok()) {
    co_return answer.error();
  }
  learn(answer.value().getAnswer().getAttributes(), answer.value().grant, wire::LEASED_ATTRIBUTES);
  co_return Status();
}

std::vector<kj::Own<Inode>> InodeTable::all() {
  std::vector<kj::Own<Inode>> out;
  for (Inode* inode : byUse_) {
    out.push_back(kj::addRef(*inode));
  }
  return out;
}

}  // namespace cairn
