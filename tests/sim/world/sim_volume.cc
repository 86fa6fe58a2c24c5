#include "tests/sim/world/sim_volume.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace cairn {

namespace {

constexpr uint64_t PAGE = SimContent::PAGE;
constexpr unsigned SWEEP_AFTER_REMOVED = 64;

using Guard = std::lock_guard<std::mutex>;

}  // namespace

SimVolume::SimVolume(std::string name, Clock& clock, SimTrace& trace, uint64_t seed, SimVolumeOptions options)
    : name_(std::move(name)), clock_(clock), trace_(trace), random_(seed, "volume " + name_), options_(options) {}

// ---------------------------------------------------------------- what befalls the volume

void SimVolume::processDied() {
  Guard guard(mutex_);
  life_++;
  locks_.clear();
  for (auto& [node, file] : files_) {
    file.openCount = 0;
  }
  collectGarbage();
  recount();
}

void SimVolume::powerCut() {
  note("power cut");
  Guard guard(mutex_);
  life_++;
  locks_.clear();
  names_.powerCut(random_);
  auto named = names_.files();
  for (auto it = files_.begin(); it != files_.end();) {
    it->second.openCount = 0;
    it->second.cold = true;
    it = named.count(it->first) == 0 ? files_.erase(it) : std::next(it);
  }
  for (auto& [node, file] : files_) {
    file.named = true;
    file.content.powerCut(random_);
  }
  recount();
}

void SimVolume::setFaults(SimFaults faults) {
  Guard guard(mutex_);
  faults_ = std::move(faults);
}

void SimVolume::setTrip(SimTrip trip) {
  Guard guard(mutex_);
  trip_ = trip;
}

void SimVolume::setCapacity(uint64_t bytes) {
  Guard guard(mutex_);
  options_.capacityBytes = bytes;
}

void SimVolume::setBallast(uint64_t bytes) {
  Guard guard(mutex_);
  ballastBytes_ = bytes;
}

void SimVolume::dropCache() {
  Guard guard(mutex_);
  for (auto& [node, file] : files_) {
    file.content.dropCache();
    file.cold = true;
  }
  recount();
}

std::vector<std::string> SimVolume::rot(unsigned count, const std::function<bool(const std::string& path)>& befalls) {
  std::vector<std::string> done;
  Guard guard(mutex_);
  std::vector<std::pair<std::string, NodeId>> candidates;
  for (const auto& [node, path] : names_.files()) {
    if (befalls(path) && !files_.at(node).content.pageNumbers().empty()) {
      candidates.emplace_back(path, node);
    }
  }
  for (unsigned i = 0; i < count && !candidates.empty(); i++) {
    const auto& [path, node] = candidates[random_.below(candidates.size())];
    auto pages = files_.at(node).content.pageNumbers();
    uint64_t offset = pages[random_.below(pages.size())] * PAGE + random_.below(PAGE);
    if (files_.at(node).content.rot(offset, static_cast<unsigned>(random_.below(8)))) {
      done.push_back(path + ":" + std::to_string(offset));
      note("rot " + done.back());
    }
  }
  return done;
}

bool SimVolume::rotAt(const std::string& path, uint64_t offset, unsigned bit) {
  Guard guard(mutex_);
  SimNames::Place place;
  return names_.find(path, place) == 0 && place.node && files_.count(*place.node) > 0 &&
         files_.at(*place.node).content.rot(offset, bit);
}

bool SimVolume::rotUnderCache(const std::string& path, uint64_t offset, unsigned bit) {
  Guard guard(mutex_);
  SimNames::Place place;
  return names_.find(path, place) == 0 && place.node && files_.count(*place.node) > 0 &&
         files_.at(*place.node).content.rotStored(offset, bit);
}

// ---------------------------------------------------------------- for tests, and small things

uint64_t SimVolume::accesses() const {
  Guard guard(mutex_);
  return accesses_;
}

uint64_t SimVolume::usedBytes() const {
  Guard guard(mutex_);
  return usedBytes_;
}

std::string SimVolume::hostPath(const std::string& path) const {
  return "/sim/" + name_ + (path.empty() || path == "." ? "" : "/" + path);
}

SimVolume::Life SimVolume::life() const {
  Guard guard(mutex_);
  return life_;
}

Nanos SimVolume::syncDelay() {
  Nanos stalled = std::max<Nanos>(0, stalledUntil_ - clock_.monotonic());
  return stalled + random_.between(options_.syncMin, options_.syncMax);
}

Nanos SimVolume::coldReadDelay() {
  Nanos stalled = std::max<Nanos>(0, stalledUntil_ - clock_.monotonic());
  return stalled + random_.between(options_.coldReadMin, options_.coldReadMax);
}

void SimVolume::note(const std::string& event) {
  trace_.note(clock_.monotonic(), name_ + " " + event);
}

Error SimVolume::fail(int code, const std::string& path, const char* doing) const {
  return Error{code, hostPath(path) + ": " + doing + ": " + std::generic_category().message(code)};
}

Status SimVolume::enter(Life life, const std::string& path, const char* doing) {
  if (life != life_) {
    return Error{EIO, hostPath(path) + ": " + doing + ": by a process that is dead"};
  }
  accesses_++;
  if (trip_.countdown > 0 && --trip_.countdown == 0) {
    trip_.countdown = trip_.forGood ? 1 : 0;
    return fail(trip_.code, path, doing);
  }
  return {};
}

bool SimVolume::chosen(Kind kind, uint32_t chance, const FileNode& file, uint64_t block) const {
  if (chance == 0 || file.spent.count({kind, block}) > 0 || (faults_.befalls && !faults_.befalls(file.path))) {
    return false;
  }
  uint64_t salt = static_cast<uint64_t>(kind) << 56 ^ block;
  return hash64(file.path, hash64(std::to_string(salt), faults_.seed)) % 1'000'000 < chance;
}

// `once`: a fault that happens uses itself up.
bool SimVolume::anyChosen(Kind kind, uint32_t chance, FileNode& file, uint64_t offset, uint64_t length, bool once) {
  for (uint64_t block = offset / PAGE; chance > 0 && length > 0 && block <= (offset + length - 1) / PAGE; block++) {
    if (chosen(kind, chance, file, block)) {
      if (once) {
        file.spent.insert({kind, block});
      }
      return true;
    }
  }
  return false;
}

// ---------------------------------------------------------------- contents

template <typename Change>
void SimVolume::changeContent(FileNode& file, Change change) {
  uint64_t before = file.content.allocatedBytes();
  change();
  usedBytes_ += file.content.allocatedBytes() - before;
}

Result<SimVolume::NodeId> SimVolume::openFile(Life life, const std::string& path, Disk::Mode mode) {
  Guard guard(mutex_);
  auto entered = enter(life, path, "open");
  if (!entered.ok()) {
    return entered.error();
  }
  bool create = mode == Disk::Mode::CREATE || mode == Disk::Mode::CREATE_EXCLUSIVE;
  SimNames::Place place;
  int code = names_.find(path, place);
  if (code == 0 && !place.node && !create) {
    code = ENOENT;
  } else if (code == 0 && place.node && names_.isDirectory(*place.node)) {
    code = EISDIR;
  } else if (code == 0 && place.node && mode == Disk::Mode::CREATE_EXCLUSIVE) {
    code = EEXIST;
  } else if (code == 0 && !names_.isDirectory(place.directory)) {
    code = ENOTDIR;
  }
  if (code != 0) {
    return fail(code, path, "open");
  }
  NodeId node = place.node ? *place.node : names_.addFile(place);
  FileNode& file = files_[node];
  if (!place.node) {
    file.path = path;
    file.directory = place.directory;
  }
  file.openCount++;
  return node;
}

void SimVolume::holdFile(Life life, NodeId node) {
  Guard guard(mutex_);
  if (life == life_) {
    files_.at(node).openCount++;
  }
}

void SimVolume::closeFile(Life life, NodeId node) {
  Guard guard(mutex_);
  if (life != life_) {
    return;
  }
  FileNode& file = files_.at(node);
  file.openCount--;
  dropContentIfUnused(file);
}

Result<size_t> SimVolume::read(Life life, NodeId node, uint64_t offset, kj::ArrayPtr<kj::byte> out, bool onlyCached) {
  Guard guard(mutex_);
  auto entered = enter(life, "file", "read");
  if (!entered.ok()) {
    return entered.error();
  }
  FileNode& file = files_.at(node);
  if (onlyCached && file.cold) {
    return fail(EAGAIN, file.path, "read");
  }
  file.cold = false;
  if (anyChosen(Kind::READ, faults_.readError, file, offset, out.size(), false)) {
    return fail(EIO, file.path, "read");
  }
  return file.content.read(offset, out);
}

Result<size_t> SimVolume::readDevice(Life life, NodeId node, uint64_t offset, kj::ArrayPtr<kj::byte> out) {
  auto cached = read(life, node, offset, out, false);
  if (!cached.ok()) {
    return cached;
  }
  Guard guard(mutex_);
  return files_.at(node).content.readDevice(offset, out);
}

Status SimVolume::write(Life life, NodeId node, uint64_t offset, kj::ArrayPtr<const kj::byte> data) {
  Guard guard(mutex_);
  auto entered = enter(life, "file", "write");
  if (!entered.ok()) {
    return entered;
  }
  FileNode& file = files_.at(node);
  if (ballastBytes_ + usedBytes_ + file.content.growth(offset, data.size()) > options_.capacityBytes) {
    return fail(ENOSPC, file.path, "write");
  }
  if (anyChosen(Kind::WRITE, faults_.writeError, file, offset, data.size(), true)) {
    return fail(EIO, file.path, "write");
  }
  if (faults_.readError > 0) {
    for (uint64_t block = offset / PAGE; block * PAGE < offset + data.size(); block++) {
      file.spent.insert({Kind::READ, block});  // a device puts a rewritten block elsewhere
    }
  }
  changeContent(file, [&] { file.content.write(offset, data); });
  return {};
}

Status SimVolume::truncate(Life life, NodeId node, uint64_t size) {
  Guard guard(mutex_);
  auto entered = enter(life, "file", "truncate");
  if (entered.ok()) {
    FileNode& file = files_.at(node);
    changeContent(file, [&] { file.content.truncate(size); });
  }
  return entered;
}

Status SimVolume::punch(Life life, NodeId node, uint64_t offset, uint64_t length) {
  Guard guard(mutex_);
  auto entered = enter(life, "file", "punch");
  if (entered.ok()) {
    FileNode& file = files_.at(node);
    changeContent(file, [&] { file.content.punch(offset, length); });
  }
  return entered;
}

Result<FileInfo> SimVolume::info(Life life, NodeId node) {
  Guard guard(mutex_);
  auto entered = enter(life, "file", "stat");
  if (!entered.ok()) {
    return entered.error();
  }
  const SimContent& content = files_.at(node).content;
  return FileInfo{content.size(), content.allocatedBytes(), static_cast<uint64_t>(node)};
}

Result<SimVolume::Sync> SimVolume::beginSync(Life life, NodeId node) {
  Guard guard(mutex_);
  auto entered = enter(life, "file", "sync");
  if (!entered.ok()) {
    auto it = files_.find(node);
    if (life == life_ && it != files_.end()) {
      it->second.content.failSync(it->second.content.beginSync());
    }
    return entered.error();
  }
  return Sync{node, files_.at(node).content.beginSync()};
}

SimContent::Fate SimVolume::fate(FileNode& file, uint64_t page) {
  if (chosen(Kind::LOST, faults_.lostWrite, file, page)) {
    file.spent.insert({Kind::LOST, page});
    return SimContent::Fate::LOST;
  }
  if (chosen(Kind::MISDIRECTED, faults_.misdirectedWrite, file, page)) {
    file.spent.insert({Kind::MISDIRECTED, page});
    return SimContent::Fate::MISDIRECTED;
  }
  return SimContent::Fate::STORED;
}

Status SimVolume::endSync(Life life, const Sync& sync) {
  Guard guard(mutex_);
  if (life != life_) {
    return Error{EIO, hostPath("file") + ": sync: by a process that is dead"};
  }
  FileNode& file = files_.at(sync.node);
  if (anyChosen(Kind::SYNC, faults_.syncError, file, 0, 1, true)) {
    file.content.failSync(sync.point);
    return fail(EIO, file.path, "sync");
  }
  file.content.endSync(sync.point, [this, &file](uint64_t page) { return fate(file, page); });
  if (file.named && names_.isJournaled(file.directory)) {
    names_.sync(file.directory);
  }
  return {};
}

// ---------------------------------------------------------------- names

void SimVolume::dropContentIfUnused(const FileNode& file) {
  if (!live(file)) {
    usedBytes_ -= file.content.allocatedBytes();
    removedSinceSweep_++;
  }
}

void SimVolume::dropName(NodeId node) {
  FileNode& file = files_.at(node);
  file.named = false;
  dropContentIfUnused(file);
}

// Contents without a name stay as long as a power cut could bring the name back.
void SimVolume::collectGarbage() {
  removedSinceSweep_ = 0;
  auto reachable = names_.reachable();
  for (auto it = files_.begin(); it != files_.end();) {
    it = !live(it->second) && reachable.count(it->first) == 0 ? files_.erase(it) : std::next(it);
  }
}

void SimVolume::recount() {
  usedBytes_ = 0;
  for (const auto& [node, file] : files_) {
    usedBytes_ += live(file) ? file.content.allocatedBytes() : 0;
  }
}

Status SimVolume::remove(Life life, const std::string& path, bool directory) {
  Guard guard(mutex_);
  auto entered = enter(life, path, "remove");
  if (!entered.ok()) {
    return entered;
  }
  SimNames::Place place;
  int code = names_.find(path, place);
  if (code == 0 && !place.node) {
    code = ENOENT;
  } else if (code == 0 && names_.isDirectory(*place.node) != directory) {
    code = directory ? ENOTDIR : EISDIR;
  } else if (code == 0 && directory && (place.name.empty() || !names_.isEmpty(*place.node))) {
    code = ENOTEMPTY;
  }
  if (code != 0) {
    return fail(code, path, "remove");
  }
  names_.remove(place);
  if (!directory) {
    dropName(*place.node);
  }
  return {};
}

Status SimVolume::rename(Life life, const std::string& from, const std::string& to) {
  Guard guard(mutex_);
  auto entered = enter(life, from, "rename");
  if (!entered.ok()) {
    return entered;
  }
  SimNames::Place source, target;
  int code = names_.find(from, source);
  if (code == 0 && !source.node) {
    code = ENOENT;
  }
  if (code == 0) {
    code = names_.find(to, target);
  }
  if (code == 0 && target.node && names_.isDirectory(*target.node)) {
    code = names_.isDirectory(*source.node) && names_.isEmpty(*target.node) ? 0 : ENOTEMPTY;
  }
  if (code != 0) {
    return fail(code, from, ("rename to " + to).c_str());
  }
  if (target.node == source.node) {
    return {};
  }
  names_.rename(source, target);
  if (target.node && files_.count(*target.node) > 0) {
    dropName(*target.node);
  }
  auto moved = files_.find(*source.node);
  if (moved != files_.end()) {
    moved->second.directory = target.directory;
  }
  return {};
}

Status SimVolume::makeDirectory(Life life, const std::string& path) {
  Guard guard(mutex_);
  auto entered = enter(life, path, "make directory");
  for (size_t end = 0; entered.ok() && end != std::string::npos;) {
    end = path.find('/', end + 1);
    SimNames::Place place;
    int code = names_.find(path.substr(0, end), place);
    if (code == 0 && place.node && !names_.isDirectory(*place.node)) {
      code = ENOTDIR;
    }
    if (code != 0) {
      return fail(code, path, "make directory");
    }
    if (!place.node) {
      names_.addDirectory(place);
    }
  }
  return entered;
}

Result<std::vector<std::string>> SimVolume::list(Life life, const std::string& path) {
  Guard guard(mutex_);
  auto entered = enter(life, path, "list");
  if (!entered.ok()) {
    return entered.error();
  }
  SimNames::Place place;
  int code = names_.find(path, place);
  if (code == 0 && !place.node) {
    code = ENOENT;
  } else if (code == 0 && !names_.isDirectory(*place.node)) {
    code = ENOTDIR;
  }
  if (code != 0) {
    return fail(code, path, "list");
  }
  return names_.list(*place.node);
}

bool SimVolume::exists(Life life, const std::string& path) {
  Guard guard(mutex_);
  SimNames::Place place;
  return life == life_ && names_.find(path, place) == 0 && place.node;
}

Status SimVolume::syncDirectory(Life life, const std::string& path) {
  Guard guard(mutex_);
  auto entered = enter(life, path, "sync directory");
  if (!entered.ok()) {
    return entered;
  }
  SimNames::Place place;
  int code = names_.find(path, place);
  if (code == 0 && !place.node) {
    code = ENOENT;
  } else if (code == 0 && !names_.isDirectory(*place.node)) {
    code = ENOTDIR;
  }
  if (code != 0) {
    return fail(code, path, "sync directory");
  }
  names_.sync(*place.node);
  if (removedSinceSweep_ >= SWEEP_AFTER_REMOVED) {
    collectGarbage();
  }
  return {};
}

void SimVolume::journal(Life life, const std::string& directory) {
  Guard guard(mutex_);
  SimNames::Place place;
  if (life == life_ && names_.find(directory, place) == 0 && place.node && names_.isDirectory(*place.node)) {
    names_.setJournaled(*place.node);
  }
}

Status SimVolume::lock(Life life, const std::string& path) {
  Guard guard(mutex_);
  auto entered = enter(life, path, "lock");
  if (entered.ok() && !locks_.insert(path).second) {
    return Error{EWOULDBLOCK, hostPath(path) + ": in use by process 1; stop that one or name another directory"};
  }
  return entered;
}

void SimVolume::unlock(Life life, const std::string& path) {
  Guard guard(mutex_);
  if (life == life_) {
    locks_.erase(path);
  }
}

Result<DiskSpace> SimVolume::space(Life life) {
  Guard guard(mutex_);
  auto entered = enter(life, "", "statvfs");
  if (!entered.ok()) {
    return entered.error();
  }
  uint64_t total = options_.capacityBytes;
  return DiskSpace{total, total - std::min(total, ballastBytes_ + usedBytes_), 1'000'000};
}

}  // namespace cairn
