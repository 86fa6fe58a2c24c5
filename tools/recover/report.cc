#include "tools/recover/report.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <iostream>
#include <set>

#include "tools/recover/chunk_reader.h"
#include "tools/recover/tree.h"

namespace cairn::rescue {

namespace {

using Json = nlohmann::json;

void addLost(std::vector<ByteRange>& lost, uint64_t first, uint64_t end) {
  if (first >= end) {
    return;
  }
  if (!lost.empty() && lost.back().end == first) {
    lost.back().end = end;
  } else {
    lost.push_back({first, end});
  }
}

// Bytes as people should see them, whatever is in a name.
std::string shown(const std::string& name) {
  std::string out;
  for (char c : name) {
    bool plain = static_cast<unsigned char>(c) >= 0x20 && c != 0x7f && c != '\\';
    out += plain ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}

Json fileJson(const FileReport& file) {
  Json ranges = Json::array();
  for (auto& range : file.lost) {
    ranges.push_back({{"first", range.first}, {"end", range.end}});
  }
  return {{"path", file.path},
          {"pathHex", hexText(file.path)},  // exact, for names that aren't UTF-8
          {"state", file.state()},
          {"size", file.size},
          {"lost", ranges},
          {"mayBeOlder", file.mayBeOlder}};
}

void printFile(const FileReport& file) {
  std::cout << fmt::format("{:<10} {:>14} {}{}\n", file.state(), file.size, shown(file.path),
                           file.mayBeOlder ? "  (may be older than the file was)" : "");
  for (auto& range : file.lost) {
    std::cout << fmt::format("           lost: bytes {} to {}\n", range.first, range.end - 1);
  }
}

// One object as a file: its size is where its last chunk ends.
FileView viewOf(ObjectId object, const std::vector<Located>& copies) {
  FileView view;
  view.object = object;
  for (auto& located : copies) {
    const FoundCopy& copy = *located.copy;
    view.chunkBits = copy.chunkBits;
    view.cls = shardClass(copy.key.shard);
    view.generation = std::max(view.generation, copy.generation);
    view.size = std::max(view.size, (uint64_t{copy.key.chunk.index} << copy.chunkBits) +
                                        uint64_t{copy.lengthBlocks} * BLOCK_BYTES);
    view.inode = copy.hints.inode;
  }
  return view;
}

void gatherObjects(const NamespaceReader& reader, std::set<ObjectId>& known) {
  constexpr size_t AT_ONCE = 4096;
  InodeId after{};
  do {
    after = reader.objects(after, AT_ONCE, [&](ObjectId object) { known.insert(object); });
  } while (raw(after) != 0);
  for (auto& move : reader.moves()) {
    known.insert(move.to);
  }
  for (uint64_t last = 0;;) {
    auto items = reader.reclaims(last, AT_ONCE);
    if (items.empty()) {
      break;
    }
    for (auto& item : items) {
      known.insert(item.object);
      last = item.id;
    }
  }
}

}  // namespace

std::string hexText(const std::string& bytes) {
  std::string out;
  for (char c : bytes) {
    out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}

Json filesJson(const std::vector<FileReport>& files) {
  Json out = Json::array();
  for (auto& file : files) {
    out.push_back(fileJson(file));
  }
  return out;
}

void printFiles(const std::vector<FileReport>& files) {
  for (auto& file : files) {
    printFile(file);
  }
}

FileReport assessFile(Archive& archive, const FileView& file, std::string path) {
  FileReport report{std::move(path), file.size};
  bool any = false;
  auto block = kj::heapArray<kj::byte>(BLOCK_BYTES);
  for (uint32_t i = 0; i < file.chunks(); ++i) {
    ChunkReader chunk(archive, file, i);
    uint64_t begins = uint64_t{i} << file.chunkBits;
    uint64_t ends = std::min(file.size, begins + file.chunkBytes());
    report.mayBeOlder = report.mayBeOlder || chunk.mayBeOlder();
    if (chunk.isLost()) {
      addLost(report.lost, begins, ends);
      continue;
    }
    any = any || chunk.looksWhole();
    for (uint32_t b = 0; !chunk.looksWhole() && begins + uint64_t{b} * BLOCK_BYTES < ends; ++b) {
      bool isLost = chunk.read(b, block) == ChunkReader::Block::LOST;
      uint64_t first = begins + uint64_t{b} * BLOCK_BYTES;
      addLost(report.lost, first, isLost ? std::min(ends, first + BLOCK_BYTES) : first);
      any = any || !isLost;
    }
  }
  report.nothing = !any && !report.lost.empty();
  return report;
}

std::vector<Unnamed> findUnnamed(Archive& archive) {
  std::set<ObjectId> known;
  uint64_t next = 0;
  if (archive.names() != nullptr) {
    gatherObjects(archive.names()->reader(), known);
    next = raw(archive.names()->reader().nextObject());
  }
  std::vector<Unnamed> found;
  for (ObjectId object : archive.objects()) {
    if (known.contains(object)) {
      continue;
    }
    auto& copies = archive.ofObject(object);
    Unnamed unnamed{viewOf(object, copies)};
    for (auto& located : copies) {
      unnamed.hints = located.copy->hints.path.empty() ? unnamed.hints : located.copy->hints;
    }
    std::string hint = unnamed.hints.path;
    hint = hint.substr(hint.rfind('/') + 1).substr(0, 200);
    std::erase(hint, '\0');
    unnamed.name = fmt::format("{:016x}{}{}", raw(object), hint.empty() ? "" : "-", hint);
    unnamed.isNewer = raw(object) >= next;
    found.push_back(std::move(unnamed));
  }
  return found;
}

Report assessAll(Archive& archive) {
  Report report;
  auto take = [&](FileReport file) {
    report.bytes += file.size;
    ++(file.lost.empty() ? report.recovered : file.nothing ? report.lost : report.partial);
    if (!file.lost.empty() || file.mayBeOlder) {
      report.damaged.push_back(std::move(file));
    }
  };
  if (archive.names() != nullptr) {
    auto enter = [&](const TreeEntry& entry) {
      if (S_ISREG(entry.inode.mode)) {
        take(assessFile(archive, viewOf(entry.inode), entry.path));
      } else if (!S_ISDIR(entry.inode.mode)) {
        ++report.recovered;
      }
      return true;
    };
    (void)walkTree(archive.names()->reader(), "", enter, [](const TreeEntry&) {});
  }
  for (auto& unnamed : findUnnamed(archive)) {
    report.unnamed.push_back(assessFile(archive, unnamed.file, unnamed.name));
  }
  return report;
}

Json toJson(const Archive& archive, const Report& report) {
  Json disks = Json::array();
  for (auto& disk : archive.disks()) {
    disks.push_back({{"path", disk.path},
                     {"volume", toText(disk.identity.volume)},
                     {"copies", disk.copies.size()},
                     {"bytesRead", disk.bytesRead},
                     {"badBlocks", disk.badBlocks},
                     {"damage", disk.damage}});
  }
  Json names = nullptr;
  if (archive.names() != nullptr) {
    names = {{"index", raw(archive.names()->reader().appliedIndex())}, {"time", archive.names()->time().seconds}};
  }
  return {{"cluster", toText(archive.cluster())},
          {"disks", disks},
          {"names", names},
          {"files",
           {{"recovered", report.recovered},
            {"partial", report.partial},
            {"lost", report.lost},
            {"bytes", report.bytes}}},
          {"damaged", filesJson(report.damaged)},
          {"unnamed", filesJson(report.unnamed)}};
}

void print(const Archive& archive, const Report& report) {
  std::cout << "Cluster " << toText(archive.cluster()) << "\n";
  for (auto& disk : archive.disks()) {
    std::cout << fmt::format("Disk    {}: {} chunks, {} MiB read, {} bad blocks\n", disk.path, disk.copies.size(),
                             disk.bytesRead >> 20, disk.badBlocks);
    for (auto& line : disk.damage) {
      std::cout << "          " << shown(line) << "\n";
    }
  }
  if (archive.names() != nullptr) {
    std::cout << fmt::format("Names   as of entry {} of the masters' log, {} s since 1970\n",
                             raw(archive.names()->reader().appliedIndex()), archive.names()->time().seconds);
  } else {
    std::cout << "Names   none: no disk had a whole copy of the masters' state. Files are named by what chunks say\n";
  }
  std::cout << fmt::format("Files   {} recovered, {} partial, {} lost\n", report.recovered, report.partial,
                           report.lost);
  printFiles(report.damaged);
  if (!report.unnamed.empty()) {
    std::cout << fmt::format("\n{} objects that no name leads to: newer than the names, or deleted\n",
                             report.unnamed.size());
    printFiles(report.unnamed);
  }
}

}  // namespace cairn::rescue
