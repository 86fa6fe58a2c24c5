// One mutation in flight at its primary. Part of Primary; not for others.
#pragma once
#include <capnp/message.h>
#include <kj/refcount.h>

#include <map>
#include <optional>
#include <string>

#include "chunkserver/replication/primary.h"

namespace cairn {

struct Primary::Mutation : kj::Refcounted {
  Mutation(const MutationSpec& spec, ChunkId chunk, uint64_t turn, Surroundings& around)
      : spec(spec),
        chunk(chunk),
        turn(turn),
        session(SessionId{spec.target.getSession()}),
        request(spec.target.getRequest()),
        pieces(spec.pieces),
        words(pieces.words() + spec.target.totalSize().wordCount),
        context_(contextOf(spec.target)),
        fences_(around.fences) {
    fences_.enter(session, this->chunk.object);
  }
  ~Mutation() noexcept(false) { end(); }
  KJ_DISALLOW_COPY(Mutation);

  Task<Result<Mutated>> apply(ShardReplica& state) {
    context_.epoch = state.epoch();
    switch (spec.kind) {
      case MutationSpec::Kind::WRITE:
        return state.store().write(chunk, context_, pieces.pieces());
      case MutationSpec::Kind::PUNCH:
        return state.store().punch(chunk, context_, spec.offset, spec.length);
      case MutationSpec::Kind::CUT:
        return state.store().applyCuts(chunk, context_);
      case MutationSpec::Kind::REMOVE:
        return state.store().retire(state.key(chunk));
      case MutationSpec::Kind::NOTHING:
        break;
    }
    return kj::Promise<Result<Mutated>>(Result<Mutated>(Mutated()));
  }

  // Nothing more is sent of it, and its message may go.
  void end() {
    if (!over) {
      over = true;
      fences_.leave(session, chunk.object);
    }
  }
  // The caller goes, the mutation stays: takes a copy of what has still to be sent.
  void keep() {
    auto copy = kj::heap<capnp::MallocMessageBuilder>(static_cast<unsigned>(words + 64));
    auto params = copy->initRoot<wire::PeerService::ForwardParams>();
    params.setTarget(spec.target);
    spec.target = params.getTarget().asReader();
    if (spec.kind == MutationSpec::Kind::WRITE) {
      params.initChange().setWrite(spec.pieces);
      spec.pieces = params.getChange().getWrite().asReader();
    }
    kept_ = kj::mv(copy);
  }
  bool isKept() const { return kept_.get() != nullptr; }

  MutationSpec spec;  // its message is there until `over`
  const ChunkId chunk;
  const uint64_t turn;
  const SessionId session;
  const uint64_t request;
  const PieceList pieces;  // for apply()
  const uint64_t words;
  uint64_t sequence = 0;
  Nanos started = 0;
  bool over = false;
  bool answeredAll = false;
  bool carried = false;                       // the epoch changed before it was answered
  std::optional<wire::Verdict> here;          // what this volume said
  wire::Verdict verdict = wire::Verdict::OK;  // what the client gets
  std::string why;
  std::string slow;  // which members took long
  int64_t allocatedDelta = 0;
  std::map<unsigned, wire::Verdict> refusals;  // by slot
  std::map<unsigned, Incarnation> verifiers;   // by slot
  kj::Own<kj::PromiseFulfiller<void>> answered;

 private:
  ChunkContext context_;
  Fences& fences_;
  kj::Own<capnp::MallocMessageBuilder> kept_;
};

}  // namespace cairn
