// Reconciler: what a primary does at the start of an epoch before it serves anything of the shard. It gathers from
// every in-sync member the chunks that may differ, and makes each equal. Hundreds of shards change their epochs
// together when a server goes, so questions to one member leave in one message.
#pragma once
#include <map>
#include <vector>

#include "chunkserver/replication/equalizer.h"
#include "chunkserver/replication/replica.h"

namespace cairn {

// What a member says of one shard.
struct Gathered {
  bool known = false;  // false: no answer, or it isn't in that epoch
  bool restarted = false;
  Epoch since{};
  std::vector<ChunkId> chunks;
};

// Puts the questions that are asked in one turn into one call per member.
class PendingGather {
 public:
  static constexpr uint32_t SHARDS_PER_CALL_MAX = 4096;
  static constexpr Nanos REACH_LIMIT = SECOND;
  static constexpr Nanos ANSWER_LIMIT = 5 * SECOND;

  PendingGather(Surroundings& around, kj::TaskSet& tasks) : around_(around), tasks_(tasks) {}
  kj::Promise<Gathered> ask(MemberName member, ShardId shard, Epoch epoch);

 private:
  struct Question {
    ShardId shard{};
    Epoch epoch{};
    kj::Own<kj::PromiseFulfiller<Gathered>> fulfiller;
  };
  Task<void> flush(MemberName member);
  Task<void> call(MemberName member, std::vector<Question> questions);

  Surroundings& around_;
  kj::TaskSet& tasks_;
  std::map<VolumeNumber, std::vector<Question>> open_;
};

class Reconciler {
 public:
  static constexpr uint32_t CHUNKS_AT_ONCE = 4;

  Reconciler(Surroundings& around, ShardReplica& state, PendingGather& gather)
      : around_(around), state_(state), gather_(gather), equalizer_(around, state) {}
  KJ_DISALLOW_COPY(Reconciler);

  // Runs until the shard is ready or has another epoch. True: it is ready.
  Task<bool> run();

 private:
  struct Suspicion {
    std::vector<ChunkId> chunks;
    bool complete = true;  // every member has answered
    bool anyRestarted = false;
    bool allRestarted = true;
  };
  Task<bool> once(uint64_t turn, std::vector<MemberName> others);
  Task<Suspicion> gatherAll(std::vector<MemberName> others);
  Task<bool> equalizeAll(uint64_t turn, std::vector<MemberName> others, Suspicion& suspicion);
  Task<bool> equalizeNext(uint64_t turn, const std::vector<MemberName>& others, Suspicion& suspicion);
  Task<bool> equalizeOne(uint64_t turn, Equalizer::Job job);
  std::vector<MemberName> others() const;

  Surroundings& around_;
  ShardReplica& state_;
  PendingGather& gather_;
  Equalizer equalizer_;
};

}  // namespace cairn
