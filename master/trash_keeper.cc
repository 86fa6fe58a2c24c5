#include "master/trash_keeper.h"

#include <algorithm>

#include "common/log.h"
#include "master/namespace/trash.h"
#include "master/propose.h"

namespace cairn {

namespace {

constexpr uint64_t ROOM_PART = 50;      // of all there is, made at once where room is wanted
constexpr size_t TREES_LOOKED_AT = 16;  // for one that nobody uses

bool isDone(const Result<Applied>& applied, const char* what) {
  Status outcome = outcomeOf(applied);
  if (!outcome.ok()) {
    spdlog::warn("{}: {}", what, outcome.error().why);
  }
  return outcome.ok();
}

}  // namespace

TrashKeeper::TrashKeeper(Parts parts, uint32_t defaultSeconds)
    : parts_(parts),
      defaultSeconds_(defaultSeconds),
      startedSeconds_(parts.replica.reader().nowSeconds()),
      started_(parts.clock.monotonic()),
      tasks_(*this) {}

TrashKeeper::~TrashKeeper() noexcept(false) = default;

void TrashKeeper::taskFailed(kj::Exception&& e) {
  spdlog::error("keeping the trash: {}", kj::str(e).cStr());
}

// The first entry of this leader's term is as late as its clock was then. A wall clock that jumps ahead must not end
// what was deleted just now, so from there on it is the time that has passed.
int64_t TrashKeeper::nowSeconds() const {
  return startedSeconds_ + (parts_.clock.monotonic() - started_) / SECOND;
}

void TrashKeeper::tick() {
  if (!working_) {
    working_ = true;
    tasks_.add(work().promise());
  }
}

Task<void> TrashKeeper::work() {
  KJ_DEFER(working_ = false);
  bool prepared = co_await prepare();
  for (size_t i = 0; prepared && i < ENTRIES_A_TICK; ++i) {
    bool did = co_await step();
    if (!did) {
      break;
    }
  }
}

Task<bool> TrashKeeper::prepare() {
  if (!reader().counted()) {
    spdlog::info("counting what is below each directory; this is done once");
    auto count = [](wire::Command::Builder command) { command.initQuotaChange(); };
    auto counted = co_await propose(parts_.replica, count);
    co_return isDone(counted, "the directories can't be counted");
  }
  auto root = reader().account(ROOT_INODE);
  if (defaultSeconds_ == 0 || (root && root->trashSeconds != Account::AS_ABOVE)) {
    co_return true;
  }
  auto set = [seconds = defaultSeconds_](wire::Command::Builder command) {
    auto retention = command.initTrashChange().initRetention();
    retention.setInode(raw(ROOT_INODE));
    retention.setSeconds(seconds);
    retention.setSet(true);
  };
  auto done = co_await propose(parts_.replica, set);
  co_return isDone(done, "what is deleted can't be kept");
}

// False: there is nothing to do.
Task<bool> TrashKeeper::step() {
  auto ids = due();
  if (!ids.empty()) {
    auto purge = [&ids](wire::Command::Builder command) {
      auto list = command.initTrashChange().initPurge(static_cast<unsigned>(ids.size()));
      for (unsigned i = 0; i < list.size(); ++i) {
        list.set(i, ids[i]);
      }
    };
    auto done = co_await propose(parts_.replica, purge);
    co_return isDone(done, "the trash can't be emptied");
  }
  InodeId tree = someTree();
  if (raw(tree) == 0) {
    co_return false;
  }
  auto reclaim = [tree](wire::Command::Builder command) { command.initTrashChange().setReclaim(raw(tree)); };
  auto done = co_await propose(parts_.replica, reclaim);
  co_return isDone(done, "a deleted tree can't be taken apart");
}

std::vector<uint64_t> TrashKeeper::due() const {
  std::vector<uint64_t> ids;
  if (reader().trashItems() == 0) {
    return ids;
  }
  auto now = static_cast<uint64_t>(std::max<int64_t>(nowSeconds(), 0));
  bool room = mustMakeRoom();
  uint64_t freed = 0;
  uint64_t enough = rawSpace(parts_.chunkservers.roster()).totalBytes / ROOM_PART;
  for (auto& item : reader().trash(0, PURGE_AT_ONCE)) {
    if (expiresSeconds(item.id) <= now || (room && freed <= enough)) {
      ids.push_back(item.id);
      freed += item.allocated;
    }
  }
  return ids;
}

// What was purged last must have come free first: else all would go at once where a part is enough.
bool TrashKeeper::mustMakeRoom() const {
  bool wanted = isFilling(parts_.chunkservers.roster()) || parts_.ownSpace.isLow();
  return reader().trashItems() > ITEMS_MAX || (wanted && parts_.cleanup.backlog() == 0);
}

// A file of a loose tree that somebody holds open would be lost to him. While there is one the tree waits.
bool TrashKeeper::isInUse(InodeId tree) const {
  for (auto& child : reader().children(tree, 0, TAKE_APART_MAX)) {
    if (!parts_.sessions.holders(child.inode).empty()) {
      return true;
    }
  }
  return false;
}

InodeId TrashKeeper::someTree() {
  for (InodeId tree : reader().looseTrees(TREES_LOOKED_AT)) {
    if (!isInUse(tree)) {
      return tree;
    }
  }
  return InodeId{};
}

}  // namespace cairn
