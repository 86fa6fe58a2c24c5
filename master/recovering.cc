#include "master/recovering.h"

#include <algorithm>
#include <cerrno>

#include "common/checksum.h"
#include "master/entry.h"
#include "master/log/identity.h"
#include "master/log_repair.h"
#include "master/member_about.h"
#include "master/namespace/tables.h"
#include "master/raft_entries.h"
#include "master/raft_store.h"
#include "master/state_recovery.h"

namespace cairn {

namespace {

constexpr uint64_t CACHE_BYTES = 16 << 20;
constexpr size_t ID_DIGITS = 8;

// A stopped member's directory, locked.
struct Survivor {
  OwnedDirectory directory;
  kj::Own<Log> log;
  RecoveredState state;
};

Result<Survivor> open(const RecoveryParts& parts) {
  if (!parts.disk.exists("identity")) {
    return Error{ENODATA, parts.disk.hostPath("") + " is no master's data directory: name that of one that is left"};
  }
  auto directory = openDirectory(parts.disk, parts.cluster.cluster, parts.name, parts.random);
  if (!directory.ok()) {
    return directory.error();
  }
  LogOptions options;
  options.cluster = parts.cluster.cluster;
  options.segmentBytes = parts.segmentBytes;
  auto log = Log::open(parts.disk, options);
  if (!log.ok()) {
    return log.error();
  }
  auto state = recoverState(parts.disk, parts.env, *log.value(), CACHE_BYTES);
  if (!state.ok()) {
    return state.error();
  }
  return Survivor{kj::mv(directory.value()), kj::mv(log.value()), kj::mv(state.value())};
}

// The newest membership, and the time of the last entry.
Status readTail(Survivor& survivor, raft::Membership& membership, RecoveryPlan& plan) {
  const auto& machine = *survivor.state.machine;
  for (const auto& [index, bytes] : machine.reader().memberships()) {
    membership = membershipOf(bytes);
  }
  plan.time = machine.time();
  if (plan.committed >= survivor.log->lastIndex()) {
    return {};
  }
  return survivor.log->read(next(plan.committed), [&](const LogEntry& record) {
    CommandEntry command(record.payload);
    plan.time = std::max(plan.time, readTime(command.reader().getTime()));
    auto entry = entryOf(record);
    if (entry.type == raft::EntryType::MEMBERSHIP) {
      auto decoded = raft::Membership::decode(entry.payload.bytes());
      membership = decoded.ok() ? decoded.value() : membership;
    }
    return true;
  });
}

std::string idOf(const Identity& identity, const RecoveryPlan& plan) {
  uint64_t words[] = {identity.incarnation.high, identity.incarnation.low, raw(plan.last.term), raw(plan.last.index)};
  auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(words), sizeof(words));
  return uuidText(hash64(bytes, 0), 0).substr(0, ID_DIGITS);
}

Result<RecoveryPlan> planFor(const RecoveryParts& parts, Survivor& survivor) {
  RecoveryPlan plan;
  plan.epoch = survivor.directory.identity.epoch;
  plan.last = {survivor.log->lastTerm(), survivor.log->lastIndex()};
  plan.committed = survivor.state.machine->appliedIndex();
  raft::Membership membership;
  auto read = readTail(survivor, membership, plan);
  if (!read.ok()) {
    return read.error();
  }
  auto damage = readDamage(parts.disk);
  if (!damage.ok()) {
    return damage.error();
  }
  plan.damage = damage.value();
  for (const auto& member : membership.members()) {
    auto about = memberAbout(member.about);
    plan.votes = plan.votes || (member.voter && about.name == parts.name);
    if (member.voter && about.name != parts.name) {
      plan.others.push_back(about.name);
    }
    plan.members.push_back(std::move(about));
  }
  std::sort(plan.others.begin(), plan.others.end());
  if (membership.members().empty() || !survivor.state.machine->reader().formatted()) {
    return Error{ENODATA, parts.disk.hostPath("") + ": this master was never of a group: nothing to go on with"};
  }
  plan.id = idOf(survivor.directory.identity, plan);
  return plan;
}

// A group of this directory's next incarnation alone, in a term that nobody has voted in: the others may have gone
// through some without it.
Task<Status> appendMembership(const RecoveryParts& parts, Survivor& survivor, const Identity& identity,
                              const RecoveryPlan& plan) {
  constexpr uint64_t TERM_LEAP = 1 << 20;
  auto hard = RaftStore::readHardState(parts.disk);
  if (!hard.ok()) {
    co_return hard.error();
  }
  raft::Membership alone;
  std::string about = parts.name;
  for (const auto& member : plan.members) {
    about = member.name == parts.name ? toText(member) : about;
  }
  alone.set({memberId(identity), true, about});
  Term term{raw(std::max(hard.value().term, survivor.log->lastTerm())) + TERM_LEAP};
  raft::Entry entry{term, next(survivor.log->lastIndex()), raft::EntryType::MEMBERSHIP, alone.encode()};
  auto payload = recordOf(entry);
  LogEntry record{entry.index, entry.term, payload.bytes()};
  auto appended = co_await survivor.log->append(kj::arrayPtr(&record, 1));
  if (!appended.ok()) {
    co_return appended;
  }
  co_return co_await survivor.log->close();
}

}  // namespace

Result<RecoveryPlan> planRecovery(RecoveryParts parts) {
  auto survivor = open(parts);
  if (!survivor.ok()) {
    return survivor.error();
  }
  return planFor(parts, survivor.value());
}

Task<Result<GroupEpoch>> recover(RecoveryParts parts, std::string id) {
  auto survivor = open(parts);
  if (!survivor.ok()) {
    co_return survivor.error();
  }
  auto plan = planFor(parts, survivor.value());
  if (!plan.ok()) {
    co_return plan.error();
  }
  if (plan.value().id != id) {
    co_return Error{ESTALE, "plan " + id + " is not that of this directory as it is now, which is " + plan.value().id +
                                ": look at the plan again, without --apply"};
  }
  Identity identity = survivor.value().directory.identity;
  identity.incarnation = parts.random.uuid<MemberIncarnation>();
  identity.epoch = recoveredEpoch(std::max(identity.epoch, parts.cluster.epoch), identity.incarnation.low);
  identity.joined = false;
  auto appended = co_await appendMembership(parts, survivor.value(), identity, plan.value());
  if (!appended.ok()) {
    co_return appended.error();
  }
  auto saved = saveIdentity(parts.disk, identity);
  if (saved.ok() && plan.value().damage) {
    saved = clearDamage(parts.disk);  // nobody is left who could give it back
  }
  if (!saved.ok()) {
    co_return saved.error();
  }
  co_return identity.epoch;
}

}  // namespace cairn
