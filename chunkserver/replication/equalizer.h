// Equalizer: makes the copies of one chunk equal on a set of members, by the plan of merge.h. The primary runs it,
// while nothing changes the chunk.
#pragma once
#include <vector>

#include "chunkserver/replication/merge.h"
#include "chunkserver/replication/merged_chunk.h"
#include "chunkserver/replication/replica.h"
#include "chunkserver/replication/wire_chunks.h"

namespace cairn {

class Equalizer {
 public:
  // Reading a whole chunk from a disk under load, and sending one.
  static constexpr Nanos DESCRIBE_LIMIT = 30 * SECOND;
  static constexpr Nanos IMAGE_LIMIT = 30 * SECOND;

  struct Job {
    ChunkId chunk;
    std::vector<MemberName> others;  // besides this volume, which is member 0
    uint32_t base = 0;               // of mending: chosen by run()
    bool allRestarted = false;
    bool discard = false;  // what the base doesn't have was never acknowledged: delete it
    // The chunk is pending on the members until this one is complete; 0: until the epoch is settled.
    uint64_t sequence = 0;
    // Inside an epoch, to mend: copies that are as they should be stay untouched, and what is replaced goes to
    // quarantine first.
    bool mending = false;
    uint64_t turn = 0;  // of the shard when it began: set by run()
  };
  enum class End {
    EQUAL,
    LOST,      // a member didn't answer or answers for another epoch: try again, or wait for a new epoch
    NO_SPACE,  // `member` has no room for the merged chunk
  };
  struct Outcome {
    End end = End::EQUAL;
    uint32_t member = 0;
  };

  Equalizer(Surroundings& around, ShardReplica& state) : around_(around), state_(state) {}

  // Reads the chunk on every member and makes the copies equal.
  Task<Outcome> run(Job job);
  // Digests only, of many chunks at once: those whose copies differ or whose state isn't known.
  Task<std::vector<ChunkId>> differing(std::vector<ChunkId> chunks, std::vector<MemberName> others);

 private:
  using Describe = capnp::Response<wire::PeerService::DescribeResults>;
  using Fetched = capnp::Response<wire::PeerService::FetchResults>;

  // All throw kj::Exception when the member doesn't answer in time or refuses.
  Task<Describe> describeAt(MemberName member, std::vector<ChunkId> chunks, bool deep);
  Task<kj::Own<Fetched>> fetchFrom(MemberName member, ChunkId chunk);
  // `merged` nullptr: the chunk goes away.
  Task<wire::Verdict> installAt(MemberName member, const Job& job, const MergedChunk* merged);
  Task<wire::Verdict> installHere(const Job& job, const MergedChunk* merged);
  // `wanted`: the members that need it; empty: all.
  Task<Outcome> placeEverywhere(const Job& job, const MergedChunk* merged, std::vector<bool> wanted = {});

  // Throws when the epoch or the role has changed since: what was read then may have been overwritten.
  void requireCurrent(const Job& job) const;
  void noteDiffering(const Job& job);
  Task<std::vector<CopyState>> copies(const Job& job);
  Task<Outcome> installEverywhere(const Job& job, MergePlan plan, std::vector<CopyState> found);
  // Gives torn blocks of this volume that are to be adopted a new checksum, through the store, which counts them.
  Task<void> adoptHere(const Job& job, const MergePlan& plan);
  Task<void> loadMember(const Job& job, uint32_t member, MergedChunk& out);

  Surroundings& around_;
  ShardReplica& state_;
};

}  // namespace cairn
