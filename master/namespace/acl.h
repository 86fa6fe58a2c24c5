// POSIX access control lists, after Linux's posix_acl.c: as the values of two extended attributes, as rules for who
// may, and in step with the permission bits of the mode. Pure.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace cairn {

class Credentials;

constexpr std::string_view ACCESS_ACL_XATTR = "system.posix_acl_access";
constexpr std::string_view DEFAULT_ACL_XATTR = "system.posix_acl_default";
constexpr size_t ACL_ENTRIES_MAX = 512;
inline bool isAclXattr(std::string_view name) {
  return name == ACCESS_ACL_XATTR || name == DEFAULT_ACL_XATTR;
}

class Acl {
 public:
  // As the kernel hands them over. EINVAL: it isn't one, or its entries are incomplete or out of order; EOPNOTSUPP: of
  // another version; ENOSPC: of more than ACL_ENTRIES_MAX. A list without entries stands for none.
  static Result<Acl> parse(std::string_view value);
  // What parse() would take. REQUIRES: it was made by value().
  static Acl stored(std::string_view value);
  std::string value() const;

  bool empty() const { return entries_.empty(); }
  // It says no more than a mode can.
  bool isMinimal() const;
  // The permission bits that show it: those of the group are the mask's, where there is one.
  uint32_t permissions() const;
  // Puts itself in step with permission bits that were set.
  void setPermissions(uint32_t mode);
  // Of a directory's default list makes the access list of what is made in it with `mode`; returns the mode that it has
  // then.
  uint32_t inherit(uint32_t mode);
  // Of who isn't the owner's user. `wanted`: MAY_READ and so on.
  bool allows(const Credentials& caller, uint32_t ownerGroup, unsigned wanted) const;

 private:
  enum Tag : uint16_t { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };
  struct Entry {
    uint16_t tag = 0;
    uint16_t permissions = 0;
    uint32_t id = 0;
  };

  bool isValid() const;
  const Entry* find(Tag tag) const;
  Entry* find(Tag tag) { return const_cast<Entry*>(static_cast<const Acl*>(this)->find(tag)); }
  // Who stands for the mode's group bits.
  Entry* group();

  std::vector<Entry> entries_;
};

}  // namespace cairn
