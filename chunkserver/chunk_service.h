// ChunkHandlers: what clients ask (ChunkService of chunk.capnp). Lets a request in or says why not, hands it to the
// shard's primary or reads from the store, and checks the lease again before a reader gets its bytes.
#pragma once
#include "chunkserver/replication/replicator.h"
#include "chunkserver/scrub/scrubs.h"
#include "chunkserver/server_metrics.h"
#include "chunkserver/service_gate.h"
#include "schema/chunk.capnp.h"

namespace cairn {

class ChunkHandlers {
 public:
  using Server = wire::ChunkService::Server;
  using WriteContext = capnp::CallContext<wire::ChunkService::WriteParams, wire::ChunkService::WriteResults>;
  using ReadContext = capnp::CallContext<wire::ChunkService::ReadParams, wire::ChunkService::ReadResults>;
  using SyncContext = capnp::CallContext<wire::ChunkService::SyncParams, wire::ChunkService::SyncResults>;
  using PunchContext = capnp::CallContext<wire::ChunkService::PunchParams, wire::ChunkService::PunchResults>;
  using AllocatedContext =
      capnp::CallContext<wire::ChunkService::AllocatedParams, wire::ChunkService::AllocatedResults>;
  using ReportBadContext =
      capnp::CallContext<wire::ChunkService::ReportBadParams, wire::ChunkService::ReportBadResults>;
  using ScrubContext = capnp::CallContext<wire::ChunkService::ScrubParams, wire::ChunkService::ScrubResults>;

  // How long a request waits here for the map, a reconciliation, enough copies.
  static constexpr Nanos WRITE_WAIT = 5 * SECOND;
  static constexpr Nanos READ_WAIT = 2 * SECOND;
  static constexpr uint32_t READ_BYTES_MAX = 4u << 20;
  static constexpr uint32_t REPORTED_BLOCKS_MAX = 4096;

  ChunkHandlers(Replicator& replicator, Membership& membership, Clock& clock, Scrubs& scrubs, ServerMetrics& metrics)
      : replicator_(replicator), membership_(membership), clock_(clock), scrubs_(scrubs), metrics_(metrics) {}

  Task<void> write(WriteContext context);
  Task<void> read(ReadContext context);
  Task<void> sync(SyncContext context);
  Task<void> punch(PunchContext context);
  Task<void> allocated(AllocatedContext context);
  Task<void> reportBad(ReportBadContext context);
  Task<void> scrub(ScrubContext context);

 private:
  Task<Admission> wait(wire::Target::Reader target, Access access, Admission first);
  void answer(wire::Answer2::Builder out, wire::Verdict verdict, kj::StringPtr why) const;
  void answer(wire::Answer2::Builder out, const Admission& admission) const;
  // After bytes were read under `turn`: whether they may be shown. `settled`: no mutation in them is in flight.
  Task<bool> settled(ReplicaUnit& unit, ChunkId chunk, uint64_t turn);
  // Tells the caller, and the log, where the time went, if it was long. `members`: of those who took part.
  void tellSlow(const char* kind, wire::Target::Reader target, const OperationTimer& timer, const std::string& members,
                wire::Answer2::Builder out);
  const char* whyNotShown(const ReplicaUnit& unit, ChunkId chunk, uint64_t turn) const;

  Replicator& replicator_;
  Membership& membership_;
  Clock& clock_;
  Scrubs& scrubs_;
  ServerMetrics& metrics_;
};

// A capability on `handlers`, good until the gate closes.
wire::ChunkService::Client newChunkService(ServiceGate& gate, ChunkHandlers& handlers);

}  // namespace cairn
