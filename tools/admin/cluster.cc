// dfsadmin cluster init: makes the cluster.toml of a new cluster. No server is needed or touched.
#include <cerrno>
#include <iostream>
#include <sstream>

#include "tools/admin/output.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

// "m1=host:port" or "host:port" (then named m1, m2 ... in order); both ends up in the file as they are: reading it
// back checks them.
std::string masterText(const std::string& argument, size_t position) {
  size_t equals = argument.find('=');
  bool named = equals != std::string::npos;
  std::string name = named ? argument.substr(0, equals) : "m" + std::to_string(position);
  std::string address = named ? argument.substr(equals + 1) : argument;
  return "\n[[master]]\nname = \"" + name + "\"\naddress = \"" + address + "\"\nsocket = \"run/" + name + ".sock\"\n";
}

std::string clusterText(const ClusterId& id, const Options& options) {
  std::ostringstream text;
  text << "# Every program finds the cluster through this file; it knows no secret.\ncluster = \"" << toText(id)
       << "\"\n";
  for (size_t i = 0; i < options.masters.size(); ++i) {
    text << masterText(options.masters[i], i + 1);
  }
  if (options.masters.empty()) {
    text << masterText("127.0.0.1:7000", 1);
  }
  text << "\n[defaults]\ncopies = " << options.copies << "\nmin_copies = " << options.minCopies
       << "\nservers = " << options.servers << "\n";
  return text.str();
}

Status writeNew(Context& context, const std::string& path, const std::string& text) {
  size_t slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  auto disk = context.openDisk(directory);
  if (!disk.ok()) {
    return disk.error();
  }
  if (name.empty() || disk.value()->exists(name)) {
    return Error{EEXIST, path + " is there already, and a cluster's id must never change; name another --file"};
  }
  auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
  auto written = replaceFile(*disk.value(), name, bytes);
  if (written.ok()) {
    context.publish(path);
  }
  return written;
}

}  // namespace

Task<int> initCluster(Context& context, const Options& options) {
  auto id = context.random.uuid<ClusterId>();
  auto text = clusterText(id, options);
  auto parsed = parseClusterFile(text, options.file);
  if (!parsed.ok()) {
    co_return complain(EXIT_USAGE, "usage", parsed.error().why);
  }
  auto written = writeNew(context, options.file, text);
  if (!written.ok()) {
    co_return complain(EXIT_REFUSED, "cluster-file-not-made", written.error().why);
  }
  if (context.json) {
    printJson({{"file", options.file}, {"cluster", toText(id)}});
    co_return EXIT_HEALTHY;
  }
  const auto& master = parsed.value().masters[0];
  std::cout << options.file << " is the file of the new cluster " << toText(id) << "\nNext: dfs-master --cluster "
            << options.file << " --name " << master.name << " --dir DIR --listen " << master.address << " --socket "
            << master.socket << " --init\n";
  for (size_t i = 1; i < parsed.value().masters.size(); ++i) {
    const auto& further = parsed.value().masters[i];
    std::cout << "Then: dfs-master --cluster " << options.file << " --name " << further.name << " --dir DIR --listen "
              << further.address << " --socket " << further.socket << " --join\n";
  }
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
