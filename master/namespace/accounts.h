// Accounts: how many bytes, files and directories are below each directory, kept by the change itself. A file is
// charged once, however many names it has: to the directory that its record calls `parent`, and to all above that. What
// has no name is charged nowhere.
//
// An entry gathers its charges, and each ancestor is written once, at the entry's end. Which directory stands above
// which is in the accounts too, so nothing else has to be read on the way up.
#pragma once
#include <map>
#include <set>
#include <unordered_map>

#include "master/namespace/records.h"
#include "master/namespace/store.h"

namespace cairn {

struct Charge {
  int64_t bytes = 0;
  int64_t allocated = 0;
  int64_t files = 0;
  int64_t directories = 0;

  Charge operator-() const { return {-bytes, -allocated, -files, -directories}; }
};

// The state's accounts as the entry being applied sees them. Outlives the entries, for the same ancestors are charged
// again and again.
class Accounts {
 public:
  static constexpr size_t CACHED_MAX = 16384;

  explicit Accounts(Store& store) : store_(store) {}
  KJ_DISALLOW_COPY(Accounts);

  // nullptr: it has none, for it isn't counted yet. Valid until the entry's end.
  const Account* find(InodeId directory);
  void put(InodeId directory, const Account& account);
  void erase(InodeId directory);
  void charge(InodeId directory, const Charge& charge);
  // Charges so far are in the accounts that find() gives.
  void sumUp();
  // Writes what was gathered. Once an entry, after all else.
  void fold();

 private:
  Account* load(InodeId directory);

  Store& store_;
  std::unordered_map<InodeId, Account> cached_;
  std::map<InodeId, Charge> charges_;
  std::set<InodeId> changed_;
};

struct Execution;

// What an inode adds to where it is; of a directory with all that is below.
Charge chargeOf(Execution& execution, const InodeRecord& inode);

// ---- names come and go. `child` has its new number of links already, and is to be saved by the caller ----
void gainName(Execution& execution, InodeRecord& child, InodeId directory, std::string_view name);
void loseName(Execution& execution, InodeRecord& child, InodeId directory);
// `name`: in `into`.
void moveName(Execution& execution, InodeRecord& child, InodeId from, InodeId into, std::string_view name);
// Of a regular file; what it had before.
void resized(Execution& execution, const InodeRecord& file, uint64_t bytes, uint64_t allocated);
// For a state from before there were accounts: all at once.
void countAll(Execution& execution);

}  // namespace cairn
