#include "tests/sim/cluster/chaos_client.h"

#include <cerrno>

namespace cairn {
namespace {

constexpr uint32_t FILE_MODE = 0100644;
constexpr uint32_t DIRECTORY_MODE = 0755;
constexpr uint64_t CHUNK_BLOCKS = (uint64_t{1} << DEFAULT_CHUNK_BITS) / BLOCK_BYTES;
// Attributes that another mount has cached may be that old, and a little.
constexpr Nanos STALE = SECOND + 200 * MILLISECOND;
constexpr Nanos PAUSE_MAX = 30 * MILLISECOND;
constexpr uint64_t FILES_PER_CLIENT = 1'000'000;

}  // namespace

ChaosClient::ChaosClient(SimCluster& cluster, const std::string& mount, std::string name, unsigned number)
    : cluster_(cluster),
      name_(std::move(name)),
      random_(cluster.world().random("chaos " + name_)),
      client_(cluster.client(mount)),
      nextFile_(number * FILES_PER_CLIENT) {}

void ChaosClient::begin() {
  auto made = cluster_.wait(client_.makeDirectory(ROOT_INODE, name_, DIRECTORY_MODE, superuser()));
  directory_ = made.value().inode;
}

void ChaosClient::note(const std::string& doing) {
  doing_ = doing;
  cluster_.world().note(name_ + " " + doing);
}

void ChaosClient::count(int code) {
  ++operations_;
  failures_ += code == 0 ? 0 : 1;
  doing_ += " -> " + std::to_string(code);
  cluster_.world().note(name_ + " -> " + std::to_string(code));
}

void ChaosClient::report(const std::string& problem) {
  if (!problem.empty() && problem_.empty()) {
    problem_ = name_ + ", " + doing_ + ": " + problem;
  }
}

void ChaosClient::reportRead(const std::string& problem, uint64_t session) {
  bool evicted = client_.stats().session != session || problem.find("evicted") != std::string::npos;
  if (!evicted || !TestFile::isUnreadable(problem)) {
    report(problem);
  }
}

NameModel::End ChaosClient::endOf(int code) {
  switch (code) {
    case 0:
      return NameModel::End::DONE;
    case EEXIST:
    case ENOENT:
      return NameModel::End::REFUSED;
    default:
      return NameModel::End::UNKNOWN;
  }
}

uint64_t ChaosClient::anyBlock() {
  uint64_t block = random_->below(REGION_BLOCKS);
  return random_->below(3) == 0 ? CHUNK_BLOCKS - REGION_BLOCKS / 2 + block : block;
}

Task<void> ChaosClient::run(const std::vector<ChaosClient*>& all) {
  while (!stopping) {
    co_await step(all);
    Nanos pause = random_->between(0, PAUSE_MAX);
    co_await cluster_.world().clock().after(pause);
  }
}

Task<void> ChaosClient::step(const std::vector<ChaosClient*>& all) {
  if (files_.empty() || (files_.size() < FILES_MAX && random_->below(6) == 0)) {
    co_await create();
    co_return;
  }
  auto it = files_.begin();
  std::advance(it, random_->below(files_.size()));
  TestFile& file = *it->second;
  uint64_t dice = random_->below(100);
  if (dice < 40) {
    co_await write(file);
  } else if (dice < 60) {
    co_await sync(file);
  } else if (dice < 70) {
    co_await checkOwn(file);
  } else if (dice < 78) {
    co_await checkOther(*all[random_->below(all.size())]);
  } else if (dice < 84) {
    co_await resize(file);
  } else if (dice < 88) {
    co_await punch(file);
  } else if (dice < 92) {
    co_await rename(it->first);
  } else if (dice < 95) {
    co_await unlink(it->first);
  } else {
    co_await list();
  }
}

// ---- names --------------------------------------------------------------------------------------

Task<void> ChaosClient::create() {
  std::string name = newName();
  note("create " + name);
  auto made = co_await client_.create(directory_, name, FILE_MODE, OPEN_WRITE, superuser());
  count(made.code());
  names_.created(name, made.ok() ? raw(made.value().attributes.inode) : 0, endOf(made.code()));
  if (made.ok()) {
    auto& file = made.value();
    files_[name] = kj::heap<TestFile>(cluster_, client_, file.attributes.inode, file.handle, ++nextFile_);
    cluster_.world().note(name_ + ": file " + std::to_string(nextFile_) + " is inode " +
                          std::to_string(raw(file.attributes.inode)) + ", object " +
                          std::to_string(raw(file.attributes.layout.object)));
  }
}

Task<void> ChaosClient::rename(std::string from) {
  bool replace = files_.size() > 1 && random_->below(2) == 0;
  auto victim = files_.begin();
  std::advance(victim, random_->below(files_.size()));
  std::string to = replace && victim->first != from ? victim->first : newName();
  note("rename " + from + " " + to);
  if (files_.count(to) != 0) {
    files_[to]->setGone();
  }
  Status renamed = co_await client_.rename(directory_, from, directory_, to, 0, superuser());
  count(renamed.code());
  names_.renamed(from, to, endOf(renamed.code()));
  auto moved = kj::mv(files_[from]);
  files_.erase(from);
  auto replaced = files_.find(to);
  if (replaced != files_.end()) {
    doubtful_.push_back(kj::mv(replaced->second));
    files_.erase(replaced);
  }
  if (renamed.ok()) {
    files_[to] = kj::mv(moved);
  } else {
    moved->setGone();
    doubtful_.push_back(kj::mv(moved));
  }
}

Task<void> ChaosClient::unlink(std::string name) {
  note("unlink " + name);
  files_[name]->setGone();
  Status removed = co_await client_.unlink(directory_, name, superuser());
  count(removed.code());
  names_.removed(name, endOf(removed.code()));
  auto file = kj::mv(files_[name]);
  files_.erase(name);
  if (removed.ok() && random_->below(2) == 0) {
    // Open and nameless, it must go on to work.
    co_await write(*file);
    co_await checkOwn(*file);
  }
  client_.release(file->handle());
  doubtful_.push_back(kj::mv(file));
}

Task<Result<NameModel::Listing>> ChaosClient::listing(Client& reader) {
  NameModel::Listing out;
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = co_await reader.readDirectory(directory_, cookie, 3, false, superuser());
    if (!page.ok()) {
      co_return page.error();
    }
    for (auto& entry : page.value().entries) {
      out[entry.name] = raw(entry.inode);
      cookie = entry.next;
    }
    end = page.value().end;
  }
  co_return kj::mv(out);
}

Task<void> ChaosClient::list() {
  note("list");
  auto seen = co_await listing(client_);
  count(seen.code());
  if (seen.ok()) {
    report(names_.observe(seen.value()));
  }
}

// ---- data ---------------------------------------------------------------------------------------

Task<void> ChaosClient::write(TestFile& file) {
  uint64_t block = anyBlock();
  uint64_t blocks = 1 + random_->below(RUN_BLOCKS_MAX);
  note("write " + std::to_string(file.ledger().file()) + " " + std::to_string(block) + "+" + std::to_string(blocks));
  Status written = co_await file.writing(block, blocks);
  count(written.code());
}

Task<void> ChaosClient::resize(TestFile& file) {
  uint64_t blocks = random_->below(4) == 0 ? 0 : anyBlock();
  note("resize " + std::to_string(file.ledger().file()) + " " + std::to_string(blocks));
  Status resized = co_await file.resizing(blocks);
  count(resized.code());
}

Task<void> ChaosClient::punch(TestFile& file) {
  uint64_t block = anyBlock();
  note("punch " + std::to_string(file.ledger().file()) + " " + std::to_string(block));
  Status punched = co_await file.punching(block, 2);
  count(punched.code());
}

Task<void> ChaosClient::sync(TestFile& file) {
  note("fsync " + std::to_string(file.ledger().file()));
  Status synced = co_await file.syncing();
  count(synced.code());
}

Task<void> ChaosClient::checkOwn(TestFile& file) {
  note("check " + std::to_string(file.ledger().file()));
  const uint64_t session = client_.stats().session;
  std::string problem = co_await file.checkingBlocks(client_, anyBlock(), RUN_BLOCKS_MAX);
  count(problem.empty() ? 0 : EIO);
  reportRead(problem, session);
}

Task<void> ChaosClient::checkOther(ChaosClient& other) {
  if (other.files_.empty()) {
    co_return;
  }
  auto it = other.files_.begin();
  std::advance(it, random_->below(other.files_.size()));
  TestFile& file = *it->second;
  note("look at " + std::to_string(file.ledger().file()));
  const uint64_t session = client_.stats().session;
  auto floor = file.ledger().floor();
  co_await cluster_.world().clock().after(STALE);
  std::string problem = co_await file.checkingBlocks(client_, anyBlock(), RUN_BLOCKS_MAX, &floor);
  count(problem.empty() ? 0 : EIO);
  if (!file.isGone()) {
    reportRead(problem, session);
  }
}

// ---- afterwards ---------------------------------------------------------------------------------

void ChaosClient::finish() {
  for (auto& [name, file] : files_) {
    if (!cluster_.wait(file->syncing()).ok()) {
      // Errors of bad weather are told once; from now on all is well.
      report(cluster_.wait(file->syncing()).ok() ? "" : "fsync fails in calm weather");
    }
  }
}

Task<std::string> ChaosClient::checkNames(Client& reader) {
  auto seen = co_await listing(reader);
  if (!seen.ok()) {
    co_return "the directory can't be read: " + seen.error().why;
  }
  std::string problem = names_.observe(seen.value());
  for (auto& [name, file] : files_) {
    auto it = seen.value().find(name);
    if (problem.empty() && (it == seen.value().end() || it->second != raw(file->inode()))) {
      problem = name + " isn't the file that was made";
    }
  }
  co_return kj::mv(problem);
}

Task<std::string> ChaosClient::checkFiles(Client& reader) {
  for (auto& [name, file] : files_) {
    std::string problem = co_await file->checking(reader);
    if (!problem.empty()) {
      co_return name + ": " + problem;
    }
  }
  co_return std::string();
}

}  // namespace cairn
