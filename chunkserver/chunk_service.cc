#include "chunkserver/chunk_service.h"

#include <cerrno>

#include "common/log.h"

namespace cairn {
namespace {

constexpr unsigned REREADS_MAX = 4;
constexpr uint64_t RESULT_HEAD_WORDS = 64;

template <typename Results>
void writeVerifiers(const std::vector<MemberAck>& in, Results& out) {
  auto list = out.initVerifiers(static_cast<unsigned>(in.size()));
  for (uint32_t i = 0; i < in.size(); ++i) {
    list[i].setVolume(raw(in[i].volume));
    toWire(in[i].incarnation, list[i].initIncarnation());
    list[i].setSince(raw(in[i].since));
  }
}

// The store reads straight into the reply.
class ReplyTarget final : public ReadTarget {
 public:
  explicit ReplyTarget(ChunkHandlers::ReadContext& context) : context_(context) {}
  kj::ArrayPtr<kj::byte> bytes(size_t size) override {
    uint64_t words = size / sizeof(capnp::word) + size / BLOCK_BYTES + RESULT_HEAD_WORDS;
    return context_.getResults(capnp::MessageSize{words, 0}).initData(static_cast<unsigned>(size));
  }
  void sums(kj::ArrayPtr<const uint64_t> sums) override {
    auto out = context_.getResults().initSums(static_cast<unsigned>(sums.size()));
    for (uint32_t i = 0; i < sums.size(); ++i) {
      out.set(i, sums[i]);
    }
  }

 private:
  ChunkHandlers::ReadContext& context_;
};

MutationSpec specOf(wire::ChunkService::WriteParams::Reader params) {
  MutationSpec spec;
  spec.kind = MutationSpec::Kind::WRITE;
  spec.target = params.getTarget();
  spec.pieces = params.getPieces();
  spec.durable = params.getDurable();
  return spec;
}

MutationSpec specOf(wire::ChunkService::PunchParams::Reader params) {
  MutationSpec spec;
  spec.kind = MutationSpec::Kind::PUNCH;
  spec.target = params.getTarget();
  spec.offset = params.getOffset();
  spec.length = params.getLength();
  return spec;
}

uint64_t bytesOf(const MutationSpec& spec) {
  uint64_t bytes = 0;
  for (auto piece : spec.pieces) {
    bytes += piece.getData().size();
  }
  return bytes;
}

}  // namespace

void ChunkHandlers::answer(wire::Answer2::Builder out, wire::Verdict verdict, kj::StringPtr why) const {
  writeAnswer(out, verdict, membership_.map.version, why);
}

void ChunkHandlers::answer(wire::Answer2::Builder out, const Admission& admission) const {
  answer(out, admission.verdict, admission.why);
}

void ChunkHandlers::tellSlow(const char* kind, wire::Target::Reader target, const OperationTimer& timer,
                             const std::string& members, wire::Answer2::Builder out) {
  Nanos slow = replicator_.around().slow;
  if (slow == 0 || timer.elapsed() < slow) {
    return;
  }
  ++metrics_.slow;
  std::string path = fmt::format("{} {} ({}{}{})", membership_.self().name, milliseconds(timer.elapsed()), timer.path(),
                                 members.empty() ? "" : "; ", members);
  if (metrics_.slowLines.take(clock_.monotonic())) {
    spdlog::warn("slow: {} of session {}, request {:x}: {}", kind, target.getSession(), target.getRequest(), path);
  }
  out.setSlow(path);
}

Task<Admission> ChunkHandlers::wait(wire::Target::Reader target, Access access, Admission first) {
  Admission admission = first;
  Nanos deadline = clock_.monotonic() + (access == Access::READ ? READ_WAIT : WRITE_WAIT);
  while (admission.signal != nullptr && clock_.monotonic() < deadline) {
    co_await admission.signal->nextOr(clock_, deadline);
    admission = replicator_.admit(target, access);
  }
  co_return admission;
}

// A request that needn't wait takes its place in the chunk's order before anything else runs.
Task<void> ChunkHandlers::write(WriteContext context) {
  OperationTimer timer(metrics_.write, clock_);
  auto params = context.getParams();
  Admission admission = replicator_.admit(params.getTarget(), Access::WRITE);
  if (admission.signal != nullptr) {
    Admission later = co_await wait(params.getTarget(), Access::WRITE, admission);
    admission = later;
    timer.stage("waiting for the map");
  }
  if (admission.unit == nullptr) {
    answer(context.getResults().initAnswer(), admission);
    co_return;
  }
  MutationSpec spec = specOf(params);
  LoadTimer load(replicator_.around().load, clock_);
  auto result = co_await admission.unit->primary.mutate(spec);
  load.done(true, bytesOf(spec));
  timer.stage("writing everywhere");
  metrics_.bytesWritten += result.verdict == wire::Verdict::OK ? bytesOf(spec) : 0;
  timer.fail(result.verdict == wire::Verdict::FAILED || result.verdict == wire::Verdict::CORRUPT);
  auto out = context.getResults();
  answer(out.initAnswer(), result.verdict, result.why.c_str());
  tellSlow("write", params.getTarget(), timer, result.slow, out.getAnswer());
  writeVerifiers(result.verifiers, out);
  out.setAllocatedDelta(result.allocatedDelta);
}

Task<void> ChunkHandlers::punch(PunchContext context) {
  OperationTimer timer(metrics_.punch, clock_);
  auto params = context.getParams();
  Admission admission = replicator_.admit(params.getTarget(), Access::WRITE);
  if (admission.signal != nullptr) {
    Admission later = co_await wait(params.getTarget(), Access::WRITE, admission);
    admission = later;
    timer.stage("waiting for the map");
  }
  if (admission.unit == nullptr) {
    answer(context.getResults().initAnswer(), admission);
    co_return;
  }
  MutationSpec spec = specOf(params);
  auto result = co_await admission.unit->primary.mutate(spec);
  timer.stage("punching everywhere");
  timer.fail(result.verdict == wire::Verdict::FAILED);
  auto out = context.getResults();
  answer(out.initAnswer(), result.verdict, result.why.c_str());
  tellSlow("punch", params.getTarget(), timer, result.slow, out.getAnswer());
  writeVerifiers(result.verifiers, out);
  out.setAllocatedDelta(result.allocatedDelta);
}

Task<void> ChunkHandlers::sync(SyncContext context) {
  OperationTimer timer(metrics_.sync, clock_);
  auto target = context.getParams().getTarget();
  Admission admission = replicator_.admit(target, Access::SYNC);
  if (admission.signal != nullptr) {
    Admission later = co_await wait(target, Access::SYNC, admission);
    admission = later;
    timer.stage("waiting for the map");
  }
  if (admission.unit == nullptr) {
    answer(context.getResults().initAnswer(), admission);
    co_return;
  }
  auto result = co_await admission.unit->primary.sync(chunkOf(target), target.getRequest());
  timer.stage("syncing everywhere");
  timer.fail(result.verdict == wire::Verdict::FAILED);
  auto out = context.getResults();
  answer(out.initAnswer(), result.verdict, result.why.c_str());
  tellSlow("sync", target, timer, result.slow, out.getAnswer());
  writeVerifiers(result.verifiers, out);
}

const char* ChunkHandlers::whyNotShown(const ReplicaUnit& unit, ChunkId chunk, uint64_t turn) const {
  if (!membership_.lease.valid()) {
    return "this server lost its lease while it read";
  }
  if (unit.state.turn != turn || !unit.state.serving() || !unit.state.ready) {
    return "the shard's members changed while this server read";
  }
  if (unit.state.role == Role::IN_SYNC && unit.state.pending.isChanging(chunk)) {
    return "a write of the chunk isn't known complete: ask the primary";
  }
  return nullptr;
}

Task<bool> ChunkHandlers::settled(ReplicaUnit& unit, ChunkId chunk, uint64_t turn) {
  if (unit.state.turn != turn || unit.state.role != Role::PRIMARY || !unit.primary.isChanging(chunk)) {
    co_return true;
  }
  // What is in flight may be seen by nobody before all members have it.
  auto late = clock_.after(READ_WAIT).then([]() { return false; });
  auto ended = unit.primary.ended(chunk).promise().exclusiveJoin(kj::mv(late));
  co_return co_await kj::mv(ended);
}

Task<void> ChunkHandlers::read(ReadContext context) {
  OperationTimer timer(metrics_.read, clock_);
  auto params = context.getParams();
  auto target = params.getTarget();
  ChunkId chunk = chunkOf(target);
  Admission admission = replicator_.admit(target, Access::READ);
  if (admission.signal != nullptr) {
    Admission later = co_await wait(target, Access::READ, admission);
    admission = later;
    timer.stage("waiting for the map");
  }
  if (admission.unit == nullptr) {
    answer(context.getResults().initAnswer(), admission);
    co_return;
  }
  ReplicaUnit& unit = *admission.unit;
  uint64_t turn = unit.state.turn;
  if (params.getLength() > READ_BYTES_MAX || whyNotShown(unit, chunk, turn) != nullptr) {
    bool tooLong = params.getLength() > READ_BYTES_MAX;
    answer(context.getResults().initAnswer(), tooLong ? wire::Verdict::BAD_REQUEST : wire::Verdict::NOT_READY,
           tooLong ? "a read of more than READ_BYTES_MAX" : whyNotShown(unit, chunk, turn));
    co_return;
  }
  ChunkContext where = contextOf(target);
  ReplyTarget reply(context);
  LoadTimer load(replicator_.around().load, clock_);
  bool clean = false;
  Status done;
  for (unsigned tries = 0; tries < REREADS_MAX && !clean; ++tries) {
    auto read = co_await unit.state.store().read(chunk, where, params.getOffset(), params.getLength(), reply);
    done = read;
    bool complete = co_await settled(unit, chunk, turn);
    clean = complete || !done.ok();
  }
  load.done(false, params.getLength());
  timer.stage("reading");
  timer.fail(!done.ok());
  if (done.code() == EUCLEAN) {
    replicator_.startCheck(unit, chunk);
  }
  auto out = context.getResults();
  const char* why = !clean ? "writes of the chunk are in flight" : whyNotShown(unit, chunk, turn);
  if (!done.ok()) {
    answer(out.initAnswer(), verdictOf(done.code()), done.error().why.c_str());
  } else if (why != nullptr) {
    out.disownData();
    out.disownSums();
    answer(out.initAnswer(), wire::Verdict::NOT_READY, why);
  } else {
    metrics_.bytesRead += out.getData().size();
    answer(out.initAnswer(), wire::Verdict::OK, nullptr);
  }
  tellSlow("read", target, timer, {}, out.getAnswer());
}

Task<void> ChunkHandlers::allocated(AllocatedContext context) {
  OperationTimer timer(metrics_.allocated, clock_);
  auto target = context.getParams().getTarget();
  ChunkId chunk = chunkOf(target);
  Admission admission = replicator_.admit(target, Access::READ);
  if (admission.signal != nullptr) {
    Admission later = co_await wait(target, Access::READ, admission);
    admission = later;
  }
  if (admission.unit == nullptr) {
    answer(context.getResults().initAnswer(), admission);
    co_return;
  }
  ReplicaUnit& unit = *admission.unit;
  uint64_t turn = unit.state.turn;
  ChunkContext where = contextOf(target);
  auto found = co_await unit.state.store().allocated(chunk, where);
  bool complete = co_await settled(unit, chunk, turn);
  auto out = context.getResults();
  const char* why = !complete ? "writes of the chunk are in flight" : whyNotShown(unit, chunk, turn);
  if (!found.ok() || why != nullptr) {
    answer(out.initAnswer(), found.ok() ? wire::Verdict::NOT_READY : verdictOf(found.code()),
           found.ok() ? why : found.error().why.c_str());
    co_return;
  }
  auto& blocks = found.value();
  auto bitmap = out.initBitmap(static_cast<unsigned>((blocks.size() + 7) / 8));
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i]) {
      bitmap[i / 8] = static_cast<kj::byte>(bitmap[i / 8] | 1u << (i % 8));
    }
  }
  answer(out.initAnswer(), wire::Verdict::OK, nullptr);
}

Task<void> ChunkHandlers::reportBad(ReportBadContext context) {
  auto params = context.getParams();
  auto target = params.getTarget();
  ChunkId chunk = chunkOf(target);
  Admission admission = replicator_.admit(target, Access::READ);
  if (admission.unit == nullptr || params.getBlocks().size() > REPORTED_BLOCKS_MAX) {
    co_return;
  }
  ReplicaUnit& unit = *admission.unit;
  std::vector<uint32_t> blocks;
  for (uint32_t block : params.getBlocks()) {
    blocks.push_back(block);
  }
  auto list = kj::arrayPtr(blocks.data(), blocks.size());
  auto permit = co_await replicator_.around().heavy.take();
  auto bad = co_await unit.state.store().verifyBlocks(unit.state.key(chunk), list);
  if (bad.ok() && !bad.value().empty()) {
    replicator_.startRepair(unit, chunk);
  }
}

Task<void> ChunkHandlers::scrub(ScrubContext context) {
  if (context.getParams().getStart()) {
    scrubs_.startNow();
  }
  scrubs_.fill(context.getResults().initVolumes(scrubs_.count()));
  co_return;
}

namespace {

class ChunkServiceServer final : public wire::ChunkService::Server {
 public:
  ChunkServiceServer(kj::Own<ServiceGate> gate, ChunkHandlers& handlers) : gate_(kj::mv(gate)), handlers_(handlers) {}
  kj::Promise<void> write(WriteContext context) override {
    return gate_->pass(handlers_, &ChunkHandlers::write, context);
  }
  kj::Promise<void> read(ReadContext context) override { return gate_->pass(handlers_, &ChunkHandlers::read, context); }
  kj::Promise<void> sync(SyncContext context) override { return gate_->pass(handlers_, &ChunkHandlers::sync, context); }
  kj::Promise<void> punch(PunchContext context) override {
    return gate_->pass(handlers_, &ChunkHandlers::punch, context);
  }
  kj::Promise<void> allocated(AllocatedContext context) override {
    return gate_->pass(handlers_, &ChunkHandlers::allocated, context);
  }
  kj::Promise<void> reportBad(ReportBadContext context) override {
    return gate_->pass(handlers_, &ChunkHandlers::reportBad, context);
  }
  kj::Promise<void> scrub(ScrubContext context) override {
    return gate_->pass(handlers_, &ChunkHandlers::scrub, context);
  }

 private:
  kj::Own<ServiceGate> gate_;
  ChunkHandlers& handlers_;
};

}  // namespace

wire::ChunkService::Client newChunkService(ServiceGate& gate, ChunkHandlers& handlers) {
  return kj::heap<ChunkServiceServer>(kj::addRef(gate), handlers);
}

}  // namespace cairn
