// What stands behind the keys of keys.h. Each record has encode() and decode(); the layout is the order of the fields
// in records.cc, little-endian, behind one byte that names the layout's version. A record that doesn't decode means a
// damaged store: kj::Exception.
#pragma once
#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "common/ids.h"
#include "common/settings.h"
#include "rpc/shard_map.h"

namespace cairn {

// Since 1970; may lie before it. nanos in [0, 1e9).
struct Timestamp {
  int64_t seconds = 0;
  uint32_t nanos = 0;
  auto operator<=>(const Timestamp&) const = default;
};

// A cut of an inode's layout and its place in the cut queue.
struct LayoutCut {
  uint32_t generation = 0;
  uint64_t firstDead = 0;
  uint64_t queueId = 0;
};

struct InodeRecord {
  InodeId id{};  // from the key
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t links = 0;
  uint32_t device = 0;
  uint64_t size = 0;
  uint64_t allocated = 0;
  Timestamp accessed;
  Timestamp modified;
  Timestamp changed;
  Timestamp created;
  uint32_t xattrs = 0;          // how many
  uint32_t xattrNameBytes = 0;  // of all their names, each with its zero byte
  LogIndex madeAt{};            // entry that made it
  SessionId madeBy{};           // the session that made and opened it, else 0
  ClassId cls{};                // files; directories: of new files in it
  uint8_t chunkBits = 0;        // likewise
  std::string accessAcl;        // Acl::value(); empty when the mode says all
  std::string defaultAcl;       // directories: of what is made in it
  bool linkable = false;        // was made without a name, and may still get one

  // Directories: where it stands. Others: the directory whose account they are charged to, which has a name of them; 0
  // without names.
  InodeId parent{};
  uint64_t trashItem = 0;  // without names (links is 0): the item of the trash that keeps it; 0: none

  // directories
  uint64_t entries = 0;
  uint64_t nextCookie = 0;

  // regular files
  ObjectId object{};
  uint32_t generation = 0;
  uint64_t largestSize = 0;  // this object ever had: bounds the chunks that may exist
  std::vector<LayoutCut> cuts;
  ObjectId movedFrom{};  // that `object` is a copy of; 0: of none

  // symlinks
  std::string target;
};

// What a name in a directory stands for.
struct Entry {
  InodeId inode{};
  uint32_t mode = 0;  // only the type bits
  uint64_t cookie = 0;
};

// An entry as reading its directory finds it.
struct Position {
  InodeId inode{};
  uint32_t mode = 0;
  std::string name;
};

// The one record that every write of the state replaces.
struct Head {
  ClusterId cluster;
  LogIndex index{};
  Term term{};
  Timestamp time;
  uint64_t digest = 0;
  MapVersion map{};
  uint64_t nextInode = 0;
  uint64_t nextObject = 0;
  uint64_t nextSession = 0;
  uint64_t nextQueueId = 0;
  uint64_t inodes = 0;
  uint64_t allocated = 0;
  uint32_t generationBase = 0;  // no layout is of an earlier generation
  bool counted = false;         // every directory has an account (namespace/accounts.h)
  uint64_t trashItems = 0;
  uint64_t trashAllocated = 0;  // bytes of them all, one copy
  uint64_t looseTrees = 0;
  uint64_t quotas = 0;  // directories that have one
};

// Where a term begins, and what its leader drew then: two histories that have a term in common, as when a data
// directory has come back from earlier, differ in that.
struct TermBegin {
  Term term{};  // from the key
  LogIndex index{};
  uint64_t drawn = 0;
};

struct Session {
  std::string name;
  Timestamp opened;
  uint64_t nonceHigh = 0;
  uint64_t nonceLow = 0;
  bool leases = false;
};

// The last request of a slot and its reply, a flat wire::Reply message.
struct ReplySlot {
  uint64_t sequence = 0;
  std::string reply;
};

// A lock on bytes of a file; whose, from which byte on, and of which kind, is in the key.
struct LockRecord {
  uint8_t type = 0;   // wire::LockType
  uint64_t last = 0;  // byte, included
  uint32_t pid = 0;
};

// An object whose chunks [0, chunks) are to be deleted.
struct ReclaimItem {
  uint64_t id = 0;  // from the key
  ObjectId object{};
  ClassId cls{};
  uint32_t chunks = 0;
  bool left = false;  // its bytes were copied: readers may not know that yet
};

// A file whose bytes are being copied into an object of another class.
struct MoveItem {
  InodeId inode{};  // from the key
  ObjectId from{};
  ObjectId to{};
  ClassId cls{};  // of `to`
  uint64_t task = 0;
};

// All below a directory, or one file, is to be of a class.
struct MoveTask {
  uint64_t id = 0;  // from the key
  InodeId root{};
  ClassId cls{};
  std::string path;  // as the administrator named it
  std::vector<InodeId> except;  // what later tasks are about
  uint64_t filesDone = 0;
  uint64_t bytesDone = 0;
};

// What is below a directory, and what holds for it.
struct Account {
  static constexpr uint64_t AS_ABOVE = UINT64_MAX;

  InodeId parent{};         // the next one to be charged; 0: none, for it is the root, or has no name
  std::string name;         // in the parent, or where it was last
  uint64_t bytes = 0;       // sizes of the regular files
  uint64_t allocated = 0;   // bytes that they take up, one copy
  uint64_t files = 0;       // whatever is no directory
  uint64_t directories = 0; // without itself
  uint64_t trashSeconds = AS_ABOVE;  // for which what is deleted below it is kept
  // Limits of `bytes`, and of `files` and `directories` together (namespace/quota.h); 0: none.
  uint64_t bytesMax = 0;
  uint64_t filesMax = 0;
  uint64_t granted = 0;  // bytes that sessions may add, here or in a quota's directory below; only with `bytesMax`

  bool hasQuota() const { return bytesMax > 0 || filesMax > 0; }
};

// What was deleted and can be brought back.
struct TrashItem {
  uint64_t id = 0;  // from the key; see makeTrashId()
  InodeId inode{};
  InodeId parent{};  // the directory that had its last name
  std::string name;
  uint64_t era = 0;  // nextCookie of `parent` then: equal for what went since something was last added there
  int64_t deletedSeconds = 0;
  uint64_t keepSeconds = 0;
  uint32_t mode = 0;
  uint32_t links = 0;  // to be given back
  uint64_t bytes = 0;  // as in Account; of a tree that was detached whole: all of it
  uint64_t allocated = 0;
  uint64_t files = 0;
};

// An action of an administrator.
struct AuditItem {
  uint64_t id = 0;  // from the key: index of the entry that began it
  Timestamp time;
  std::string who;
  std::string command;  // as it was typed
  std::string action;   // what the master was asked for
  bool ended = false;
  int32_t errnum = 0;   // 0: done; else refused, or failed
  std::string why;
};

// Sorts by when it goes.
constexpr uint64_t makeTrashId(uint64_t expiresSeconds, uint64_t number) {
  return expiresSeconds << 32 | (number & UINT32_MAX);
}
constexpr uint64_t expiresSeconds(uint64_t trashId) { return trashId >> 32; }

// Bytes at or past `firstDead` written under a generation below `generation` are dead on every copy.
struct CutItem {
  uint64_t id = 0;  // from the key
  InodeId inode{};
  ObjectId object{};
  ClassId cls{};
  uint8_t chunkBits = 0;
  uint32_t generation = 0;
  uint64_t firstDead = 0;
  uint32_t chunks = 0;
};

// A certificate that the masters have issued, until it expires. Times are in seconds since 1970.
struct IssuedCertificate {
  PeerRole role = PeerRole::CLIENT;
  std::string name;
  std::string serial;
  int64_t begins = 0;
  int64_t expires = 0;
};

// A join token: the secret itself is known to its bearer only.
struct JoinSecret {
  std::string digest;
  PeerRole role = PeerRole::CLIENT;
  std::string name;
  int64_t expires = 0;
  std::string usedBy;  // digest of the key that got a certificate for it
};

std::string encode(const InodeRecord& in);
std::string encode(const Entry& in);
std::string encode(const Position& in);
std::string encode(const Head& in);
std::string encode(const Session& in);
std::string encode(const TermBegin& in);
std::string encode(const ReplySlot& in);
std::string encode(const LockRecord& in);
std::string encode(const ReclaimItem& in);
std::string encode(const CutItem& in);
std::string encode(const MoveItem& in);
std::string encode(const MoveTask& in);
std::string encode(const Account& in);
std::string encode(const TrashItem& in);
std::string encode(const AuditItem& in);
std::string encode(const Settings& in);
std::string encode(const ReplicationClass& in);
std::string encode(const ServerRecord& in);
std::string encode(const VolumeRecord& in);
std::string encode(const ShardRecord& in);
std::string encode(const IssuedCertificate& in);
std::string encode(const JoinSecret& in);
std::string encode(const Revocation& in);
std::string encodeNumber(uint64_t in);

void decode(std::string_view in, InodeRecord& out);
void decode(std::string_view in, Entry& out);
void decode(std::string_view in, Position& out);
void decode(std::string_view in, Head& out);
void decode(std::string_view in, Session& out);
void decode(std::string_view in, TermBegin& out);
void decode(std::string_view in, ReplySlot& out);
void decode(std::string_view in, LockRecord& out);
void decode(std::string_view in, ReclaimItem& out);
void decode(std::string_view in, CutItem& out);
void decode(std::string_view in, MoveItem& out);
void decode(std::string_view in, MoveTask& out);
void decode(std::string_view in, Account& out);
void decode(std::string_view in, TrashItem& out);
void decode(std::string_view in, AuditItem& out);
void decode(std::string_view in, Settings& out);
void decode(std::string_view in, ReplicationClass& out);
void decode(std::string_view in, ServerRecord& out);
void decode(std::string_view in, VolumeRecord& out);
void decode(std::string_view in, ShardRecord& out);
void decode(std::string_view in, IssuedCertificate& out);
void decode(std::string_view in, JoinSecret& out);
void decode(std::string_view in, Revocation& out);
uint64_t decodeNumber(std::string_view in);

}  // namespace cairn
