// dfsadmin why: what calls wait for on the mounts of this host. Each mount says what it knows in `.dfs/why`, whether or
// not the cluster answers; if it does, it says who holds the leases and the locks.
#include <algorithm>
#include <charconv>
#include <iostream>
#include <set>

#include "common/log.h"
#include "fuse-client/client/wire.h"
#include "master/session/session_table.h"
#include "tools/admin/file_path.h"
#include "tools/admin/locks.h"
#include "tools/admin/master_link.h"
#include "tools/admin/output.h"
#include "tools/admin/paths.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

// Shorter than the time after which a session that answers nothing ends: who holds things up can still be named then.
constexpr Nanos READ_LIMIT = 2 * SECOND;
constexpr double LONG_SECONDS = 1;  // what waits so long is worth an exit code

// What is asked about: a process, or a path.
struct Subject {
  std::string text;
  std::vector<uint32_t> threads;  // of a process
  bool isPath = false;
  std::string base;      // of a path: its last name
  uint64_t inode = 0;    // 0: not known, for no master answers
  uint64_t parent = 0;

  bool concerns(const Json& call) const {
    if (!isPath) {
      return std::find(threads.begin(), threads.end(), call["pid"].get<uint32_t>()) != threads.end();
    }
    const std::string name = call["name"], file = call["file"];
    if (inode == 0 && parent == 0) {
      return name == base || (name.empty() && file == base);
    }
    const uint64_t of = call["inode"];
    return (inode != 0 && of == inode) || (of == parent && name == base);
  }
};

struct Report {
  Json calls = Json::array();       // the subject's
  Json background = Json::array();  // what nobody's call waits for, on a path's file
  Json others = Json::array();      // that have waited for long: the subject may stand behind one of these
  std::vector<std::string> problems;
  Json leases = Json::array();  // of the path
  Json locks = Json::array();
  bool masterAnswers = false;
  unsigned mounts = 0;  // that said what they know
};

// ---- what mounts say ----------------------------------------------------------------------------

// Each mount once, whichever way it is reached.
std::vector<std::string> mountsOf(const Context& context, const Subject& subject) {
  const MountEntry* inside = subject.isPath ? mountOf(context, subject.text) : nullptr;
  std::vector<std::string> out;
  for (auto& mount : context.mounts) {
    bool other = inside != nullptr && inside->source != mount.source;
    if (isMount(mount) && !other && std::find(out.begin(), out.end(), mount.at) == out.end()) {
      out.push_back(mount.at);
    }
  }
  return out;
}

void sort(const Subject& subject, const std::string& mount, Json call, Report& report) {
  call["mount"] = mount;
  bool background = call["pid"] == 0;
  if (subject.concerns(call)) {
    (background ? report.background : report.calls).push_back(call);
  } else if (!background && call["seconds"] >= LONG_SECONDS) {
    report.others.push_back(call);
  }
}

void askMounts(const Context& context, const Subject& subject, Report& report) {
  auto mounts = mountsOf(context, subject);
  std::vector<std::string> paths;
  for (auto& mount : mounts) {
    paths.push_back(mount + "/.dfs/why");
  }
  auto texts = context.readTexts(paths, READ_LIMIT);
  for (size_t i = 0; i < mounts.size(); ++i) {
    const std::string& mount = mounts[i];
    const auto& text = texts[i];
    if (!text.ok()) {
      bool stuck = text.code() == ETIMEDOUT;
      report.problems.push_back(
          mount + ": the mount doesn't say what it does: " + text.error().why +
          (stuck ? "; its process dfs-mount stands still, or another program holds up the way there" : ""));
      continue;
    }
    ++report.mounts;
    size_t at = 0;
    for (size_t end; (end = text.value().find('\n', at)) != std::string::npos; at = end + 1) {
      Json call = Json::parse(text.value().begin() + at, text.value().begin() + end, nullptr, false);
      if (call.is_object()) {
        sort(subject, mount, kj::mv(call), report);
      }
    }
  }
}

// ---- what the master says -----------------------------------------------------------------------

// What it knows of everybody, asked once.
struct Knowledge {
  capnp::Response<wire::Admin::SessionsResults> sessions;
  Locks locks;
};

std::string secondsText(double seconds) {
  return fmt::format("{:.1f} s", seconds);
}

Json leaseJson(wire::LeaseInfo::Reader lease, const Knowledge& known) {
  bool attached = false;
  double left = 0;
  for (auto session : known.sessions.getSessions()) {
    if (session.getId() == lease.getSession()) {
      attached = session.getAttached();
      left = std::max(0.0, static_cast<double>(session.getLeaseNanosLeft()) / SECOND);
    }
  }
  const Nanos limit = SESSION_LEASE + SESSION_MARGIN;
  Nanos asked = lease.getRecalledNanos();
  double answerLeft = static_cast<double>(std::max<Nanos>(limit - asked, 0)) / SECOND;
  Json recalled = asked < 0 ? Json(nullptr) : Json(static_cast<double>(asked) / SECOND);
  std::string end;
  if (!attached) {
    end = "its mount coming back, or the end of its session in " + secondsText(left);
  } else if (asked >= 0) {
    end = "its answer, or its eviction in " + secondsText(answerLeft) +
          "; one that says that it is still writing out is waited for";
  } else {
    end = "somebody wanting it, or its mount having no more use for it";
  }
  return {{"session", lease.getSession()}, {"sessionName", lease.getSessionName().cStr()},
          {"write", lease.getWrite()},     {"attached", attached},
          {"recalledSeconds", recalled},   {"end", end}};
}

Task<Json> leasesOf(Context& context, wire::Admin::Client admin, const Knowledge& known, uint64_t inode) {
  auto request = admin.leasesRequest();
  request.setInode(inode);
  kj::Promise<capnp::Response<wire::Admin::LeasesResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "the leases");
  Json out = Json::array();
  for (auto lease : reply.getHolders()) {
    out.push_back(leaseJson(lease, known));
  }
  co_return kj::mv(out);
}

Json locksOf(const Knowledge& known, uint64_t inode) {
  Json out = Json::array();
  for (auto lock : chosen(known.locks, inode, 0)) {
    Json one = jsonOf(lock);
    one["text"] = textOf(lock);
    out.push_back(one);
  }
  return out;
}

// Leases that are asked for, and those that stand in the way of somebody who wants the bytes.
Json inTheWay(const Json& leases) {
  Json out = Json::array();
  for (auto& lease : leases) {
    if (!lease["recalledSeconds"].is_null() || !lease["attached"].get<bool>()) {
      out.push_back(lease);
    }
  }
  return out;
}

Task<void> askMaster(Context& context, wire::Admin::Client admin, const Subject& subject, Report& report) {
  kj::Promise<capnp::Response<wire::Admin::SessionsResults>> asked = admin.sessionsRequest().send();
  auto sessions = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(asked), "sessions");
  auto locks = co_await readLocks(context, admin);
  Knowledge known{kj::mv(sessions), kj::mv(locks)};
  if (subject.inode != 0) {
    report.leases = co_await leasesOf(context, admin, known, subject.inode);
    report.locks = locksOf(known, subject.inode);
  }
  for (auto& call : report.calls) {
    const uint64_t inode = call["inode"];
    Json leases = co_await leasesOf(context, admin, known, inode);
    call["leases"] = inTheWay(leases);
    const Json& waits = call["waits"];
    bool lock = std::any_of(waits.begin(), waits.end(), [](auto& wait) { return wait["for"] == "lock"; });
    call["locks"] = lock ? locksOf(known, inode) : Json::array();
  }
  report.masterAnswers = true;
}

// The numbers behind a path.
Task<Status> resolve(Context& context, MasterLink& master, Subject& subject) {
  auto found = co_await resolvePath(context, master, subject.text);
  if (found.ok()) {
    subject.inode = found.value().attributes().getInode();
  } else if (found.code() != ENOENT) {
    co_return found.error();
  }
  auto inside = clusterPath(context, subject.text);
  const std::string path = inside.ok() ? inside.value() : "/";
  const std::string above = path.substr(0, std::max<size_t>(path.rfind('/'), 1));
  auto request = master.admin.resolveRequest();
  request.setPath(wireBytes(above));
  kj::Promise<capnp::Response<wire::Admin::ResolveResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "resolve");
  if (reply.getOutcome().getErrno() == 0) {
    subject.parent = reply.getAttributes().getInode();
  } else if (!found.ok()) {
    co_return found.error();
  }
  co_return Status();
}

// ---- telling it ---------------------------------------------------------------------------------

std::string aboutText(const Json& call) {
  const std::string name = call["name"], file = call["file"];
  std::string inode = fmt::format("inode {}", call["inode"].get<uint64_t>()) + (file.empty() ? "" : " (" + file + ")");
  return name.empty() ? inode : "'" + name + "' in " + inode;
}

void printLease(const Json& lease) {
  std::string right = lease["write"] ? "the right to write it" : "a lease on it";
  Json asked = lease["recalledSeconds"];
  std::cout << fmt::format("  lease: session {} ({}) has {}{}\n    until: {}\n", lease["session"].get<uint64_t>(),
                           lease["sessionName"].get<std::string>(), right,
                           asked.is_null() ? "" : ", and was asked for it " + secondsText(asked) + " ago",
                           lease["end"].get<std::string>());
}

void printCall(const Json& call) {
  bool background = call["pid"] == 0;
  std::string who = background ? "in the background" : fmt::format("process {}", call["pid"].get<int>());
  std::string what = background ? "" : ", " + call["operation"].get<std::string>();
  std::cout << fmt::format("{}{} of {} through {}, for {}\n", who, what, aboutText(call),
                           call["mount"].get<std::string>(), secondsText(call["seconds"]));
  for (auto& wait : call["waits"]) {
    std::cout << fmt::format("  waits {} for {}\n    until: {}\n", secondsText(wait["seconds"]),
                             wait["text"].get<std::string>(), wait["end"].get<std::string>());
  }
  for (auto& lease : call.value("leases", Json::array())) {
    printLease(lease);
  }
  for (auto& lock : call.value("locks", Json::array())) {
    std::cout << "  " << (lock["waiting"] ? "wanted: " : "held: ") << lock["text"].get<std::string>() << "\n";
  }
}

void printText(const Subject& subject, const Report& report) {
  for (auto* list : {&report.calls, &report.background}) {
    for (auto& call : *list) {
      printCall(call);
    }
  }
  if (report.calls.empty() && report.background.empty()) {
    std::cout << subject.text << ": nothing waits in the mounts of this host\n";
  }
  if (report.calls.empty() && !report.others.empty()) {
    std::cout << "Long calls of others; some calls on one directory or file the kernel lets in one at a time:\n";
    for (auto& call : report.others) {
      printCall(call);
    }
  }
  for (auto& lease : report.leases) {
    printLease(lease);
  }
  for (auto& lock : report.locks) {
    std::cout << "  " << (lock["waiting"] ? "wanted: " : "held: ") << lock["text"].get<std::string>() << "\n";
  }
  for (auto& problem : report.problems) {
    complain(EXIT_DEGRADED, "mount-silent", problem);
  }
}

int tell(const Context& context, const Subject& subject, const Report& report) {
  if (context.json) {
    printJson({{"subject", subject.text},
               {"calls", report.calls},
               {"background", report.background},
               {"others", report.others},
               {"leases", report.leases},
               {"locks", report.locks},
               {"masterAnswers", report.masterAnswers},
               {"problems", report.problems}});
  } else {
    printText(subject, report);
  }
  auto isLong = [](const Json& call) { return call["seconds"] >= LONG_SECONDS; };
  bool waits = std::any_of(report.calls.begin(), report.calls.end(), isLong) ||
               std::any_of(report.background.begin(), report.background.end(), isLong);
  if (waits) {
    return EXIT_DEGRADED;
  }
  bool nobody = report.mounts == 0 && !report.masterAnswers;
  return nobody ? EXIT_UNREACHABLE : EXIT_HEALTHY;
}

Result<Subject> subjectOf(const Context& context, const std::string& text) {
  Subject subject;
  subject.text = text;
  uint32_t process = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), process);
  subject.isPath = error != std::errc() || end != text.data() + text.size();
  if (subject.isPath) {
    subject.base = text.substr(text.find_last_of('/') + 1);
    return subject;
  }
  subject.threads = context.threadsOf(process);
  if (subject.threads.empty()) {
    return Error{ESRCH, "there is no process " + text + " on this host; a path that is a number is written ./" + text};
  }
  return subject;
}

// Without --cluster it is the one that the mount is of.
void chooseCluster(Context& context, const Subject& subject) {
  if (!context.clusterFile.empty()) {
    return;
  }
  const MountEntry* mount = subject.isPath ? mountOf(context, subject.text) : nullptr;
  for (auto& one : context.mounts) {
    mount = mount == nullptr && isMount(one) ? &one : mount;
  }
  if (mount != nullptr && mount->source.starts_with("/")) {
    context.clusterFile = mount->source;
  }
}

}  // namespace

Task<int> showWhy(Context& context, const Options& options) {
  auto chosen = subjectOf(context, options.path);
  if (!chosen.ok()) {
    co_return complain(EXIT_REFUSED, "subject-not-found", chosen.error().why);
  }
  Subject subject = chosen.value();
  chooseCluster(context, subject);
  Report report;
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (master.ok() && subject.isPath) {
    auto found = co_await resolve(context, *master.value(), subject);
    if (!found.ok()) {
      co_return complain(EXIT_REFUSED, "path-not-found", found.error().why);
    }
  }
  askMounts(context, subject, report);
  if (!master.ok()) {
    report.problems.push_back(master.error().why);
    co_return tell(context, subject, report);
  }
  try {
    co_await askMaster(context, master.value()->admin, subject, report);
  } catch (const kj::Exception& e) {
    report.problems.push_back(std::string("the master stopped answering: ") + e.getDescription().cStr());
  }
  co_return tell(context, subject, report);
}

}  // namespace cairn::admin
