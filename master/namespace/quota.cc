#include "master/namespace/quota.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "master/namespace/keys.h"

namespace cairn {

namespace {

struct Grant {
  SessionId session{};
  InodeId root{};
  uint64_t bytes = 0;
};

std::vector<Grant> grantsIn(const Store& store, std::string_view prefix) {
  std::vector<Grant> found;
  for (auto at = store.scan(prefix); at.valid(); at.next()) {
    found.push_back({SessionId{keys::numberAt(at.key(), keys::FIRST_ID)},
                     InodeId{keys::numberAt(at.key(), keys::SECOND_ID)}, decodeNumber(at.value())});
  }
  return found;
}

uint64_t grantOf(const Execution& execution, SessionId session, InodeId root) {
  std::string value;
  return execution.store.get(keys::grant(session, root), value) ? decodeNumber(value) : 0;
}

// Calls `each` for the accounts from `directory` up; it says whether to go on.
void upFrom(const Execution& execution, InodeId directory,
            kj::FunctionParam<bool(InodeId at, const Account& account)> each) {
  const Account* account = nullptr;
  for (InodeId at = directory; raw(at) != 0; at = account->parent) {
    account = execution.accounts.find(at);
    if (account == nullptr || !each(at, *account)) {
      return;
    }
  }
}

bool isAbove(const Execution& execution, InodeId ancestor, InodeId of) {
  bool found = false;
  upFrom(execution, of, [&](InodeId at, const Account&) {
    found = at == ancestor;
    return !found;
  });
  return found;
}

// More or fewer bytes are granted at `root`: it counts in all quotas of bytes above as well.
void addGranted(Execution& execution, InodeId root, int64_t change) {
  std::vector<std::pair<InodeId, Account>> changed;
  upFrom(execution, root, [&](InodeId at, const Account& account) {
    if (account.bytesMax > 0) {
      changed.emplace_back(at, account);
    }
    return true;
  });
  for (auto& [at, account] : changed) {
    KJ_ASSERT(change >= 0 || account.granted >= static_cast<uint64_t>(-change), "a quota's grants don't add up",
              raw(at), change);
    account.granted += static_cast<uint64_t>(change);
    execution.accounts.put(at, account);
  }
}

void setGrant(Execution& execution, SessionId session, InodeId root, uint64_t before, uint64_t now) {
  if (now > 0) {
    execution.store.put(keys::grant(session, root), encodeNumber(now));
  } else if (before > 0) {
    execution.store.erase(keys::grant(session, root));
  }
  addGranted(execution, root, static_cast<int64_t>(now - before));
}

std::string pathOf(const Execution& execution, InodeId directory) {
  std::string path;
  upFrom(execution, directory, [&](InodeId at, const Account& account) {
    path = at == ROOT_INODE ? path : "/" + account.name + path;
    return true;
  });
  return path.empty() ? "/" : path;
}

Error full(const Execution& execution, InodeId directory, const char* of) {
  constexpr const char* ADVICE = " has no room for that; delete some, or raise it (dfsadmin quota list)";
  return Error{EDQUOT, pathOf(execution, directory) + ": its quota of " + of + ADVICE};
}

// All sums of grants anew, for trees have moved, or directories have got quotas or lost them. Grants at directories
// that have no quota of bytes any more are void.
void recountGrants(Execution& execution) {
  std::vector<InodeId> roots;
  for (auto at = execution.store.scan(keys::QUOTAS); at.valid(); at.next()) {
    roots.push_back(InodeId{keys::numberAt(at.key(), keys::FIRST_ID)});
  }
  for (InodeId root : roots) {
    const Account* found = execution.accounts.find(root);
    if (found != nullptr && found->granted > 0) {
      Account account = *found;
      account.granted = 0;
      execution.accounts.put(root, account);
    }
  }
  for (const auto& grant : grantsIn(execution.store, keys::GRANTS)) {
    const Account* account = execution.accounts.find(grant.root);
    if (account != nullptr && account->bytesMax > 0) {
      addGranted(execution, grant.root, static_cast<int64_t>(grant.bytes));
    } else {
      execution.store.erase(keys::grant(grant.session, grant.root));
    }
  }
}

InodeId above(const Execution& execution, InodeId directory, bool ofBytes) {
  InodeId found{};
  if (execution.head.quotas > 0) {
    upFrom(execution, directory, [&](InodeId at, const Account& account) {
      bool has = ofBytes ? account.bytesMax > 0 : account.hasQuota();
      found = has ? at : found;
      return !has;
    });
  }
  return found;
}

Status setLimits(Execution& execution, wire::QuotaChange::Reader command) {
  InodeRecord directory;
  auto reached = reach(execution.store, InodeId{command.getInode()}, directory);
  if (!reached.ok()) {
    return reached;
  }
  const Account* found = execution.accounts.find(directory.id);
  if (!S_ISDIR(directory.mode) || found == nullptr) {
    return Error{ENOTDIR, "only a directory can have a quota"};
  }
  Account account = *found;
  const Account before = account;
  account.bytesMax = command.getBytesMax();
  account.filesMax = command.getFilesMax();
  if (account.hasQuota() && !before.hasQuota()) {
    execution.store.put(keys::quota(directory.id), {});
    ++execution.head.quotas;
  } else if (!account.hasQuota() && before.hasQuota()) {
    execution.store.erase(keys::quota(directory.id));
    --execution.head.quotas;
  }
  bool root = account.bytesMax > 0;
  account.granted = root ? account.granted : 0;
  execution.accounts.put(directory.id, account);
  if (root != (before.bytesMax > 0)) {
    recountGrants(execution);
  }
  return {};
}

}  // namespace

uint64_t bytesLeft(const Account& account) {
  uint64_t taken = account.bytes + account.granted;
  return account.bytesMax > taken ? account.bytesMax - taken : 0;
}

InodeId quotaAbove(const Execution& execution, InodeId directory) {
  return above(execution, directory, false);
}

InodeId byteQuotaAbove(const Execution& execution, InodeId directory) {
  return above(execution, directory, true);
}

Status fits(Execution& execution, InodeId directory, const Charge& more) {
  Status refused;
  if (execution.head.quotas == 0) {
    return refused;
  }
  execution.accounts.sumUp();
  const uint64_t bytes = static_cast<uint64_t>(more.bytes);
  const uint64_t inodes = static_cast<uint64_t>(more.files + more.directories);
  upFrom(execution, directory, [&](InodeId at, const Account& account) {
    if (account.bytesMax > 0 && bytes > 0 && bytes > bytesLeft(account)) {
      refused = full(execution, at, "bytes");
    } else if (account.filesMax > 0 && inodes > 0 && account.files + account.directories + inodes > account.filesMax) {
      refused = full(execution, at, "files");
    }
    return refused.ok();
  });
  return refused;
}

Result<uint64_t> chargeGrowth(Execution& execution, SessionId session, InodeId directory, uint64_t bytes,
                              uint64_t grantedMax) {
  InodeId root = byteQuotaAbove(execution, directory);
  if (raw(root) == 0 || bytes == 0) {
    return uint64_t{0};
  }
  uint64_t grant = grantOf(execution, session, root);
  uint64_t paid = std::min({bytes, grant, grantedMax});
  auto rest = fits(execution, root, {static_cast<int64_t>(bytes - paid), 0, 0, 0});
  if (!rest.ok()) {
    return rest.error();
  }
  if (paid > 0) {
    setGrant(execution, session, root, grant, grant - paid);
  }
  return paid;
}

Status reserve(Execution& execution, SessionId session, wire::ByteGrant::Reader wish, wire::Reply::Builder reply) {
  const InodeId root{wish.getRoot()};
  const Account* account = execution.accounts.find(root);
  if (account == nullptr || account->bytesMax == 0) {
    return Error{ENOENT, "the directory has no quota of bytes"};
  }
  uint64_t left = UINT64_MAX;
  InodeId shortest{};
  upFrom(execution, root, [&](InodeId at, const Account& one) {
    if (one.bytesMax > 0 && bytesLeft(one) < left) {
      left = bytesLeft(one);
      shortest = at;
    }
    return true;
  });
  if (left == 0) {
    return full(execution, shortest, "bytes");
  }
  uint64_t granted = left;
  if (wish.getBytes() < left) {
    granted = wish.getBytes() + std::min(GRANT_EXTRA_MAX, (left - wish.getBytes()) / GRANT_EXTRA_PART);
  }
  uint64_t before = grantOf(execution, session, root);
  setGrant(execution, session, root, before, before + granted);
  reply.setGranted(granted);
  return {};
}

Status giveBack(Execution& execution, SessionId session, wire::ByteGrant::Reader grant) {
  const InodeId root{grant.getRoot()};
  if (raw(root) == 0) {
    dropGrants(execution, session);
    return {};
  }
  uint64_t before = grantOf(execution, session, root);
  if (before > 0) {
    setGrant(execution, session, root, before, before - std::min(before, grant.getBytes()));
  }
  return {};
}

void dropGrants(Execution& execution, SessionId session) {
  for (const auto& grant : grantsIn(execution.store, keys::grants(session))) {
    setGrant(execution, session, grant.root, grant.bytes, 0);
  }
}

void forgetQuota(Execution& execution, InodeId directory) {
  const Account* account = execution.accounts.find(directory);
  if (account == nullptr || !account->hasQuota()) {
    return;
  }
  for (const auto& grant : grantsIn(execution.store, keys::GRANTS)) {
    if (grant.root == directory) {
      setGrant(execution, grant.session, directory, grant.bytes, 0);
    }
  }
  execution.store.erase(keys::quota(directory));
  --execution.head.quotas;
}

void treeMoved(Execution& execution, InodeId directory, bool back) {
  const Account* account = execution.accounts.find(directory);
  if (execution.head.quotas == 0 || account == nullptr || !(account->hasQuota() || account->directories > 0)) {
    return;
  }
  if (back) {  // what was granted without the quotas that are above now may be more than these allow
    for (const auto& grant : grantsIn(execution.store, keys::GRANTS)) {
      if (isAbove(execution, directory, grant.root)) {
        execution.store.erase(keys::grant(grant.session, grant.root));
      }
    }
  }
  recountGrants(execution);
}

// Inode 0: no quota is changed, but a state from before there were accounts is counted.
Status changeQuota(Execution& execution, wire::QuotaChange::Reader command) {
  if (command.getInode() != 0) {
    return setLimits(execution, command);
  }
  if (!execution.head.counted) {
    countAll(execution);
  }
  return {};
}

}  // namespace cairn
