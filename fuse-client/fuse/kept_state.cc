#include "fuse-client/fuse/kept_state.h"

#include <kj/debug.h>

#include <algorithm>
#include <cstring>

namespace cairn {
namespace {

// What comes after it is not begun before what comes before it has been carried out: the process may end between.
void inOrder() {
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace

std::vector<int> KeptState::make() {
  std::vector<int> out;
  for (const char* name : {"cairn-mount", "cairn-open", "cairn-known", "cairn-locks", "cairn-unsafe"}) {
    int descriptor = KeptMemory::make(name);
    if (descriptor < 0) {
      return {};
    }
    out.push_back(descriptor);
  }
  return out;
}

KeptState::KeptState(const Descriptors& descriptors)
    : header_(descriptors[0]),
      open_(descriptors[1]),
      known_(descriptors[2]),
      locks_(descriptors[3]),
      unsafe_(descriptors[4]) {
  if (header_.sizeBytes() < sizeof(Header)) {
    header_.grow(sizeof(Header));
  }
  locks_.forEach([this](const Lock& lock) { lockPlaces_[{lock.inode, lock.flock != 0, lock.owner}] = lock.key; });
}

bool KeptState::isNew() const { return header().layout == 0; }
bool KeptState::isUnderstood() const { return header().layout == LAYOUT; }

void KeptState::begin(InodeId root, const std::string& firstRequest) {
  KJ_ASSERT(firstRequest.size() <= FIRST_REQUEST_MAX, "the kernel's first request is longer than any known");
  Header& h = header();
  h.root = raw(root);
  std::memcpy(h.firstRequest, firstRequest.data(), firstRequest.size());
  h.firstRequestBytes = static_cast<uint32_t>(firstRequest.size());
  inOrder();
  h.layout = LAYOUT;
}

InodeId KeptState::root() { return InodeId{header().root}; }

std::string KeptState::firstRequest() {
  return std::string(header().firstRequest, std::min<size_t>(header().firstRequestBytes, FIRST_REQUEST_MAX));
}

void KeptState::opened(const Open& open) {
  header().lastHandle = std::max(header().lastHandle, open.key);
  open_.put(open);
}

void KeptState::knows(const Known& known) {
  if (known.lookups == 0) {
    known_.erase(known.key);
  } else if (Known* old = known_.find(known.key)) {
    old->lookups = known.lookups;
    old->mode = known.mode;
    old->gid = known.gid;
  } else {
    known_.put(known);
  }
}

void KeptState::attaching(SessionId session, uint64_t attempt) {
  header().attempt = attempt;
  header().session = raw(session);
}

void KeptState::sending(const SentChange& change) {
  Slot& slot = header().slots[change.slot];
  slot.request = 0;
  slot.answered = 0;
  inOrder();
  slot.sequence = change.sequence;
  slot.kind = change.kind;
  inOrder();
  slot.request = change.request;
}

void KeptState::mayHaveLocks(const HeldLock& lock) {
  auto [found, fresh] = lockPlaces_.try_emplace(keyOf(lock), 0);
  if (!fresh) {
    locks_.find(found->second)->handle = raw(lock.handle);
    return;
  }
  found->second = ++header().lastLock;
  locks_.put({found->second, raw(lock.inode), lock.owner, raw(lock.handle), lock.flock ? 1u : 0u});
}

void KeptState::hasNoLocks(const HeldLock& lock) {
  auto found = lockPlaces_.find(keyOf(lock));
  if (found != lockPlaces_.end()) {
    locks_.erase(found->second);
    lockPlaces_.erase(found);
  }
}

void KeptState::locksLost(HandleId handle) {
  Open* open = open_.find(raw(handle));
  if (open != nullptr) {
    open->locksLost = 1;
  }
}

void KeptState::safety(InodeId inode, Safety now) {
  if (now == Safety::SAFE) {
    unsafe_.erase(raw(inode));
  } else if (Unsafe* old = unsafe_.find(raw(inode))) {
    old->safety = static_cast<uint64_t>(now);
  } else {
    unsafe_.put({raw(inode), static_cast<uint64_t>(now)});
  }
}

Inheritance KeptState::inheritance() {
  Inheritance out;
  const Header& h = header();
  out.session = SessionId{h.session};
  out.attempts = h.attempt;
  out.lastHandle = h.lastHandle;
  for (size_t i = 0; i < SLOTS; ++i) {
    out.sent.push_back(
        {static_cast<uint8_t>(i), h.slots[i].sequence, h.slots[i].request, static_cast<uint16_t>(h.slots[i].kind),
         h.slots[i].answered != 0});
  }
  open_.forEach([&](const Open& open) {
    out.files.push_back({HandleId{open.key}, InodeId{open.inode}, open.bits, open.locksLost != 0});
  });
  locks_.forEach([&](const Lock& lock) {
    out.locks.push_back({InodeId{lock.inode}, lock.flock != 0, lock.owner, HandleId{lock.handle}});
  });
  unsafe_.forEach([&](const Unsafe& file) {
    out.unsafe.push_back({InodeId{file.key}, static_cast<Safety>(file.safety)});
  });
  return out;
}

}  // namespace cairn
