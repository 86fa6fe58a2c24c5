#include "tools/recover/map_file.h"

#include <cerrno>
#include <nlohmann/json.hpp>

#include "chunkserver/store/codec.h"

namespace cairn::rescue {

namespace {

using Json = nlohmann::json;
constexpr char DISKS[] = "disks";
constexpr uint64_t DISK_MAP_BYTES_MAX = uint64_t{8} << 30;

std::string hex(std::string_view text) {
  static constexpr char DIGITS[] = "0123456789abcdef";
  std::string out;
  for (char c : text) {
    out += DIGITS[static_cast<uint8_t>(c) >> 4];
    out += DIGITS[static_cast<uint8_t>(c) & 15];
  }
  return out;
}

std::string unhex(const std::string& text) {
  std::string out;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    out += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  }
  return out;
}

Json diskJson(const FoundDisk& disk) {
  return {{"disk", hex(disk.path)},
          {"cluster", toText(disk.identity.cluster)},
          {"server", toText(disk.identity.server)},
          {"volume", toText(disk.identity.volume)}};
}

Json endJson(const FoundDisk& disk) {
  Json marks = Json::array();
  for (auto& [shard, epoch] : disk.inSync) {
    marks.push_back({raw(shard), raw(epoch)});
  }
  return {{"end", true},          {"salvaged", disk.salvaged}, {"inSync", marks},
          {"damage", disk.damage}, {"bytes", disk.bytesRead},  {"badBlocks", disk.badBlocks}};
}

Json copyJson(const FoundCopy& copy) {
  Json bad = Json::array();
  for (auto& range : copy.bad) {
    bad.push_back({range.first, range.end});
  }
  return {{"s", raw(copy.key.shard)},
          {"o", raw(copy.key.chunk.object)},
          {"i", copy.key.chunk.index},
          {"k", static_cast<unsigned>(copy.kind)},
          {"p", copy.path},
          {"d", copy.deleted},
          {"q", copy.doubtful},
          {"a", static_cast<unsigned>(copy.sums)},
          {"b", copy.chunkBits},
          {"g", copy.generation},
          {"e", raw(copy.lastEpoch)},
          {"l", copy.lengthBlocks},
          {"x", bad},
          {"h", {raw(copy.hints.inode), copy.hints.mode, copy.hints.uid, copy.hints.gid, hex(copy.hints.path)}}};
}

FoundCopy copyOf(const Json& in) {
  FoundCopy copy;
  copy.key.shard = ShardId{in.at("s").get<uint32_t>()};
  copy.key.chunk = {ObjectId{in.at("o").get<uint64_t>()}, in.at("i").get<uint32_t>()};
  copy.kind = static_cast<ChunkKind>(in.at("k").get<unsigned>());
  copy.path = in.at("p");
  copy.deleted = in.at("d");
  copy.doubtful = in.at("q");
  copy.sums = static_cast<FoundCopy::Sums>(in.at("a").get<unsigned>());
  copy.chunkBits = in.at("b");
  copy.generation = in.at("g");
  copy.lastEpoch = Epoch{in.at("e").get<uint64_t>()};
  copy.lengthBlocks = in.at("l");
  for (auto& range : in.at("x")) {
    copy.bad.push_back({range.at(0), range.at(1)});
  }
  auto& hints = in.at("h");
  copy.hints = {InodeId{hints.at(0).get<uint64_t>()}, hints.at(1), hints.at(2), hints.at(3), unhex(hints.at(4))};
  return copy;
}

void takeEnd(const Json& in, FoundDisk& disk) {
  disk.finished = true;
  disk.salvaged = in.at("salvaged");
  disk.damage = in.at("damage").get<std::vector<std::string>>();
  disk.bytesRead = in.at("bytes");
  disk.badBlocks = in.at("badBlocks");
  for (auto& mark : in.at("inSync")) {
    disk.inSync[ShardId{mark.at(0).get<uint32_t>()}] = Epoch{mark.at(1).get<uint64_t>()};
  }
}

// What of `text` are whole lines that make sense; how many bytes.
size_t parse(std::string_view text, FoundDisk& disk) {
  size_t used = 0;
  for (bool first = true;; first = false) {
    size_t end = text.find('\n', used);
    if (end == std::string_view::npos) {
      return used;
    }
    Json line = Json::parse(text.substr(used, end - used), nullptr, false);
    try {
      if (first) {
        disk.path = unhex(line.at("disk"));
        bool ok = cairn::parse(line.at("cluster").get<std::string>(), disk.identity.cluster) &&
                  cairn::parse(line.at("server").get<std::string>(), disk.identity.server) &&
                  cairn::parse(line.at("volume").get<std::string>(), disk.identity.volume);
        if (!ok) {
          return used;
        }
      } else if (line.contains("end")) {
        takeEnd(line, disk);
      } else {
        disk.copies.push_back(copyOf(line));
      }
    } catch (const std::exception&) {
      return used;  // torn by a crash: what follows is found again
    }
    used = end + 1;
  }
}

Result<std::string> readText(Disk& map, const std::string& path) {
  auto bytes = readWholeFile(map, path, DISK_MAP_BYTES_MAX);
  if (!bytes.ok()) {
    return bytes.error();
  }
  return std::string(asText(bytes.value()));
}

}  // namespace

Result<kj::Own<MapWriter>> MapWriter::open(Disk& map, const FoundDisk& disk, FoundDisk& before) {
  auto made = map.makeDirectory(DISKS);
  std::string path = std::string(DISKS) + "/" + toText(disk.identity.volume);
  uint64_t end = 0;
  if (made.ok() && map.exists(path)) {
    auto text = readText(map, path);
    made = text.ok() ? Status() : Status(text.error());
    end = text.ok() ? parse(text.value(), before) : 0;
  }
  if (!made.ok()) {
    return made.error();
  }
  auto file = map.open(path, Disk::Mode::CREATE);
  if (!file.ok()) {
    return file.error();
  }
  auto cut = file.value()->truncate(end);
  auto writer = kj::heap<MapWriter>(kj::mv(file.value()), end);
  if (cut.ok() && end == 0) {
    cut = writer->put(diskJson(disk).dump(), true);
  }
  if (!cut.ok()) {
    return cut.error();
  }
  return kj::mv(writer);
}

Status MapWriter::add(const FoundCopy& copy) { return put(copyJson(copy).dump(), false); }

Status MapWriter::finish(const FoundDisk& disk) {
  auto written = put(endJson(disk).dump(-1, ' ', false, Json::error_handler_t::replace), true);
  return written.ok() ? file_->syncNow() : written;
}

Status MapWriter::put(const std::string& line, bool now) {
  gathered_ += line + "\n";
  if (!now && gathered_.size() < GATHERED_BYTES) {
    return {};
  }
  auto written = file_->write(end_, asBytes(gathered_));
  end_ += gathered_.size();
  gathered_.clear();
  return written;
}

Result<std::vector<FoundDisk>> readMap(Disk& map) {
  auto names = map.list(DISKS);
  if (!names.ok()) {
    return Error{names.code(), names.error().why + ": make the map first, with dfs-recover scan"};
  }
  std::vector<FoundDisk> disks;
  for (auto& name : names.value()) {
    auto text = readText(map, std::string(DISKS) + "/" + name);
    if (!text.ok()) {
      return text.error();
    }
    FoundDisk disk;
    if (parse(text.value(), disk) > 0) {
      disks.push_back(std::move(disk));
    }
  }
  return disks;
}

}  // namespace cairn::rescue
