#include "master/trash_keeper.h"

#include <algorithm>

#include "common/log.h"
#include "master/namespace/trash.h"
#include "master/propose.h"

namespace cairn {

namespace {

constexpr uint64_t ROOM_PART = 50;      // of all there is, made at once where room is wanted
constexpr Nanos ROOM_WAIT = SECOND / 2;
constexpr Nanos LOOK_FROM_START = 60 * SECOND;
constexpr size_t ENTRY_WORK = 16;         // of a log entry, in names
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
  for (size_t done = 0; prepared && done < WORK_A_TICK;) {
    size_t more = co_await step();
    if (more == 0) {
      break;
    }
    done += more + ENTRY_WORK;
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

// How much it did; 0: there is nothing to do.
Task<size_t> TrashKeeper::step() {
  auto ids = due();
  if (!ids.empty()) {
    auto purge = [&ids](wire::Command::Builder command) {
      auto list = command.initTrashChange().initPurge(static_cast<unsigned>(ids.size()));
      for (unsigned i = 0; i < list.size(); ++i) {
        list.set(i, ids[i]);
      }
    };
    auto done = co_await propose(parts_.replica, purge);
    purgedUpTo_ = ids.back();
    co_return isDone(done, "the trash can't be emptied") ? ids.size() : 0;
  }
  size_t names = 0;
  InodeId tree = someTree(names);
  if (raw(tree) == 0) {
    co_return size_t{0};
  }
  auto reclaim = [tree](wire::Command::Builder command) { command.initTrashChange().setReclaim(raw(tree)); };
  auto done = co_await propose(parts_.replica, reclaim);
  co_return isDone(done, "a deleted tree can't be taken apart") ? names + 1 : 0;
}

std::vector<uint64_t> TrashKeeper::due() {
  std::vector<uint64_t> ids;
  if (reader().trashItems() == 0) {
    return ids;
  }
  if (parts_.clock.monotonic() - lookedFromStart_ > LOOK_FROM_START) {
    lookedFromStart_ = parts_.clock.monotonic();
    purgedUpTo_ = 0;
  }
  auto now = static_cast<uint64_t>(std::max<int64_t>(nowSeconds(), 0));
  bool room = mustMakeRoom();
  auto first = reader().trash(purgedUpTo_, 1);
  if (first.empty() || (!room && expiresSeconds(first[0].id) > now)) {
    return ids;
  }
  if (room) {
    madeRoom_ = parts_.clock.monotonic();
  }
  uint64_t freed = 0;
  uint64_t enough = rawSpace(parts_.chunkservers.roster()).totalBytes / ROOM_PART;
  for (auto& item : reader().trash(purgedUpTo_, PURGE_AT_ONCE)) {
    if (expiresSeconds(item.id) <= now || (room && freed <= enough)) {
      ids.push_back(item.id);
      freed += item.allocated;
    }
  }
  return ids;
}

// What was purged last gets time to come free: else all would go at once where a part is enough. Not for ever, for a
// server that is away keeps its part from being finished.
bool TrashKeeper::mustMakeRoom() const {
  bool wanted = isFilling(parts_.chunkservers.roster()) || parts_.ownSpace.isLow();
  bool waited = parts_.clock.monotonic() - madeRoom_ >= ROOM_WAIT;
  return reader().trashItems() > ITEMS_MAX || (wanted && (waited || parts_.cleanup.backlog() == 0));
}

// A file of a loose tree that somebody holds open would be lost to him. While there is one the tree waits.
bool TrashKeeper::isInUse(const LooseTree& tree, size_t& names) const {
  auto children = reader().children(tree.directory, std::max<uint64_t>(tree.cookie, 1) - 1, TAKE_APART_MAX);
  names = children.size();
  return std::any_of(children.begin(), children.end(), [this](const NamespaceReader::Child& child) {
    return !parts_.sessions.holders(child.inode).empty();
  });
}

InodeId TrashKeeper::someTree(size_t& names) {
  if (!reader().hasLooseTrees()) {
    return InodeId{};
  }
  auto trees = reader().looseTrees(lastTree_, TREES_LOOKED_AT);
  if (trees.empty()) {
    lastTree_ = InodeId{};
    trees = reader().looseTrees(lastTree_, TREES_LOOKED_AT);
  }
  for (const LooseTree& tree : trees) {
    if (!isInUse(tree, names)) {
      lastTree_ = InodeId{raw(tree.directory) - 1};  // it may need more than one step
      return tree.directory;
    }
    lastTree_ = tree.directory;
  }
  return InodeId{};
}

}  // namespace cairn
