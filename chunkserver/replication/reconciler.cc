#include "chunkserver/replication/reconciler.h"

#include <set>

#include "common/log.h"

namespace cairn {
namespace {

constexpr Nanos RETRY_DELAY = 20 * MILLISECOND;
constexpr Nanos RETRY_DELAY_MAX = 500 * MILLISECOND;
// Members without room to be the base in turn, before the shard starts over.
constexpr unsigned BASES_TRIED_MAX = 4;

}  // namespace

kj::Promise<Gathered> PendingGather::ask(MemberName member, ShardId shard, Epoch epoch) {
  auto paf = kj::newPromiseAndFulfiller<Gathered>();
  auto& questions = open_[member.volume];
  if (questions.empty()) {
    tasks_.add(flush(member).promise());
  }
  questions.push_back({shard, epoch, kj::mv(paf.fulfiller)});
  return kj::mv(paf.promise);
}

Task<void> PendingGather::flush(MemberName member) {
  co_await nextTurn();
  auto questions = kj::mv(open_[member.volume]);
  open_.erase(member.volume);
  while (!questions.empty()) {
    std::vector<Question> part;
    while (!questions.empty() && part.size() < SHARDS_PER_CALL_MAX) {
      part.push_back(kj::mv(questions.back()));
      questions.pop_back();
    }
    co_await call(member, kj::mv(part));
  }
}

Task<void> PendingGather::call(MemberName member, std::vector<Question> questions) {
  std::map<ShardId, Gathered> answers;
  try {
    auto connected = around_.peers.connected(member.server);
    auto peer = co_await withDeadline(around_.clock, REACH_LIMIT, kj::mv(connected), "reaching a member");
    auto request = peer.pendingRequest(capnp::MessageSize{questions.size() * 3 + 32, 0});
    request.setVolume(raw(member.volume));
    auto list = request.initShards(questions.size());
    for (uint32_t i = 0; i < questions.size(); ++i) {
      list[i].setShard(raw(questions[i].shard));
      list[i].setEpoch(raw(questions[i].epoch));
    }
    kj::Promise<capnp::Response<wire::PeerService::PendingResults>> sent = request.send();
    auto response = co_await withDeadline(around_.clock, ANSWER_LIMIT, kj::mv(sent), "asking for pending chunks");
    for (auto shard : response.getShards()) {
      Gathered& gathered = answers[ShardId{shard.getShard()}];
      gathered.known = true;
      gathered.restarted = shard.getRestarted();
      gathered.since = Epoch{shard.getSince()};
      for (auto name : shard.getChunks()) {
        gathered.chunks.push_back(chunkOf(name));
      }
    }
  } catch (const kj::Exception& e) {
    if (e.getType() == kj::Exception::Type::OVERLOADED) {
      around_.membership.suspects.report(member.server);
    }
    spdlog::debug("volume {}: asking for pending chunks: {}", raw(member.volume), e.getDescription().cStr());
  }
  for (auto& question : questions) {
    question.fulfiller->fulfill(kj::mv(answers[question.shard]));
  }
}

std::vector<MemberName> Reconciler::others() const {
  std::vector<MemberName> out;
  for (VolumeNumber volume : state_.record.inSync) {
    const VolumeRecord* record = around_.membership.map.volume(volume);
    if (volume != state_.number() && record != nullptr) {
      out.push_back({volume, record->server});
    }
  }
  return out;
}

Task<bool> Reconciler::run() {
  const uint64_t turn = state_.turn;
  Nanos delay = RETRY_DELAY;
  while (turn == state_.turn) {
    bool done = false;
    try {
      auto members = others();
      bool reconciled = co_await once(turn, kj::mv(members));
      done = reconciled;
    } catch (const kj::Exception& e) {
      spdlog::debug("shard {:x}: reconciling: {}", raw(state_.shard), e.getDescription().cStr());
    }
    if (done) {
      co_return true;
    }
    co_await around_.clock.after(delay);
    delay = kj::min(delay * 2, RETRY_DELAY_MAX);
  }
  co_return false;
}

Task<bool> Reconciler::once(uint64_t turn, std::vector<MemberName> others) {
  co_await state_.applies.drain();
  auto suspicion = co_await gatherAll(others);
  if (turn != state_.turn || !suspicion.complete) {
    co_return false;
  }
  bool equal = co_await equalizeAll(turn, kj::mv(others), suspicion);
  if (turn != state_.turn || !equal) {
    co_return false;
  }
  state_.pending.settle();
  state_.restarted = false;
  state_.ready = true;
  state_.changed.raise();
  co_return true;
}

Task<Reconciler::Suspicion> Reconciler::gatherAll(std::vector<MemberName> others) {
  std::vector<kj::Promise<Gathered>> asked;
  for (auto& member : others) {
    asked.push_back(gather_.ask(member, state_.shard, state_.epoch()));
  }
  Suspicion out;
  std::set<ChunkId> chunks;
  auto add = [&chunks](const std::vector<ChunkId>& more) { chunks.insert(more.begin(), more.end()); };
  add(state_.pending.chunks());
  if (state_.restarted) {
    add(state_.store().dirtyChunks(state_.shard));
  }
  out.anyRestarted = out.allRestarted = state_.restarted;
  const uint64_t turn = state_.turn;
  for (size_t i = 0; i < asked.size(); ++i) {
    auto gathered = co_await asked[i];
    if (turn == state_.turn && gathered.known) {
      state_.othersSince[others[i].volume] = gathered.since;
    }
    out.complete = out.complete && gathered.known;
    out.anyRestarted = out.anyRestarted || gathered.restarted;
    out.allRestarted = out.allRestarted && gathered.restarted;
    add(gathered.chunks);
  }
  out.chunks.assign(chunks.begin(), chunks.end());
  co_return out;
}

Task<bool> Reconciler::equalizeAll(uint64_t turn, std::vector<MemberName> others, Suspicion& suspicion) {
  if (suspicion.chunks.empty() || (others.empty() && !suspicion.anyRestarted)) {
    co_return true;
  }
  if (!suspicion.anyRestarted) {
    // Nobody's blocks can be torn: equal digests say enough.
    auto differing = co_await equalizer_.differing(suspicion.chunks, others);
    suspicion.chunks = kj::mv(differing);
  }
  std::vector<Task<bool>> runs;
  for (uint32_t i = 0; i < CHUNKS_AT_ONCE; ++i) {
    runs.push_back(equalizeNext(turn, others, suspicion));
  }
  bool all = true;
  for (auto& run : runs) {
    bool equal = co_await kj::mv(run);
    all = all && equal;
  }
  co_return all;
}

Task<bool> Reconciler::equalizeNext(uint64_t turn, const std::vector<MemberName>& others, Suspicion& suspicion) {
  while (!suspicion.chunks.empty()) {
    Equalizer::Job job;
    job.chunk = suspicion.chunks.back();
    suspicion.chunks.pop_back();
    job.others = others;
    job.allRestarted = suspicion.allRestarted;
    bool equal = co_await equalizeOne(turn, kj::mv(job));
    if (!equal) {
      co_return false;
    }
  }
  co_return true;
}

Task<bool> Reconciler::equalizeOne(uint64_t turn, Equalizer::Job job) {
  for (unsigned tries = 0; tries < BASES_TRIED_MAX && turn == state_.turn; ++tries) {
    auto outcome = co_await equalizer_.run(job);
    if (outcome.end == Equalizer::End::EQUAL) {
      co_return true;
    }
    if (outcome.end == Equalizer::End::LOST) {
      co_return false;
    }
    // No member can have acknowledged what one of them has no room for, so that one's copy is as good.
    job.base = outcome.member;
    state_.givenUp[job.chunk] = around_.clock.monotonic();
  }
  co_return false;
}

}  // namespace cairn
