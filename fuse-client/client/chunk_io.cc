#include "fuse-client/client/chunk_io.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "common/checksum.h"
#include "common/log.h"

namespace cairn {

Slice Slice::part(uint64_t from, uint64_t to) const {
  Slice out;
  out.offset = from;
  out.length = to - from;
  out.bytes = bytes == nullptr ? nullptr : bytes + (from - offset);
  if (owner.get() != nullptr) {
    out.owner = kj::addRef(*const_cast<kj::Refcounted*>(owner.get()));
  }
  return out;
}

// What a primary said, or that it couldn't be reached.
struct PrimaryReply {
  bool reached = false;
  wire::Verdict verdict = wire::Verdict::OK;
  std::string why;
  std::string slow;
  MapVersion mapVersion{};
  Acknowledged acknowledged;
  std::vector<uint8_t> bitmap;
};

// One kind of call to a primary; send() may be called several times.
class PrimaryCall {
 public:
  PrimaryCall(const char* what, ChunkFile& file, uint32_t index) : what(what), file(file), index(index) {}
  virtual kj::Promise<PrimaryReply> send(ChunkLink& link, const std::function<void(wire::Target::Builder)>& fill) = 0;
  // An error when sending makes no sense any more.
  virtual Status mayBeSent() const { return {}; }

  const char* const what;
  ChunkFile& file;
  const uint32_t index;
};

namespace {

using Fill = std::function<void(wire::Target::Builder)>;

// Pieces from this size on are sent from where they lie; smaller ones are copied into the message.
constexpr uint64_t LEND_BYTES_MIN = 16 * 1024;
// Each becomes a segment of the message, of which a frame may have 64.
constexpr size_t LENT_PIECES_MAX = 48;
constexpr uint64_t WORD_BYTES = sizeof(capnp::word);

template <typename R>
PrimaryReply readAnswer(R&& results) {
  PrimaryReply out;
  auto answer = results.getAnswer();
  out.reached = true;
  out.verdict = answer.getVerdict();
  out.why = answer.getWhy().cStr();
  out.slow = answer.getSlow().cStr();
  out.mapVersion = MapVersion{answer.getMapVersion()};
  return out;
}

template <typename R>
PrimaryReply readAcknowledged(R&& results) {
  PrimaryReply out = readAnswer(results);
  auto verifiers = kj::refcounted<Verifiers>();
  for (auto item : results.getVerifiers()) {
    auto incarnation = fromWire<IncarnationTag>(item.getIncarnation());
    verifiers->list.push_back({VolumeNumber{item.getVolume()}, incarnation, Epoch{item.getSince()}});
  }
  out.acknowledged.verifiers = kj::mv(verifiers);
  return out;
}

class WriteCall final : public PrimaryCall {
 public:
  WriteCall(ChunkFile& file, uint32_t index, std::vector<Extent> pieces, bool durable, SessionId session,
            const SessionId& current)
      : PrimaryCall("write", file, index),
        pieces_(kj::mv(pieces)),
        durable_(durable),
        session_(session),
        current_(current) {
    sums_.reserve(pieces_.size());
    for (auto& piece : pieces_) {
      sums_.push_back(sumsOf(piece));
    }
  }

  Status mayBeSent() const override {
    if (session_ == current_) {
      return {};
    }
    return Error{EIO, "the session that the data was written under has been evicted"};
  }

  kj::Promise<PrimaryReply> send(ChunkLink& link, const Fill& fill) override {
    uint64_t copied = 0;
    size_t lendable = 0;
    for (auto& piece : pieces_) {
      bool lend = lends(piece) && lendable < LENT_PIECES_MAX;
      lendable += lend ? 1 : 0;
      copied += lend ? 0 : piece.length;
    }
    capnp::MessageSize size{copied / WORD_BYTES + 64 + pieces_.size() * 8 + copied / 256, 0};
    auto request = link.client().writeRequest(size);
    fill(request.initTarget());
    request.setDurable(durable_);
    uint64_t chunkStart = uint64_t{index} << file.layout().chunkBits;
    auto list = request.initPieces(static_cast<unsigned>(pieces_.size()));
    std::vector<kj::Own<Buffer>> lent;
    auto orphanage = capnp::Orphanage::getForMessageContaining(wire::ChunkService::WriteParams::Builder(request));
    for (unsigned i = 0; i < list.size(); ++i) {
      auto& piece = pieces_[i];
      list[i].setOffset(static_cast<uint32_t>(piece.offset - chunkStart));
      if (lends(piece) && lent.size() < LENT_PIECES_MAX) {
        list[i].adoptData(orphanage.referenceExternalData(piece.bytes()));
        lent.push_back(kj::addRef(*piece.buffer));
      } else {
        list[i].setData(piece.bytes());
      }
      auto sums = list[i].initSums(static_cast<unsigned>(sums_[i].size()));
      for (unsigned s = 0; s < sums.size(); ++s) {
        sums.set(s, sums_[i][s]);
      }
    }
    kj::Promise<PrimaryReply> reply = request.send().then([](auto&& response) {
      PrimaryReply out = readAcknowledged(response);
      out.acknowledged.allocatedDelta = response.getAllocatedDelta();
      return out;
    });
    return link.lend(kj::mv(reply), kj::mv(lent));
  }

 private:
  // Only whole words that begin at a word can be pointed to.
  static bool lends(const Extent& piece) {
    return piece.length >= LEND_BYTES_MIN && piece.length % WORD_BYTES == 0 && piece.start % WORD_BYTES == 0;
  }

  static std::vector<uint64_t> sumsOf(const Extent& piece) {
    std::vector<uint64_t> sums;
    auto bytes = piece.bytes();
    uint64_t at = piece.offset;
    while (bytes.size() > 0) {
      size_t now = std::min<size_t>(BLOCK_BYTES - at % BLOCK_BYTES, bytes.size());
      sums.push_back(blockChecksum(bytes.slice(0, now)));
      bytes = bytes.slice(now, bytes.size());
      at += now;
    }
    return sums;
  }

  std::vector<Extent> pieces_;
  std::vector<std::vector<uint64_t>> sums_;
  const bool durable_;
  const SessionId session_;
  const SessionId& current_;
};

class PunchCall final : public PrimaryCall {
 public:
  PunchCall(ChunkFile& file, uint32_t index, uint32_t offset, uint32_t length)
      : PrimaryCall("punch", file, index), offset_(offset), length_(length) {}

  kj::Promise<PrimaryReply> send(ChunkLink& link, const Fill& fill) override {
    auto request = link.client().punchRequest();
    fill(request.initTarget());
    request.setOffset(offset_);
    request.setLength(length_);
    kj::Promise<PrimaryReply> reply = request.send().then([](auto&& response) {
      PrimaryReply out = readAcknowledged(response);
      out.acknowledged.allocatedDelta = response.getAllocatedDelta();
      return out;
    });
    return link.lend(kj::mv(reply), {});
  }

 private:
  const uint32_t offset_;
  const uint32_t length_;
};

class SyncCall final : public PrimaryCall {
 public:
  SyncCall(ChunkFile& file, uint32_t index) : PrimaryCall("sync", file, index) {}

  kj::Promise<PrimaryReply> send(ChunkLink& link, const Fill& fill) override {
    auto request = link.client().syncRequest();
    fill(request.initTarget());
    return request.send().then([](auto&& response) { return readAcknowledged(response); });
  }
};

class AllocatedCall final : public PrimaryCall {
 public:
  AllocatedCall(ChunkFile& file, uint32_t index) : PrimaryCall("allocated", file, index) {}

  kj::Promise<PrimaryReply> send(ChunkLink& link, const Fill& fill) override {
    auto request = link.client().allocatedRequest();
    fill(request.initTarget());
    return request.send().then([](auto&& response) {
      PrimaryReply out = readAnswer(response);
      auto bitmap = response.getBitmap();
      out.bitmap.assign(bitmap.begin(), bitmap.end());
      return out;
    });
  }
};

Result<Acknowledged> acknowledgedOf(Result<PrimaryReply> reply) {
  if (!reply.ok()) {
    return reply.error();
  }
  return kj::mv(reply.value().acknowledged);
}

}  // namespace

ChunkIo::ChunkIo(Context& context, MapHolder& map, ChunkLinks& links, const SessionId& session)
    : context_(context), map_(map), links_(links), session_(session) {}

// ---- where a chunk is ---------------------------------------------------------------------------

kj::Own<ChunkIo::Place> ChunkIo::place(const Layout& layout, uint32_t index) {
  const ShardMap& map = map_.map();
  if (placesVersion_ != map.version) {
    places_.clear();
    placesVersion_ = map.version;
  }
  auto cls = map.classes.find(layout.cls);
  if (cls == map.classes.end()) {
    auto nobody = kj::refcounted<Place>();
    nobody->version = map.version;
    return nobody;
  }
  ShardId shard = shardOf(layout.cls, cls->second.shardBits, ChunkId{layout.object, index});
  auto& kept = places_[shard];
  if (kept.get() == nullptr) {
    kept = makePlace(shard);
  }
  return kj::addRef(*kept);
}

kj::Own<ChunkIo::Place> ChunkIo::makePlace(ShardId id) const {
  auto out = kj::refcounted<Place>();
  const ShardMap& map = map_.map();
  out->shard = id;
  out->version = map.version;
  const ShardRecord* shard = map.shard(id);
  if (shard == nullptr) {
    return out;
  }
  out->epoch = shard->epoch;
  for (VolumeNumber volume : shard->inSync) {
    const ServerRecord* server = map.serverOf(volume);
    if (server == nullptr) {
      continue;
    }
    auto at = volume == shard->primary ? out->members.begin() : out->members.end();
    out->members.insert(at, Member{volume, *server});
  }
  return out;
}

void ChunkIo::fillTarget(const ChunkFile& file, uint32_t index, const Place& place,
                         wire::Target::Builder target) const {
  const Layout& layout = file.layout();
  target.setShard(raw(place.shard));
  target.setEpoch(raw(place.epoch));
  target.setMapVersion(raw(place.version));
  target.setSession(raw(session_));
  target.setObject(raw(layout.object));
  target.setIndex(index);
  target.setChunkBits(layout.chunkBits);
  target.setRequest(context_.nextRequest(session_));
  target.setGeneration(layout.generation);
  auto cuts = target.initCuts(static_cast<unsigned>(layout.cuts.size()));
  for (unsigned i = 0; i < cuts.size(); ++i) {
    cuts[i].setGeneration(layout.cuts[i].generation);
    cuts[i].setFirstDead(layout.cuts[i].firstDead);
  }
  file.describe(target);
}

kj::Promise<void> ChunkIo::pauseForMap(MapVersion version, MapVersion wanted, Nanos limit) {
  MapVersion until = std::max(next(version), wanted);
  return map_.reached(until).promise().exclusiveJoin(context_.clock.after(limit));
}

// ---- calls to the primary -----------------------------------------------------------------------

Task<Result<Acknowledged>> ChunkIo::write(ChunkFile& file, uint32_t index, SessionId session,
                                          std::vector<Extent> pieces, bool durable) {
  WriteCall call(file, index, kj::mv(pieces), durable, session, session_);
  auto reply = co_await context_.limited(atPrimary(call).promise(), "a chunkserver");
  co_return acknowledgedOf(kj::mv(reply));
}

Task<Result<Acknowledged>> ChunkIo::punch(ChunkFile& file, uint32_t index, uint32_t offset, uint32_t length) {
  PunchCall call(file, index, offset, length);
  auto reply = co_await context_.limited(atPrimary(call).promise(), "a chunkserver");
  co_return acknowledgedOf(kj::mv(reply));
}

Task<Result<Acknowledged>> ChunkIo::sync(ChunkFile& file, uint32_t index) {
  SyncCall call(file, index);
  auto reply = co_await context_.limited(atPrimary(call).promise(), "a chunkserver");
  co_return acknowledgedOf(kj::mv(reply));
}

Task<Result<std::vector<uint8_t>>> ChunkIo::allocated(ChunkFile& file, uint32_t index) {
  AllocatedCall call(file, index);
  auto reply = co_await context_.limited(atPrimary(call).promise(), "a chunkserver");
  if (!reply.ok()) {
    co_return reply.error();
  }
  co_return kj::mv(reply.value().bitmap);
}

// One that is old may have been followed by several: then another object doesn't mean that the file was truncated.
Task<Status> ChunkIo::learnLayout(ChunkFile& file, unsigned tries) {
  const bool old = file.layoutAgeNanos() > LAYOUT_TRUST;
  if (tries > 0 && !old) {
    Nanos pause = std::min(backoffDelay(context_.random, tries), STALE_LAYOUT_MAX);
    co_await context_.clock.after(pause);
  }
  Status done = co_await file.refreshLayout();
  bool learnt = old && file.layoutAgeNanos() <= LAYOUT_TRUST;
  co_return learnt && done.code() == ESTALE ? Status() : done;
}

Task<Result<PrimaryReply>> ChunkIo::atPrimary(PrimaryCall& call) {
  kj::Own<Place> where;
  std::string why = "no answer yet";
  Waits::Note note(context_.waits, [&call, &where, &why](Wait& out) {
    bool nobody = where.get() == nullptr || where->members.empty();
    out.what = "chunkserver";
    out.inodes = {call.file.inode()};
    out.server = nobody ? "" : where->members[0].server.name;
    out.text = fmt::format("{} of object {} chunk {}, shard {}, at {}: {}", call.what, raw(call.file.layout().object),
                           call.index, where.get() == nullptr ? 0 : raw(where->shard),
                           nobody ? "no server, for none that has it in sync is here" : out.server, why);
    out.end = "that server's return, or another copy in sync that takes its place";
  });
  const Nanos asked = context_.clock.monotonic();
  for (unsigned tries = 0;; ++tries) {
    Status sendable = call.mayBeSent();
    if (!sendable.ok()) {
      co_return sendable.error();
    }
    if (call.file.layoutAgeNanos() > LAYOUT_TRUST) {
      Status fresh = co_await learnLayout(call.file, 0);
      if (!fresh.ok()) {
        co_return fresh.error();
      }
    }
    where = place(call.file.layout(), call.index);
    const Nanos began = context_.clock.monotonic();
    PrimaryReply reply = co_await tryPrimary(call, *where);
    if (context_.clock.monotonic() - began > LAYOUT_TRUST) {
      reply.reached = false;
      reply.why = "its answer came too late to count";
    }
    if (reply.reached && reply.verdict == wire::Verdict::OK) {
      std::string server = where->members.empty() ? "" : where->members[0].server.name;
      std::string earlier = tries == 0 ? "" : fmt::format(" at try {}, before: {}", tries + 1, why);
      context_.noteAnswer(call.file.inode(), asked, server + earlier, reply.slow.c_str());
      co_return kj::mv(reply);
    }
    why = reply.why;
    ++context_.stats.chunkRetries;
    Status again = co_await afterRefusal(call, *where, reply, tries);
    if (!again.ok()) {
      co_return again.error();
    }
  }
}

Task<PrimaryReply> ChunkIo::tryPrimary(PrimaryCall& call, const Place& place) {
  PrimaryReply lost;
  if (place.members.empty()) {
    lost.why = "nobody has it in sync";
    co_return kj::mv(lost);
  }
  const Member& primary = place.members[0];
  ChunkLink& link = links_.to(primary.server.id);
  try {
    if (!link.isReady(primary.server)) {
      co_await link.connected(primary.server);
    }
    const ObjectId object = call.file.layout().object;
    const ClassId cls = call.file.layout().cls;
    if (this->place(call.file.layout(), call.index)->shard != place.shard) {
      lost.why = "the file's bytes are elsewhere now";
      co_return kj::mv(lost);
    }
    if (link.isReady(primary.server)) {
      ++context_.stats.chunkCalls;
      Fill fill = [this, &call, &place](wire::Target::Builder target) {
        fillTarget(call.file, call.index, place, target);
      };
      auto sent = call.send(link, fill);
      auto ended = map_.epochEnded(place.shard, place.epoch).promise().then([]() -> PrimaryReply {
        PrimaryReply out;
        out.why = "the epoch ended";
        return out;
      });
      auto first = sent.exclusiveJoin(kj::mv(ended));
      auto reply = co_await kj::mv(first);
      if (reply.acknowledged.verifiers.get() != nullptr) {
        reply.acknowledged.verifiers->object = object;
        reply.acknowledged.verifiers->cls = cls;
      }
      co_return kj::mv(reply);
    }
  } catch (kj::Exception& e) {
    lost.why = e.getDescription().cStr();
    if (!isRetryable(e)) {
      spdlog::error("chunkserver {} failed a {}: {}", primary.server.name, call.what, lost.why);
      lost.reached = true;
      lost.verdict = wire::Verdict::FAILED;
    }
  }
  co_return kj::mv(lost);
}

Task<Status> ChunkIo::afterRefusal(PrimaryCall& call, const Place& place, const PrimaryReply& reply, unsigned tries) {
  const Nanos pause = backoffDelay(context_.random, tries + 1);
  const MapVersion anyNewer{};
  Nanos limit = pause;
  if (!reply.reached) {
    co_await pauseForMap(place.version, anyNewer, pause);
    co_return Status();
  }
  switch (reply.verdict) {
    case wire::Verdict::STALE_EPOCH:
    case wire::Verdict::NOT_PRIMARY:
      // A map that we know to exist is on its way; otherwise it may be the server that is behind.
      limit = reply.mapVersion > place.version ? MAP_LIMIT : pause;
      co_await pauseForMap(place.version, reply.mapVersion, limit);
      co_return Status();
    case wire::Verdict::OK:
    case wire::Verdict::NOT_READY:
      limit = std::min(pause, NOT_READY_MAX);
      co_await pauseForMap(place.version, anyNewer, limit);
      co_return Status();
    case wire::Verdict::STALE_LAYOUT: {
      co_return co_await learnLayout(call.file, tries);
    }
    case wire::Verdict::FENCED:
      co_return Error{EIO, "the chunkserver refuses this evicted session: " + reply.why};
    case wire::Verdict::NO_SPACE:
      co_return Error{ENOSPC, "a chunkserver has no room for new data: " + reply.why};
    case wire::Verdict::CORRUPT:
    case wire::Verdict::FAILED:
    case wire::Verdict::BAD_REQUEST:
      break;
  }
  unsigned most = reply.verdict == wire::Verdict::BAD_REQUEST ? BAD_REQUEST_TRIES_MAX : FAILED_TRIES_MAX;
  if (tries + 1 >= most) {
    spdlog::error("{} to object {} chunk {} given up: {}", call.what, raw(call.file.layout().object), call.index,
                  reply.why);
    co_return Error{EIO, reply.why};
  }
  co_await pauseForMap(place.version, anyNewer, pause);
  co_return Status();
}

}  // namespace cairn
