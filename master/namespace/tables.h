// Typed access to the state: what the operations are written in. Reading needs a Store; changing needs an Execution,
// the state and the moment of one command being applied.
#pragma once
#include <string_view>

#include "master/namespace/accounts.h"
#include "master/namespace/permissions.h"
#include "master/namespace/records.h"
#include "master/namespace/state_machine.h"
#include "master/namespace/store.h"

namespace cairn {

struct Execution {
  Store& store;
  Head& head;  // index, term and time are this command's
  ShardMap& map;
  Accounts& accounts;
  Changes& changes;

  Timestamp now() const { return head.time; }
};

// On whose behalf a client's operation runs.
struct Requester {
  SessionId session;
  Credentials caller;
  wire::ClientCommand::Reader command;  // for the holders
};

// ---- reading ----
bool find(const Store& store, InodeId id, InodeRecord& out);
bool find(const Store& store, InodeId directory, std::string_view name, Entry& out);
// It has no name; only holders keep it.
bool isOrphan(const Store& store, InodeId id);
bool hasHolder(const Store& store, InodeId id);
bool sessionExists(const Store& store, SessionId session);
// The directory to look a name up in: ESTALE when it is gone, ENOTDIR, EACCES without search permission.
Status enter(const Store& store, const Credentials& caller, InodeId id, InodeRecord& out);
// The inode by its number: ESTALE when it is gone, or in the trash.
Status reach(const Store& store, InodeId id, InodeRecord& out);

std::string_view viewOf(capnp::Data::Reader data);
Timestamp readTime(wire::Time::Reader in);
void writeTime(Timestamp in, wire::Time::Builder out);
// Of no directory's quota; a reader knows which that is, and so does an Execution.
void writeAttributes(const InodeRecord& inode, wire::Attributes::Builder out);
void writeAttributes(const Execution& execution, const InodeRecord& inode, wire::Attributes::Builder out);
void writeOutcome(const Status& status, wire::Outcome::Builder out);

constexpr uint64_t DIRECTORY_SIZE_BYTES = 4096;  // as reported
constexpr uint32_t ROOT_MODE = 0755;

// ---- changing ----
void save(Execution& execution, const InodeRecord& inode);
// These change the directory's count, times and cookie counter in `directory`, which the caller saves.
void addEntry(Execution& execution, InodeRecord& directory, std::string_view name, const InodeRecord& child);
void replaceEntry(Execution& execution, InodeRecord& directory, std::string_view name, const Entry& old,
                  const InodeRecord& child);
void removeEntry(Execution& execution, InodeRecord& directory, std::string_view name, const Entry& old);

}  // namespace cairn
