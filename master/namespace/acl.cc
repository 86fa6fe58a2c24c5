#include "master/namespace/acl.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "master/namespace/permissions.h"

namespace cairn {

namespace {

constexpr uint32_t VERSION = 2;
constexpr size_t HEADER_BYTES = sizeof(VERSION);
constexpr size_t ENTRY_BYTES = 8;
constexpr uint16_t ALL = 7;
constexpr uint32_t NOBODY = UINT32_MAX;  // the id of entries that name nobody

template <typename T>
T take(std::string_view& in) {
  T out;
  memcpy(&out, in.data(), sizeof(out));
  in.remove_prefix(sizeof(out));
  return out;
}

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

Result<Acl> Acl::parse(std::string_view value) {
  Acl acl;
  if (value.empty()) {
    return acl;
  }
  if (value.size() < HEADER_BYTES || (value.size() - HEADER_BYTES) % ENTRY_BYTES != 0) {
    return Error{EINVAL, "not an access control list"};
  }
  if (take<uint32_t>(value) != VERSION) {
    return Error{EOPNOTSUPP, "an access control list of an unknown version"};
  }
  if (value.size() / ENTRY_BYTES > ACL_ENTRIES_MAX) {
    return Error{ENOSPC, "an access control list of so many entries"};
  }
  while (!value.empty()) {
    Entry& entry = acl.entries_.emplace_back();
    entry.tag = take<uint16_t>(value);
    entry.permissions = take<uint16_t>(value);
    entry.id = take<uint32_t>(value);
    bool named = entry.tag == USER || entry.tag == GROUP;
    entry.id = named ? entry.id : NOBODY;
  }
  bool usable = acl.empty() || acl.isValid();
  return usable ? Result<Acl>(acl) : Result<Acl>(Error{EINVAL, "entries missing or out of order"});
}

Acl Acl::stored(std::string_view value) {
  return parse(value).value();
}

std::string Acl::value() const {
  std::string out;
  if (entries_.empty()) {
    return out;
  }
  out.reserve(HEADER_BYTES + entries_.size() * ENTRY_BYTES);
  put(out, VERSION);
  for (const Entry& entry : entries_) {
    put(out, entry.tag);
    put(out, entry.permissions);
    put(out, entry.id);
  }
  return out;
}

// Each kind in its place, the three that a mode has too exactly once, and a mask where anybody is named.
bool Acl::isValid() const {
  uint16_t last = 0;
  bool named = false;
  for (const Entry& entry : entries_) {
    bool many = entry.tag == USER || entry.tag == GROUP;
    bool known = entry.tag == USER_OBJ || entry.tag == GROUP_OBJ || entry.tag == MASK || entry.tag == OTHER || many;
    bool inOrder = many ? entry.tag >= last : entry.tag > last;
    if (!known || !inOrder || (entry.permissions & ~ALL) != 0 || (many && entry.id == NOBODY)) {
      return false;
    }
    named = named || many;
    last = entry.tag;
  }
  bool complete = find(USER_OBJ) != nullptr && find(GROUP_OBJ) != nullptr && find(OTHER) != nullptr;
  return complete && (!named || find(MASK) != nullptr);
}

const Acl::Entry* Acl::find(Tag tag) const {
  auto found = std::find_if(entries_.begin(), entries_.end(), [tag](auto& entry) { return entry.tag == tag; });
  return found == entries_.end() ? nullptr : &*found;
}

Acl::Entry* Acl::group() {
  Entry* mask = find(MASK);
  return mask != nullptr ? mask : find(GROUP_OBJ);
}

bool Acl::isMinimal() const {
  auto beyond = [](auto& entry) { return (entry.tag & (USER | GROUP | MASK)) != 0; };
  return std::none_of(entries_.begin(), entries_.end(), beyond);
}

uint32_t Acl::permissions() const {
  const Entry* group = find(MASK) != nullptr ? find(MASK) : find(GROUP_OBJ);
  return static_cast<uint32_t>(find(USER_OBJ)->permissions << 6 | group->permissions << 3 | find(OTHER)->permissions);
}

void Acl::setPermissions(uint32_t mode) {
  find(USER_OBJ)->permissions = mode >> 6 & ALL;
  group()->permissions = mode >> 3 & ALL;
  find(OTHER)->permissions = mode & ALL;
}

uint32_t Acl::inherit(uint32_t mode) {
  find(USER_OBJ)->permissions &= mode >> 6;
  group()->permissions &= mode >> 3;
  find(OTHER)->permissions &= mode;
  return (mode & ~uint32_t{ACCESSPERMS}) | permissions();
}

bool Acl::allows(const Credentials& caller, uint32_t ownerGroup, unsigned wanted) const {
  const Entry* mask = find(MASK);
  uint16_t most = mask == nullptr ? ALL : mask->permissions;
  bool member = false;
  for (const Entry& entry : entries_) {
    if (entry.tag == USER && entry.id == caller.uid()) {
      return (entry.permissions & most & wanted) == wanted;
    }
    bool ofGroup = (entry.tag == GROUP_OBJ && caller.inGroup(ownerGroup)) ||
                   (entry.tag == GROUP && caller.inGroup(entry.id));
    member = member || ofGroup;
    if (ofGroup && (entry.permissions & wanted) == wanted) {
      return (most & wanted) == wanted;
    }
  }
  return !member && (find(OTHER)->permissions & wanted) == wanted;
}

}  // namespace cairn
