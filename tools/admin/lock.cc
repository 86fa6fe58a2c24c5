// dfsadmin lock: who has locked what, who waits for it, and taking a lock away from a program that doesn't let go.
#include <cinttypes>
#include <iostream>

#include "fuse-client/client/wire.h"
#include "tools/admin/file_path.h"
#include "tools/admin/locks.h"
#include "tools/admin/master_link.h"
#include "tools/admin/output.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

Task<Locks> readLocks(Context& context, wire::Admin::Client admin) {
  kj::Promise<Locks> sent = admin.locksRequest().send();
  co_return co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "the locks");
}

namespace {

const char* kindText(wire::LockKind kind) {
  return kind == wire::LockKind::FLOCK ? "flock" : "fcntl";
}
const char* typeText(wire::LockType type) {
  return type == wire::LockType::EXCLUSIVE ? "exclusive" : "shared";
}
bool toTheEnd(wire::LockRequest::Reader lock) {
  return lock.getLast() >= INT64_MAX;  // as far as the kernel counts
}
std::string bytesText(wire::LockRequest::Reader lock) {
  if (toTheEnd(lock)) {
    return lock.getFirst() == 0 ? "all" : "from " + std::to_string(lock.getFirst());
  }
  return std::to_string(lock.getFirst()) + " to " + std::to_string(lock.getLast());
}

// The owner is a name that the client's kernel made up: hexadecimal, as it means nothing as a number.
std::string ownerText(uint64_t owner) {
  char text[17];
  snprintf(text, sizeof(text), "%" PRIx64, owner);
  return text;
}

}  // namespace

std::string textOf(wire::LockInfo::Reader info) {
  auto lock = info.getLock();
  return std::string(typeText(lock.getType())) + " " + kindText(lock.getKind()) + " lock on bytes " + bytesText(lock) +
         ", of process " + std::to_string(lock.getPid()) + " at session " + std::to_string(info.getSession()) + " (" +
         info.getSessionName().cStr() + ")";
}

Json jsonOf(wire::LockInfo::Reader info) {
  auto lock = info.getLock();
  return {{"inode", lock.getInode()},
          {"session", info.getSession()},
          {"sessionName", info.getSessionName().cStr()},
          {"pid", lock.getPid()},
          {"owner", ownerText(lock.getOwner())},
          {"kind", kindText(lock.getKind())},
          {"type", typeText(lock.getType())},
          {"first", lock.getFirst()},
          {"last", toTheEnd(lock) ? Json(nullptr) : Json(lock.getLast())},
          {"waiting", info.getWaiting()}};
}

namespace {

void print(const Context& context, const std::vector<wire::LockInfo::Reader>& locks, Json more = Json::object()) {
  Json all = Json::array();
  Table table({"INODE", "SESSION", "NAME", "PID", "KIND", "TYPE", "BYTES", "STATE"});
  for (auto info : locks) {
    auto lock = info.getLock();
    all.push_back(jsonOf(info));
    table.add({std::to_string(lock.getInode()), std::to_string(info.getSession()), info.getSessionName().cStr(),
               std::to_string(lock.getPid()), kindText(lock.getKind()), typeText(lock.getType()), bytesText(lock),
               info.getWaiting() ? "waiting" : "held"});
  }
  if (context.json) {
    more["locks"] = all;
    printJson(more);
  } else {
    table.print();
  }
}

}  // namespace

std::vector<wire::LockInfo::Reader> chosen(const Locks& all, uint64_t inode, uint64_t session) {
  std::vector<wire::LockInfo::Reader> out;
  for (auto info : all.getLocks()) {
    bool named = inode == 0 || info.getLock().getInode() == inode;
    if (named && (session == 0 || info.getSession() == session)) {
      out.push_back(info);
    }
  }
  return out;
}

Task<int> listLocks(Context& context, const Options& options) {
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  uint64_t inode = 0;
  if (!options.path.empty()) {
    auto resolved = co_await resolvePath(context, *master.value(), options.path);
    if (!resolved.ok()) {
      co_return complain(EXIT_REFUSED, "path-not-found", resolved.error().why);
    }
    inode = resolved.value().attributes().getInode();
  }
  auto all = co_await readLocks(context, master.value()->admin);
  print(context, chosen(all, inode, 0));
  co_return EXIT_HEALTHY;
}

Task<int> breakLocks(Context& context, const Options& options) {
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto resolved = co_await resolvePath(context, *master.value(), options.path);
  if (!resolved.ok()) {
    co_return complain(EXIT_REFUSED, "path-not-found", resolved.error().why);
  }
  auto admin = master.value()->admin;
  auto all = co_await readLocks(context, admin);
  auto locks = chosen(all, resolved.value().attributes().getInode(), options.id);
  std::erase_if(locks, [](auto info) { return info.getWaiting(); });
  if (locks.empty()) {
    co_return complain(EXIT_REFUSED, "lock-not-found",
                       resolved.value().path + ": nobody there has it locked; see: dfsadmin lock list");
  }
  for (size_t i = 0; options.apply && i < locks.size(); ++i) {
    auto request = admin.breakLockRequest();
    request.setLock(locks[i]);
    kj::Promise<capnp::Response<wire::Admin::BreakLockResults>> sent = request.send();
    auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "breaking a lock");
    auto outcome = readOutcome(reply.getOutcome());
    if (!outcome.ok() && outcome.code() != ENOENT) {  // gone by itself is as well
      co_return complain(EXIT_REFUSED, "lock-not-broken", resolved.value().path + ": " + outcome.error().why);
    }
  }
  print(context, locks, {{"applied", options.apply}});
  if (!context.json) {
    std::cout << (options.apply ? "These locks are gone; the programs that had them aren't told.\n"
                                : "These locks would be taken away from programs that aren't told, and may both write "
                                  "then.\nNothing was done. To do it: the same with --apply\n");
  }
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
