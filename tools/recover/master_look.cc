#include "tools/recover/master_look.h"

#include <algorithm>
#include <cerrno>

#include "master/entry.h"
#include "tools/recover/report.h"
#include "tools/recover/tree.h"

namespace cairn::rescue {

namespace {

using Json = nlohmann::json;
constexpr char IDENTITY[] = "identity";
constexpr char CLUSTER_KEY[] = "cluster = ";
constexpr uint64_t IDENTITY_BYTES_MAX = 64 << 10;
constexpr size_t CLUSTER_CHARS = 32;

Json timeJson(const Timestamp& time) { return {{"seconds", time.seconds}, {"nanos", time.nanos}}; }

// The entries of a segment's file from its beginning, as long as they follow one another.
Status readEntries(kj::ArrayPtr<const kj::byte> file, uint64_t number, LogLook& look, uint64_t& chain,
                   kj::Function<void(const LogEntry&)>& each) {
  for (uint64_t offset = SEGMENT_HEADER_BYTES;;) {
    auto record = parseRecord(file, offset, number);
    if (!record || !record->follows(look.last, chain)) {
      return {};
    }
    look.last = record->entry.index;
    look.term = record->entry.term;
    chain = record->header.chain;
    offset = record->end;
    each(record->entry);
  }
}

}  // namespace

Result<ClusterId> clusterOf(Disk& master) {
  auto bytes = readWholeFile(master, IDENTITY, IDENTITY_BYTES_MAX);
  if (!bytes.ok()) {
    return Error{bytes.code(), master.hostPath("") + ": no master's data directory: " + bytes.error().why};
  }
  std::string text(bytes.value().asChars().begin(), bytes.value().size());
  size_t at = text.find(CLUSTER_KEY);
  ClusterId cluster;
  if (at == std::string::npos || !parse(text.substr(at + sizeof(CLUSTER_KEY) - 1, CLUSTER_CHARS), cluster)) {
    return Error{EIO, master.hostPath(IDENTITY) + ": damaged: it doesn't say of which cluster it is"};
  }
  return cluster;
}

// Segments in order; one that begins before the end of the one before it takes back what follows there, and one that
// begins anew voids all.
Result<LogLook> lookAtLog(Disk& master, kj::Function<void(const LogEntry&)> each) {
  auto cluster = clusterOf(master);
  if (!cluster.ok()) {
    return cluster.error();
  }
  LogOptions options;
  options.cluster = cluster.value();
  auto found = findLog(master, options, LogIndex{});
  LogLook look;
  if (!found.ok()) {
    look.damage = found.error().why;
    return look;
  }
  auto& segments = found.value().segments;
  look.segments = segments.size();
  for (auto& segment : segments) {
    auto file = readSegment(master, options, segment.number, segment.end);
    if (!file.ok()) {
      return file.error();
    }
    look.last = LogIndex{raw(segment.first) - 1};
    look.first = raw(look.first) == 0 ? segment.first : look.first;
    uint64_t chain = segment.previousChain;
    auto read = readEntries(file.value(), segment.number, look, chain, each);
    if (!read.ok()) {
      return read.error();
    }
  }
  return look;
}

Json entryJson(const LogEntry& entry) {
  CommandEntry command(entry.payload);
  return {{"index", raw(entry.index)}, {"term", raw(entry.term)}, {"command", kj::str(command.reader()).cStr()}};
}

Json stateJson(const Names& names) {
  auto& reader = names.reader();
  auto counters = reader.counters();
  auto& map = reader.map();
  return {{"cluster", toText(reader.cluster())},
          {"appliedIndex", raw(reader.appliedIndex())},
          {"appliedTerm", raw(reader.appliedTerm())},
          {"time", timeJson(names.time())},
          {"digest", reader.digest()},
          {"inodes", counters.inodes},
          {"allocatedBytes", counters.allocatedBytes},
          {"trashItems", reader.trashItems()},
          {"sessions", reader.sessions().size()},
          {"mapVersion", raw(map.version)},
          {"servers", map.servers.size()},
          {"volumes", map.volumes.size()},
          {"shards", map.shards.size()}};
}

Status exportTree(const Names& names, kj::Function<void(Json)> each) {
  auto& reader = names.reader();
  auto enter = [&](const TreeEntry& entry) {
    const InodeRecord& inode = entry.inode;
    Json xattrs = Json::array();
    if (inode.xattrs > 0 || !inode.accessAcl.empty() || !inode.defaultAcl.empty()) {
      for (auto& [name, value] : xattrsOf(reader, inode.id)) {
        xattrs.push_back({{"name", name}, {"valueHex", hexText(value)}});
      }
    }
    each({{"path", entry.path},
          {"pathHex", hexText(entry.path)},
          {"inode", raw(inode.id)},
          {"mode", inode.mode},
          {"uid", inode.uid},
          {"gid", inode.gid},
          {"links", inode.links},
          {"device", inode.device},
          {"size", inode.size},
          {"accessed", timeJson(inode.accessed)},
          {"modified", timeJson(inode.modified)},
          {"changed", timeJson(inode.changed)},
          {"object", raw(inode.object)},
          {"class", raw(inode.cls)},
          {"targetHex", hexText(inode.target)},
          {"xattrs", xattrs}});
    return true;
  };
  return walkTree(reader, "", enter, [](const TreeEntry&) {});
}

}  // namespace cairn::rescue
