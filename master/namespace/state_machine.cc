#include "master/namespace/state_machine.h"

#include <capnp/serialize.h>
#include <kj/debug.h>

#include <cerrno>
#include <cstring>

#include "master/namespace/audit.h"
#include "master/namespace/keys.h"
#include "master/namespace/operations.h"

namespace cairn {

namespace {

constexpr size_t REPLY_WORDS = 256;  // more than most replies need

template <typename Record>
void loadAll(const Store& store, std::string_view prefix, kj::FunctionParam<void(Record&)> keep) {
  for (auto at = store.scan(prefix); at.valid(); at.next()) {
    Record record;
    decode(at.value(), record);
    keep(record);
  }
}

ShardMap loadMap(const Store& store, MapVersion version) {
  ShardMap map;
  map.version = version;
  loadAll<ReplicationClass>(store, keys::CLASSES, [&](auto& record) { map.classes[record.id] = record; });
  loadAll<ServerRecord>(store, keys::SERVERS, [&](auto& record) { map.servers[record.id] = record; });
  loadAll<VolumeRecord>(store, keys::VOLUMES, [&](auto& record) { map.volumes[record.number] = record; });
  loadAll<ShardRecord>(store, keys::SHARDS, [&](auto& record) { map.shards[record.id] = record; });
  for (auto at = store.scan(keys::FENCES); at.valid(); at.next()) {
    map.fenced.insert(SessionId{keys::numberAt(at.key(), keys::FENCES.size())});
  }
  for (auto at = store.scan(keys::SEALS); at.valid(); at.next()) {
    map.sealed.insert(ObjectId{keys::numberAt(at.key(), keys::SEALS.size())});
  }
  return map;
}

Status runCommand(Execution& execution, wire::Command::Reader command, wire::Reply::Builder reply) {
  switch (command.which()) {
    case wire::Command::NOOP:
      return {};
    case wire::Command::FORMAT:
      return format(execution, command.getFormat());
    case wire::Command::OPEN_SESSION:
      return openSession(execution, command.getOpenSession());
    case wire::Command::END_SESSION:
      return endSession(execution, SessionId{command.getEndSession()});
    case wire::Command::DROP_HOLDS:
      return dropHolds(execution, command.getDropHolds());
    case wire::Command::CLUSTER:
      return changeCluster(execution, command.getCluster());
    case wire::Command::RECLAIMED:
      return reclaimed(execution, command.getReclaimed());
    case wire::Command::CUTS_APPLIED:
      return cutsApplied(execution, command.getCutsApplied());
    case wire::Command::MEMBERSHIP:
      return changeMembership(execution, command.getMembership());
    case wire::Command::RAISE_LEVEL:
      return raiseLevel(execution, command.getRaiseLevel());
    case wire::Command::RECOVERED:
      return leap(execution, GroupEpoch{command.getRecovered()});
    case wire::Command::CLASS_CHANGE:
      return changeClass(execution, command.getClassChange());
    case wire::Command::BREAK_LOCK:
      return breakLock(execution, command.getBreakLock());
    case wire::Command::UNFENCE:
      return unfence(execution, command.getUnfence());
    case wire::Command::QUOTA_CHANGE:
      return changeQuota(execution, command.getQuotaChange());
    case wire::Command::TRASH_CHANGE:
      return changeTrash(execution, command.getTrashChange(), reply);
    case wire::Command::AUDIT:
      return changeAudit(execution, command.getAudit());
    case wire::Command::SETTING:
      return changeSetting(execution, command.getSetting());
    case wire::Command::CLIENT:
      break;
  }
  KJ_FAIL_REQUIRE("a command in the log that this master doesn't know", raw(execution.head.index));
}

kj::Array<capnp::word> wordsOf(std::string_view bytes) {
  auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  memcpy(words.begin(), bytes.data(), words.size() * sizeof(capnp::word));
  return words;
}

}  // namespace

StateMachine::StateMachine(kj::Own<Store> store)
    : reply_(kj::heapArray<capnp::word>(REPLY_WORDS)),
      store_(kj::mv(store)),
      head_(store_->writtenHead()),
      map_(loadMap(*store_, head_.map)),
      accounts_(*store_),
      reader_(*store_, head_, map_) {
  memset(reply_.begin(), 0, reply_.asBytes().size());
  store_->setGenerationBase(head_.generationBase);
}

Applied StateMachine::apply(LogIndex index, Term term, wire::Command::Reader command) {
  KJ_REQUIRE(index == next(head_.index), "log entries must be applied in order", raw(index), raw(head_.index));
  bool newTerm = term > head_.term;
  head_.index = index;
  head_.term = term;
  head_.time = std::max(head_.time, readTime(command.getTime()));
  store_->mix(raw(index));
  Applied applied;
  applied.term = term;
  applied.index = index;
  Execution execution{*store_, head_, map_, accounts_, applied.changes};
  if (newTerm) {
    beginTerm(execution, command.getDrawn());
  }
  capnp::MallocMessageBuilder message(reply_);
  auto reply = message.initRoot<wire::Reply>();
  reply.setTerm(raw(term));
  reply.setIndex(raw(index));
  bool keep = false;
  if (!command.isClient()) {
    writeOutcome(runCommand(execution, command, reply), reply.initOutcome());
  } else {
    std::string stored;
    auto how = runOnce(execution, command.getClient(), reply, stored);
    keep = how == Execute::RAN;
    applied.repeated = how == Execute::REPEATED;
    if (applied.repeated) {
      applied.reply = wordsOf(stored);
    }
  }
  accounts_.fold();
  if (!applied.repeated) {
    applied.reply = capnp::messageToFlatArray(message);
  }
  if (keep) {
    auto bytes = applied.reply.asChars();
    keepReply(execution, command.getClient(), std::string_view(bytes.begin(), bytes.size()));
  }
  head_.digest = store_->digest();
  return applied;
}

}  // namespace cairn
