// CapsuleShipper: sees to it that chunkservers have copies of the masters' state (rpc/capsule_format.h): a snapshot,
// and every ROUND the log after it. If all masters are lost, dfs-recover makes the tree again from any disk.
//
// The shipper remembers nothing: each chunkserver says what it has, and is sent what follows. Entries that are applied
// are the same at every leader, so the next one goes on with the same copies. A copy of a group that was begun anew
// (GroupEpoch) begins anew, too.
//
// Every chunkserver gets a copy, for any disk that is left must do, and names are small beside bytes: only where a copy
// is so big that all of them would be more than SPREAD_BYTES it is KEEPERS_MIN or more of them, always the same ones.
//
// A new snapshot is sent when the tail has outgrown the last one: so reading a copy never takes long, and at least half
// of what is sent is log.
#pragma once
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/task.h"
#include "common/workers.h"
#include "master/capsule/tail_frames.h"
#include "master/replica.h"
#include "schema/capsule.capnp.h"

namespace cairn {

class CapsuleShipper final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr Nanos ROUND = 2 * SECOND;
  static constexpr uint64_t SPREAD_BYTES = uint64_t{4} << 30;
  static constexpr uint64_t KEEPERS_MIN = 4;
  // Smaller tails don't outgrow anything.
  static constexpr uint64_t TAIL_BYTES_MIN = 4 << 20;
  // Of one frame that is read back from the log.
  static constexpr size_t CATCH_UP_BYTES = 4 << 20;
  // Pieces of a snapshot are this far apart, that they are felt by nobody.
  static constexpr Nanos PIECE_PAUSE = 5 * MILLISECOND;
  static constexpr Nanos CALL_LIMIT = 30 * SECOND;
  static constexpr Nanos SNAPSHOT_EVERY = 30 * SECOND;
  // On so many chunkservers what was changed counts as safe, or on all, if there are fewer.
  static constexpr size_t KEEPERS_WANTED = 2;
  // From this age on people are told.
  static constexpr Nanos AGE_MAX = 60 * SECOND;

  CapsuleShipper(Clock& clock, Workers& workers, Replica& replica, ClusterId cluster);
  KJ_DISALLOW_COPY(CapsuleShipper);

  // In the order of the log.
  void onEntry(LogIndex index, Term term, kj::ArrayPtr<const kj::byte> payload) { frames_.add(index, term, payload); }
  // A chunkserver has registered; the number is for remove(). It takes the place of its earlier life.
  uint64_t add(ServerId server, std::string name, wire::CapsuleKeeper::Client client);
  void remove(uint64_t number);

  // For how long what was changed last isn't as safe as it should be. Nothing: there is no chunkserver.
  std::optional<Nanos> age() const;
  // Why copies can't be made, as the last chunkserver said that refused one; empty: none does.
  std::string trouble() const;

 private:
  struct Keeper final : kj::Refcounted {
    Keeper(ServerId serverId, std::string serverName, wire::CapsuleKeeper::Client keeper)
        : server(serverId), name(std::move(serverName)), client(kj::mv(keeper)) {}
    const ServerId server;
    const std::string name;
    wire::CapsuleKeeper::Client client;
    bool gone = false;
    bool known = false;  // `state` is what it said
    bool lacks = false;  // entries after its tail are gone from the log
    CapsuleId capsule;
    uint64_t capsuleBytes = 0;
    LogIndex tailEnd{};
    uint64_t tailBytes = 0;
    Nanos covered = 0;  // it has all that was applied then
    std::string trouble;
  };

  Task<void> run();
  Task<void> follow(kj::Own<Keeper> keeper);
  Task<Status> serve(Keeper& keeper);
  Task<Status> ask(Keeper& keeper);
  Task<Status> sendCapsule(Keeper& keeper);
  Task<Status> sendPieces(Keeper& keeper, StateSource::Snapshot& snapshot);
  Task<Status> put(Keeper& keeper, FrameHead head, std::string content);
  Task<Status> sendTail(Keeper& keeper, LogIndex upTo);
  Task<Status> appendFrame(Keeper& keeper, kj::ArrayPtr<const char> bytes);
  Task<kj::Own<SharedFrame>> readFrame(Keeper& keeper);
  kj::Promise<void> nextRound();
  void wantSnapshot();
  void take(Keeper& keeper, wire::CapsuleState::Reader state);
  bool isOurs(const Keeper& keeper) const;
  bool hasOutgrown(const Keeper& keeper) const;
  bool wantsCapsule(const Keeper& keeper) const;
  bool isChosen(const Keeper& keeper) const;
  FrameHead headFor(const CapsuleId& capsule) const;
  void taskFailed(kj::Exception&& exception) override;

  Clock& clock_;
  Workers& workers_;
  Replica& replica_;
  StateSource& source_;
  const ClusterId cluster_;
  const Nanos began_;
  TailFrames frames_;
  uint64_t keepersMade_ = 0;
  std::map<uint64_t, kj::Own<Keeper>> keepers_;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting_;  // for the next round
  LogIndex roundIndex_{};                                     // had been applied when the round began
  Nanos roundBegan_ = 0;
  Nanos snapshotAsked_ = 0;
  uint64_t snapshotBytes_ = 0;  // of the newest, when it was sent last
  bool sending_ = false;        // a snapshot: one at a time
  kj::TaskSet tasks_;
};

}  // namespace cairn
