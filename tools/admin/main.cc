// dfsadmin: makes the seams, reads the command line, runs one verb.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>

#include "common/log.h"
#include "common/system/disk.h"
#include "common/system/host.h"
#include "common/system/runtime.h"
#include "common/system/security_files.h"
#include "rpc/connection.h"
#include "rpc/renewal.h"
#include "rpc/system_network_setup.h"
#include "tools/admin/command_line.h"

namespace cairn::admin {
namespace {

constexpr mode_t PUBLIC_MODE = 0644;
constexpr int EXIT_INTERRUPTED = 130;  // as a shell says it of Ctrl-C

// Stands for the network whose certificates the command line's cluster has.
class LateNetwork final : public Network {
 public:
  explicit LateNetwork(kj::AsyncIoContext& io) : io_(io), network_(newPlainNetwork(io)) {}

  // Without a cluster file, or without a certificate, a verb says so itself when it needs one.
  void open(const Context& context) {
    auto cluster = readCluster(context);
    if (!cluster.ok()) {
      return;
    }
    OwnIdentity self{PeerRole::ADMIN, usualIdentity(cluster.value().securityDirectory, PeerRole::ADMIN)};
    auto security = tcpSecurityOf(cluster.value(), self, false);
    TcpSecurity none;
    none.why = security.ok() ? "" : security.error().why;
    auto network = newSystemNetwork(io_, security.ok() ? security.value() : none);
    if (network.ok()) {
      network_ = kj::mv(network.value());
      cluster_ = cluster.value();
      self_ = self;
    }
  }

  // Nobody else keeps an admin's certificate from expiring: done behind a verb, when it is time.
  void renewWhenDue(const Context& context) {
    auto identity = network_->identity();
    if (!identity || renewalTime(identity->validity) > context.clock.wall() / SECOND) {
      return;
    }
    RenewalParts parts{*network_, context.clock, context.random, cluster_, {self_.role, self_.name, cluster_.cluster}};
    kj::Promise<Result<std::string>> asked = renewCertificate(parts);
    auto renewed = asked.wait(io_.waitScope);
    Status kept = renewed.ok() ? writeSecretFile(identityFile(cluster_.securityDirectory, self_.role, self_.name),
                                                 renewed.value())
                               : Status(renewed.error());
    if (!kept.ok()) {
      spdlog::warn("the certificate of {} {} can't be renewed: {}", roleText(self_.role), self_.name, kept.error().why);
    }
  }

  kj::Promise<kj::Own<kj::AsyncIoStream>> connect(const Address& address, ExpectedPeer expected) override {
    return network_->connect(address, expected);
  }
  Result<kj::Own<Listener>> listen(const Address& address) override { return network_->listen(address); }

 private:
  kj::AsyncIoContext& io_;
  kj::Own<SystemNetwork> network_;
  ClusterFile cluster_;
  OwnIdentity self_;
};

int runVerb(Context& context, Runtime& runtime, Verb verb, const Options& options) {
  auto interrupted = runtime.stopRequested().then([] { return EXIT_INTERRUPTED; });
  try {
    return verb(context, options).promise().exclusiveJoin(kj::mv(interrupted)).wait(runtime.io.waitScope);
  } catch (kj::Exception& e) {
    if (isRetryable(e)) {
      return complain(EXIT_UNREACHABLE, "stopped-answering",
                      std::string("the cluster stopped answering: ") + e.getDescription().cStr() +
                                            "; try again, or look at the daemons' logs");
    }
    return complain(EXIT_REFUSED, "internal-error", e.getDescription().cStr());
  }
}

int mainProgram(int argc, char** argv) {
  Runtime runtime(1);
  startLogging("dfsadmin", "warn");
  LateNetwork network(runtime.io);
  Context context{*runtime.clock, network, *runtime.random};
  context.joiningNetwork = [&runtime](const std::string& authority) -> kj::Own<Network> {
    return newJoiningNetwork(runtime.io, authority);
  };
  context.openDisk = [&runtime](const std::string& path) { return openSystemDisk(path, *runtime.workers); };
  context.env = leveldb::Env::Default();
  context.hostId = thisHostId();
  context.caller = thisUserName() + "@" + thisHostName();
  context.workingDirectory = workingDirectory();
  context.mounts = mountTable();
  context.readTexts = &readTextsWithin;
  context.threadsOf = &threadsOf;
  context.publish = [](const std::string& path) {
    if (chmod(path.c_str(), PUBLIC_MODE) != 0) {
      std::cerr << "dfsadmin: only this user can read " << path << ": " << strerror(errno) << "\n";
    }
  };
  context.terminal = isatty(STDERR_FILENO) == 1;
  int code = runCommandLine(argc, argv, context, [&](Verb verb, const Options& options) {
    network.open(context);
    int ended = runVerb(context, runtime, verb, options);
    network.renewWhenDue(context);
    return ended;
  });
  std::cout << std::flush;
  return code;
}

}  // namespace
}  // namespace cairn::admin

int main(int argc, char** argv) {
  return cairn::admin::mainProgram(argc, argv);
}
