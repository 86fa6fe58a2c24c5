// dfsadmin cluster init: makes the cluster.toml of a new cluster, its authority and the first certificates. No server
// is needed or touched.
#include <cerrno>
#include <iostream>
#include <sstream>

#include "common/system/security_files.h"
#include "tools/admin/certificate_files.h"
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
  if (!options.insecure) {
    text << "\n[security]\ndirectory = \"tls\"\n";
  }
  text << "\n[defaults]\ncopies = " << options.copies << "\nmin_copies = " << options.minCopies
       << "\nservers = " << options.servers << "\n";
  return text.str();
}

// The authority first: whoever finds the cluster file finds the certificates that it names.
Status makeCertificates(Context& context, const ClusterFile& cluster) {
  const std::string& directory = cluster.securityDirectory;
  if (readSecretFile(authorityKeyFile(directory)).code() != ENOENT) {
    return Error{EEXIST, authorityKeyFile(directory) +
                             " is there already, and a cluster's authority must never "
                             "change; name another --file"};
  }
  auto now = context.clock.wall() / SECOND;
  auto authority = makeAuthority(cluster.cluster, now);
  Status made = writeSecretFile(authorityKeyFile(directory), authority.keyPem);
  if (made.ok()) {
    made = writeCertificateFile(authorityFile(directory), authority.certificatePem);
  }
  std::vector<OwnIdentity> identities{{PeerRole::ADMIN, "default"}, {PeerRole::CLIENT, "default"}};
  for (const auto& master : cluster.masters) {
    identities.push_back({PeerRole::MASTER, master.name});
  }
  for (const auto& identity : identities) {
    if (made.ok()) {
      made = issueHere(authority, cluster, identity, now, directory);
    }
  }
  return made;
}

Status makeFiles(Context& context, const Options& options, const ClusterFile& cluster, const std::string& text) {
  if (readClusterFile(options.file).code() != ENOENT) {
    return Error{EEXIST, options.file + " is there already, and a cluster's id must never change; name another --file"};
  }
  Status made = options.insecure ? Status() : makeCertificates(context, cluster);
  return made.ok() ? writeNewFile(options.file, text) : made;
}

void sayWhatNext(const Options& options, const ClusterFile& cluster) {
  std::string flag = options.insecure ? " --insecure" : "";
  std::cout << options.file << " is the file of the new cluster " << toText(cluster.cluster) << "\n";
  if (!options.insecure) {
    std::cout << "Its certificates are in " << cluster.securityDirectory
              << "; whoever has ca.key of there can let anybody in. Keep a copy of it where no server is.\n";
  }
  const char* word = "Next: ";
  for (const auto& master : cluster.masters) {
    std::cout << word << "dfs-master --cluster " << options.file << " --name " << master.name << " --dir DIR --listen "
              << master.address << " --socket " << master.socket << flag
              << (&master == &cluster.masters[0] ? " --init\n" : " --join\n");
    word = "Then: ";
  }
  if (!options.insecure && cluster.masters.size() > 1) {
    std::cout << "On another host give --join a token: dfsadmin cert token --role master --name "
              << cluster.masters[1].name << "\n";
  }
}

}  // namespace

Task<int> initCluster(Context& context, const Options& options) {
  auto id = context.random.uuid<ClusterId>();
  auto text = clusterText(id, options);
  std::string path =
      !options.file.empty() && options.file[0] == '/' ? options.file : context.workingDirectory + "/" + options.file;
  auto parsed = parseClusterFile(text, path);
  Status usable = parsed.ok() ? Status() : Status(parsed.error());
  for (size_t i = 0; usable.ok() && !options.insecure && i < parsed.value().masters.size(); ++i) {
    usable = checkCertifiedName(parsed.value().masters[i].name);
  }
  if (!usable.ok()) {
    co_return complain(EXIT_USAGE, "usage", usable.error().why);
  }
  auto made = makeFiles(context, options, parsed.value(), text);
  if (!made.ok()) {
    co_return complain(EXIT_REFUSED, "cluster-file-not-made", made.error().why);
  }
  if (context.json) {
    printJson({{"file", options.file}, {"cluster", toText(id)}});
    co_return EXIT_HEALTHY;
  }
  sayWhatNext(options, parsed.value());
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
