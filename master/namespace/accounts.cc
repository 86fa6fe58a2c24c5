#include "master/namespace/accounts.h"

#include <kj/debug.h>
#include <sys/stat.h>

#include "master/namespace/keys.h"
#include "master/namespace/quota.h"
#include "master/namespace/tables.h"

namespace cairn {

namespace {

void add(uint64_t& to, int64_t change) {
  KJ_ASSERT(change >= 0 || to >= static_cast<uint64_t>(-change), "an account is overdrawn", to, change);
  to += static_cast<uint64_t>(change);
}

Charge chargeOf(const InodeRecord& file) {
  bool regular = S_ISREG(file.mode);
  return {regular ? static_cast<int64_t>(file.size) : 0, static_cast<int64_t>(file.allocated), 1, 0};
}

Charge chargeOf(const Account& tree) {
  return {static_cast<int64_t>(tree.bytes), static_cast<int64_t>(tree.allocated), static_cast<int64_t>(tree.files),
          static_cast<int64_t>(tree.directories) + 1};
}

void apply(const Charge& charge, Account& to) {
  add(to.bytes, charge.bytes);
  add(to.allocated, charge.allocated);
  add(to.files, charge.files);
  add(to.directories, charge.directories);
}

// ---- the names of files that have several ----

uint64_t namesIn(Execution& execution, InodeId inode, InodeId directory) {
  std::string value;
  return execution.store.get(keys::names(inode, directory), value) ? decodeNumber(value) : 0;
}

void setNamesIn(Execution& execution, InodeId inode, InodeId directory, uint64_t count) {
  if (count > 0) {
    execution.store.put(keys::names(inode, directory), encodeNumber(count));
  } else {
    execution.store.erase(keys::names(inode, directory));
  }
}

InodeId someDirectoryOf(Execution& execution, InodeId inode) {
  auto at = execution.store.scan(keys::names(inode));
  KJ_ASSERT(at.valid(), "a file's names aren't known", raw(inode));
  return InodeId{keys::numberAt(at.key(), keys::SECOND_ID)};
}

void chargeTo(Execution& execution, InodeRecord& file, InodeId directory) {
  if (file.parent == directory) {
    return;
  }
  if (raw(file.parent) != 0) {
    execution.accounts.charge(file.parent, -chargeOf(file));
  }
  if (raw(directory) != 0) {
    execution.accounts.charge(directory, chargeOf(file));
  }
  file.parent = directory;
}

// ---- directories: their account is what is moved ----

void moveTree(Execution& execution, InodeId directory, InodeId into, std::string_view name) {
  const Account* found = execution.accounts.find(directory);
  Account account = found == nullptr ? Account() : *found;
  Charge charge = chargeOf(account);
  if (account.parent != into && raw(account.parent) != 0) {
    execution.accounts.charge(account.parent, -charge);
  }
  if (account.parent != into && raw(into) != 0) {
    execution.accounts.charge(into, charge);
  }
  const InodeId before = account.parent;
  account.parent = into;
  account.name = name;
  execution.accounts.put(directory, account);
  if (found != nullptr && (raw(before) == 0) != (raw(into) == 0)) {
    treeMoved(execution, directory, raw(into) != 0);
  }
}

}  // namespace

// ---- the accounts -------------------------------------------------------------------------------

Account* Accounts::load(InodeId directory) {
  auto cached = cached_.find(directory);
  if (cached != cached_.end()) {
    return &cached->second;
  }
  std::string value;
  if (!store_.get(keys::account(directory), value)) {
    return nullptr;
  }
  Account& account = cached_[directory];
  decode(value, account);
  return &account;
}

const Account* Accounts::find(InodeId directory) { return load(directory); }

void Accounts::put(InodeId directory, const Account& account) {
  cached_[directory] = account;
  changed_.insert(directory);
}

void Accounts::erase(InodeId directory) {
  cached_.erase(directory);
  changed_.erase(directory);
  charges_.erase(directory);
  store_.erase(keys::account(directory));
}

void Accounts::charge(InodeId directory, const Charge& charge) {
  Charge& sum = charges_[directory];
  sum.bytes += charge.bytes;
  sum.allocated += charge.allocated;
  sum.files += charge.files;
  sum.directories += charge.directories;
}

void Accounts::sumUp() {
  for (auto& [directory, charge] : charges_) {
    for (InodeId at = directory; raw(at) != 0;) {
      Account* account = load(at);
      KJ_ASSERT(account != nullptr, "a directory without an account", raw(at), raw(directory));
      apply(charge, *account);
      changed_.insert(at);
      at = account->parent;
    }
  }
  charges_.clear();
}

void Accounts::fold() {
  sumUp();
  for (InodeId directory : changed_) {
    store_.put(keys::account(directory), encode(cached_.at(directory)));
  }
  changed_.clear();
  if (cached_.size() > CACHED_MAX) {
    cached_.clear();
  }
}

Charge chargeOf(Execution& execution, const InodeRecord& inode) {
  if (!S_ISDIR(inode.mode)) {
    return chargeOf(inode);
  }
  const Account* tree = execution.accounts.find(inode.id);
  return tree == nullptr ? Charge{0, 0, 0, 1} : chargeOf(*tree);
}

// ---- names --------------------------------------------------------------------------------------

void gainName(Execution& execution, InodeRecord& child, InodeId directory, std::string_view name) {
  if (!execution.head.counted) {
    return;
  }
  if (S_ISDIR(child.mode)) {
    moveTree(execution, child.id, directory, name);
    return;
  }
  if (child.links == 1) {
    chargeTo(execution, child, directory);
    return;
  }
  if (child.links == 2) {
    setNamesIn(execution, child.id, child.parent, 1);
  }
  setNamesIn(execution, child.id, directory, namesIn(execution, child.id, directory) + 1);
}

void loseName(Execution& execution, InodeRecord& child, InodeId directory) {
  if (!execution.head.counted) {
    return;
  }
  if (S_ISDIR(child.mode)) {
    const Account* account = execution.accounts.find(child.id);
    moveTree(execution, child.id, InodeId{}, account == nullptr ? std::string() : account->name);
    return;
  }
  if (child.links == 0) {
    chargeTo(execution, child, InodeId{});
    return;
  }
  uint64_t left = namesIn(execution, child.id, directory) - 1;
  setNamesIn(execution, child.id, directory, left);
  if (left == 0 && child.parent == directory) {
    chargeTo(execution, child, someDirectoryOf(execution, child.id));
  }
  if (child.links == 1) {
    setNamesIn(execution, child.id, child.parent, 0);
  }
}

void moveName(Execution& execution, InodeRecord& child, InodeId from, InodeId into, std::string_view name) {
  if (!execution.head.counted) {
    return;
  }
  if (S_ISDIR(child.mode)) {
    moveTree(execution, child.id, into, name);
    return;
  }
  if (from == into) {
    return;
  }
  if (child.links > 1) {
    uint64_t left = namesIn(execution, child.id, from) - 1;
    setNamesIn(execution, child.id, from, left);
    setNamesIn(execution, child.id, into, namesIn(execution, child.id, into) + 1);
    if (left > 0 || child.parent != from) {
      return;
    }
  }
  chargeTo(execution, child, into);
}

void resized(Execution& execution, const InodeRecord& file, uint64_t bytes, uint64_t allocated) {
  bool same = file.size == bytes && file.allocated == allocated;
  if (execution.head.counted && raw(file.parent) != 0 && !same) {
    execution.accounts.charge(file.parent, {static_cast<int64_t>(file.size - bytes),
                                            static_cast<int64_t>(file.allocated - allocated), 0, 0});
  }
}

// ---- counting anew ------------------------------------------------------------------------------

namespace {

constexpr size_t COUNTED_AT_ONCE = 4096;  // keys read before some are written, for that ends a scan

// Calls `each` with all keys and values of a prefix, in order. It may change the state.
void walk(const Store& store, std::string_view prefix,
          kj::FunctionParam<void(const std::string& key, const std::string& value)> each) {
  std::string after;
  for (bool more = true; more;) {
    std::vector<std::pair<std::string, std::string>> some;
    auto at = store.scan(prefix);
    if (!after.empty()) {
      at.seek(after);
    }
    for (; at.valid() && some.size() < COUNTED_AT_ONCE; at.next()) {
      some.emplace_back(at.key(), at.value());
    }
    more = at.valid();
    for (auto& [key, value] : some) {
      each(key, value);
    }
    if (more) {
      after = some.back().first + '\0';
    }
  }
}

void countName(Execution& execution, InodeId directory, const Position& name) {
  InodeRecord child;
  if (!find(execution.store, name.inode, child)) {
    return;
  }
  const Account* tree = S_ISDIR(child.mode) ? execution.accounts.find(child.id) : nullptr;
  if (tree != nullptr) {
    Account named = *tree;
    named.name = name.name;
    execution.accounts.put(child.id, named);
    return;
  }
  if (child.links > 1) {
    setNamesIn(execution, child.id, directory, namesIn(execution, child.id, directory) + 1);
  }
  if (raw(child.parent) == 0) {
    chargeTo(execution, child, directory);
    save(execution, child);
  }
}

}  // namespace

// First who stands above whom, then the names: each charge goes all the way up.
void countAll(Execution& execution) {
  execution.head.counted = true;
  walk(execution.store, keys::INODES, [&](const std::string& key, const std::string& value) {
    InodeRecord inode;
    decode(value, inode);
    inode.id = InodeId{keys::numberAt(key, keys::FIRST_ID)};
    if (S_ISDIR(inode.mode) && inode.links > 0) {
      Account account;
      account.parent = inode.id == ROOT_INODE ? InodeId{} : inode.parent;
      if (raw(account.parent) != 0) {
        execution.accounts.charge(account.parent, {0, 0, 0, 1});
      }
      execution.accounts.put(inode.id, account);
    }
  });
  walk(execution.store, keys::ENTRIES, [&](const std::string& key, const std::string& value) {
    constexpr char BY_COOKIE = 'p';
    if (key[keys::IN_DIRECTORY - 1] == BY_COOKIE) {
      Position name;
      decode(value, name);
      countName(execution, InodeId{keys::numberAt(key, keys::FIRST_ID)}, name);
    }
  });
}

}  // namespace cairn
