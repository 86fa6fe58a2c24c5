#include "tools/admin/cluster_edit.h"

#include <vector>

namespace cairn::admin {

namespace {

constexpr uint64_t FILE_BYTES_MAX = 1 << 20;

std::vector<std::string> linesOf(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::string textOf(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) {
    text += line + "\n";
  }
  return text;
}

// "key" of a line `key = value`, "[table]" of a heading; empty for others.
std::string wordOf(const std::string& line) {
  size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string::npos) {
    return "";
  }
  size_t end = line[begin] == '[' ? line.rfind(']') + 1 : line.find_first_of(" \t=", begin);
  return end == std::string::npos || end <= begin ? "" : line.substr(begin, end - begin);
}

struct Place {
  std::string directory, name;
};

Place placeOf(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) {
    return {".", path};
  }
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

template <typename Edit>
Status change(Context& context, Edit edit) {
  auto place = placeOf(context.clusterFile);
  auto disk = context.openDisk(place.directory);
  if (!disk.ok()) {
    return disk.error();
  }
  auto read = readWholeFile(*disk.value(), place.name, FILE_BYTES_MAX);
  if (!read.ok()) {
    return read.error();
  }
  auto chars = read.value().asChars();
  std::string text = edit(std::string(chars.begin(), chars.size()));
  auto parsed = parseClusterFile(text, context.clusterFile);
  if (!parsed.ok()) {
    return parsed.error();
  }
  auto written = replaceFile(*disk.value(), place.name,
                             kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size()));
  if (written.ok()) {
    context.publish(context.clusterFile);
  }
  return written;
}

}  // namespace

std::string withEpoch(const std::string& text, GroupEpoch epoch) {
  auto lines = linesOf(text);
  std::string wanted = "epoch = \"" + toText(epoch) + "\"";
  for (size_t i = 0; i < lines.size() && lines[i].find('[') != 0; ++i) {
    if (wordOf(lines[i]) == "epoch") {
      lines[i] = wanted;
      return textOf(lines);
    }
  }
  size_t after = 0;
  while (after < lines.size() && wordOf(lines[after]) != "cluster") {
    ++after;
  }
  lines.insert(lines.begin() + static_cast<ptrdiff_t>(std::min(after + 1, lines.size())), wanted);
  return textOf(lines);
}

std::string withMaster(const std::string& text, const MasterAddress& master) {
  auto lines = linesOf(text);
  size_t at = lines.size(), last = lines.size();
  for (size_t i = 0; i < lines.size(); ++i) {
    last = wordOf(lines[i]) == "[[master]]" ? i : last;
  }
  for (at = std::min(last + 1, lines.size()); at < lines.size() && wordOf(lines[at]).find('[') != 0; ++at) {
  }
  while (at > 0 && lines[at - 1].empty()) {
    --at;
  }
  std::vector<std::string> added = {"", "[[master]]", "name = \"" + master.name + "\"",
                                    "address = \"" + master.address + "\""};
  if (!master.socket.empty()) {
    added.push_back("socket = \"" + master.socket + "\"");
  }
  lines.insert(lines.begin() + static_cast<ptrdiff_t>(at), added.begin(), added.end());
  return textOf(lines);
}

Result<ClusterFile> locateCluster(Context& context) {
  auto file = readCluster(context);
  if (file.ok() && context.clusterFile.empty()) {
    context.clusterFile = usualPlace();
  }
  return file;
}

Status noteEpoch(Context& context, GroupEpoch epoch) {
  return change(context, [epoch](const std::string& text) { return withEpoch(text, epoch); });
}

Status noteMaster(Context& context, const MasterAddress& master) {
  return change(context, [&master](const std::string& text) { return withMaster(text, master); });
}

}  // namespace cairn::admin
