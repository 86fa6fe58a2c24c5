#include "tools/admin/chunk_doors.h"

#include <algorithm>

#include "common/checksum.h"
#include "fuse-client/client/wire.h"
#include "rpc/hello.h"

namespace cairn::admin {

namespace {

constexpr Nanos DIAL_LIMIT = SECOND;
constexpr Nanos READ_LIMIT = 5 * SECOND;
constexpr uint32_t PIECE_BYTES = 1 << 20;

bool allZeros(kj::ArrayPtr<const kj::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](kj::byte b) { return b == 0; });
}

// Adds the blocks of one answered read to `copy`; a block past the end of `data` is a hole.
void addBlocks(ChunkCopy& copy, uint32_t firstBlock, uint32_t blocks, kj::ArrayPtr<const kj::byte> data,
               capnp::List<uint64_t>::Reader sums) {
  for (uint32_t i = 0; i < blocks; ++i) {
    size_t begin = std::min<size_t>(size_t{i} * BLOCK_BYTES, data.size());
    auto bytes = data.slice(begin, std::min<size_t>(begin + BLOCK_BYTES, data.size()));
    bool zeros = allZeros(bytes);
    uint64_t expected = i < sums.size() ? sums[i] : 0;
    bool good = expected == 0 ? zeros : blockChecksum(bytes) == expected;
    if (!good) {
      copy.bad.push_back(firstBlock + i);
    }
    copy.sums.push_back(zeros ? 0 : blockChecksum(bytes));
  }
  copy.bytesRead += data.size();
}

using ReadReply = capnp::Response<wire::ChunkService::ReadResults>;

void describe(const ChunkPlace& place, wire::Target::Builder target) {
  target.setShard(raw(place.shard.id));
  target.setEpoch(raw(place.shard.epoch));
  target.setMapVersion(raw(place.map.version));
  target.setObject(raw(place.file.object));
  target.setIndex(place.index);
  target.setChunkBits(place.file.chunkBits);
  target.setGeneration(place.file.generation);
  target.setInode(place.file.inode);
  auto cuts = target.initCuts(place.file.cuts.size());
  for (uint32_t i = 0; i < place.file.cuts.size(); ++i) {
    cuts[i].setGeneration(place.file.cuts[i].generation);
    cuts[i].setFirstDead(place.file.cuts[i].firstDead);
  }
}

// Reads one copy piece by piece, and a piece that has bad blocks once more block by block, to name them.
class CopyReader {
 public:
  CopyReader(Context& context, wire::ChunkService::Client chunks, const ChunkPlace& place)
      : context_(context), chunks_(kj::mv(chunks)), place_(place) {}

  Task<ChunkCopy> run() {
    const uint32_t chunkBytes = uint32_t{1} << place_.file.chunkBits;
    const uint32_t pieceBytes = std::min(PIECE_BYTES, chunkBytes);
    for (uint32_t offset = 0; offset < chunkBytes && copy_.verdict == wire::Verdict::OK; offset += pieceBytes) {
      bool whole = co_await read(offset, pieceBytes);
      for (uint32_t block = 0; !whole && block < pieceBytes; block += BLOCK_BYTES) {
        bool good = co_await read(offset + block, BLOCK_BYTES);
        if (!good) {
          copy_.bad.push_back((offset + block) / BLOCK_BYTES);
          copy_.sums.push_back(0);
        }
      }
    }
    co_return kj::mv(copy_);
  }

 private:
  // False when the member says that blocks of this range are corrupt; another failure goes into the result.
  Task<bool> read(uint32_t offset, uint32_t length) {
    auto reply = co_await send(offset, length);
    auto verdict = reply.getAnswer().getVerdict();
    if (verdict == wire::Verdict::CORRUPT) {
      co_return false;
    }
    if (verdict == wire::Verdict::OK) {
      addBlocks(copy_, offset / BLOCK_BYTES, length / BLOCK_BYTES, reply.getData(), reply.getSums());
    } else {
      copy_.verdict = verdict;
      copy_.why = reply.getAnswer().getWhy().cStr();
    }
    co_return true;
  }

  kj::Promise<ReadReply> send(uint32_t offset, uint32_t length) {
    auto request = chunks_.readRequest();
    describe(place_, request.initTarget());
    request.setOffset(offset);
    request.setLength(length);
    kj::Promise<ReadReply> sent = request.send();
    return withDeadline(context_.clock, READ_LIMIT, kj::mv(sent), "read");
  }

  Context& context_;
  wire::ChunkService::Client chunks_;
  const ChunkPlace place_;
  ChunkCopy copy_;
};

}  // namespace

uint32_t FileTarget::chunkCount() const {
  uint64_t chunkBytes = uint64_t{1} << chunkBits;
  return static_cast<uint32_t>((sizeBytes + chunkBytes - 1) / chunkBytes);
}

FileTarget readTarget(wire::Attributes::Reader attributes, std::string path) {
  FileTarget file;
  auto layout = attributes.getLayout();
  file.path = std::move(path);
  file.inode = attributes.getInode();
  file.sizeBytes = attributes.getSize();
  file.cls = ClassId{layout.getClass()};
  file.object = ObjectId{layout.getObject()};
  file.chunkBits = layout.getChunkBits();
  file.generation = layout.getGeneration();
  for (auto cut : layout.getCuts()) {
    file.cuts.push_back({cut.getGeneration(), cut.getFirstDead()});
  }
  return file;
}

Task<wire::ChunkService::Client> ChunkDoors::door(const ServerRecord& server) {
  auto known = doors_.find(server.id);
  if (known != doors_.end()) {
    co_return known->second.chunks;
  }
  bool local = !server.socket.empty() && !server.hostId.empty() && server.hostId == context_.hostId;
  if (local) {
    try {
      co_return co_await enter(server, "unix:" + server.socket);
    } catch (kj::Exception& e) {
      if (!isRetryable(e)) {
        throw;
      }
    }
  }
  co_return co_await enter(server, server.address);
}

Task<wire::ChunkService::Client> ChunkDoors::enter(const ServerRecord& server, Address address) {
  auto link = co_await dial(context_.network, context_.clock, address, DIAL_LIMIT, PeerRole::CHUNKSERVER);
  auto request = link->bootstrap().castAs<wire::ChunkDoor>().enterRequest();
  writeHello(request.initHello(), cluster_, wire::Role::ADMIN, "dfsadmin");
  toWire(server.id, request.initServer());
  kj::Promise<capnp::Response<wire::ChunkDoor::EnterResults>> sent = request.send();
  auto reply = co_await withDeadline(context_.clock, DIAL_LIMIT, kj::mv(sent), "enter");
  auto outcome = readOutcome(reply.getOutcome());
  if (!outcome.ok()) {
    KJ_FAIL_REQUIRE("the chunkserver refuses this client", server.name, outcome.error().why);
  }
  Door door{kj::mv(link), reply.getChunks()};
  auto chunks = door.chunks;
  doors_.insert_or_assign(server.id, kj::mv(door));
  co_return chunks;
}

Task<void> reportBad(Context& context, wire::ChunkService::Client chunks, ChunkPlace place,
                     const std::vector<uint32_t>& blocks) {
  auto request = chunks.reportBadRequest();
  describe(place, request.initTarget());
  auto list = request.initBlocks(static_cast<unsigned>(blocks.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    list.set(i, blocks[i]);
  }
  auto sent = request.send().ignoreResult();
  co_await withDeadline(context.clock, READ_LIMIT, kj::mv(sent), "report of bad blocks");
}

Task<ChunkCopy> readCopy(Context& context, wire::ChunkService::Client chunks, ChunkPlace place) {
  CopyReader reader(context, kj::mv(chunks), place);
  co_return co_await reader.run();
}

}  // namespace cairn::admin
