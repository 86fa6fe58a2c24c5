// The keys of the state in LevelDB, written down once; what stands behind them is in records.h. A letter for the kind,
// then ids as 8 bytes, most significant first, so that keys sort like the ids: one directory is one range, and so are a
// file's xattrs, a session's reply slots, and each queue.
//
//   H                              Head: applied index and term, counters, digest
//   K <last index>                 mark: one write brought all entries from <value> to <last index>
//   L                              checkpoint: entries up to <value> need no marks, they are in synced tables
//   I <inode>                      InodeRecord
//   D <directory> n <name>         Entry: what the name stands for, and its cookie
//   D <directory> p <cookie>       Position: the same from the cookie, for reading a directory in order
//   X <inode> <name>               an extended attribute's value
//   O <inode> <session>            an orphan's holder
//   P <session> <inode>            the same, found from the session
//   S <session>                    Session
//   T <session> <slot>             ReplySlot
//   N <nonce>                      session opened with that nonce
//   G <index>                      membership of the masters from that entry on
//   A <term>                       TermBegin: the first entry of a term
//   E                              epoch of the masters' group, when it isn't 0
//   e                              feature level, when it isn't the first
//   R <queue id>                   ReclaimItem
//   C <queue id>                   CutItem
//   M c <class>  M s <server>  M v <volume>  M h <shard>      the shard map
//   M f <session>                  a fenced session
//   M o <object>                   a sealed object
//   V <inode>                      MoveItem: a file that is being copied into another class
//   W <task>                       MoveTask
//   F <inode> <kind> <first byte> <session> <owner>          LockRecord: a lock on bytes of a file
//   f <session> <inode>            how many locks the session has on the file
//   U <directory>                  Account: what is below it
//   B <inode> <directory>          how many names that directory has of a file with several
//   Z <trash id>                   TrashItem
//   Q <directory> <trash id>       the same, found from the directory whose name it had
//   J <inode>                      TrashItem of an orphan, for when nobody holds it any more
//   q <directory>                  it has a quota
//   g <session> <directory>        how many bytes a session may add below a quota's directory
//   a                              settings of the whole cluster that aren't as cluster.toml says
//   h i <log index>                AuditItem: what an administrator did
//   h n                            how many of them there are
//   Y <directory>                  nothing leads to it: it is being taken apart, its names from that cookie on
#pragma once
#include <string>
#include <string_view>

#include "common/ids.h"

namespace cairn::keys {

inline constexpr std::string_view HEAD = "H";
inline constexpr std::string_view CHECKPOINT = "L";
inline constexpr std::string_view MARKS = "K";
inline constexpr std::string_view INODES = "I";
inline constexpr std::string_view ORPHANS = "O";
inline constexpr std::string_view SESSIONS = "S";
inline constexpr std::string_view MEMBERSHIPS = "G";
inline constexpr std::string_view TERMS = "A";
inline constexpr std::string_view GROUP_EPOCH = "E";
inline constexpr std::string_view FEATURE_LEVEL = "e";
inline constexpr std::string_view RECLAIMS = "R";
inline constexpr std::string_view CUTS = "C";
inline constexpr std::string_view CLASSES = "Mc";
inline constexpr std::string_view SERVERS = "Ms";
inline constexpr std::string_view VOLUMES = "Mv";
inline constexpr std::string_view SHARDS = "Mh";
inline constexpr std::string_view FENCES = "Mf";
inline constexpr std::string_view SEALS = "Mo";
inline constexpr std::string_view MOVES = "V";
inline constexpr std::string_view MOVE_TASKS = "W";
inline constexpr std::string_view LOCKS = "F";
inline constexpr std::string_view ENTRIES = "D";
inline constexpr std::string_view ACCOUNTS = "U";
inline constexpr std::string_view TRASH = "Z";
inline constexpr std::string_view LOOSE_TREES = "Y";
inline constexpr std::string_view QUOTAS = "q";
inline constexpr std::string_view GRANTS = "g";
inline constexpr std::string_view SETTINGS = "a";
inline constexpr std::string_view AUDIT = "hi";
inline constexpr std::string_view AUDIT_COUNT = "hn";
// Sorts after every key.
inline constexpr std::string_view END = "~";
// True for the keys that belong to this store rather than to the replicated state: head, marks and checkpoint.
inline bool isLocal(std::string_view key) {
  return key.front() == 'H' || key.front() == 'K' || key.front() == 'L';
}

std::string mark(LogIndex last);
std::string inode(InodeId inode);
std::string entry(InodeId directory, std::string_view name);
std::string cookie(InodeId directory, uint64_t cookie);
std::string cookies(InodeId directory);  // prefix
std::string xattr(InodeId inode, std::string_view name);
std::string xattrs(InodeId inode);  // prefix
std::string orphan(InodeId inode, SessionId session);
std::string orphan(InodeId inode);  // prefix
std::string held(SessionId session, InodeId inode);
std::string held(SessionId session);  // prefix
std::string session(SessionId session);
std::string slot(SessionId session, uint8_t slot);
std::string slots(SessionId session);  // prefix
std::string nonce(uint64_t high, uint64_t low);
std::string membership(LogIndex index);
std::string term(Term term);
std::string reclaim(uint64_t id);
std::string cut(uint64_t id);
std::string classRecord(ClassId id);
std::string server(ServerId id);
std::string volume(VolumeNumber number);
std::string shard(ShardId id);
std::string fence(SessionId session);
std::string seal(ObjectId object);
std::string move(InodeId inode);
std::string moveTask(uint64_t id);
struct LockParts {
  InodeId inode{};
  uint8_t kind = 0;
  uint64_t first = 0;
  SessionId session{};
  uint64_t owner = 0;
};
std::string lock(const LockParts& parts);
LockParts lockParts(std::string_view key);
std::string locks(InodeId inode, uint8_t kind);  // prefix
std::string locked(SessionId session, InodeId inode);
std::string locked(SessionId session);  // prefix
std::string account(InodeId directory);
std::string names(InodeId inode, InodeId directory);
std::string names(InodeId inode);  // prefix
std::string trash(uint64_t id);
std::string trashOf(InodeId directory, uint64_t id);
std::string trashOf(InodeId directory);  // prefix
std::string will(InodeId inode);
std::string looseTree(InodeId directory);
std::string quota(InodeId directory);
std::string grant(SessionId session, InodeId directory);
std::string grants(SessionId session);  // prefix
std::string audit(uint64_t id);

// The number at `offset` of a key. REQUIRES: it is there.
uint64_t numberAt(std::string_view key, size_t offset);
// Where the id of a one-letter key begins, and where a second one follows.
inline constexpr size_t FIRST_ID = 1;
inline constexpr size_t SECOND_ID = 9;
// Where a name or a cookie begins in a directory's keys.
inline constexpr size_t IN_DIRECTORY = 10;

}  // namespace cairn::keys
