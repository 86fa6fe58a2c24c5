#include "tools/admin/command_line.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "common/manual.h"

namespace cairn::admin {

namespace {

// Adds nouns and verbs to the command line; the one that was named ends up in `chosen`.
class Words {
 public:
  Words(Options& options, Verb& chosen) : options_(options), chosen_(chosen) {}

  void addAll(CLI::App& app) {
    add(app, "status", "health of the cluster, its servers, its space; exit code 0, 1 or 2 says it too",
        "dfsadmin status\n  dfsadmin status -o json", showStatus);
    addWait(app);
    addTop(app);
    addNode(app);
    addPlan(app);
    addApply(app);
    addTask(app);
    addShard(app);
    addFile(app);
    addInode(app);
    addReplicas(app);
    addSession(app);
    addLock(app);
    addWhy(app);
    add(app, "df", "space for files and on the disks", "dfsadmin df --explain", showSpace)
        ->add_flag("--explain", options_.explain, "say why so much is available and no more");
    addRemoval(app);
    addTrash(app);
    addQuota(app);
    addRaft(app);
    addScrub(app);
    addConfig(app);
    addCluster(app);
    addCertificates(app);
    addHelp(app);
  }

 private:
  CLI::App* add(CLI::App& to, const char* name, const char* what, const char* example, Verb verb) {
    auto* word = to.add_subcommand(name, what);
    word->footer(std::string("Example:\n  ") + example);
    if (verb == nullptr) {
      word->require_subcommand(1);
    } else {
      word->callback([this, verb] { chosen_ = verb; });
    }
    return word;
  }
  CLI::App& addNoun(CLI::App& to, const char* name, const char* what, const char* example) {
    return *add(to, name, what, example, nullptr);
  }

  void addWait(CLI::App& app) {
    auto* verb = add(app, "wait", "wait until the cluster is healthy, or clean (healthy and nothing left to do)",
                     "dfsadmin wait healthy --timeout 60", waitFor);
    verb->add_option("STATE", options_.state, "healthy or clean")
        ->required()
        ->check(CLI::IsMember({"healthy", "clean"}));
    verb->add_option("--timeout", options_.timeoutSeconds, "seconds to wait at most")
        ->check(CLI::Range(0.0, 1e6))
        ->capture_default_str();
  }

  void addTop(CLI::App& app) {
    auto* verb = add(app, "top", "the busiest clients, chunkservers and kinds of operations, and slow calls; refreshes",
                     "dfsadmin top\n  dfsadmin top --once -o json", showTop);
    verb->add_flag("--once", options_.once, "show it once and end");
    verb->add_option("--interval", options_.intervalSeconds, "seconds from one look to the next")
        ->check(CLI::Range(1, 3600))
        ->capture_default_str();
  }

  void addNode(CLI::App& app) {
    auto& noun = addNoun(app, "node", "the chunkservers", "dfsadmin node list");
    add(noun, "list", "all servers and their share of the shards", "dfsadmin node list", showNodes);
    auto* show = add(noun, "show", "one server and its volumes", "dfsadmin node show c1", showNodes);
    show->add_option("NAME", options_.name, "name of the server")->required();
    addNodeChanges(noun);
  }

  void addNodeChanges(CLI::App& noun) {
    auto addNamed = [&](const char* name, const char* what, const char* example, Verb verb) {
      auto* word = add(noun, name, what, example, verb);
      word->add_option("NAME", options_.name, "name of the chunkserver")->required();
      return word;
    };
    addNamed("drain", "move everything off a chunkserver; refused when the others can't hold it",
             "dfsadmin node drain c3", drainNode)
        ->add_flag("--force", options_.force, "begin all the same, and move what can be moved");
    addNamed("maintenance", "a chunkserver will be away: make no copies elsewhere for so long",
             "dfsadmin node maintenance c3 --for 30m", maintainNode)
        ->add_option("--for", options_.duration, "how long: 90s, 30m, 2h, 1d")
        ->capture_default_str();
    addNamed("resume", "end a drain or a maintenance", "dfsadmin node resume c3", resumeNode);
    addNamed("remove", "forget a chunkserver that is drained or dead, and that no shard counts on",
             "dfsadmin node remove c3", removeNode);
    addNamed("ok-to-stop", "would every shard keep enough copies to be written? exit code 0: yes, 2: no",
             "dfsadmin node ok-to-stop c3", okToStop);
  }

  void addPlan(CLI::App& app) {
    auto& noun = addNoun(app, "plan", "what a change would do; nothing is done. Exit code 2: it must not be done",
                         "dfsadmin plan drain c3");
    auto addNamed = [&](const char* name, const char* what, const char* example, Verb verb) {
      auto* word = add(noun, name, what, example, verb);
      word->add_option("NAME", options_.name, "name of the chunkserver")->required();
      return word;
    };
    auto* addNode = addNamed("add-node", "a new chunkserver", "dfsadmin plan add-node c4 --rack r2", planAdd);
    addNode->add_option("--bytes", options_.bytes, "size of its disk (default: as the others)");
    addNode->add_option("--rack", options_.rack, "rack that it would be in");
    addNode->add_option("--zone", options_.zone, "zone that it would be in");
    addNamed("remove-node", "draining a chunkserver and removing it", "dfsadmin plan remove-node c3", planRemove);
    addNamed("drain", "moving everything off a chunkserver", "dfsadmin plan drain c3", planDrain);
    addNamed("fail", "losing a chunkserver for good", "dfsadmin plan fail c3", planFail);
  }

  void addApply(CLI::App& app) {
    add(app, "apply", "carry out what a plan says, if the cluster is still what it was made for",
        "dfsadmin apply drain:c3:5f3a9c2112ab", applyPlan)
        ->add_option("ID", options_.planId, "as plan drain or plan remove-node has printed it")
        ->required();
  }

  void addTask(CLI::App& app) {
    auto& noun = addNoun(app, "task", "what the cluster is busy with", "dfsadmin task list");
    add(noun, "list", "drains, repairs, rebalancing, files being copied", "dfsadmin task list", showTasks);
    auto* show = add(noun, "show", "one of them", "dfsadmin task show drain-c3", showTasks);
    show->add_option("TASK", options_.name, "its id")->required();
    auto* cancel = add(noun, "cancel", "end a drain: the chunkserver is in service again",
                       "dfsadmin task cancel drain-c3", cancelTask);
    cancel->add_option("TASK", options_.name, "its id")->required();
  }

  void addShard(CLI::App& app) {
    auto& noun = addNoun(app, "shard", "the units of placement and replication", "dfsadmin shard list --unhealthy");
    auto* list =
        add(noun, "list", "all shards: epoch, primary, members", "dfsadmin shard list --unhealthy", listShards);
    list->add_flag("--unhealthy", options_.onlyUnhealthy, "only those that miss a copy or stand elsewhere");
    auto* show = add(noun, "show", "one shard and its members", "dfsadmin shard show 17", showShard);
    show->add_option("SHARD", options_.id, "number of the shard")->required();
    auto* force = add(noun, "force",
                      "go on with an older copy when all that were in sync are lost for good. Names the loss; "
                      "nothing is done without --apply",
                      "dfsadmin shard force 17\n  dfsadmin shard force 17 --to c2 --apply", forceShard);
    force->add_option("SHARD", options_.id, "number of the shard")->required();
    force->add_option("--to", options_.name, "chunkserver whose copy it goes on with (default: one that is online)");
    force->add_flag("--apply", options_.apply, "do it");
  }

  void addFile(CLI::App& app) {
    auto& noun = addNoun(app, "file", "single files", "dfsadmin file locate /some/file");
    const char* path = "path from the cluster's root, or below a mount point";
    auto* locate =
        add(noun, "locate", "a file's chunks: shard, epoch, members", "dfsadmin file locate mnt/some/file", locateFile);
    locate->add_option("PATH", options_.path, path)->required();
    auto* check = add(noun, "check", "read every copy of every chunk, verify and compare; exit code 1 if any is bad",
                      "dfsadmin file check mnt/some/file", checkFile);
    check->add_option("PATH", options_.path, path)->required();
  }

  void addInode(CLI::App& app) {
    auto& noun = addNoun(app, "inode", "files and directories by their numbers", "dfsadmin inode path 1099511627777");
    add(noun, "path", "all paths of an inode, as `ls -i`, an error message or a log names it",
        "dfsadmin inode path 1099511627777", showInodePath)
        ->add_option("INODE", options_.id, "its number")
        ->required();
  }

  void addReplicas(CLI::App& app) {
    auto& noun = addNoun(app, "replicas", "how many copies there are of files, and what no two of them share",
                         "dfsadmin replicas set mnt/scratch 2");
    const char* path = "path from the cluster's root, or below a mount point";
    auto* set = add(noun, "set",
                    "set it for a directory and all below it. A change of what no two copies share is only planned "
                    "without --apply",
                    "dfsadmin replicas set mnt/scratch 2 --new-only\n"
                    "  dfsadmin replicas set mnt/books 3 --level rack --apply",
                    setReplicas);
    set->add_option("PATH", options_.path, path)->required();
    set->add_option("COPIES", options_.copies, "of every file")->required()->check(CLI::Range(1, 255));
    set->add_option("--level", options_.level, "no two copies share a server, a rack or a zone (default: as it is)")
        ->check(CLI::IsMember({"server", "rack", "zone"}));
    set->add_flag("--new-only", options_.newOnly, "only what is made from now on; what is there stays as it is");
    set->add_flag("--apply", options_.apply, "do it");
    auto* show = add(noun, "show", "what is set for a directory or a file", "dfsadmin replicas show mnt/scratch",
                     showReplicas);
    show->add_option("PATH", options_.path, path)->required();
  }

  void addSession(CLI::App& app) {
    auto& noun = addNoun(app, "session", "the mounted clients", "dfsadmin session list");
    add(noun, "list", "all sessions", "dfsadmin session list", listSessions);
    auto* evict = add(noun, "evict",
                      "end a session now: what it has not yet made durable is lost, and its programs are told",
                      "dfsadmin session evict 12", evictSession);
    evict->add_option("SESSION", options_.id, "number of the session")->required();
  }

  void addLock(CLI::App& app) {
    auto& noun = addNoun(app, "lock", "locks on files, of fcntl and flock", "dfsadmin lock list");
    const char* path = "path from the cluster's root, or below a mount point";
    auto* list = add(noun, "list", "who has locked what, and who waits for it",
                     "dfsadmin lock list\n  dfsadmin lock list mnt/some/file", listLocks);
    list->add_option("PATH", options_.path, path);
    auto* cut = add(noun, "break",
                    "take a file's locks away from programs that don't let go; they aren't told. Nothing is done "
                    "without --apply",
                    "dfsadmin lock break mnt/some/file\n  dfsadmin lock break mnt/some/file --session 12 --apply",
                    breakLocks);
    cut->add_option("PATH", options_.path, path)->required();
    cut->add_option("--session", options_.id, "only those of this session (default: everybody's)");
    cut->add_flag("--apply", options_.apply, "do it");
  }

  void addWhy(CLI::App& app) {
    auto* verb = add(app, "why",
                     "what a program's calls, or the calls on a path, wait for on the mounts of this host: since when, "
                     "which server, who has the lease or the lock, and what will end it. Exit code 1: something waits "
                     "for a second or more",
                     "dfsadmin why 4711\n  dfsadmin why mnt/some/file", showWhy);
    verb->add_option("PID|PATH", options_.path, "a process, with all its threads, or a path (./123 if it is a number)")
        ->required();
  }

  void addRaft(CLI::App& app) {
    auto& noun = addNoun(app, "raft", "the masters as a group",
                         "dfsadmin raft status");
    add(noun, "status", "all masters: role, how far their logs are, digest of the leader's state",
        "dfsadmin raft status", showRaft);
    auto addNamed = [&](const char* name, const char* what, const char* example, Verb verb) {
      add(noun, name, what, example, verb)->add_option("NAME", options_.name, "name of the master")->required();
    };
    addAdd(noun);
    addRecover(noun);
    addNamed("promote", "give a learner its vote before that happens by itself", "dfsadmin raft promote m3",
             promoteMaster);
    addNamed("remove", "take a master out of the group, so that it counts no more and another may have its name",
             "dfsadmin raft remove m3", removeMaster);
    addNamed("transfer", "hand leadership to another master", "dfsadmin raft transfer m2", transferToMaster);
    add(noun, "snapshot", "have the leader make a snapshot of its state now", "dfsadmin raft snapshot",
        snapshotMaster);
    add(noun, "digest", "compare the masters' states at a recent entry; one that differs from most is stopped",
        "dfsadmin raft digest", compareMasters);
  }

  void addAdd(CLI::App& noun) {
    auto* verb = add(noun, "add",
                     "take a further master in: notes it in cluster.toml, says what to start where, and waits for its "
                     "vote",
                     "dfsadmin raft add m4 --address 10.0.0.4:7000", addMaster);
    verb->add_option("NAME", options_.name, "name of the new master")->required();
    verb->add_option("--address", options_.address, "its HOST:PORT, when cluster.toml doesn't name it yet");
    verb->add_option("--socket", options_.socket, "its Unix socket on its own machine, likewise");
    verb->add_option("--timeout", options_.timeoutSeconds, "seconds to watch it at most; 0: not at all")
        ->check(CLI::Range(0.0, 1e6))
        ->capture_default_str();
  }

  void addRecover(CLI::App& noun) {
    auto* verb = add(noun, "recover",
                     "when most masters are lost for good: begin the group anew from one that is stopped. Shows a plan "
                     "and what may be lost; nothing is done without --apply",
                     "dfsadmin raft recover m1 --dir /srv/m1\n  "
                     "dfsadmin raft recover m1 --dir /srv/m1 --apply 5f3a9c21",
                     recoverGroup);
    verb->add_option("NAME", options_.name, "name of the master that is left")->required();
    verb->add_option("--dir", options_.directory, "its data directory, on this machine")->required();
    verb->add_option("--apply", options_.planId, "carry this plan out");
  }

  void addScrub(CLI::App& app) {
    auto& noun = addNoun(app, "scrub", "the steady look at everything that is stored", "dfsadmin scrub status");
    auto* start = add(noun, "start", "begin a pass now, as fast as users don't feel it, on all servers or on one",
                      "dfsadmin scrub start c1", startScrub);
    start->add_option("NODE", options_.name, "name of a server; all when it is left out");
    add(noun, "status", "how far each volume is, when it was last read whole, what was found and mended",
        "dfsadmin scrub status -o json", showScrub);
  }

  void addConfig(CLI::App& app) {
    auto& noun = addNoun(app, "config", "settings of the whole cluster that can change while it runs",
                         "dfsadmin config get");
    add(noun, "get", "what counts now, and whether it comes from cluster.toml",
        "dfsadmin config get\n  dfsadmin config get scrub_days", getConfig)
        ->add_option("SETTING", options_.name, "only this one");
    auto* set = add(noun, "set",
                    "change a setting on all daemons. How long deleted files are kept: dfsadmin trash set /",
                    "dfsadmin config set repair_mib_per_second 200\n  dfsadmin config set quarantine_seconds 2d\n  "
                    "dfsadmin config set scrub_days default",
                    setConfig);
    set->add_option("SETTING", options_.name, "as in cluster.toml")->required();
    set->add_option("VALUE", options_.value, "a number, a duration (90s, 30m, 2h, 1d), or default: as in cluster.toml")
        ->required();
    auto* log = add(noun, "log", "how much daemons log, until they are started anew; shows all without a LEVEL",
                    "dfsadmin config log\n  dfsadmin config log m1 debug", logConfig);
    log->add_option("DAEMON", options_.name, "a master or a chunkserver (default: all)");
    log->add_option("LEVEL", options_.level, "from now on")
        ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "critical", "off"}));
  }

  void addHelp(CLI::App& app) {
    auto* history = add(app, "history", "what administrators did: who, when, what was asked for, and what came of it",
                        "dfsadmin history --last 20", showHistory);
    history->add_option("--last", options_.last, "only so many, the newest")
        ->check(CLI::Range(1u, 1000u))
        ->capture_default_str();
    add(app, "explain", "what a code means that stands in the status or behind a refusal: cause, effect, next step",
        "dfsadmin explain volume-full", explainCode)
        ->add_option("CODE", options_.name, "as printed (default: lists all)");
    auto* bundle = add(app, "bundle", "gather what a bug report needs into one file, without names of files",
                       "dfsadmin bundle --to report.tar.gz --log /var/log/cairnfs/m1.log", makeBundle);
    bundle->add_option("--to", options_.to, "file to make (default: cairnfs-bundle-TIME.tar.gz)");
    bundle->add_option("--log", options_.logs, "a log to add as it is; several times, if need be");
    bundle->add_flag("--names", options_.names, "leave names of files in the history");
  }

  void addRemoval(CLI::App& app) {
    auto& noun = addNoun(app, "removal", "chunks that nobody wants, so many that they stay until somebody agrees",
                         "dfsadmin removal list");
    add(noun, "list", "what each volume holds back, and its plan", "dfsadmin removal list", listRemovals);
    add(noun, "apply", "let what a plan names go into quarantine", "dfsadmin removal apply 5f3a9c2112ab34cd",
        applyRemoval)
        ->add_option("PLAN", options_.planId, "as listed")
        ->required();
  }

  void addTrash(CLI::App& app) {
    auto& noun = addNoun(app, "trash", "what was deleted and can be brought back", "dfsadmin trash list");
    add(noun, "list", "what is in it, first what goes first; a deleted tree is one item", "dfsadmin trash list",
        listTrash)
        ->add_option("PATH", options_.path, "only what was below it");
    auto* restore = add(noun, "restore", "bring an item back to where it was, a directory with its tree",
                        "dfsadmin trash restore 7306921\n  dfsadmin trash restore 7306921 --to mnt/found",
                        restoreTrash);
    restore->add_option("ITEM", options_.id, "as listed")->required();
    restore->add_option("--to", options_.to, "another path for it, from the cluster's root or below a mount point");
    auto* purge = add(noun, "purge", "end items for good. Shows what would go; nothing is done without --apply",
                      "dfsadmin trash purge --older-than 1h\n  dfsadmin trash purge 7306921 --apply", purgeTrash);
    purge->add_option("ITEM", options_.id, "as listed (default: all)");
    purge->add_option("--older-than", options_.olderThan, "only what was deleted so long ago: 90s, 30m, 2h, 1d");
    purge->add_flag("--apply", options_.apply, "do it");
    auto* set = add(noun, "set", "how long what is deleted below a directory is kept; / is for the whole cluster",
                    "dfsadmin trash set mnt/scratch off\n  dfsadmin trash set / 2d", setTrash);
    set->add_option("PATH", options_.path, "a directory, from the cluster's root or below a mount point")->required();
    set->add_option("TIME", options_.keep, "90s, 30m, 2h, 1d; off: not at all; default: as above it")->required();
  }

  void addQuota(CLI::App& app) {
    auto& noun = addNoun(app, "quota", "limits of how much there may be below a directory", "dfsadmin quota list");
    add(noun, "list", "all quotas, and how much of each is used", "dfsadmin quota list\n  dfsadmin quota list mnt/home",
        listQuotas)
        ->add_option("PATH", options_.path, "only those at or below it");
    auto* set = add(noun, "set",
                    "set a directory's limits; one that isn't named stays. Files count with their sizes, holes "
                    "included. A limit below what is used only stops what would add to it",
                    "dfsadmin quota set mnt/home/ann --bytes 10G --files 100000\n  "
                    "dfsadmin quota set mnt/home/ann --files none",
                    setQuota);
    set->add_option("PATH", options_.path, "a directory, from the cluster's root or below a mount point")->required();
    set->add_option("--bytes", options_.size, "4096, 500M, 10G, 1.5T (powers of 1024); none: no limit");
    set->add_option("--files", options_.count, "files and directories together; none: no limit");
    add(noun, "clear", "take a directory's limits away; those above it still hold", "dfsadmin quota clear mnt/home/ann",
        clearQuota)
        ->add_option("PATH", options_.path, "the directory")
        ->required();
  }

  void addCluster(CLI::App& app) {
    auto& noun = addNoun(app, "cluster", "the cluster as a whole", "dfsadmin cluster init --master 10.0.0.1:7000");
    auto* init = add(noun, "init", "write the cluster.toml of a new cluster, with a fresh cluster id",
                     "dfsadmin cluster init --file cluster.toml --master m1=10.0.0.1:7000 --copies 3 --servers 3",
                     initCluster);
    init->add_option("--file", options_.file, "file to make")->capture_default_str();
    init->add_option("--master", options_.masters, "[NAME=]HOST:PORT of a master (default: m1=127.0.0.1:7000)");
    init->add_option("--copies", options_.copies, "copies of every file")->capture_default_str();
    init->add_option("--min-copies", options_.minCopies, "copies below which writes wait")->capture_default_str();
    init->add_flag("--insecure", options_.insecure, "no certificates: for one host alone, to try things out");
    init->add_option("--servers", options_.servers, "chunkservers to wait for before the first placement")
        ->capture_default_str();
  }

  void addCertificates(CLI::App& app) {
    auto& noun = addNoun(app, "cert", "certificates: who may take part in the cluster", "dfsadmin cert list");
    auto addNamed = [&](const char* name, const char* what, const char* example, Verb verb) {
      auto* word = add(noun, name, what, example, verb);
      word->add_option("--role", options_.role, "master, chunkserver, client or admin")
          ->required()
          ->check(CLI::IsMember({"master", "chunkserver", "client", "admin"}));
      word->add_option("--name", options_.name, "its name, for example c4")->required();
      return word;
    };
    addNamed("token", "let one new node in: prints what to give to its --join; good once, for a short while",
             "dfsadmin cert token --role chunkserver --name c4 --valid 10m", makeToken)
        ->add_option("--valid", options_.duration, "for how long: 90s, 30m, 2h, 1d")
        ->capture_default_str();
    addNamed("issue", "make a certificate here, into the cluster's [security] directory",
             "dfsadmin cert issue --role client --name backup", issueCertificate)
        ->add_option("--to", options_.to, "another directory for it");
    addNamed("revoke", "make all certificates of somebody void, at once",
             "dfsadmin cert revoke --role client --name old", revokeCertificates);
    add(noun, "list", "certificates issued, those that are void, and tokens", "dfsadmin cert list", listCertificates);
    auto* join = add(noun, "join", "trade a token for a certificate; the daemons' --join does the same",
                     "dfsadmin cert join TOKEN --file /etc/cairnfs/cluster.toml", useToken);
    join->add_option("TOKEN", options_.token, "from: dfsadmin cert token")->required();
    join->add_option("--file", options_.file, "cluster file to make, if it isn't there")->capture_default_str();
  }

  Options& options_;
  Verb& chosen_;
};

// As a shell would take it again.
std::string commandText(int argc, char** argv) {
  std::string text = "dfsadmin";
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    bool plain = !word.empty() && word.find_first_of(" \t\n'\"\\$*?&|;<>()`") == word.npos;
    text += " " + (plain ? word : "'" + word + "'");
  }
  return text;
}

// For packaging: not shown by --help.
void addShells(CLI::App& app, std::string& shell) {
  addManual(app, "dfsadmin", CAIRN_VERSION);
  auto* word = app.add_subcommand("completion", "a script that completes these words in a shell")->group("");
  word->add_option("SHELL", shell, "bash or zsh")->required()->check(CLI::IsMember({"bash", "zsh"}));
}

}  // namespace

int runCommandLine(int argc, char** argv, Context& context, const std::function<int(Verb, const Options&)>& run) {
  CLI::App app("dfsadmin looks after a CairnFS cluster.\nExit codes: 0 healthy or done, 1 degraded, 2 critical or "
               "refused, 3 unreachable, 64 usage.");
  app.footer("Example:\n  dfsadmin --cluster .dfs/cluster.toml status");
  app.fallthrough();
  app.require_subcommand(1);
  std::string output = "table";
  app.add_option("--cluster", context.clusterFile,
                 "cluster.toml of the cluster (default: ./.dfs/cluster.toml, then /etc/cairnfs/cluster.toml)")
      ->envname("DFS_CLUSTER");
  app.add_option("-o,--output", output, "table for people, json for programs")
      ->check(CLI::IsMember({"table", "json"}));
  Options options;
  Verb chosen = nullptr;
  Words words(options, chosen);
  words.addAll(app);
  std::string shell;
  addShells(app, shell);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& wrong) {
    auto unknown = app.remaining(true);
    std::string what = unknown.empty() ? wrong.what() : "there is no verb or option '" + unknown.front() + "'";
    return complain(EXIT_USAGE, "usage", what + "; see: dfsadmin --help");
  }
  if (!shell.empty()) {
    std::cout << (shell == "bash" ? bashCompletion(app, "dfsadmin") : zshCompletion(app, "dfsadmin"));
    return EXIT_HEALTHY;
  }
  context.json = output == "json";
  context.command = commandText(argc, argv);
  return run(chosen, options);
}

}  // namespace cairn::admin
