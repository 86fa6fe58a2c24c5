// The reading half of ChunkIo.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "common/checksum.h"
#include "common/log.h"
#include "fuse-client/client/chunk_io.h"

namespace cairn {
namespace {

using ReadResponse = capnp::Response<wire::ChunkService::ReadResults>;

// A response that the slices of a read share.
struct ReadMessage final : public kj::Refcounted {
  explicit ReadMessage(ReadResponse response) : response(kj::mv(response)) {}
  ReadResponse response;
};

bool isZero(kj::ArrayPtr<const kj::byte> bytes) {
  return bytes.size() == 0 || (bytes[0] == 0 && memcmp(bytes.begin(), bytes.begin() + 1, bytes.size() - 1) == 0);
}

bool blockIsGood(kj::ArrayPtr<const kj::byte> block, uint64_t sum) {
  return sum == 0 ? isZero(block) : blockChecksum(block) == sum;
}

}  // namespace

// One block-aligned range of one chunk, and what has been read of it.
struct ChunkIo::ReadJob {
  ChunkFile& file;
  uint32_t index;
  uint32_t offset;
  uint32_t length;
  std::vector<Slice> slices;

  uint64_t chunkStart() const { return uint64_t{index} << file.layout().chunkBits; }
};

Task<Result<std::vector<Slice>>> ChunkIo::read(ChunkFile& file, uint64_t offset, uint64_t length) {
  return context_.limited(readHard(file, offset, length).promise(), "a chunkserver");
}

Task<Result<std::vector<Slice>>> ChunkIo::readHard(ChunkFile& file, uint64_t offset, uint64_t length) {
  const uint64_t chunkBytes = uint64_t{1} << file.layout().chunkBits;
  const uint64_t pieceBytes = std::min<uint64_t>(chunkBytes, MESSAGE_BYTES_MAX);
  const uint64_t end = (offset + length + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
  std::vector<ReadJob> jobs;
  for (uint64_t at = offset / BLOCK_BYTES * BLOCK_BYTES; at < end;) {
    uint64_t stop = std::min(end, (at / pieceBytes + 1) * pieceBytes);
    jobs.push_back(ReadJob{file, static_cast<uint32_t>(at / chunkBytes), static_cast<uint32_t>(at % chunkBytes),
                           static_cast<uint32_t>(stop - at), {}});
    at = stop;
  }
  if (jobs.size() == 1) {
    Status done = co_await readPiece(jobs[0]);
    if (!done.ok()) {
      co_return done.error();
    }
    co_return kj::mv(jobs[0].slices);
  }
  auto pieces = kj::heapArrayBuilder<kj::Promise<Status>>(jobs.size());
  for (auto& job : jobs) {
    pieces.add(readPiece(job).promise());
  }
  auto done = co_await kj::joinPromises(pieces.finish());
  std::vector<Slice> out;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (!done[i].ok()) {
      co_return done[i].error();
    }
    for (auto& slice : jobs[i].slices) {
      out.push_back(kj::mv(slice));
    }
  }
  co_return kj::mv(out);
}

Task<Status> ChunkIo::readPiece(ReadJob& job) {
  Run all;
  all.offset = job.offset;
  all.length = job.length;
  Status done = co_await readRun(job, kj::mv(all));
  if (done.ok() && job.slices.size() > 1) {
    std::sort(job.slices.begin(), job.slices.end(), [](const Slice& a, const Slice& b) { return a.offset < b.offset; });
  }
  co_return done;
}

std::vector<size_t> ChunkIo::candidatesFor(const Run& run, const Place& place, const std::set<VolumeNumber>& skip) {
  std::vector<size_t> out;
  for (size_t i = 0; i < place.members.size(); ++i) {
    VolumeNumber volume = place.members[i].volume;
    if (run.bad.count(volume) == 0 && skip.count(volume) == 0) {
      out.push_back(i);
    }
  }
  return out;
}

void ChunkIo::describe(const ReadJob& job, const Place* where, const std::string& why, Wait& out) {
  for (size_t i = 0; where != nullptr && i < where->members.size(); ++i) {
    out.server += (i == 0 ? "" : ", ") + where->members[i].server.name;
  }
  out.what = "chunkserver";
  out.inodes = {job.file.inode()};
  out.text = fmt::format("a read of object {} chunk {}, shard {}, at {}: {}", raw(job.file.layout().object), job.index,
                         where == nullptr ? 0 : raw(where->shard),
                         out.server.empty() ? "no server, for none that has it in sync is here" : out.server, why);
  out.end = "the return of one of them";
}

Task<Status> ChunkIo::readRun(ReadJob& job, Run run) {
  std::set<VolumeNumber> skip;  // not now
  kj::Own<Place> where;
  std::string why = "no answer yet";
  Waits::Note note(context_.waits, [&job, &where, &why](Wait& out) { describe(job, where.get(), why, out); });
  for (unsigned tries = 0;;) {
    where = place(job.file.layout(), job.index);
    auto candidates = candidatesFor(run, *where, skip);
    if (!where->members.empty() && candidates.empty() && skip.empty()) {
      co_return co_await noMemberLeft(job, kj::mv(run), *where);
    }
    auto reply = co_await tryMembers(job, run, *where, candidates);
    switch (reply.kind) {
      case ReadReply::Kind::GOOD:
        for (auto& slice : reply.good) {
          job.slices.push_back(kj::mv(slice));
        }
        for (auto& rest : reply.bad) {
          rest.bad.insert(run.bad.begin(), run.bad.end());
          rest.bad.insert(reply.volume);
          Status done = co_await readRun(job, kj::mv(rest));
          if (!done.ok()) {
            co_return done;
          }
        }
        co_return Status();
      case ReadReply::Kind::BAD:
        run.bad.insert(reply.volume);
        break;
      case ReadReply::Kind::NEWER_LAYOUT: {
        Status refreshed = co_await learnLayout(job.file, tries++);
        if (!refreshed.ok()) {
          co_return refreshed;
        }
        break;
      }
      case ReadReply::Kind::FINAL:
        co_return Error{EIO, reply.why};
      case ReadReply::Kind::UNREACHABLE:
      case ReadReply::Kind::NEWER_MAP:
        ++context_.stats.chunkRetries;
        if (candidates.size() > 1) {
          skip.insert(reply.volume);
          break;
        }
        skip.clear();
        why = reply.why;
        Nanos pause = backoffDelay(context_.random, ++tries);
        co_await pauseForMap(where->version, reply.mapVersion, pause);
        break;
    }
  }
}

// Every in-sync member has said that it can't give this run whole.
Task<Status> ChunkIo::noMemberLeft(ReadJob& job, Run run, const Place& place) {
  if (run.length > BLOCK_BYTES) {
    // Perhaps each has other bad blocks.
    uint32_t half = run.length / BLOCK_BYTES / 2 * BLOCK_BYTES;
    Run front, back;
    front.offset = run.offset;
    front.length = half;
    back.offset = run.offset + half;
    back.length = run.length - half;
    Status first = co_await readRun(job, kj::mv(front));
    if (!first.ok()) {
      co_return first;
    }
    co_return co_await readRun(job, kj::mv(back));
  }
  uint64_t from = job.chunkStart() + run.offset;
  std::string why = fmt::format("bytes {} to {} of object {} have no good copy on any of {} in-sync members", from,
                                from + run.length - 1, raw(job.file.layout().object), place.members.size());
  spdlog::error("{}", why);
  co_return Error{EIO, why};
}

Task<ChunkIo::ReadReply> ChunkIo::tryMembers(ReadJob& job, const Run& run, Place& place,
                                             std::vector<size_t> members) {
  Nanos began = context_.clock.monotonic();
  if (members.empty()) {
    ReadReply nobody;
    nobody.kind = ReadReply::Kind::NEWER_MAP;
    co_return kj::mv(nobody);
  }
  if (job.file.layoutAgeNanos() > LAYOUT_TRUST) {
    ReadReply old;
    old.kind = ReadReply::Kind::NEWER_LAYOUT;
    co_return kj::mv(old);
  }
  auto first = tryMember(job, run.offset, run.length, kj::addRef(place), members[0]).promise();
  if (members.size() > 1) {
    // The second is asked when the first is slow, and counts only with good bytes.
    Nanos patience = std::clamp(usualLatency_ * HEDGE_FACTOR, HEDGE_MIN, HEDGE_MAX);
    auto ask = [this, &job, &run, &place, second = members[1]]() -> kj::Promise<ReadReply> {
      ++context_.stats.hedgedReads;
      return tryMember(job, run.offset, run.length, kj::addRef(place), second).promise();
    };
    auto weigh = [](ReadReply&& reply) -> kj::Promise<ReadReply> {
      if (reply.kind == ReadReply::Kind::GOOD && reply.bad.empty()) {
        return kj::mv(reply);
      }
      return kj::NEVER_DONE;
    };
    first = first.exclusiveJoin(context_.clock.after(patience).then(kj::mv(ask)).then(kj::mv(weigh)));
  }
  ReadReply reply = co_await kj::mv(first);
  if (reply.kind == ReadReply::Kind::GOOD) {
    usualLatency_ += (context_.clock.monotonic() - began - usualLatency_) / 8;
  }
  co_return kj::mv(reply);
}

Task<ChunkIo::ReadReply> ChunkIo::tryMember(ReadJob& job, uint32_t offset, uint32_t length, kj::Own<Place> place,
                                            size_t which) {
  const Member& member = place->members[which];
  ReadReply out;
  out.volume = member.volume;
  ChunkLink& link = links_.to(member.server.id);
  try {
    if (!link.isReady(member.server)) {
      co_await link.connected(member.server);
    }
    if (!link.isReady(member.server)) {
      co_return kj::mv(out);
    }
    if (this->place(job.file.layout(), job.index)->shard != place->shard) {
      out.kind = ReadReply::Kind::NEWER_LAYOUT;
      co_return kj::mv(out);
    }
    ++context_.stats.chunkCalls;
    auto request = link.client().readRequest();
    fillTarget(job.file, job.index, *place, request.initTarget());
    request.setOffset(offset);
    request.setLength(length);
    const Nanos began = context_.clock.monotonic();
    kj::Promise<ReadResponse> sent = request.send();
    auto response = co_await withDeadline(context_.clock, READ_LIMIT, kj::mv(sent), "read");
    context_.noteAnswer(job.file.inode(), began, member.server.name, response.getAnswer().getSlow());
    judge(job, offset, length, kj::mv(response), out);
  } catch (kj::Exception& e) {
    out.why = e.getDescription().cStr();
    if (!isRetryable(e)) {
      spdlog::error("chunkserver {} failed a read: {}", member.server.name, out.why);
      out.kind = ReadReply::Kind::BAD;
    }
  }
  if (!out.bad.empty()) {
    reportBad(job, *place, member, out.bad);
  }
  co_return kj::mv(out);
}

ChunkIo::ReadReply::Kind ChunkIo::kindOf(wire::Verdict verdict) {
  using Kind = ReadReply::Kind;
  switch (verdict) {
    case wire::Verdict::OK:
      return Kind::GOOD;
    case wire::Verdict::STALE_EPOCH:
    case wire::Verdict::NOT_PRIMARY:
    case wire::Verdict::NOT_READY:
      return Kind::NEWER_MAP;
    case wire::Verdict::STALE_LAYOUT:
      return Kind::NEWER_LAYOUT;
    case wire::Verdict::CORRUPT:
    case wire::Verdict::FAILED:
      return Kind::BAD;
    case wire::Verdict::FENCED:
    case wire::Verdict::NO_SPACE:
    case wire::Verdict::BAD_REQUEST:
      break;
  }
  return Kind::FINAL;
}

// Takes the good blocks of an answer, and lists the bad ones.
void ChunkIo::judge(ReadJob& job, uint32_t offset, uint32_t length, ReadResponse response, ReadReply& out) {
  auto answer = response.getAnswer();
  out.mapVersion = MapVersion{answer.getMapVersion()};
  out.why = answer.getWhy().cStr();
  out.kind = kindOf(answer.getVerdict());
  if (out.kind != ReadReply::Kind::GOOD) {
    return;
  }
  auto message = kj::refcounted<ReadMessage>(kj::mv(response));
  auto data = message->response.getData();
  auto sums = message->response.getSums();
  uint64_t start = job.chunkStart() + offset;
  auto add = [&](uint32_t from, uint32_t to) {  // within the run; what the data doesn't reach is a hole
    uint32_t split = std::clamp<uint32_t>(static_cast<uint32_t>(std::min<size_t>(data.size(), length)), from, to);
    if (from < split) {
      out.good.push_back(Slice{start + from, split - from, data.begin() + from, kj::addRef(*message)});
    }
    if (split < to) {
      out.good.push_back(Slice{start + split, to - split, nullptr, {}});
    }
  };
  uint32_t goodFrom = 0;
  for (uint32_t at = 0; at < length; at += BLOCK_BYTES) {
    uint64_t sum = at / BLOCK_BYTES < sums.size() ? sums[at / BLOCK_BYTES] : 0;
    size_t from = std::min<size_t>(at, data.size());
    auto block = data.slice(from, std::min<size_t>(data.size(), at + BLOCK_BYTES));
    if (blockIsGood(block, sum)) {
      continue;
    }
    ++context_.stats.badBlocks;
    if (goodFrom < at) {
      add(goodFrom, at);
    }
    goodFrom = at + BLOCK_BYTES;
    if (!out.bad.empty() && out.bad.back().offset + out.bad.back().length == offset + at) {
      out.bad.back().length += BLOCK_BYTES;
    } else {
      out.bad.push_back(Run{offset + at, BLOCK_BYTES, {}});
    }
  }
  if (goodFrom < length) {
    add(goodFrom, length);
  }
}

void ChunkIo::reportBad(ReadJob& job, const Place& place, const Member& member,
                        const std::vector<Run>& bad) {
  ChunkLink& link = links_.to(member.server.id);
  if (!link.isReady(member.server)) {
    return;
  }
  auto request = link.client().reportBadRequest();
  fillTarget(job.file, job.index, place, request.initTarget());
  std::vector<uint32_t> blocks;
  for (auto& run : bad) {
    for (uint32_t at = run.offset; at < run.offset + run.length; at += BLOCK_BYTES) {
      blocks.push_back(at / BLOCK_BYTES);
    }
    spdlog::warn("chunkserver {} has bad blocks at {} to {} of object {}", member.server.name,
                 job.chunkStart() + run.offset, job.chunkStart() + run.offset + run.length - 1,
                 raw(job.file.layout().object));
  }
  auto list = request.initBlocks(static_cast<unsigned>(blocks.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    list.set(i, blocks[i]);
  }
  // Nobody waits for it: the reader goes on to another member, and will report again what it meets again.
  auto unawaited = link.lend(request.send().ignoreResult().then([] { return true; }), {});
}

}  // namespace cairn
