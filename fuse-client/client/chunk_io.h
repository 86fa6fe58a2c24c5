// ChunkIo: bytes of an object as calls to chunkservers. Finds the shard's members in the map, deals with every
// verdict, waits for a newer map where that is the remedy, and tries again until there is a final answer. Knows
// nothing of buffers, sizes or handles.
//
// Writes, syncs and punches go to the primary and wait for its answer until the shard's epoch ends: a message of
// an ended epoch can't be applied any more, so sending it again is safe. Reads go to the primary, and to other
// in-sync members when it fails, is slow, or has a bad block; every block's checksum is verified here.
#pragma once
#include <kj/refcount.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/task.h"
#include "fuse-client/client/chunk_links.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/extent_map.h"
#include "fuse-client/client/map_holder.h"
#include "fuse-client/client/types.h"
#include "schema/chunk.capnp.h"

namespace cairn {

// Largest payload of one message.
constexpr uint32_t MESSAGE_BYTES_MAX = 1u << 20;

// A file's bytes may be copied into another object, and the chunks of the old one go a while later (master/cleanup.h:
// four times this). Until then chunkservers refuse whoever knows the old one; so a layout that is older is asked for
// again, and an answer that took longer says nothing.
constexpr Nanos LAYOUT_TRUST = 30 * SECOND;

// What chunk calls need to know of a file.
class ChunkFile {
 public:
  virtual InodeId inode() const = 0;
  virtual const Layout& layout() const = 0;
  // Fills in what makes a chunk self-describing: inode, mode, owner, path.
  virtual void describe(wire::Target::Builder target) const = 0;
  // Since it was told by the master.
  virtual Nanos layoutAgeNanos() const = 0;
  // A chunkserver knows of a newer one: gets the attributes again. ESTALE when the file has another object now, other
  // than a copy.
  virtual Task<Status> refreshLayout() = 0;
};

// Bytes of a file in memory that somebody owns.
struct Slice {
  uint64_t offset = 0;
  uint64_t length = 0;
  const kj::byte* bytes = nullptr;  // null: zeros
  kj::Own<kj::Refcounted> owner;

  uint64_t end() const { return offset + length; }
  Slice part(uint64_t from, uint64_t to) const;
};

// The answer of a primary to a write, punch or sync.
struct Acknowledged {
  kj::Own<Verifiers> verifiers;
  int64_t allocatedDelta = 0;
};

class PrimaryCall;
struct PrimaryReply;

class ChunkIo {
 public:
  // `session` tells the session in force.
  ChunkIo(Context& context, MapHolder& map, ChunkLinks& links, const SessionId& session);

  // `pieces` all lie in chunk `index`, together at most MESSAGE_BYTES_MAX. Under another session than `session`: EIO.
  Task<Result<Acknowledged>> write(ChunkFile& file, uint32_t index, SessionId session, std::vector<Extent> pieces,
                                   bool durable);
  Task<Result<Acknowledged>> punch(ChunkFile& file, uint32_t index, uint32_t offset, uint32_t length);
  Task<Result<Acknowledged>> sync(ChunkFile& file, uint32_t index);
  // One bit a block: bit i of byte i/8.
  Task<Result<std::vector<uint8_t>>> allocated(ChunkFile& file, uint32_t index);

  // Everything of [offset, offset + length) in order and without gaps, perhaps block-aligned outwards.
  Task<Result<std::vector<Slice>>> read(ChunkFile& file, uint64_t offset, uint64_t length);

 private:
  static constexpr Nanos READ_LIMIT = 5 * SECOND;          // one try at one member
  static constexpr Nanos HEDGE_MIN = 100 * MILLISECOND;
  static constexpr Nanos HEDGE_MAX = SECOND;
  static constexpr int HEDGE_FACTOR = 8;                   // times the usual latency
  static constexpr Nanos MAP_LIMIT = SECOND;               // wait for the map that a server spoke of
  static constexpr Nanos NOT_READY_MAX = 50 * MILLISECOND;
  static constexpr Nanos STALE_LAYOUT_MAX = 50 * MILLISECOND;  // it may be the file's still, and closed for a moment
  static constexpr unsigned FAILED_TRIES_MAX = 30;
  static constexpr unsigned BAD_REQUEST_TRIES_MAX = 3;

  struct Member {
    VolumeNumber volume{};
    ServerRecord server;
  };
  struct Place : public kj::Refcounted {
    ShardId shard{};
    Epoch epoch{};
    MapVersion version{};
    std::vector<Member> members;  // in sync, the primary first; empty: nobody to ask
  };
  // A block-aligned range of a chunk still to be read, and who can't give it.
  struct Run {
    uint32_t offset = 0;
    uint32_t length = 0;
    std::set<VolumeNumber> bad;
  };
  struct ReadReply {
    enum class Kind { GOOD, BAD, UNREACHABLE, NEWER_MAP, NEWER_LAYOUT, FINAL } kind = Kind::UNREACHABLE;
    VolumeNumber volume{};
    MapVersion mapVersion{};
    std::string why;
    std::vector<Slice> good;
    std::vector<Run> bad;
  };
  struct ReadJob;

  // Kept as long as the map stays the same.
  kj::Own<Place> place(const Layout& layout, uint32_t index);
  kj::Own<Place> makePlace(ShardId shard) const;
  void fillTarget(const ChunkFile& file, uint32_t index, const Place& place, wire::Target::Builder target) const;
  // Until the map is newer than `version`, or reaches `wanted` when that is later still; at most `limit`.
  kj::Promise<void> pauseForMap(MapVersion version, MapVersion wanted, Nanos limit);

  // Asks for the layout again, after a moment if that was done before.
  Task<Status> learnLayout(ChunkFile& file, unsigned tries);
  Task<Result<PrimaryReply>> atPrimary(PrimaryCall& call);
  Task<PrimaryReply> tryPrimary(PrimaryCall& call, const Place& place);
  Task<Status> afterRefusal(PrimaryCall& call, const Place& place, const PrimaryReply& reply, unsigned tries);

  Task<Result<std::vector<Slice>>> readHard(ChunkFile& file, uint64_t offset, uint64_t length);
  Task<Status> readPiece(ReadJob& job);
  static void describe(const ReadJob& job, const Place* where, const std::string& why, Wait& out);
  Task<Status> readRun(ReadJob& job, Run run);
  static std::vector<size_t> candidatesFor(const Run& run, const Place& place, const std::set<VolumeNumber>& skip);
  Task<Status> noMemberLeft(ReadJob& job, Run run, const Place& place);
  Task<ReadReply> tryMembers(ReadJob& job, const Run& run, Place& place, std::vector<size_t> members);
  Task<ReadReply> tryMember(ReadJob& job, uint32_t offset, uint32_t length, kj::Own<Place> place, size_t member);
  static ReadReply::Kind kindOf(wire::Verdict verdict);
  void judge(ReadJob& job, uint32_t offset, uint32_t length, capnp::Response<wire::ChunkService::ReadResults> response,
             ReadReply& out);
  void reportBad(ReadJob& job, const Place& place, const Member& member, const std::vector<Run>& bad);

  Context& context_;
  MapHolder& map_;
  ChunkLinks& links_;
  const SessionId& session_;
  Nanos usualLatency_ = MILLISECOND;
  std::map<ShardId, kj::Own<Place>> places_;
  MapVersion placesVersion_{};
};

}  // namespace cairn
