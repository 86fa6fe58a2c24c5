#include "master/namespace/keys.h"

#include <kj/debug.h>

namespace cairn::keys {

namespace {

void append(std::string& key, uint64_t number) {
  for (int shift = 56; shift >= 0; shift -= 8) {
    key.push_back(static_cast<char>(number >> shift));
  }
}

std::string make(std::string_view kind, uint64_t first) {
  std::string key(kind);
  append(key, first);
  return key;
}

std::string make(std::string_view kind, uint64_t first, uint64_t second) {
  std::string key;
  key.reserve(kind.size() + 16);
  key.append(kind);
  append(key, first);
  append(key, second);
  return key;
}

std::string make(std::string_view kind, uint64_t first, std::string_view rest) {
  std::string key;
  key.reserve(kind.size() + 8 + rest.size());
  key.append(kind);
  append(key, first);
  key.append(rest);
  return key;
}

std::string inDirectory(InodeId directory, char part, size_t room) {
  std::string key;
  key.reserve(IN_DIRECTORY + room);
  key.push_back('D');
  append(key, raw(directory));
  key.push_back(part);
  return key;
}

}  // namespace

std::string mark(LogIndex last) {
  return make("K", raw(last));
}
std::string inode(InodeId inode) {
  return make("I", raw(inode));
}

std::string entry(InodeId directory, std::string_view name) {
  std::string key = inDirectory(directory, 'n', name.size());
  key.append(name);
  return key;
}

std::string cookie(InodeId directory, uint64_t cookie) {
  std::string key = inDirectory(directory, 'p', 8);
  append(key, cookie);
  return key;
}

std::string cookies(InodeId directory) {
  return inDirectory(directory, 'p', 0);
}
std::string xattr(InodeId inode, std::string_view name) {
  return make("X", raw(inode), name);
}
std::string xattrs(InodeId inode) {
  return make("X", raw(inode));
}
std::string orphan(InodeId inode, SessionId session) {
  return make("O", raw(inode), raw(session));
}
std::string orphan(InodeId inode) {
  return make("O", raw(inode));
}
std::string held(SessionId session, InodeId inode) {
  return make("P", raw(session), raw(inode));
}
std::string held(SessionId session) {
  return make("P", raw(session));
}
std::string session(SessionId session) {
  return make("S", raw(session));
}

std::string slot(SessionId session, uint8_t slot) {
  std::string key = make("T", raw(session));
  key.push_back(static_cast<char>(slot));
  return key;
}

std::string slots(SessionId session) {
  return make("T", raw(session));
}
std::string nonce(uint64_t high, uint64_t low) {
  return make("N", high, low);
}
std::string membership(LogIndex index) {
  return make(MEMBERSHIPS, raw(index));
}
std::string term(Term term) {
  return make(TERMS, raw(term));
}
std::string reclaim(uint64_t id) {
  return make("R", id);
}
std::string cut(uint64_t id) {
  return make("C", id);
}
std::string classRecord(ClassId id) {
  return make(CLASSES, raw(id));
}
std::string server(ServerId id) {
  return make(SERVERS, id.high, id.low);
}
std::string volume(VolumeNumber number) {
  return make(VOLUMES, raw(number));
}
std::string shard(ShardId id) {
  return make(SHARDS, raw(id));
}
std::string fence(SessionId session) {
  return make(FENCES, raw(session));
}
std::string seal(ObjectId object) {
  return make(SEALS, raw(object));
}
std::string move(InodeId inode) {
  return make(MOVES, raw(inode));
}
std::string moveTask(uint64_t id) {
  return make(MOVE_TASKS, id);
}
std::string account(InodeId directory) {
  return make(ACCOUNTS, raw(directory));
}
std::string names(InodeId inode, InodeId directory) {
  return make("B", raw(inode), raw(directory));
}
std::string names(InodeId inode) {
  return make("B", raw(inode));
}
std::string trash(uint64_t id) {
  return make(TRASH, id);
}
std::string trashOf(InodeId directory, uint64_t id) {
  return make("Q", raw(directory), id);
}
std::string trashOf(InodeId directory) {
  return make("Q", raw(directory));
}
std::string will(InodeId inode) {
  return make("J", raw(inode));
}
std::string looseTree(InodeId directory) {
  return make(LOOSE_TREES, raw(directory));
}

std::string quota(InodeId directory) {
  return make(QUOTAS, raw(directory));
}
std::string grant(SessionId session, InodeId directory) {
  return make(GRANTS, raw(session), raw(directory));
}
std::string grants(SessionId session) {
  return make(GRANTS, raw(session));
}
std::string audit(uint64_t id) {
  return make(AUDIT, id);
}

std::string revocation(uint8_t role, std::string_view name) {
  std::string key(REVOCATIONS);
  key.push_back(static_cast<char>(role));
  key.append(name);
  return key;
}
std::string joinSecret(std::string_view digest) {
  return std::string(JOIN_SECRETS).append(digest);
}
std::string certificate(std::string_view serial) {
  return std::string(CERTIFICATES).append(serial);
}

std::string locks(InodeId inode, uint8_t kind) {
  std::string key = make(LOCKS, raw(inode));
  key.push_back(static_cast<char>(kind));
  return key;
}

std::string lock(const LockParts& parts) {
  std::string key = locks(parts.inode, parts.kind);
  for (uint64_t number : {parts.first, raw(parts.session), parts.owner}) {
    append(key, number);
  }
  return key;
}

LockParts lockParts(std::string_view key) {
  constexpr size_t KIND = 9;
  constexpr size_t FIRST = 10;
  constexpr size_t SESSION = 18;
  constexpr size_t OWNER = 26;
  return {InodeId{numberAt(key, FIRST_ID)}, static_cast<uint8_t>(key[KIND]), numberAt(key, FIRST),
          SessionId{numberAt(key, SESSION)}, numberAt(key, OWNER)};
}

std::string locked(SessionId session, InodeId inode) {
  return make("f", raw(session), raw(inode));
}
std::string locked(SessionId session) {
  return make("f", raw(session));
}

uint64_t numberAt(std::string_view key, size_t offset) {
  KJ_REQUIRE(key.size() >= offset + 8, "a key of the state is too short", key.size(), offset);
  uint64_t number = 0;
  for (size_t i = 0; i < 8; ++i) {
    number = number << 8 | static_cast<uint8_t>(key[offset + i]);
  }
  return number;
}

}  // namespace cairn::keys
