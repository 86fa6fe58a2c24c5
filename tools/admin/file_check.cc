// dfsadmin file check: every block of every copy of a file, read from each in-sync member, verified and compared.
// Ends with EXIT_DEGRADED when any copy is bad, differs or can't be read.
#include "tools/admin/file_path.h"

#include <algorithm>
#include <iostream>
#include <map>

#include "tools/admin/output.h"
#include "tools/admin/shards.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

// A chunk that is being written, or whose shard changes hands, is looked at again.
constexpr unsigned TRIES_MAX = 25;
constexpr unsigned DIFFERENCE_TRIES_MAX = 5;
constexpr Nanos PAUSE = 200 * MILLISECOND;
constexpr size_t BLOCKS_NAMED_MAX = 8;

struct Problem {
  uint32_t chunk;
  uint32_t shard;
  std::string server;
  const char* kind;  // corrupt, differs, unreachable, unavailable, refused
  std::string text;
  std::vector<uint32_t> blocks;
};

bool passes(wire::Verdict verdict) {
  return verdict == wire::Verdict::STALE_EPOCH || verdict == wire::Verdict::NOT_PRIMARY ||
         verdict == wire::Verdict::NOT_READY;
}

std::string blocksText(const std::vector<uint32_t>& blocks) {
  std::vector<std::string> names;
  for (size_t i = 0; i < blocks.size() && i < BLOCKS_NAMED_MAX; ++i) {
    names.push_back(std::to_string(blocks[i]));
  }
  return joined(names, " ") + (blocks.size() > BLOCKS_NAMED_MAX ? " ..." : "");
}

std::vector<uint32_t> differences(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
  std::vector<uint32_t> blocks;
  for (uint32_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    if ((i < a.size() ? a[i] : 0) != (i < b.size() ? b[i] : 0)) {
      blocks.push_back(i);
    }
  }
  return blocks;
}

class FileCheck {
 public:
  FileCheck(Context& context, MasterLink& master, FileTarget file)
      : context_(context), master_(master), file_(std::move(file)), doors_(context, master.cluster.cluster) {}

  Task<int> run() {
    map_ = co_await readMap(context_, master_.admin);
    Progress progress(context_);
    for (uint32_t index = 0; index < file_.chunkCount(); ++index) {
      progress.show("chunk " + std::to_string(index + 1) + " of " + std::to_string(file_.chunkCount()) + ", " +
                    sizeText(bytes_) + " read, " + std::to_string(problems_.size()) + " problems");
      co_await checkChunk(index);
    }
    progress.clear();
    context_.json ? printAsJson() : print();
    co_return problems_.empty() ? EXIT_HEALTHY : EXIT_DEGRADED;
  }

 private:
  // What one look at a chunk found.
  struct Findings {
    std::vector<Problem> problems;
    bool again = false;      // a member was not ready: the answer may change by itself
    bool differs = false;    // nothing else is wrong, but the copies differ: perhaps a write is on its way
    std::map<VolumeNumber, std::vector<uint32_t>> bad;  // blocks of corrupt copies
  };

  Task<void> checkChunk(uint32_t index) {
    unsigned differed = 0;
    for (unsigned tries = 1;; ++tries) {
      auto findings = co_await look(index);
      differed += findings.differs;
      bool final = !findings.again && (!findings.differs || differed >= DIFFERENCE_TRIES_MAX);
      if (final || tries >= TRIES_MAX) {
        co_await reportAll(findings, index);
        for (auto& problem : findings.problems) {
          problems_.push_back(std::move(problem));
        }
        co_return;
      }
      co_await context_.clock.after(PAUSE);
      map_ = co_await readMap(context_, master_.admin);
    }
  }

  // Only now: a server that mends a copy lets others wait, and the next look would find nothing.
  Task<void> reportAll(const Findings& findings, uint32_t index) {
    const auto* shard = map_.shard(file_.cls, ChunkId{file_.object, index});
    for (auto& [volume, blocks] : findings.bad) {
      const auto* server = map_.serverOf(volume);
      if (shard == nullptr || server == nullptr) {
        continue;
      }
      try {
        auto door = co_await doors_.door(*server);
        ChunkPlace place{file_, map_, *shard, index};
        co_await reportBad(context_, door, place, blocks);
      } catch (kj::Exception& e) {
        std::cerr << "dfsadmin: " << memberText(map_, volume) << " was not told of its bad blocks, and will only find "
                  << "them when they are read: " << e.getDescription().cStr() << "\n";
      }
    }
  }

  Task<Findings> look(uint32_t index) {
    Findings findings;
    const auto* shard = map_.shard(file_.cls, ChunkId{file_.object, index});
    if (shard == nullptr || shard->inSync.empty()) {
      findings.problems.push_back({index, shard == nullptr ? 0 : raw(shard->id), "", "unavailable",
                                   "its shard has no member that holds it", {}});
      co_return findings;
    }
    std::vector<uint64_t> first;
    bool haveFirst = false;
    for (auto volume : shard->inSync) {
      auto copy = co_await readMember(*shard, volume, index);
      bytes_ += copy.bytesRead;
      ++copies_;
      bool good = judge(findings, copy, *shard, volume, index);
      if (good && !haveFirst) {
        first = copy.sums;
        haveFirst = true;
      } else if (good) {
        compare(findings, first, copy, *shard, volume, index);
      }
    }
    co_return findings;
  }

  Task<ChunkCopy> readMember(const ShardRecord& shard, VolumeNumber volume, uint32_t index) {
    const auto* server = map_.serverOf(volume);
    ChunkCopy copy;
    copy.verdict = wire::Verdict::FAILED;
    copy.why = "the map doesn't know its server";
    if (server == nullptr) {
      co_return copy;
    }
    try {
      auto door = co_await doors_.door(*server);
      ChunkPlace place{file_, map_, shard, index};
      co_return co_await readCopy(context_, door, place);
    } catch (kj::Exception& e) {
      doors_.forget(server->id);
      unreachable_ = true;
      copy.why = std::string("does not answer: ") + e.getDescription().cStr();
    }
    co_return copy;
  }

  // Notes what is wrong with one copy; true when it can be compared with others.
  bool judge(Findings& findings, const ChunkCopy& copy, const ShardRecord& shard, VolumeNumber volume,
             uint32_t index) {
    std::string member = memberText(map_, volume);
    if (copy.verdict != wire::Verdict::OK) {
      findings.again |= passes(copy.verdict) || unreachable_;
      const char* kind = unreachable_ ? "unreachable" : "refused";
      findings.problems.push_back({index, raw(shard.id), member, kind, copy.why, {}});
      unreachable_ = false;
      return false;
    }
    if (!copy.bad.empty()) {
      findings.bad[volume] = copy.bad;
      findings.problems.push_back({index, raw(shard.id), member, "corrupt",
                                   "blocks that don't match their checksums: " + blocksText(copy.bad), copy.bad});
      return false;
    }
    return true;
  }

  void compare(Findings& findings, const std::vector<uint64_t>& first, const ChunkCopy& copy,
               const ShardRecord& shard, VolumeNumber volume, uint32_t index) {
    auto blocks = differences(first, copy.sums);
    if (!blocks.empty()) {
      findings.differs = true;
      findings.problems.push_back({index, raw(shard.id), memberText(map_, volume), "differs",
                                   "blocks that are not those of the other copies: " + blocksText(blocks), blocks});
    }
  }

  void print() const {
    if (!problems_.empty()) {
      Table table({"CHUNK", "SHARD", "MEMBER", "PROBLEM", "WHAT"});
      for (const auto& p : problems_) {
        auto member = p.server.empty() ? "-" : p.server;
        table.add({std::to_string(p.chunk), std::to_string(p.shard), member, p.kind, p.text});
      }
      table.print();
    }
    std::cout << file_.path << ": " << file_.chunkCount() << " chunks, " << copies_ << " copies, " << sizeText(bytes_)
              << " read and verified: "
              << (problems_.empty() ? std::string("all good") : std::to_string(problems_.size()) + " problems") << "\n";
  }

  void printAsJson() const {
    Json problems = Json::array();
    for (const auto& p : problems_) {
      problems.push_back({{"chunk", p.chunk}, {"shard", p.shard}, {"server", p.server}, {"kind", p.kind},
                          {"blocks", p.blocks}, {"text", p.text}});
    }
    printJson({{"path", file_.path}, {"inode", file_.inode}, {"sizeBytes", file_.sizeBytes},
               {"chunks", file_.chunkCount()}, {"copies", copies_}, {"bytes", bytes_}, {"problems", problems}});
  }

  Context& context_;
  MasterLink& master_;
  const FileTarget file_;
  ChunkDoors doors_;
  ShardMap map_;
  std::vector<Problem> problems_;
  uint64_t copies_ = 0;
  uint64_t bytes_ = 0;
  bool unreachable_ = false;  // what readMember() found last
};

}  // namespace

Task<int> checkFile(Context& context, const Options& options) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto resolved = co_await resolveFile(context, *found.value(), options.path);
  if (!resolved.ok()) {
    co_return complain(EXIT_REFUSED, "path-not-found", resolved.error().why);
  }
  FileCheck check(context, *found.value(), resolved.value());
  co_return co_await check.run();
}

}  // namespace cairn::admin
