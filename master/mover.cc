#include "master/mover.h"

#include <algorithm>
#include <cerrno>

#include "common/log.h"
#include "master/namespace/operations.h"
#include "master/propose.h"
#include "master/session/fenced_list.h"
#include "rpc/copy_work.h"

namespace cairn {
namespace {

constexpr uint64_t WORK_STEP = WORK_RESULT + 1;
constexpr Nanos WALK_PAUSE = 2 * SECOND;  // before files that were passed over are looked at again

}  // namespace

Mover::Mover(Clock& clock, Random& random, Replica& replica, const Chunkservers& chunkservers)
    : clock_(clock),
      random_(random),
      replica_(replica),
      chunkservers_(chunkservers),
      queue_(replica.reader().map().version),
      tasks_(*this) {}

Mover::~Mover() noexcept(false) = default;

void Mover::taskFailed(kj::Exception&& e) {
  running_ = false;
  spdlog::error("copying into another class: {}", kj::str(e).cStr());
}

// ---- work for the chunkservers ------------------------------------------------------------------

// Begins anywhere, so that servers don't take it for an earlier leader's.
uint64_t Mover::newWork() {
  lastWork_ = (lastWork_ == 0 ? random_.next() & ~WORK_RESULT : lastWork_ + WORK_STEP) | COPY_WORK;
  return lastWork_;
}

void Mover::addWork(uint64_t id, ObjectId object, ClassId cls, uint32_t chunks) {
  queue_.add({id, object, cls, chunks}, map());
}

void Mover::startPass(Move& move) {
  auto inode = replica_.reader().record(move.item.inode);
  if (!inode) {
    return;  // follow() finds that
  }
  move.chunks = std::max(chunkCount(inode->largestSize, inode->chunkBits), move.surveyed);
  move.copy = newWork();
  works_[move.copy] = move.item.inode;
  addWork(move.copy, move.item.to, move.item.cls, move.chunks);
}

void Mover::startSurvey(Move& move) {
  auto inode = replica_.reader().record(move.item.inode);
  if (!inode) {
    return;
  }
  move.survey = newWork();
  works_[move.survey] = move.item.inode;
  addWork(move.survey, move.item.from, inode->cls, UINT32_MAX);
}

void Mover::endWork(Move& move) {
  for (uint64_t* id : {&move.copy, &move.survey}) {
    queue_.remove(*id);
    works_.erase(*id);
    results_.erase(*id);
    *id = 0;
  }
}

void Mover::handOut(ServerId server, wire::Work::Builder out) {
  auto ids = queue_.handOut(server, map(), clock_.monotonic(), HAND_OUT_MAX);
  std::vector<std::pair<uint64_t, const Move*>> found;
  for (uint64_t id : ids) {
    found.push_back({id, &moves_.at(works_.at(id))});
  }
  if (found.empty()) {
    return;
  }
  auto list = out.initCopies(static_cast<unsigned>(found.size()));
  for (uint32_t i = 0; i < list.size(); ++i) {
    auto& [id, move] = found[i];
    auto inode = replica_.reader().record(move->item.inode);
    list[i].setId(id);
    list[i].setInode(raw(move->item.inode));
    list[i].setFrom(raw(move->item.from));
    list[i].setTo(id == move->survey ? 0 : raw(move->item.to));
    list[i].setToClass(raw(move->item.cls));
    list[i].setChunks(move->chunks);
    if (inode) {
      list[i].setFromClass(raw(inode->cls));
      list[i].setChunkBits(inode->chunkBits);
      list[i].setGeneration(inode->generation);
    }
  }
}

void Mover::done(ServerId server, MapVersion mapVersion, capnp::List<uint64_t>::Reader ids) {
  for (uint64_t told : ids) {
    uint64_t id = told & ~WORK_RESULT;
    auto whose = works_.find(id);
    if (!isCopyWork(told) || whose == works_.end()) {
      continue;
    }
    Move& move = moves_.at(whose->second);
    uint32_t result = static_cast<uint32_t>(told & WORK_RESULT);
    if (id == move.copy && result == WORK_FAILED) {
      endWork(move);
      move.step = Step::DROP;
      noteWaiting(move, "inode " + std::to_string(raw(move.item.inode)) + " has blocks without a good copy");
      continue;
    }
    results_[id] = std::max(results_[id], result);
    queue_.done(server, id, mapVersion, map());
  }
  for (uint64_t id : queue_.finished(HAND_OUT_MAX)) {
    workDone(id);
  }
}

void Mover::workDone(uint64_t id) {
  auto whose = works_.find(id);
  if (whose == works_.end()) {
    queue_.remove(id);
    return;
  }
  Move& move = moves_.at(whose->second);
  if (id == move.survey) {
    move.surveyed = std::max(move.surveyed, results_[id]);
    move.survey = 0;
  } else {
    move.copy = 0;
    ++move.passes;
  }
  queue_.remove(id);
  works_.erase(id);
  results_.erase(id);
  look(move);
}

// ---- the steps of a file ------------------------------------------------------------------------

void Mover::adopt(const MoveItem& item) {
  Move move;
  move.item = item;
  move.since = clock_.monotonic();
  if (map().sealed.count(item.from) > 0) {  // by an earlier leader, or by this one at an earlier version
    move.step = Step::DRAIN;
    move.sealedAt = map().version;
    move.seals = 1;
  }
  moves_.emplace(item.inode, std::move(move));
}

// Takes over what the state says.
void Mover::follow() {
  std::set<uint64_t> tasks;
  for (auto& task : replica_.reader().moveTasks()) {
    tasks.insert(task.id);
    auto walk = walks_.try_emplace(task.id, Walk{MoveWalk(task.root, task.cls), false, 0, {}, {}}).first;
    walk->second.walk.setExcept(task.except);
  }
  std::erase_if(walks_, [&tasks](auto& walk) { return tasks.count(walk.first) == 0; });
  for (auto& item : replica_.reader().moves()) {
    if (moves_.count(item.inode) == 0) {
      adopt(item);
    }
  }
  for (auto it = moves_.begin(); it != moves_.end();) {
    Move& move = it->second;
    auto now = replica_.reader().move(it->first);
    if (!now || now->to != move.item.to) {
      endWork(move);
      it = moves_.erase(it);
      continue;
    }
    if (tasks.count(move.item.task) == 0 && move.step != Step::FINISH) {
      endWork(move);
      move.step = Step::DROP;
    }
    ++it;
  }
}

void Mover::look(Move& move) {
  Nanos now = clock_.monotonic();
  if (move.step == Step::COPY && move.copy == 0) {
    bool shortPass = move.passes > 0 && now - move.since <= SHORT_PASS;
    if (!obstacle_.empty()) {
      return;
    }
    if (shortPass || move.passes >= PASSES_MAX) {
      move.step = Step::SEAL;
    } else {
      move.since = now;
      startPass(move);
    }
  } else if (move.step == Step::DRAIN && drained_ >= move.sealedAt) {
    move.step = Step::LAST;
    startSurvey(move);
    startPass(move);
  } else if (move.step == Step::LAST && move.copy == 0 && move.survey == 0) {
    if (move.surveyed > move.chunks) {
      startPass(move);
    } else {
      move.step = Step::FINISH;
    }
  }
  if ((move.step == Step::DRAIN || move.step == Step::LAST) && now - move.since > SEAL_LIMIT) {
    endWork(move);
    move.step = Step::UNSEAL;
  }
}

void Mover::noteWaiting(const Move& move, const std::string& why) {
  auto walk = walks_.find(move.item.task);
  if (walk != walks_.end()) {
    walk->second.waiting.insert(move.item.inode);
    walk->second.why = why;
  }
}

// Copies that are missing come first, and with a chunkserver away nobody could say what it has under way.
std::string Mover::obstacle() const {
  for (auto& [id, shard] : map().shards) {
    if (!shard.joining.empty()) {
      return "it waits for copies that are being made";
    }
    for (VolumeNumber volume : shard.inSync) {
      const ServerRecord* server = map().serverOf(volume);
      if (server == nullptr || !server->online) {
        return "it waits for a chunkserver that doesn't answer";
      }
    }
  }
  return {};
}

// ---- what goes to the log -----------------------------------------------------------------------

void Mover::tick() {
  follow();
  if (moves_.empty() && walks_.empty()) {
    return;
  }
  obstacle_ = obstacle();
  drained_ = drainedEverywhere(map(), chunkservers_.fencesDrained());
  for (auto& [inode, move] : moves_) {
    look(move);
  }
  for (uint64_t id : queue_.finished(HAND_OUT_MAX)) {
    workDone(id);  // what had no shards to be done for
  }
  if (!running_) {
    running_ = true;
    tasks_.add(run().promise());
  }
}

Task<void> Mover::run() {
  for (bool more = true; more;) {
    bool again = co_await carryOn();
    follow();
    more = again;
  }
  running_ = false;
}

// True when it has done something after which there may be more at once.
Task<bool> Mover::carryOn() {
  bool any = false;
  for (Step step : {Step::FINISH, Step::DROP, Step::UNSEAL, Step::SEAL}) {
    bool proposed = co_await propose(step);
    any = any || proposed;
  }
  bool begun = co_await beginSome();
  co_return any || begun;
}

std::vector<InodeId> Mover::at(Step step) const {
  std::vector<InodeId> out;
  for (auto& [inode, move] : moves_) {
    if (move.step == step) {
      out.push_back(inode);
    }
  }
  return out;
}

Task<bool> Mover::propose(Step step) {
  auto inodes = at(step);
  if (inodes.empty()) {
    co_return false;
  }
  auto fill = [this, step, &inodes](wire::Command::Builder command) {
    auto change = command.initClassChange();
    auto count = static_cast<unsigned>(inodes.size());
    if (step == Step::FINISH) {
      auto list = change.initFinish(count);
      for (uint32_t i = 0; i < count; ++i) {
        const Move& move = moves_.at(inodes[i]);
        list[i].setInode(raw(inodes[i]));
        list[i].setTo(raw(move.item.to));
        list[i].setChunks(move.chunks);
      }
      return;
    }
    auto seal = [&] {
      auto out = change.initSeal();
      out.setOn(step == Step::SEAL);
      return out.initInodes(count);
    };
    auto list = step == Step::DROP ? change.initDrop(count) : seal();
    for (uint32_t i = 0; i < count; ++i) {
      list.set(i, raw(inodes[i]));
    }
  };
  auto applied = co_await cairn::propose(replica_, fill);
  Status outcome = outcomeOf(applied);
  if (!outcome.ok()) {
    spdlog::warn("copying into another class: {}", outcome.error().why);
    co_return false;
  }
  for (InodeId inode : inodes) {
    auto it = moves_.find(inode);
    if (it == moves_.end() || it->second.step != step) {
      continue;
    }
    Move& move = it->second;
    move.since = clock_.monotonic();
    if (step == Step::SEAL) {
      move.step = Step::DRAIN;
      move.sealedAt = map().version;
      ++move.seals;
    } else if (step == Step::UNSEAL) {
      noteWaiting(move, "inode " + std::to_string(raw(inode)) + " couldn't be compared for the last time soon enough");
      move.step = move.seals >= SEALS_MAX ? Step::DROP : Step::COPY;
      move.passes = 0;
    }
  }
  co_return true;
}

Task<bool> Mover::beginSome() {
  for (auto& item : replica_.reader().moveTasks()) {
    auto found = walks_.find(item.id);
    bool room = moves_.size() < FILES_MAX && map().sealed.size() + FILES_MAX < SEALED_MAX;
    if (found == walks_.end() || !room || clock_.monotonic() < found->second.notBefore || !obstacle_.empty()) {
      continue;
    }
    Walk& walk = found->second;
    std::vector<InodeId> inodes;
    walk.walk.next(replica_.reader(), FILES_MAX - moves_.size(), inodes);
    std::erase_if(inodes, [this](InodeId inode) { return moves_.count(inode) > 0; });
    if (inodes.empty()) {
      bool busy = std::any_of(moves_.begin(), moves_.end(),
                              [&item](auto& move) { return move.second.item.task == item.id; });
      if (!walk.walk.atEnd()) {
        co_await clock_.after(0);
        co_return true;
      }
      if (!busy) {
        co_return co_await endWalk(item.id);
      }
      continue;
    }
    walk.found = true;
    auto fill = [&](wire::Command::Builder command) {
      auto begin = command.initClassChange().initBegin();
      begin.setClass(raw(item.cls));
      begin.setTask(item.id);
      auto list = begin.initInodes(static_cast<unsigned>(inodes.size()));
      for (uint32_t i = 0; i < list.size(); ++i) {
        list.set(i, raw(inodes[i]));
      }
    };
    auto applied = co_await cairn::propose(replica_, fill);
    Status outcome = outcomeOf(applied);
    found = walks_.find(item.id);
    if (found == walks_.end()) {
      co_return outcome.ok();
    }
    for (InodeId inode : inodes) {
      auto record = replica_.reader().record(inode);
      if (record && record->cls != item.cls && !replica_.reader().move(inode)) {
        found->second.waiting.insert(inode);
      }
    }
    co_return outcome.ok();
  }
  co_return false;
}

// A walk that has found nothing to do is the last one.
Task<bool> Mover::endWalk(uint64_t id) {
  Walk& walk = walks_.at(id);
  if (walk.found) {
    walk.found = false;
    walk.notBefore = clock_.monotonic() + (walk.waiting.empty() ? 0 : WALK_PAUSE);
    walk.waiting.clear();
    walk.walk.startAgain();
    co_return true;
  }
  Status ended = co_await cancel(id);
  if (ended.ok()) {
    spdlog::info("task replicas-{} is done", id);
  }
  co_return ended.ok();
}

// ---- tasks --------------------------------------------------------------------------------------

Status Mover::mayBegin() const {
  if (replica_.reader().moveTasks().size() >= TASKS_MAX) {
    return Error{EBUSY, "there are " + std::to_string(TASKS_MAX) + " such tasks already: see dfsadmin task list"};
  }
  return {};
}

Task<Result<uint64_t>> Mover::begin(InodeId root, ClassId cls, std::string path) {
  auto fill = [&](wire::Command::Builder command) {
    auto task = command.initClassChange().initBeginTask();
    task.setInode(raw(root));
    task.setClass(raw(cls));
    task.setPath(kj::StringPtr(path.c_str(), path.size()).asBytes());
  };
  auto applied = co_await cairn::propose(replica_, fill);
  Status outcome = outcomeOf(applied);
  if (!outcome.ok()) {
    co_return outcome.error();
  }
  co_return raw(applied.value().index);
}

Task<Status> Mover::cancel(uint64_t task) {
  auto fill = [task](wire::Command::Builder command) { command.initClassChange().setEndTask(task); };
  auto applied = co_await cairn::propose(replica_, fill);
  co_return outcomeOf(applied);
}

std::vector<Mover::Progress> Mover::progress() const {
  std::vector<Progress> out;
  for (auto& task : replica_.reader().moveTasks()) {
    Progress one;
    one.task = task;
    auto walk = walks_.find(task.id);
    if (walk != walks_.end()) {
      one.waiting = walk->second.waiting.size();
      one.why = walk->second.why;
    }
    if (!obstacle_.empty()) {
      one.why = obstacle_;
    }
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace cairn
