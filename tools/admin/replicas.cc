// dfsadmin replicas: how many copies there are of what is made in a directory, and what no two of them share.
#include <sys/stat.h>

#include <iostream>

#include "fuse-client/client/wire.h"
#include "master/placement/classes.h"
#include "tools/admin/class_path.h"
#include "tools/admin/file_path.h"
#include "tools/admin/output.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

// The cluster may have to place a new class first.
constexpr Nanos SETTING_LIMIT = 30 * SECOND;

wire::FailureDomain levelOf(const Options& options, const ReplicationClass& now) {
  for (auto level : {wire::FailureDomain::SERVER, wire::FailureDomain::RACK, wire::FailureDomain::ZONE}) {
    if (options.level == levelName(level)) {
      return level;
    }
  }
  return now.level;
}

struct Done {
  std::string text;
  uint64_t task = 0;
};

Task<Result<Done>> ask(Context& context, wire::Admin::Client admin, std::string path, ClassWish wish, bool existing,
                       bool apply) {
  auto request = admin.setReplicasRequest();
  request.setPath(wireBytes(path));
  request.setCopies(static_cast<uint8_t>(wish.copies));
  request.setLevel(wish.level);
  request.setExisting(existing);
  request.setApply(apply);
  kj::Promise<capnp::Response<wire::Admin::SetReplicasResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, SETTING_LIMIT, kj::mv(sent), "setting the copies");
  auto outcome = readOutcome(reply.getOutcome());
  if (!outcome.ok()) {
    co_return outcome.error();
  }
  co_return Done{reply.getOutcome().getWhy().cStr(), reply.getTask()};
}

Json toJson(const ClassPath& target) {
  return {{"path", target.path},
          {"copies", target.cls.copies},
          {"minCopies", target.cls.minCopies},
          {"level", levelName(target.cls.level)},
          {"class", raw(target.cls.id)}};
}

void print(const ClassPath& target, const ClassWish& wish, const Options& options, bool apply, const Done& done) {
  std::string what = options.newOnly ? "what is made in it from now on: " : "its files: ";
  std::cout << target.path << (apply ? ": " : ": nothing was done yet. ") << what << describe(wish) << "\n"
            << "  " << done.text << "\n";
  if (done.task != 0) {
    std::cout << "  files that are there already are being copied: dfsadmin task show replicas-" << done.task << "\n";
  }
  if (!apply) {
    std::cout << "To do it: the same with --apply\n";
  }
}

}  // namespace

Task<Result<ClassPath>> resolveClass(Context& context, MasterLink& master, const ShardMap& map, std::string path) {
  auto resolved = co_await resolvePath(context, master, kj::mv(path));
  if (!resolved.ok()) {
    co_return resolved.error();
  }
  auto attributes = resolved.value().attributes();
  const std::string& inside = resolved.value().path;
  auto cls = map.classes.find(ClassId{attributes.getLayout().getClass()});
  if (cls == map.classes.end()) {
    co_return Error{EIO, inside + ": its replication class is not in the shard map; look at the master's log"};
  }
  co_return ClassPath{inside, S_ISDIR(attributes.getMode()), cls->second};
}

// What no two copies share is changed by plan and apply: it decides which losses files outlive.
Task<int> setReplicas(Context& context, const Options& options) {
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto map = co_await readMap(context, master.value()->admin);
  auto found = co_await resolveClass(context, *master.value(), map, options.path);
  if (!found.ok()) {
    co_return complain(EXIT_REFUSED, "path-not-found", found.error().why);
  }
  const ClassPath& target = found.value();
  ClassWish wish{options.copies, levelOf(options, target.cls)};
  bool apply = options.apply || wish.level == target.cls.level;
  bool existing = !options.newOnly;
  auto answer = co_await ask(context, master.value()->admin, target.path, wish, existing, apply);
  if (!answer.ok()) {
    co_return complain(EXIT_REFUSED, "replicas-refused", target.path + ": " + answer.error().why);
  }
  const Done& done = answer.value();
  if (context.json) {
    printJson({{"path", target.path}, {"copies", wish.copies}, {"level", levelName(wish.level)},
               {"plan", done.text}, {"applied", apply}, {"task", done.task == 0 ? Json(nullptr) : Json(done.task)}});
  } else {
    print(target, wish, options, apply, done);
  }
  co_return EXIT_HEALTHY;
}

Task<int> showReplicas(Context& context, const Options& options) {
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto map = co_await readMap(context, master.value()->admin);
  auto found = co_await resolveClass(context, *master.value(), map, options.path);
  if (!found.ok()) {
    co_return complain(EXIT_REFUSED, "path-not-found", found.error().why);
  }
  const ClassPath& target = found.value();
  if (context.json) {
    printJson(toJson(target));
  } else {
    std::cout << target.path << ": " << describe({target.cls.copies, target.cls.level})
              << (target.isDirectory ? ", of what is made in it" : "") << "; writes need " << int{target.cls.minCopies}
              << "\n";
  }
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
