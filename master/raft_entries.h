// Raft's entries and messages as they lie in the log and travel between masters.
//
// In the log every entry is a flat wire::Command: a term's first one a noop, a membership one wrapped. In memory and on
// the wire a membership is bare, for the core reads it.
#pragma once
#include <capnp/message.h>
#include <kj/array.h>

#include <string>

#include "master/log/identity.h"
#include "master/log/record.h"
#include "master/raft/entry.h"
#include "master/raft/message.h"
#include "schema/log.capnp.h"
#include "schema/raft.capnp.h"

namespace cairn {

raft::Payload payloadOf(kj::Array<capnp::word> words);
// A noop command: the payload of a term's first entry.
raft::Payload termStartPayload(uint64_t drawn = 0);

// By which the group knows that directory.
raft::MemberId memberId(const Identity& identity);

// A membership as the state keeps it.
raft::Membership membershipOf(const std::string& kept);

// The bytes of the entry in the log; they live as long as the result.
raft::Payload recordOf(const raft::Entry& entry);
raft::Entry entryOf(const LogEntry& record);

void writeMessage(const raft::Message& message, wire::RaftMessage::Builder out);
// Throws when it makes no sense.
raft::Message readMessage(wire::RaftMessage::Reader in);
// Of the entries, roughly.
size_t bytesOf(const raft::Message& message);

}  // namespace cairn
