// Client sessions: exactly-once replies, their beginning and end.
#include <cerrno>

#include "master/namespace/keys.h"
#include "master/namespace/lock_table.h"
#include "master/namespace/operations.h"
#include "master/namespace/quota.h"

namespace cairn {

namespace {

Status run(Execution& execution, const Requester& client, wire::Op::Reader op, wire::Reply::Builder reply) {
  switch (op.which()) {
    case wire::Op::MAKE:
      return make(execution, client, op.getMake(), reply);
    case wire::Op::LINK:
      return link(execution, client, op.getLink(), reply);
    case wire::Op::UNLINK:
      return unlink(execution, client, op.getUnlink(), reply);
    case wire::Op::RENAME:
      return rename(execution, client, op.getRename(), reply);
    case wire::Op::SET_ATTRIBUTES:
      return setAttributes(execution, client, op.getSetAttributes(), reply);
    case wire::Op::SET_XATTR:
      return setXattr(execution, client, op.getSetXattr(), reply);
    case wire::Op::REMOVE_XATTR:
      return removeXattr(execution, client, op.getRemoveXattr(), reply);
    case wire::Op::WRITTEN:
      return written(execution, client.session, op.getWritten(), reply);
    case wire::Op::LOCK:
      return lock(execution, client, op.getLock());
    case wire::Op::DETACH:
      return detach(execution, client, op.getDetach(), reply);
    case wire::Op::RESERVE:
      return reserve(execution, client.session, op.getReserve(), reply);
    case wire::Op::GIVE_BACK:
      return giveBack(execution, client.session, op.getGiveBack());
  }
  return Error{ENOSYS, "an operation that this master doesn't know"};
}

void eraseAll(Execution& execution, const std::string& prefix) {
  std::vector<std::string> found;
  for (auto at = execution.store.scan(prefix); at.valid(); at.next()) {
    found.emplace_back(at.key());
  }
  for (auto& key : found) {
    execution.store.erase(kj::mv(key));
  }
}

}  // namespace

Execute runOnce(Execution& execution, wire::ClientCommand::Reader command, wire::Reply::Builder reply,
                std::string& stored) {
  SessionId session{command.getSession()};
  std::string value;
  Status refusal;
  if (command.getSlot() >= SLOTS) {
    refusal = Error{EINVAL, "no such reply slot"};
  } else if (execution.store.get(keys::slot(session, command.getSlot()), value)) {
    ReplySlot slot;
    decode(value, slot);
    if (slot.sequence == command.getSequence()) {
      stored = kj::mv(slot.reply);
      return Execute::REPEATED;
    }
    if (slot.sequence > command.getSequence()) {
      refusal = Error{EBADE, "an older request than the last of its slot"};
    }
  } else if (!sessionExists(execution.store, session)) {
    refusal = Error{ESTALE, "the session has ended"};
  }
  if (!refusal.ok()) {
    writeOutcome(refusal, reply.initOutcome());
    return Execute::REFUSED;
  }
  Requester client{session, Credentials(command.getOp().getCaller()), command};
  writeOutcome(run(execution, client, command.getOp(), reply), reply.initOutcome());
  return Execute::RAN;
}

void keepReply(Execution& execution, wire::ClientCommand::Reader command, std::string_view reply) {
  ReplySlot slot{command.getSequence(), std::string(reply)};
  execution.store.put(keys::slot(SessionId{command.getSession()}, command.getSlot()), encode(slot));
}

Status openSession(Execution& execution, wire::OpenSession::Reader command) {
  Session session;
  session.name = command.getName().cStr();
  session.opened = execution.now();
  session.leases = command.getLeases();
  session.nonceHigh = command.getNonce().getHigh();
  session.nonceLow = command.getNonce().getLow();
  auto nonceKey = keys::nonce(session.nonceHigh, session.nonceLow);
  std::string value;
  if (execution.store.get(nonceKey, value)) {
    execution.changes.opened = SessionId{decodeNumber(value)};
    return {};
  }
  SessionId id{execution.head.nextSession++};
  execution.store.put(keys::session(id), encode(session));
  execution.store.put(kj::mv(nonceKey), encodeNumber(raw(id)));
  execution.changes.opened = id;
  return {};
}

Status endSession(Execution& execution, SessionId id) {
  std::string value;
  if (!execution.store.get(keys::session(id), value)) {
    return Error{ESTALE, "the session has ended"};
  }
  Session session;
  decode(value, session);
  std::vector<InodeId> held;
  for (auto at = execution.store.scan(keys::held(id)); at.valid(); at.next()) {
    held.push_back(InodeId{keys::numberAt(at.key(), keys::SECOND_ID)});
  }
  for (InodeId inode : held) {
    dropHold(execution, id, inode);
  }
  dropLocks(execution, id);
  dropGrants(execution, id);
  eraseAll(execution, keys::slots(id));
  execution.store.erase(keys::nonce(session.nonceHigh, session.nonceLow));
  execution.store.erase(keys::session(id));
  fence(execution, id, true);
  raiseMap(execution);
  execution.changes.ended.push_back(id);
  return {};
}

}  // namespace cairn
