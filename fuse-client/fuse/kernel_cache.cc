#include "fuse-client/fuse/kernel_cache.h"

#include <kj/vector.h>
#include <linux/fuse.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "common/log.h"

namespace cairn {
namespace {

constexpr int NOTIFY_INC_EPOCH = 8;  // of FUSE 7.44, newer than Debian 12's <linux/fuse.h>

// The errno of a notification; 0: the kernel has done it.
int notify(int descriptor, int code, const std::string& body) {
  fuse_out_header header{};
  header.len = static_cast<uint32_t>(sizeof header + body.size());
  header.error = code;
  iovec parts[2] = {{&header, sizeof header}, {const_cast<char*>(body.data()), body.size()}};
  ssize_t sent = ::writev(descriptor, parts, body.empty() ? 1 : 2);
  return sent < 0 ? errno : 0;
}

template <typename T>
std::string bytesOf(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

void KernelCache::taskFailed(kj::Exception&& exception) {
  spdlog::error("mount: the kernel was not told to forget: {}", exception.getDescription().cStr());
}

void KernelCache::attach(int descriptor) {
  descriptor_ = descriptor;
  epochs_ = descriptor >= 0 && notify(descriptor, NOTIFY_INC_EPOCH, {}) == 0;
  if (descriptor >= 0 && !epochs_) {
    spdlog::info("mount: this kernel can't be told to forget names at once, so it is to ask about each");
  }
}

// ---- telling ------------------------------------------------------------------------------------

bool KernelCache::isOpenFile(const Node& node) const {
  return node.opens > 0 && S_ISREG(node.mode);
}

bool KernelCache::isContended(const Node& node) const {
  return node.recalledAt != 0 && clock_.monotonic() < node.recalledAt + CONTENDED;
}

Nanos KernelCache::tellAttributes(const Attributes& attributes, Nanos leased) {
  Node* node = nodes_.find(attributes.inode);
  if (node == nullptr) {
    return 0;
  }
  node->toldAt = clock_.monotonic();
  bool news = isContended(*node) || node->toldAt < node->newsAt + ARRIVAL;
  Nanos believed = isOpenFile(*node) && news ? 0 : leased;
  node->attributesUntil = std::max(node->attributesUntil, node->toldAt + believed);
  return believed;
}

FileTime KernelCache::tellModified(const Attributes& attributes, bool looks) {
  Node* node = nodes_.find(attributes.inode);
  FileTime time = attributes.modified;
  if (node == nullptr || !S_ISREG(attributes.mode)) {
    return time;
  }
  bool looksUnchanged = node->toldModified == time && node->toldSize == attributes.sizeBytes;
  if (looks && node->pagesStale && looksUnchanged) {
    time.nanos ^= 1;
  }
  node->pagesStale = node->pagesStale && !looks;
  if (!looksUnchanged) {
    node->newsAt = clock_.monotonic();
  }
  node->toldModified = time;
  node->toldSize = attributes.sizeBytes;
  return time;
}

Nanos KernelCache::tellName(InodeId directory, Nanos leased) {
  Node* node = nodes_.find(directory);
  if (node == nullptr || !epochs_ || leased <= 0) {
    return 0;
  }
  node->namesToldAt = clock_.monotonic();
  node->namesUntil = std::max(node->namesUntil, node->namesToldAt + leased);
  return leased;
}

void KernelCache::inherited(Node& node, uint32_t opens) {
  node.opens = opens;
  node.opened = true;
  node.attributesUntil = node.namesUntil = INT64_MAX;
}

void KernelCache::written(InodeId inode) {
  Node* node = nodes_.find(inode);
  if (node != nullptr) {
    node->newsAt = clock_.monotonic();
  }
}

kj::Promise<void> KernelCache::opening(InodeId inode) {
  Node* node = nodes_.find(inode);
  if (node == nullptr) {
    return kj::READY_NOW;
  }
  ++node->opens;
  auto forgetting = forgetting_.find(inode);
  if (forgetting == forgetting_.end()) {
    return everything_.addBranch();
  }
  return forgetting->second.done.addBranch().then([this] { return everything_.addBranch(); });
}

void KernelCache::closed(InodeId inode) {
  Node* node = nodes_.find(inode);
  if (node != nullptr && node->opens > 0) {
    --node->opens;
  }
}

bool KernelCache::mayKeepPages(InodeId inode) {
  Node* node = nodes_.find(inode);
  return node != nullptr && !node->pagesStale;
}

bool KernelCache::isContended(InodeId inode) {
  Node* node = nodes_.find(inode);
  return node != nullptr && isContended(*node);
}

// On a worker, for the kernel may wait for a lock. The job outlives whoever waits for it.
kj::Promise<int> KernelCache::send(Workers& workers, int code, std::string body) {
  auto result = std::make_shared<int>(0);
  auto job = [result, descriptor = descriptor_, code, body = kj::mv(body)] {
    *result = notify(descriptor, code, body);
  };
  return workers.run(kj::mv(job)).then([result] { return *result; });
}

// `offset` < 0: attributes only; 0: the pages too.
std::string KernelCache::inodeBody(uint64_t node, int64_t offset) {
  fuse_notify_inval_inode_out out{};
  out.ino = node;
  out.off = offset;
  return bytesOf(out);
}

// ---- attributes and bytes -----------------------------------------------------------------------

kj::Promise<void> KernelCache::forgetInode(InodeId inode) {
  Node* node = nodes_.find(inode);
  if (node == nullptr || descriptor_ < 0) {
    return kj::READY_NOW;
  }
  const Nanos now = clock_.monotonic();
  const Nanos until = std::exchange(node->attributesUntil, 0);
  node->recalledAt = now;
  if (isOpenFile(*node)) {
    node->pagesStale = true;
    node->newsAt = now;
    if (now < until) {  // it is in use, so this waits for nothing
      notify(descriptor_, FUSE_NOTIFY_INVAL_INODE, inodeBody(nodeOf(inode), -1));
    }
    return kj::READY_NOW;
  }
  bool pages = std::exchange(node->opened, false) && S_ISREG(node->mode);
  auto earlier = forgetting_.find(inode);
  kj::Promise<void> before = earlier == forgetting_.end() ? kj::Promise<void>(kj::READY_NOW)
                                                          : earlier->second.done.addBranch();
  if (now >= until && !pages) {
    return before;
  }
  auto forgotten = forgetClosed(inode, pages).promise();
  auto done = forgotten.then([before = kj::mv(before)]() mutable { return kj::mv(before); }).fork();
  auto branch = done.addBranch();
  const uint64_t serial = ++lastForgetting_;
  tasks_.add(done.addBranch().then([this, inode, serial] {
    auto last = forgetting_.find(inode);
    if (last != forgetting_.end() && last->second.serial == serial) {
      forgetting_.erase(last);
    }
  }));
  forgetting_.insert_or_assign(inode, Forgetting{serial, kj::mv(done)});
  return branch;
}

Task<void> KernelCache::forgetClosed(InodeId inode, bool pages) {
  const Nanos began = clock_.monotonic();
  Workers& workers = pages ? waiters_ : workers_;
  for (;;) {
    int code = co_await send(workers, FUSE_NOTIFY_INVAL_INODE, inodeBody(nodeOf(inode), pages ? 0 : -1));
    Node* node = nodes_.find(inode);
    bool onItsWay = code == ENOENT && node != nullptr && began < node->toldAt + ARRIVAL;
    if (!onItsWay || clock_.monotonic() - began > ARRIVAL) {
      co_return;
    }
    co_await clock_.after(MILLISECOND);
  }
}

// ---- names --------------------------------------------------------------------------------------

void KernelCache::forgetNames() {
  if (descriptor_ >= 0 && epochs_) {
    notify(descriptor_, NOTIFY_INC_EPOCH, {});
  }
}

kj::Promise<void> KernelCache::forgetName(InodeId directory, const std::string& name) {
  Node* node = nodes_.find(directory);
  if (node == nullptr || descriptor_ < 0 || clock_.monotonic() >= node->namesUntil) {
    return kj::READY_NOW;
  }
  // One that is on its way to the kernel can only be outrun by an epoch.
  if (namesWaiting_ >= WAITING_MAX || clock_.monotonic() < node->namesToldAt + ARRIVAL) {
    forgetNames();
    return kj::READY_NOW;
  }
  return forgetOneName(directory, name).promise();
}

Task<void> KernelCache::forgetOneName(InodeId directory, std::string name) {
  fuse_notify_inval_entry_out out{};
  out.parent = nodeOf(directory);
  out.namelen = static_cast<uint32_t>(name.size());
  ++namesWaiting_;
  auto body = bytesOf(out) + name + '\0';
  auto sent = send(waiters_, FUSE_NOTIFY_INVAL_ENTRY, kj::mv(body)).then([this](int) { --namesWaiting_; }).fork();
  tasks_.add(sent.addBranch());
  bool late = false;
  auto patience = clock_.after(LOCK_PATIENCE).then([&late] { late = true; });
  auto first = sent.addBranch().exclusiveJoin(kj::mv(patience));
  co_await kj::mv(first);
  if (late) {
    forgetNames();
  }
}

// ---- everything ---------------------------------------------------------------------------------

kj::Promise<void> KernelCache::forgetEverything() {
  if (descriptor_ < 0) {
    return kj::READY_NOW;
  }
  forgetNames();
  const Nanos now = clock_.monotonic();
  // Only files have pages that may go bad; those of a symlink are locked while the kernel reads it, which may have to
  // wait for this very mount to come back to a master.
  std::vector<std::pair<fuse_ino_t, int64_t>> believed;
  nodes_.forEach([&](InodeId inode, Node& node) {
    Nanos until = std::exchange(node.attributesUntil, 0);
    if (isOpenFile(node)) {
      node.pagesStale = true;
      node.recalledAt = node.newsAt = now;
      if (now < until) {
        believed.emplace_back(nodeOf(inode), -1);
      }
    } else if (now < until || node.opened) {
      believed.emplace_back(nodeOf(inode), S_ISREG(node.mode) ? 0 : -1);
      node.opened = false;
    }
    node.namesUntil = 0;
  });
  kj::Vector<kj::Promise<void>> all;
  for (auto& [inode, forgetting] : forgetting_) {
    all.add(forgetting.done.addBranch());
  }
  auto job = [descriptor = descriptor_, believed = kj::mv(believed)] {
    for (auto& [node, offset] : believed) {
      notify(descriptor, FUSE_NOTIFY_INVAL_INODE, inodeBody(node, offset));
    }
  };
  all.add(waiters_.run(kj::mv(job)));
  everything_ = kj::joinPromises(all.releaseAsArray()).fork();
  return everything_.addBranch();
}

}  // namespace cairn
