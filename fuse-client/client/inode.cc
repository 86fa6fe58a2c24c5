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
  // Bytes on their way count as allocated, so that no program takes a file for empty.
  out.allocatedBytes += std::max<int64_t>(report.allocatedDelta, 0) + writes.dirty.bytes() + writes.underWay.bytes();
  return out;
}

bool Inode::isIdle() const {
  return handles == 0 && !isShared() && !hasLocalChanges() && writes.unsynced.empty() && writes.calls == 0 &&
         !report.queued && !report.underWay && errors_ == told_;
}

void Inode::learn(const Attributes& attributes, uint64_t index, Nanos now) {
  if (known_ && index != 0 && index < index_) {
    return;
  }
  bool changed = attributes.layout != committed_.layout || attributes.modified != committed_.modified ||
                 attributes.sizeBytes != committed_.sizeBytes;
  if (known_ && changed) {
    invalidate(0, UINT64_MAX);  // perhaps another client's doing
  }
  known_ = true;
  committed_ = attributes;
  index_ = std::max(index_, index);
  learnedAt_ = now;
}

void Inode::reported(uint64_t size, FileTime modified, int64_t allocatedDelta, uint64_t index) {
  if (index != 0 && index <= index_) {
    return;  // attributes of a later state have come meanwhile
  }
  committed_.sizeBytes = std::max(committed_.sizeBytes, size);
  committed_.modified = modified;
  committed_.changed = std::max(committed_.changed, modified);
  committed_.allocatedBytes += allocatedDelta;
  index_ = std::max(index_, index);
}

void Inode::written(uint64_t end, FileTime now) {
  localEnd_ = hasLocalChanges() ? std::max(localEnd_, end) : end;
  ++report.change;
  report.modified = now;
}

void Inode::truncated(uint64_t size) {
  localEnd_ = std::min(localEnd_, size);
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
}

Status Inode::errorSince(uint64_t& seen) {
  if (seen >= errors_) {
    return {};
  }
  seen = errors_;
  told_ = errors_;
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

Task<Status> Inode::refreshLayout() {
  ObjectId before = committed_.layout.object;
  Status done = co_await table_.refresh(*this);
  if (done.ok() && committed_.layout.object != before) {
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
      byUse_.pop_front();
      inodes_.erase(raw(oldest->id));
    } else {
      byUse_.splice(byUse_.end(), byUse_, oldest->place_);
    }
  }
}

Attributes InodeTable::learn(wire::Attributes::Reader in, uint64_t index, const std::string& name) {
  Attributes attributes = readAttributes(in);
  auto inode = get(attributes.inode);
  inode->learn(attributes, index, context_.clock.monotonic());
  if (!name.empty()) {
    inode->name = name;
  }
  return inode->effective();
}

Attributes InodeTable::learn(wire::Reply::Reader reply, const std::string& name) {
  auto take = [&](bool present, wire::Attributes::Reader attributes) {
    if (present) {
      learn(attributes, reply.getIndex());
    }
  };
  take(reply.hasParent(), reply.getParent());
  take(reply.hasNewParent(), reply.getNewParent());
  take(reply.hasReplaced(), reply.getReplaced());
  return learn(reply.getAttributes(), reply.getIndex(), name);
}

Task<Status> InodeTable::refresh(Inode& inode) {
  auto keep = kj::addRef(inode);
  auto query = kj::heap<MasterSession::QueryDraft>();
  (*query)->setAttributes(raw(inode.id));
  auto answer = co_await session_.query(kj::mv(query));
  if (!answer.ok()) {
    co_return answer.error();
  }
  auto reader = answer.value().getAnswer();
  keep->learn(readAttributes(reader.getAttributes()), reader.getIndex(), context_.clock.monotonic());
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
