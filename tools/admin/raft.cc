// dfsadmin raft: the masters as a group.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <iostream>

#include "fuse-client/client/wire.h"
#include "tools/admin/master_link.h"
#include "tools/admin/output.h"
#include "tools/admin/raft_group.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

constexpr Nanos CHANGE_LIMIT = 10 * SECOND;  // for a change to be seen, whoever leads then
constexpr Nanos POLL = 50 * MILLISECOND;

std::string digestText(uint64_t digest) {
  char text[20];
  snprintf(text, sizeof(text), "%016" PRIx64, digest);
  return text;
}

void print(const Json& group) {
  std::cout << "Term " << group["term"] << ", committed up to entry " << group["commitIndex"] << ", state "
            << group["digest"].get<std::string>() << " at entry " << group["appliedIndex"] << "\n\n";
  Table table({"MASTER", "ROLE", "ANSWERS", "DURABLE UP TO"});
  for (const auto& member : group["members"]) {
    table.add({member["name"], member["role"], member["reachable"].get<bool>() ? "yes" : "no",
               member["matchIndex"].dump()});
  }
  table.print();
}

struct Change {
  wire::RaftChange what;
  std::string name;
  std::string done;       // what to say then
  const char* wish = "";  // "to vote"
};

// Whether the group is as the change would make it.
bool isMade(const Change& change, const Json& group) {
  for (const auto& member : group["members"]) {
    if (member["name"] == change.name) {
      switch (change.what) {
        case wire::RaftChange::TRANSFER:
          return member["role"] == "leader";
        case wire::RaftChange::PROMOTE:
          return member["role"] != "learner";
        default:
          return false;
      }
    }
  }
  return change.what == wire::RaftChange::REMOVE;
}

// The refusal, if there is one; else whether there was an answer at all: a leader that goes because of the change gives
// none.
Task<Result<bool>> ask(Context& context, MasterLink& master, Change change) {
  auto request = master.admin.raftChangeRequest();
  request.setChange(change.what);
  request.setName(change.name);
  bool unclear = change.what != wire::RaftChange::SNAPSHOT;
  try {
    kj::Promise<capnp::Response<wire::Admin::RaftChangeResults>> sent = request.send();
    auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "the change");
    auto outcome = readOutcome(reply.getOutcome());
    co_return outcome.ok() ? Result<bool>(true) : Result<bool>(outcome.error());
  } catch (kj::Exception& e) {
    if (!unclear || !isRetryable(e)) {
      throw;
    }
  }
  co_return false;
}

// One look at the group, whoever leads it now.
Task<bool> look(Context& context, Change change) {
  try {
    auto found = co_await findMaster(context, FIND_LIMIT);
    if (found.ok()) {
      auto group = co_await readGroup(context, *found.value());
      co_return isMade(change, group);
    }
  } catch (kj::Exception& e) {
    if (!isRetryable(e)) {
      throw;
    }
  }
  co_return false;
}

// A change of the members is answered when it is made. Otherwise done is what can be seen in the group, for the leader
// may change on the way; not always, for whoever is removed may be a member again a moment later, under the same name.
Task<int> make(Context& context, Change change) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  Nanos end = context.clock.monotonic() + CHANGE_LIMIT;
  auto asked = co_await ask(context, *found.value(), change);
  if (!asked.ok()) {
    co_return complain(EXIT_REFUSED, "raft-refused", "refused: " + asked.error().why + ". See: dfsadmin raft status");
  }
  bool answersWhenMade = change.what != wire::RaftChange::TRANSFER;
  bool made = asked.value() && answersWhenMade;
  while (!made && context.clock.monotonic() < end) {
    made = co_await look(context, change);
    if (!made) {
      co_await context.clock.after(POLL);
    }
  }
  if (!made) {
    co_return complain(EXIT_REFUSED, "raft-not-done",
                       "master " + change.name + " was asked " + change.wish + ", and after " +
                                         durationText(CHANGE_LIMIT / SECOND) +
                                         " it isn't so. See dfsadmin raft status and its log, then try again");
  }
  co_return printDone(context, {{"master", change.name}}, change.done);
}

}  // namespace

Task<Json> readGroup(Context& context, MasterLink& master) {
  kj::Promise<capnp::Response<wire::Admin::RaftResults>> sent = master.admin.raftRequest().send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "the group");
  auto group = reply.getGroup();
  Json members = Json::array();
  for (auto member : group.getMembers()) {
    members.push_back({{"name", member.getName().cStr()},
                       {"id", member.getId()},
                       {"role", member.getRole().cStr()},
                       {"reachable", member.getReachable()},
                       {"matchIndex", member.getMatchIndex()}});
  }
  std::sort(members.begin(), members.end(), [](const Json& a, const Json& b) { return a["name"] < b["name"]; });
  Json out = {{"term", group.getTerm()},
              {"commitIndex", group.getCommitIndex()},
              {"appliedIndex", group.getAppliedIndex()},
              {"digest", digestText(group.getDigest())},
              {"members", members}};
  co_return kj::mv(out);
}

Task<int> showRaft(Context& context, const Options&) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto group = co_await readGroup(context, *found.value());
  if (context.json) {
    printJson(group);
  } else {
    print(group);
  }
  co_return EXIT_HEALTHY;
}

Task<int> promoteMaster(Context& context, const Options& options) {
  return make(context, {wire::RaftChange::PROMOTE, options.name, "master " + options.name + " has a vote", "to vote"});
}

Task<int> removeMaster(Context& context, const Options& options) {
  return make(context, {wire::RaftChange::REMOVE, options.name,
                        "master " + options.name + " is out of the group; to have one of that name again, start it "
                        "with --join in an empty directory", "to go"});
}

Task<int> transferToMaster(Context& context, const Options& options) {
  return make(context, {wire::RaftChange::TRANSFER, options.name, "master " + options.name + " leads", "to lead"});
}

Task<int> snapshotMaster(Context& context, const Options&) {
  return make(context, {wire::RaftChange::SNAPSHOT, "", "a snapshot is being made", ""});
}

Task<int> compareMasters(Context& context, const Options&) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  kj::Promise<capnp::Response<wire::Admin::RaftDigestResults>> sent = found.value()->admin.raftDigestRequest().send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "the comparison");
  Json members = Json::array();
  Table table({"MASTER", "STATE", "VERDICT"});
  bool all = true;
  for (auto member : reply.getMembers()) {
    std::string digest = member.getKnown() ? digestText(member.getDigest()) : "";
    all = all && member.getKnown();
    members.push_back({{"name", member.getName().cStr()}, {"digest", digest}, {"odd", member.getOdd()}});
    const char* verdict = member.getOdd() ? "differs: it is stopped, and makes its state anew when it is started" : "";
    table.add({member.getName().cStr(), digest.empty() ? "not known" : digest, verdict});
  }
  if (context.json) {
    printJson({{"index", reply.getIndex()}, {"equal", reply.getEqual()}, {"members", members}});
  } else if (reply.getIndex() == 0) {
    std::cout << "Nothing to compare yet: too little has been changed\n";
  } else {
    std::cout << "At entry " << reply.getIndex() << " the states are " << (reply.getEqual() ? "equal" : "NOT EQUAL")
              << (all ? "" : " as far as known") << "\n\n";
    table.print();
  }
  co_return !reply.getEqual() ? EXIT_REFUSED : all ? EXIT_HEALTHY : EXIT_DEGRADED;
}

}  // namespace cairn::admin
