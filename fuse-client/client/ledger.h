// Ledger: what a client notes down as it goes, before it acts on it, so that another process can take its place at any
// moment, even if it dies without a word; and Inheritance, what such a successor begins with. Where it is kept is
// the business of who runs the processes. Bytes aren't noted: what wasn't written out is lost with the process, and the
// successor reports that for each file that is noted as unsafe.
#pragma once
#include <cstdint>
#include <vector>

#include "common/ids.h"
#include "fuse-client/client/types.h"

namespace cairn {

// A change that was sent to the master, or was about to be. Sent again under the same slot and sequence number it is
// carried out once.
struct SentChange {
  uint8_t slot = 0;
  uint64_t sequence = 0;
  uint64_t request = 0;  // Caller::request; 0: nobody would ask for it again
  uint16_t kind = 0;     // of wire::Op
  bool answered = false;
};

// Locks that a program may have, and the open file through which it asked last.
struct HeldLock {
  InodeId inode{};
  bool flock = false;
  uint64_t owner = 0;
  HandleId handle{};
};

// How much of a written file is lost with this process.
enum class Safety : uint8_t {
  SAFE,      // nothing
  UNSYNCED,  // nothing, but nobody would notice any more when the chunkservers lost it before it is synced
  UNSENT,    // bytes, or the size or time that goes with them; or an error that nobody has been told of
};

struct Inheritance {
  struct OpenFile {
    HandleId handle{};
    InodeId inode{};
    uint32_t bits = 0;
    bool locksLost = false;
  };
  struct Unsafe {
    InodeId inode{};
    Safety safety = Safety::SAFE;
  };
  SessionId session{};
  uint64_t attempts = 0;  // to attach
  std::vector<SentChange> sent;  // the last one of each slot
  std::vector<OpenFile> files;
  uint64_t lastHandle = 0;
  std::vector<HeldLock> locks;
  std::vector<Unsafe> unsafe;
};

class Ledger {
 public:
  virtual void attaching(SessionId session, uint64_t attempt) = 0;
  virtual void sending(const SentChange& change) = 0;
  virtual void answered(uint8_t slot) = 0;
  virtual void mayHaveLocks(const HeldLock& lock) = 0;
  virtual void hasNoLocks(const HeldLock& lock) = 0;
  // With a session; what is open through this handle is good for nothing any more.
  virtual void locksLost(HandleId handle) = 0;
  virtual void safety(InodeId inode, Safety now) = 0;

 protected:
  ~Ledger() = default;
};

// Of a client that nobody succeeds.
class NoLedger final : public Ledger {
 public:
  void attaching(SessionId, uint64_t) override {}
  void sending(const SentChange&) override {}
  void answered(uint8_t) override {}
  void mayHaveLocks(const HeldLock&) override {}
  void hasNoLocks(const HeldLock&) override {}
  void locksLost(HandleId) override {}
  void safety(InodeId, Safety) override {}
};

}  // namespace cairn
