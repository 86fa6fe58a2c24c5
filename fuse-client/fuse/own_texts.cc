// What the mount's own files say.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "fuse-client/fuse/operations.h"

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;

double secondsOf(Nanos nanos) {
  constexpr double MILLIS = 1000;
  return static_cast<double>(nanos / MILLISECOND) / MILLIS;
}

// One line. Names are bytes, which needn't be text.
std::string line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json jsonOf(const Wait& wait) {
  return {{"for", wait.what},
          {"server", wait.server},
          {"seconds", secondsOf(wait.nanos)},
          {"text", wait.text},
          {"end", wait.end}};
}

bool isAbout(const Wait& wait, InodeId inode) {
  return std::find(wait.inodes.begin(), wait.inodes.end(), inode) != wait.inodes.end();
}

}  // namespace

std::string Operations::ownText(OwnFile file, uint32_t reader) const {
  switch (file) {
    case OwnFile::CONFIG:
      return configText();
    case OwnFile::LEADER:
      return leaderText();
    case OwnFile::STATS:
      return statsText();
    case OwnFile::WHY:
      return whyText(reader);
  }
  return {};
}

std::string Operations::statsText() const {
  ClientStats now = client_.stats();
  const std::pair<const char*, uint64_t> LINES[] = {
      {"callsInFlight", calls_.size()},
      {"openHandles", now.openHandles},
      {"inodes", now.inodes},
      {"dirtyBytes", now.dirtyBytes},
      {"unsyncedBytes", now.unsyncedBytes},
      {"readAheadBytes", now.readAheadBytes},
      {"bytesRead", now.bytesRead},
      {"bytesWritten", now.bytesWritten},
      {"bytesResent", now.bytesResent},
      {"masterCalls", now.masterCalls},
      {"masterRetries", now.masterRetries},
      {"sessions", now.sessions},
      {"chunkCalls", now.chunkCalls},
      {"chunkRetries", now.chunkRetries},
      {"hedgedReads", now.hedgedReads},
      {"badBlocks", now.badBlocks},
      {"leasedLookups", now.leasedLookups},
      {"leasedAttributes", now.leasedAttributes},
      {"recalls", now.recalls},
      {"errorsReported", now.errorsReported},
      {"mapVersion", now.mapVersion},
  };
  std::string out;
  for (auto& [name, value] : LINES) {
    out += fmt::format("{} {}\n", name, value);
  }
  return out;
}

std::string Operations::configText() const {
  std::string policy = options_.softTimeout == 0 ? "hard" : fmt::format("soft {} s", secondsOf(options_.softTimeout));
  std::string out = fmt::format("cluster {}\nmountPoint {}\nsubdir /{}\nprocess {}\npolicy {}\n", options_.clusterFile,
                                options_.mountPoint, options_.subdir, ::getpid(), policy);
  out += fmt::format("readOnly {}\nsync {}\ncacheBytes {}\n", options_.readOnly, options_.synchronous,
                     options_.cacheBytes);
  out += fmt::format("entryTimeout {} s\nattributeTimeout {} s\nnegativeTimeout {} s\n",
                     secondsOf(options_.entryTimeout), secondsOf(options_.attributeTimeout),
                     secondsOf(options_.negativeTimeout));
  return out;
}

std::string Operations::leaderText() const {
  auto master = client_.master();
  return fmt::format("name {}\naddress {}\nattached {}\nsession {}\nsilent {} s\n", master.name, master.address,
                     master.attached ? "yes" : "no", master.session, secondsOf(master.silentNanos));
}

// A line of JSON for each call that is under way, oldest first; those of other users only for root. What is waited for
// without a program that waits, as written bytes on their way do, comes last.
std::string Operations::whyText(uint32_t reader) const {
  auto waits = client_.waits();
  std::vector<const Call*> calls;
  for (auto& [id, call] : calls_) {
    if (reader == 0 || call->request.context().uid == reader) {
      calls.push_back(call.get());
    }
  }
  std::sort(calls.begin(), calls.end(), [](auto* a, auto* b) { return a->id < b->id; });
  std::string out;
  for (const Call* call : calls) {
    const Request& request = call->request;
    const InodeId inode{request.inode()};
    Json mine = Json::array();
    for (auto& wait : waits) {
      if (isAbout(wait, inode)) {
        mine.push_back(jsonOf(wait));
      }
    }
    out += line({{"pid", request.context().pid},
                 {"uid", request.context().uid},
                 {"operation", request.operation()},
                 {"inode", request.inode()},
                 {"name", request.name()},
                 {"file", client_.nameOf(inode)},
                 {"seconds", secondsOf(clock_.monotonic() - request.since())},
                 {"waits", mine}});
  }
  for (auto& wait : waits) {
    bool heard = std::any_of(calls.begin(), calls.end(),
                             [&](const Call* call) { return isAbout(wait, InodeId{call->request.inode()}); });
    if (reader == 0 && !heard) {
      InodeId inode = wait.inodes.empty() ? InodeId{} : wait.inodes.front();
      out += line({{"pid", 0},
                   {"uid", 0},
                   {"operation", "background"},
                   {"inode", raw(inode)},
                   {"name", ""},
                   {"file", client_.nameOf(inode)},
                   {"seconds", secondsOf(wait.nanos)},
                   {"waits", Json::array({jsonOf(wait)})}});
    }
  }
  return out;
}

}  // namespace cairn
