#include "chunkserver/replication/equalizer.h"

#include "common/log.h"

namespace cairn {
namespace {

constexpr uint32_t NAMES_PER_CALL_MAX = 1024;

void requireOk(wire::Answer2::Reader answer, const char* what) {
  if (answer.getVerdict() != wire::Verdict::OK) {
    kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "a member refuses", what,
                                         static_cast<unsigned>(answer.getVerdict()), answer.getWhy()));
  }
}

// Copies of different contents, none of which can be told to be wrong.
bool differWhole(const std::vector<CopyState>& copies) {
  bool differ = false;
  for (auto& copy : copies) {
    if (!copy.bad.empty() || !copy.torn.empty()) {
      return false;
    }
    differ |= copy.present != copies[0].present || (copy.present && copy.digest != copies[0].digest);
  }
  return differ;
}

template <typename Params>
void nameShard(Params& params, const MemberName& member, const ShardReplica& state) {
  params.setVolume(raw(member.volume));
  params.setShard(raw(state.shard));
  params.setEpoch(raw(state.epoch()));
}

}  // namespace

Task<Equalizer::Describe> Equalizer::describeAt(MemberName member, std::vector<ChunkId> chunks, bool deep) {
  auto connected = around_.peers.connected(member.server);
  auto peer = co_await withDeadline(around_.clock, DESCRIBE_LIMIT, kj::mv(connected), "reaching a member");
  auto request = peer.describeRequest();
  nameShard(request, member, state_);
  writeNames(chunks, request.initChunks(chunks.size()));
  request.setDeep(deep);
  kj::Promise<Describe> sent = request.send();
  auto response = co_await withDeadline(around_.clock, DESCRIBE_LIMIT, kj::mv(sent), "describing a chunk");
  requireOk(response.getAnswer(), "describe");
  KJ_REQUIRE(response.getChunks().size() == chunks.size());
  co_return kj::mv(response);
}

Task<kj::Own<Equalizer::Fetched>> Equalizer::fetchFrom(MemberName member, ChunkId chunk) {
  auto connected = around_.peers.connected(member.server);
  auto peer = co_await withDeadline(around_.clock, IMAGE_LIMIT, kj::mv(connected), "reaching a member");
  auto request = peer.fetchRequest();
  nameShard(request, member, state_);
  writeName(chunk, request.initChunk());
  kj::Promise<Fetched> sent = request.send();
  auto response = co_await withDeadline(around_.clock, IMAGE_LIMIT, kj::mv(sent), "fetching a chunk");
  requireOk(response.getAnswer(), "fetch");
  co_return kj::heap<Fetched>(kj::mv(response));
}

void Equalizer::requireCurrent(const Job& job) const {
  if (job.turn != state_.turn) {
    kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the epoch ended while a chunk was made equal"));
  }
}

Task<wire::Verdict> Equalizer::installAt(MemberName member, const Job& job, const MergedChunk* merged) {
  auto connected = around_.peers.connected(member.server);
  auto peer = co_await withDeadline(around_.clock, IMAGE_LIMIT, kj::mv(connected), "reaching a member");
  requireCurrent(job);
  auto request = peer.installRequest(capnp::MessageSize{merged == nullptr ? 32 : merged->words(), 0});
  nameShard(request, member, state_);
  auto image = request.initImage();
  if (merged != nullptr) {
    merged->write(image, job.chunk, state_.epoch());
    image.setKeepOld(job.mending);
  } else {
    writeName(job.chunk, image.initName());
    image.setDiscard(job.discard);
  }
  request.setSequence(job.sequence);
  kj::Promise<capnp::Response<wire::PeerService::InstallResults>> sent = request.send();
  auto response = co_await withDeadline(around_.clock, IMAGE_LIMIT, kj::mv(sent), "installing a chunk");
  co_return response.getAnswer().getVerdict();
}

Task<wire::Verdict> Equalizer::installHere(const Job& job, const MergedChunk* merged) {
  auto permit = co_await around_.heavy.take();
  requireCurrent(job);
  auto running = state_.applies.begin();
  if (merged == nullptr) {
    ChunkKey key = state_.key(job.chunk);
    auto gone = job.discard ? state_.store().remove(key) : state_.store().quarantine(key);
    auto removed = co_await kj::mv(gone);
    co_return verdictOf(removed.code());
  }
  ImageView view = merged->view(state_.epoch());
  view.keepOld = job.mending;
  auto installed = co_await state_.store().install(state_.key(job.chunk), view);
  co_return verdictOf(installed.code());
}

Task<std::vector<CopyState>> Equalizer::copies(const Job& job) {
  std::vector<Task<Describe>> asked;
  std::vector<ChunkId> one{job.chunk};
  for (auto& member : job.others) {
    asked.push_back(describeAt(member, one, true));
  }
  std::vector<CopyState> out;
  {
    auto permit = co_await around_.heavy.take();
    auto here = co_await state_.store().describe(state_.key(job.chunk));
    KJ_REQUIRE(here.ok(), "this volume can't read its own copy", here.error().why);
    out.push_back(copyOf(here.value()));
  }
  for (auto& task : asked) {
    auto response = co_await kj::mv(task);
    out.push_back(copyOf(response.getChunks()[0]));
  }
  co_return kj::mv(out);
}

Task<Equalizer::Outcome> Equalizer::run(Job job) {
  Outcome outcome{End::LOST, 0};
  auto transfer = co_await around_.transfers.take();
  job.turn = state_.turn;
  try {
    auto found = co_await copies(job);
    job.base = job.mending ? chooseNewest(found) : job.base;
    MergePlan plan = planMerge(found, job.base, job.allRestarted);
    if (job.mending && differWhole(found)) {
      noteDiffering(job);
    }
    requireCurrent(job);
    if (plan.kind == MergePlan::Kind::REMOVE) {
      co_return co_await placeEverywhere(job, nullptr);
    }
    if (plan.kind == MergePlan::Kind::INSTALL) {
      co_return co_await installEverywhere(job, kj::mv(plan), kj::mv(found));
    }
    outcome.end = End::EQUAL;
  } catch (const kj::Exception& e) {
    spdlog::debug("shard {:x}: making a chunk equal: {}", raw(state_.shard), e.getDescription().cStr());
  }
  co_return outcome;
}

void Equalizer::noteDiffering(const Job& job) {
  ++state_.volume.differingChunks;
  VolumeNumber winner = job.base == 0 ? state_.number() : job.others[job.base - 1].volume;
  spdlog::critical(
      "shard {:x}: object {:x} chunk {}: its copies differ and every one matches its checksums; the newest, or what "
      "most have, counts: that of volume {}. The others' go to quarantine",
      raw(state_.shard), raw(job.chunk.object), job.chunk.index, raw(winner));
}

Task<void> Equalizer::adoptHere(const Job& job, const MergePlan& plan) {
  std::vector<uint32_t> blocks;
  for (auto& adopted : plan.adopted) {
    if (adopted.member == 0) {
      blocks.push_back(adopted.block);
    }
  }
  if (blocks.empty()) {
    co_return;
  }
  auto running = state_.applies.begin();
  auto list = kj::arrayPtr(blocks.data(), blocks.size());
  auto adopted = co_await state_.store().adopt(state_.key(job.chunk), list, state_.epoch());
  KJ_REQUIRE(adopted.ok(), "adopting torn blocks", adopted.error().why);
}

Task<void> Equalizer::loadMember(const Job& job, uint32_t member, MergedChunk& out) {
  if (member == 0) {
    auto permit = co_await around_.heavy.take();
    BufferTarget target;
    auto head = co_await state_.store().image(state_.key(job.chunk), target);
    KJ_REQUIRE(head.ok(), "reading a chunk that is to be made equal", head.error().why);
    out.load(head.value(), target.take());
    co_return;
  }
  auto fetched = co_await fetchFrom(job.others[member - 1], job.chunk);
  KJ_REQUIRE(fetched->getImage().getPresent(), "a member's chunk went away while it was made equal");
  out.load(fetched->getImage());
}

Task<Equalizer::Outcome> Equalizer::installEverywhere(const Job& job, MergePlan plan, std::vector<CopyState> found) {
  co_await adoptHere(job, plan);
  MergedChunk merged;
  co_await loadMember(job, plan.base, merged);
  for (uint32_t member = 0; member <= job.others.size(); ++member) {
    std::vector<std::pair<uint32_t, bool>> wanted;  // block, adopt
    for (auto& patch : plan.patches) {
      if (patch.member == member) {
        wanted.push_back({patch.block, false});
      }
    }
    for (auto& adopted : plan.adopted) {
      // This volume's own were adopted in its store, so its image has them with good checksums.
      if (adopted.member == member && !(member == 0 && plan.base == 0)) {
        wanted.push_back({adopted.block, member != 0});
      }
    }
    if (wanted.empty()) {
      continue;
    }
    MergedChunk source;
    co_await loadMember(job, member, source);
    for (auto& [block, adopt] : wanted) {
      merged.patch(block, source, adopt);
      state_.volume.adoptedElsewhere += adopt ? 1 : 0;
    }
  }
  merged.setBad(plan.bad);
  spdlog::info(
      "shard {:x}: chunk {:x}-{}: copies differed; made equal from member {}, {} blocks from others, {} "
      "adopted, {} stay bad",
      raw(state_.shard), raw(job.chunk.object), job.chunk.index, plan.base, plan.patches.size(), plan.adopted.size(),
      plan.bad.size());
  std::vector<bool> wanted;
  for (auto& copy : found) {
    bool same = copy.present && copy.digest == merged.digest() && copy.bad == plan.bad && copy.torn.empty();
    wanted.push_back(!job.mending || !same);
  }
  co_return co_await placeEverywhere(job, &merged, kj::mv(wanted));
}

Task<Equalizer::Outcome> Equalizer::placeEverywhere(const Job& job, const MergedChunk* merged,
                                                    std::vector<bool> wanted) {
  wanted.resize(job.others.size() + 1, wanted.empty());
  std::vector<std::pair<uint32_t, Task<wire::Verdict>>> placed;
  for (uint32_t member = 0; member <= job.others.size(); ++member) {
    if (wanted[member]) {
      auto placing = member == 0 ? installHere(job, merged) : installAt(job.others[member - 1], job, merged);
      placed.push_back({member, kj::mv(placing)});
    }
  }
  Outcome outcome{End::EQUAL, 0};
  for (auto& [member, placing] : placed) {
    auto verdict = co_await kj::mv(placing);
    if (verdict == wire::Verdict::NO_SPACE) {
      outcome = {End::NO_SPACE, member};
    } else if (verdict != wire::Verdict::OK && outcome.end == End::EQUAL) {
      outcome = {End::LOST, member};
    }
  }
  co_return outcome;
}

Task<std::vector<ChunkId>> Equalizer::differing(std::vector<ChunkId> chunks, std::vector<MemberName> others) {
  std::vector<ChunkId> out;
  for (size_t first = 0; first < chunks.size(); first += NAMES_PER_CALL_MAX) {
    size_t count = kj::min(size_t{NAMES_PER_CALL_MAX}, chunks.size() - first);
    std::vector<ChunkId> part(chunks.begin() + first, chunks.begin() + first + count);
    std::vector<Task<Describe>> asked;
    for (auto& member : others) {
      asked.push_back(describeAt(member, part, false));
    }
    std::vector<Describe> answers;
    for (auto& task : asked) {
      auto response = co_await kj::mv(task);
      answers.push_back(kj::mv(response));
    }
    for (uint32_t i = 0; i < part.size(); ++i) {
      auto here = co_await state_.store().summary(state_.key(part[i]));
      KJ_REQUIRE(here.ok(), "this volume can't read its own copy", here.error().why);
      CopyState own = copyOf(here.value());
      bool equal = true;
      for (auto& answer : answers) {
        CopyState theirs = copyOf(answer.getChunks()[i]);
        equal = equal && theirs.present == own.present && (!own.present || theirs.digest == own.digest);
      }
      if (!equal) {
        out.push_back(part[i]);
      }
    }
  }
  co_return kj::mv(out);
}

}  // namespace cairn
