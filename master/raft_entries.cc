#include "master/raft_entries.h"

#include <capnp/serialize.h>
#include <kj/debug.h>

#include <cstring>

#include "master/entry.h"

namespace cairn {

namespace {

using raft::Entry;
using raft::EntryType;
using raft::Payload;
using raft::Position;

Payload copyOf(kj::ArrayPtr<const kj::byte> bytes) {
  return Payload(kj::heapArray<kj::byte>(bytes));
}

void write(Position in, wire::Position::Builder out) {
  out.setTerm(raw(in.term));
  out.setIndex(raw(in.index));
}

Position read(wire::Position::Reader in) {
  return {Term{in.getTerm()}, LogIndex{in.getIndex()}};
}

}  // namespace

Payload payloadOf(kj::Array<capnp::word> words) {
  auto bytes = words.asBytes();
  kj::ArrayPtr<const kj::byte> view(bytes.begin(), bytes.size());
  return Payload(view.attach(kj::mv(words)));
}

Payload termStartPayload(uint64_t drawn) {
  capnp::MallocMessageBuilder message;
  auto command = message.initRoot<wire::Command>();
  command.setNoop();
  command.setDrawn(drawn);
  return payloadOf(capnp::messageToFlatArray(message));
}

raft::MemberId memberId(const Identity& identity) {
  uint64_t id = identity.incarnation.high ^ identity.incarnation.low;
  return raft::MemberId{id == 0 ? 1 : id};
}

raft::Membership membershipOf(const std::string& kept) {
  auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(kept.data()), kept.size());
  return raft::Membership::decode(bytes).value();
}

Payload recordOf(const Entry& entry) {
  if (entry.type != EntryType::MEMBERSHIP) {
    return entry.payload;
  }
  capnp::MallocMessageBuilder message;
  message.initRoot<wire::Command>().setMembership(entry.payload.bytes());
  return payloadOf(capnp::messageToFlatArray(message));
}

Entry entryOf(const LogEntry& record) {
  CommandEntry command(record.payload);
  switch (command.reader().which()) {
    case wire::Command::NOOP:
      return {record.term, record.index, EntryType::TERM_START, copyOf(record.payload)};
    case wire::Command::MEMBERSHIP:
      return {record.term, record.index, EntryType::MEMBERSHIP, copyOf(command.reader().getMembership())};
    default:
      return {record.term, record.index, EntryType::COMMAND, copyOf(record.payload)};
  }
}

size_t bytesOf(const raft::Message& message) {
  size_t bytes = raft::ENTRY_OVERHEAD_BYTES;
  if (const auto* append = std::get_if<raft::AppendRequest>(&message.body)) {
    for (const auto& entry : append->entries) {
      bytes += sizeOf(entry);
    }
  }
  return bytes;
}

namespace {

void writeBody(const raft::VoteRequest& in, wire::RaftMessage::Builder out) {
  auto body = out.initVoteRequest();
  write(in.last, body.initLast());
  body.setTransfer(in.transfer);
  body.setReleased(in.released);
}
void writeBody(const raft::VoteResponse& in, wire::RaftMessage::Builder out) {
  out.setVoteResponse(in.granted);
}
void writeBody(const raft::PreVoteRequest& in, wire::RaftMessage::Builder out) {
  write(in.last, out.initPreVoteRequest());
}
void writeBody(const raft::PreVoteResponse& in, wire::RaftMessage::Builder out) {
  out.setPreVoteResponse(in.granted);
}
void writeBody(const raft::AppendRequest& in, wire::RaftMessage::Builder out) {
  auto body = out.initAppendRequest();
  write(in.previous, body.initPrevious());
  body.setCommit(raw(in.commit));
  auto list = body.initEntries(static_cast<unsigned>(in.entries.size()));
  for (uint32_t i = 0; i < in.entries.size(); ++i) {
    list[i].setTerm(raw(in.entries[i].term));
    list[i].setKind(static_cast<uint8_t>(in.entries[i].type));
    list[i].setPayload(in.entries[i].payload.bytes());
  }
}
void writeBody(const raft::AppendResponse& in, wire::RaftMessage::Builder out) {
  auto body = out.initAppendResponse();
  body.setAccepted(in.accepted);
  body.setMatch(raw(in.match));
  body.setRefused(raw(in.refused));
  write(in.hint, body.initHint());
  body.setLost(in.lost);
}
void writeBody(const raft::Heartbeat& in, wire::RaftMessage::Builder out) {
  auto body = out.initHeartbeat();
  body.setCommit(raw(in.commit));
  body.setRound(in.round);
  body.setPromise(in.promise);
}
void writeBody(const raft::HeartbeatResponse& in, wire::RaftMessage::Builder out) {
  auto body = out.initHeartbeatResponse();
  body.setRound(in.round);
  write(in.last, body.initLast());
  body.setLost(in.lost);
}
void writeBody(const raft::InstallSnapshot& in, wire::RaftMessage::Builder out) {
  auto body = out.initInstallSnapshot();
  write(in.last, body.initLast());
  body.setMembership(in.membership.encode().bytes());
}
void writeBody(const raft::TimeoutNow& in, wire::RaftMessage::Builder out) {
  out.setTimeoutNow(in.released);
}
void writeBody(const raft::StaleTerm&, wire::RaftMessage::Builder out) {
  out.setStaleTerm();
}

raft::AppendRequest readAppend(wire::RaftMessage::AppendRequest::Reader in) {
  raft::AppendRequest request{read(in.getPrevious()), {}, LogIndex{in.getCommit()}};
  LogIndex index = request.previous.index;
  for (auto item : in.getEntries()) {
    index = next(index);
    KJ_REQUIRE(item.getKind() <= static_cast<uint8_t>(EntryType::MEMBERSHIP), "an entry of an unknown kind");
    auto type = static_cast<EntryType>(item.getKind());
    request.entries.push_back({Term{item.getTerm()}, index, type, copyOf(item.getPayload())});
  }
  return request;
}

raft::Body readBody(wire::RaftMessage::Reader in) {
  switch (in.which()) {
    case wire::RaftMessage::VOTE_REQUEST: {
      auto body = in.getVoteRequest();
      return raft::VoteRequest{read(body.getLast()), body.getTransfer(), body.getReleased()};
    }
    case wire::RaftMessage::VOTE_RESPONSE:
      return raft::VoteResponse{in.getVoteResponse()};
    case wire::RaftMessage::PRE_VOTE_REQUEST:
      return raft::PreVoteRequest{read(in.getPreVoteRequest())};
    case wire::RaftMessage::PRE_VOTE_RESPONSE:
      return raft::PreVoteResponse{in.getPreVoteResponse()};
    case wire::RaftMessage::APPEND_REQUEST:
      return readAppend(in.getAppendRequest());
    case wire::RaftMessage::APPEND_RESPONSE: {
      auto body = in.getAppendResponse();
      return raft::AppendResponse{body.getAccepted(), LogIndex{body.getMatch()}, LogIndex{body.getRefused()},
                                  read(body.getHint()), body.getLost()};
    }
    case wire::RaftMessage::HEARTBEAT: {
      auto body = in.getHeartbeat();
      return raft::Heartbeat{LogIndex{body.getCommit()}, body.getRound(), body.getPromise()};
    }
    case wire::RaftMessage::HEARTBEAT_RESPONSE: {
      auto body = in.getHeartbeatResponse();
      return raft::HeartbeatResponse{body.getRound(), read(body.getLast()), body.getLost()};
    }
    case wire::RaftMessage::INSTALL_SNAPSHOT: {
      auto membership = raft::Membership::decode(in.getInstallSnapshot().getMembership());
      return raft::InstallSnapshot{read(in.getInstallSnapshot().getLast()), kj::mv(membership).value()};
    }
    case wire::RaftMessage::TIMEOUT_NOW:
      return raft::TimeoutNow{in.getTimeoutNow()};
    case wire::RaftMessage::STALE_TERM:
      return raft::StaleTerm{};
  }
  KJ_FAIL_REQUIRE("a message of an unknown kind");
}

}  // namespace

void writeMessage(const raft::Message& message, wire::RaftMessage::Builder out) {
  out.setFrom(raw(message.from));
  out.setTo(raw(message.to));
  out.setTerm(raw(message.term));
  std::visit([&out](const auto& body) { writeBody(body, out); }, message.body);
}

raft::Message readMessage(wire::RaftMessage::Reader in) {
  return {raft::MemberId{in.getFrom()}, raft::MemberId{in.getTo()}, Term{in.getTerm()}, readBody(in)};
}

}  // namespace cairn
