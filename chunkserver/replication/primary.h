// Primary: the shard's mutations while this volume is its primary. Applies each locally, forwards it to all members in
// one order, answers when all in-sync members have it.
//
// A mutation that a member refuses for good (no room, fenced there, a bad block under a partial write) leaves the
// copies different: the chunk is frozen and made equal before anybody gets an answer. One in flight when the epoch
// changes is completed by the reconciliation of the next epoch, if this volume is primary there too.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chunkserver/replication/equalizer.h"
#include "chunkserver/replication/replica.h"
#include "chunkserver/replication/window.h"
#include "chunkserver/replication/wire_chunks.h"

namespace cairn {

// What to change. Points into a message that must outlive the task.
struct MutationSpec {
  enum class Kind { WRITE, PUNCH, CUT, REMOVE, NOTHING };
  Kind kind = Kind::WRITE;
  wire::Target::Reader target;
  capnp::List<wire::Piece>::Reader pieces;  // WRITE
  uint32_t offset = 0;                      // PUNCH
  uint32_t length = 0;                      // PUNCH
  bool durable = false;
  // A client's may not change a sealed object; what fills an object for a file that is to be moved changes only such.
  enum class By { CLIENT, MASTER, COPIER };
  By by = By::CLIENT;
};

struct MemberAck {
  VolumeNumber volume{};
  Incarnation incarnation;
  Epoch since{};  // a member without a gap
};

struct MutationResult {
  wire::Verdict verdict = wire::Verdict::OK;
  std::string why;
  std::vector<MemberAck> verifiers;
  int64_t allocatedDelta = 0;
  std::string slow;  // which members took long
};

class Primary {
 public:
  // How long a mutation waits for a new epoch before the client is told to come again.
  static constexpr Nanos WAIT_LIMIT = 5 * SECOND;
  // A member that hasn't answered a forward for this long is suspected...
  static constexpr Nanos SILENCE_LIMIT = SECOND;
  // ... and after this long the link is made anew.
  static constexpr Nanos RELINK_LIMIT = 3 * SECOND;
  // A joining member may be fetching the chunk first.
  static constexpr Nanos JOINER_LIMIT = 15 * SECOND;
  static constexpr Nanos SYNC_LIMIT = 10 * SECOND;
  // While a mutation waits for longer than this, and beyond this many, new ones are refused: clients come again.
  static constexpr Nanos STALL_LIMIT = 2 * SECOND;
  static constexpr uint32_t IN_FLIGHT_MAX = 4096;

  Primary(Surroundings& around, ShardReplica& state, kj::TaskSet& tasks);
  ~Primary() noexcept(false);
  KJ_DISALLOW_COPY(Primary);

  // The record changed: a new epoch or role (state.turn moved), or only other joining members.
  void epochChanged();
  void joiningChanged();

  // REQUIRES: role is PRIMARY, ready. The mutation's place in the order is taken before this returns, unless the
  // chunk is being made equal.
  Task<MutationResult> mutate(MutationSpec spec);
  // Makes acknowledged mutations of the chunk durable on all in-sync members.
  Task<MutationResult> sync(ChunkId chunk, uint64_t request = 0);
  // Resolves when every mutation that changes the chunk and is in flight now has ended: true when all took place.
  Task<bool> ended(ChunkId chunk);
  bool inFlight(ChunkId chunk) const;
  // Of these, some that change it: one that is only being mended may be read.
  bool isChanging(ChunkId chunk) const;
  // Makes all members' copies equal, block by block, reading all from the disks.
  Task<bool> repair(ChunkId chunk);
  // Those of `chunks` whose digests are not the same on all in-sync members, nothing being in flight. Empty when a
  // member doesn't answer.
  Task<std::vector<ChunkId>> differing(std::vector<ChunkId> chunks);

  // A joining member starts: it gets every mutation from here on. Gives the sequence of the first one; nothing when
  // the member isn't joining.
  std::optional<uint64_t> startStream(VolumeNumber member);
  // The member has taken everything: answers wait for it from now on. False: it missed a forward.
  Task<bool> takeIn(VolumeNumber member);

  // Looks for members that don't answer.
  void tick();
  bool idle() const { return inFlight_.empty(); }

  // What members haven't been told of yet, for `settled`.
  struct Untold {
    MemberName member;
    unsigned slot = 0;
    uint64_t completeBelow = 0;
  };
  std::vector<Untold> untold() const;
  void told(unsigned slot, uint64_t turn, uint64_t completeBelow);

 private:
  struct Member {
    MemberName name;
    bool inSync = false;
    bool gone = false;         // the slot is free
    bool streaming = false;    // gets forwards; always for in-sync members
    bool participant = false;  // joining, and answers wait for it
    uint64_t toldBelow = 0;    // 0: not even that the epoch is reconciled
  };
  struct Mutation;

  bool current(const Mutation& mutation) const;
  void begin(Mutation& mutation);
  Task<void> applyHere(kj::Own<Mutation> mutation);
  Task<void> deliver(kj::Own<Mutation> mutation, unsigned slot);
  // One try. AGAIN: the link broke or the member isn't ready. SILENT: it can't be reached in time.
  enum class Reply { OK, REFUSED, AGAIN, SILENT };
  Task<Reply> forwardOnce(Mutation& mutation, unsigned slot);
  Reply takeReply(Mutation& mutation, unsigned slot, wire::Answer2::Reader answer, Incarnation incarnation);
  void acknowledge(Mutation& mutation, unsigned slot);
  void finish(const std::vector<uint64_t>& answered);
  void giveUpOn(unsigned slot);
  bool stalled() const;

  void freeze(ChunkId chunk);
  void thaw(ChunkId chunk);
  bool isFrozen(ChunkId chunk) const { return frozen_.count(chunk) != 0; }
  void refused(Mutation& mutation, unsigned slot, wire::Verdict verdict);
  Task<void> resolveRefusals(ChunkId chunk);
  bool isRequired(unsigned slot) const;
  bool allAnsweredOrRefused(ChunkId chunk) const;
  bool needsEqualizing(ChunkId chunk) const;
  unsigned chooseBase(ChunkId chunk) const;
  void closeRefused(ChunkId chunk, unsigned base);
  enum class Reason { REFUSAL, MENDING };
  Task<std::optional<unsigned>> equalize(ChunkId chunk, unsigned base, Reason reason);
  kj::Own<Mutation> beginEqualizing(ChunkId chunk);
  void forwardToAll(Mutation& mutation);

  Task<MutationResult> concludeCarried(Mutation& mutation);
  MutationResult resultOf(const Mutation& mutation) const;
  std::vector<MemberAck> currentVerifiers() const;
  Epoch sinceOf(VolumeNumber volume) const;
  Task<std::optional<MemberAck>> syncOn(MemberName member, wire::Target::Reader target, std::string& slow);
  Task<bool> syncHere(ChunkId chunk);
  // One round over all members; true when all are durable under one epoch.
  Task<bool> syncOnce(ChunkId chunk, uint64_t request, MutationResult& result);
  void noteSlow(std::string& slow, const std::string& who, Nanos began, kj::StringPtr told) const;
  std::string nameOf(ServerId server) const;
  void fillForward(const Mutation& mutation, unsigned slot, wire::PeerService::ForwardParams::Builder out);
  unsigned freeSlot();
  void addMember(VolumeNumber volume, bool inSync);

  Surroundings& around_;
  ShardReplica& state_;
  kj::TaskSet& tasks_;
  Equalizer equalizer_;
  PrimaryWindow window_;
  std::vector<Member> members_;  // slot - 1
  std::map<uint64_t, kj::Own<Mutation>> inFlight_;
  std::map<ChunkId, uint32_t> frozen_;  // no mutation of these begins; by how many who want that
  std::set<ChunkId> resolving_;         // refusals of these are being resolved
  uint64_t primarySince_ = 0;           // the turn since which this volume has been primary all along
  bool wasPrimary_ = false;
  Wakeup moved_;  // a mutation ended, a member answered, or a chunk thawed
};

}  // namespace cairn
