#include "master/log/identity.h"

#include <cerrno>
#include <map>

#include "common/checksum.h"

namespace cairn {

namespace {

constexpr char FILE_NAME[] = "identity";
constexpr char LOCK_NAME[] = "lock";
constexpr uint64_t FILE_BYTES_MAX = 4096;

std::string sumText(const std::string& text) {
  return uuidText(hash64(text, 1), hash64(text, 2));
}

std::string toText(const Identity& identity) {
  std::string text =
      "# A CairnFS master's data directory. Made by dfs-master; changing it makes the directory useless.\n";
  text += "format = " + std::to_string(identity.format) + "\n";
  text += "cluster = " + cairn::toText(identity.cluster) + "\n";
  text += "member = " + identity.member + "\n";
  text += "incarnation = " + cairn::toText(identity.incarnation) + "\n";
  text += identity.joined ? "joined = yes\n" : "";
  text += identity.epoch == GroupEpoch{} ? "" : "epoch = " + cairn::toText(identity.epoch) + "\n";
  text += "place = " + std::to_string(identity.place) + "\n";
  return text + "checksum = " + sumText(text) + "\n";
}

// Lines "key = value"; comments and everything else are passed over.
std::map<std::string, std::string> fieldsOf(const std::string& text) {
  constexpr char EQUALS[] = " = ";
  std::map<std::string, std::string> fields;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    auto line = text.substr(at, end - at);
    size_t equals = line.find(EQUALS);
    if (equals != std::string::npos && line.front() != '#') {
      fields[line.substr(0, equals)] = line.substr(equals + sizeof(EQUALS) - 1);
    }
    at = end + 1;
  }
  return fields;
}

Result<Identity> parseIdentity(const std::string& text, const std::string& path) {
  auto fields = fieldsOf(text);
  Identity identity;
  // Before the checksum, since a newer format may sum otherwise.
  identity.format = static_cast<uint32_t>(strtoul(fields["format"].c_str(), nullptr, 10));
  if (identity.format > Identity::FORMAT) {
    return Error{EPROTO, path + ": the data directory has format " + fields["format"] +
                             ", written by a newer version of this program; start that version"};
  }
  size_t summed = text.rfind("checksum = ");
  bool whole = summed != std::string::npos && fields["checksum"] == sumText(text.substr(0, summed)) &&
               parse(fields["cluster"], identity.cluster) && parse(fields["incarnation"], identity.incarnation) &&
               (!fields.contains("epoch") || parse(fields["epoch"], identity.epoch));
  if (!whole) {
    return Error{EIO, path + ": damaged; restore this file from a copy. Nothing was changed"};
  }
  identity.member = fields["member"];
  identity.place = strtoull(fields["place"].c_str(), nullptr, 10);
  identity.joined = fields["joined"] == "yes";
  return identity;
}

Result<Identity> makeIdentity(Disk& disk, ClusterId cluster, const std::string& member, Random& random, bool joins) {
  auto names = disk.list(".");
  if (!names.ok()) {
    return names.error();
  }
  for (const auto& name : names.value()) {
    if (name != LOCK_NAME && name != std::string(FILE_NAME) + ".new") {
      return Error{EINVAL, disk.hostPath(".") + ": has files, \"" + name +
                               "\" among them, but no identity: it is no master's data directory; name an empty one"};
    }
  }
  Identity identity{Identity::FORMAT, cluster, member, random.uuid<MemberIncarnation>(), joins};
  auto written = saveIdentity(disk, identity);
  return written.ok() ? Result<Identity>(identity) : Result<Identity>(written.error());
}

Result<Identity> findIdentity(Disk& disk, ClusterId cluster, const std::string& member, Random& random, bool joins) {
  auto read = readWholeFile(disk, FILE_NAME, FILE_BYTES_MAX);
  if (read.code() == ENOENT) {
    return makeIdentity(disk, cluster, member, random, joins);
  }
  if (!read.ok()) {
    return read.error();
  }
  auto path = disk.hostPath(FILE_NAME);
  auto chars = read.value().asChars();
  auto parsed = parseIdentity(std::string(chars.begin(), chars.size()), path);
  if (!parsed.ok()) {
    return parsed;
  }
  const auto& identity = parsed.value();
  if (identity.cluster != cluster) {
    return Error{EINVAL, path + ": the data directory belongs to cluster " + cairn::toText(identity.cluster) +
                             ", not to " + cairn::toText(cluster) + "; name another directory or another cluster file"};
  }
  if (identity.member != member) {
    return Error{EINVAL, path + ": the data directory belongs to master \"" + identity.member + "\", not to \"" +
                             member + "\"; name another directory or start that master"};
  }
  return parsed;
}

Result<uint64_t> placeOf(Disk& disk) {
  auto file = disk.open(LOCK_NAME, Disk::Mode::READ);
  if (!file.ok()) {
    return file.error();
  }
  auto info = file.value()->info();
  return info.ok() ? Result<uint64_t>(info.value().number) : Result<uint64_t>(info.error());
}

}  // namespace

Status saveIdentity(Disk& disk, const Identity& identity) {
  auto text = toText(identity);
  return replaceFile(disk, FILE_NAME, kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size()));
}

Result<OwnedDirectory> openDirectory(Disk& disk, ClusterId cluster, const std::string& member, Random& random,
                                     bool joins) {
  auto lock = disk.lock(LOCK_NAME);
  if (!lock.ok()) {
    return lock.error();
  }
  auto place = placeOf(disk);
  if (!place.ok()) {
    return place.error();
  }
  auto found = findIdentity(disk, cluster, member, random, joins);
  if (!found.ok()) {
    return found.error();
  }
  auto identity = found.value();
  bool isCopy = identity.place != 0 && identity.place != place.value();
  bool isUnnoted = identity.place == 0;
  identity.place = place.value();
  if (isUnnoted) {
    auto saved = saveIdentity(disk, identity);
    if (!saved.ok()) {
      return saved.error();
    }
  }
  return OwnedDirectory{identity, isCopy, kj::mv(lock.value())};
}

}  // namespace cairn
