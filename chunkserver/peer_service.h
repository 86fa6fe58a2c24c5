// PeerHandlers: what other chunkservers ask (PeerService of chunk.capnp): forwards, reconciliation, catching up.
#pragma once
#include "chunkserver/replication/replicator.h"
#include "chunkserver/server_metrics.h"
#include "chunkserver/service_gate.h"
#include "schema/chunk.capnp.h"

namespace cairn {

class PeerHandlers {
 public:
  template <typename Params, typename Results>
  using Call = capnp::CallContext<Params, Results>;
  using Peer = wire::PeerService;
  using ForwardContext = Call<Peer::ForwardParams, Peer::ForwardResults>;
  using SyncContext = Call<Peer::SyncParams, Peer::SyncResults>;
  using PendingContext = Call<Peer::PendingParams, Peer::PendingResults>;
  using DescribeContext = Call<Peer::DescribeParams, Peer::DescribeResults>;
  using FetchContext = Call<Peer::FetchParams, Peer::FetchResults>;
  using InstallContext = Call<Peer::InstallParams, Peer::InstallResults>;
  using ChangedContext = Call<Peer::ChangedParams, Peer::ChangedResults>;
  using SettledContext = Call<Peer::SettledParams, Peer::SettledResults>;
  using TakenContext = Call<Peer::TakenParams, Peer::TakenResults>;
  using RepairContext = Call<Peer::RepairParams, Peer::RepairResults>;

  // How long a question waits for the map or for the shard's reconciliation.
  static constexpr Nanos WAIT_LIMIT = 2 * SECOND;
  static constexpr uint32_t CHUNKS_PER_PAGE = 1024;
  // How long a chunk for a joining member waits at most while users are busy.
  static constexpr Nanos GIVE_WAY_MAX = 5 * SECOND;

  PeerHandlers(Replicator& replicator, Membership& membership, Clock& clock, ServerMetrics& metrics)
      : replicator_(replicator), membership_(membership), clock_(clock), metrics_(metrics) {}

  Task<void> forward(ForwardContext context);
  Task<void> sync(SyncContext context);
  Task<void> pending(PendingContext context);
  Task<void> describe(DescribeContext context);
  Task<void> fetch(FetchContext context);
  Task<void> install(InstallContext context);
  Task<void> changed(ChangedContext context);
  Task<void> settled(SettledContext context);
  Task<void> taken(TakenContext context);
  Task<void> repair(RepairContext context);

 private:
  // Tells the primary, and the log, if it took long.
  void tellSlow(const char* kind, wire::Target::Reader target, const OperationTimer& timer, wire::Answer2::Builder out);
  // The member of the shard on `volume` if it is in `epoch`; otherwise nullptr, and the answer says why.
  ReplicaUnit* member(uint32_t volume, uint32_t shard, uint64_t epoch, wire::Answer2::Builder answer);
  // The same for a primary that is ready, once the map has `version`.
  Task<ReplicaUnit*> readyPrimary(uint32_t volume, uint32_t shard, uint64_t epoch, uint64_t version);
  // How long a chunk for a joining member is mended at most before it is to be asked for again.
  static constexpr Nanos MEND_LIMIT = 5 * SECOND;

  Task<void> giveWay(ReplicaUnit& unit, ChunkId chunk);
  // `bad`: how many of its blocks don't match.
  Task<Status> takeImage(ReplicaUnit& unit, ChunkId chunk, wire::ChunkImage::Builder out, size_t& bad);
  Task<uint64_t> changedBytes(ReplicaUnit& unit, Epoch since);
  bool allKnown(VolumeNumber volume, capnp::List<wire::ShardEpoch>::Reader shards);
  void answer(wire::Answer2::Builder out, wire::Verdict verdict, kj::StringPtr why = nullptr) const;

  Replicator& replicator_;
  Membership& membership_;
  Clock& clock_;
  ServerMetrics& metrics_;
};

wire::PeerService::Client newPeerService(ServiceGate& gate, PeerHandlers& handlers);

}  // namespace cairn
