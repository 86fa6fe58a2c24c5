#include "fuse-client/fuse/operations.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <utility>

namespace cairn {

Operations::Operations(Client& client, Clock& clock, Workers& workers, Workers& waiters, Processes& processes,
                       Arrival& arrival, const MountOptions& options, InodeId root, KeptState* kept)
    : client_(client),
      clock_(clock),
      processes_(processes),
      arrival_(arrival),
      options_(options),
      root_(root),
      kept_(kept),
      failures_(clock),
      metrics_(client, clock),
      groups_(processes, clock),
      kernel_(clock, workers, waiters, nodes_, root),
      own_(clock.wall()),
      tasks_(*this) {
  nodes_.told(root).mode = S_IFDIR;
  client_.setListener(&kernel_);
}

Operations::~Operations() noexcept(false) {
  client_.setListener(nullptr);
  giveUp();
}

void Operations::giveUp() {
  interrupted_.clear();
  for (auto& call : std::exchange(calls_, {})) {
    call.second->request.fail(EIO);  // the mount is ending
  }
  finished_.clear();
}

fuse_lowlevel_ops Operations::clusterTable() {
  fuse_lowlevel_ops table{};
  addEntryOps(table);
  addAttributeOps(table);
  addFileOps(table);
  addRangeOps(table);
  addDirectoryOps(table);
  addLockOps(table);
  addXattrOps(table);
  return table;
}

Operations::Call& Operations::admit(fuse_req_t request, const char* name) {
  uint64_t id = ++lastCall_;
  auto call = kj::heap<Call>(*this, id, request, name);
  Call& admitted = *call;
  admitted.request.countedBy(metrics_);
  calls_.emplace(id, kj::mv(call));
  fuse_req_interrupt_func(request, &Operations::interrupted, &admitted);
  if (!watchingSlow_) {
    watchingSlow_ = true;
    tasks_.add(watchSlow());
  }
  return admitted;
}

void Operations::watch(Call& call, kj::Promise<void> work) {
  call.work = work.then([&call] { call.owner.ended(call); },
                        [&call](kj::Exception&& exception) {
                          call.request.fail(exception);
                          call.owner.ended(call);
                        })
                  .eagerlyEvaluate(nullptr);
}

void Operations::ended(Call& call) {
  interrupted_.erase(call.id);
  resentEnded(call);
  auto found = calls_.find(call.id);
  if (found == calls_.end()) {
    return;  // its program was killed, and the task came to its end before it was dropped
  }
  finished_.push_back(kj::mv(found->second));
  calls_.erase(found);
  if (!reaping_) {
    reaping_ = true;
    tasks_.add(kj::evalLater([this] {
      reaping_ = false;
      finished_.clear();
      if (calls_.empty()) {
        for (auto& waiter : idleWaiters_) {
          waiter->fulfill();
        }
        idleWaiters_.clear();
      }
    }));
  }
}

kj::Promise<void> Operations::onIdle() {
  if (calls_.empty()) {
    return kj::READY_NOW;
  }
  auto wait = kj::newPromiseAndFulfiller<void>();
  idleWaiters_.push_back(kj::mv(wait.fulfiller));
  return kj::mv(wait.promise);
}

void Operations::taskFailed(kj::Exception&& exception) {
  spdlog::error("mount: a background task failed: {}", exception.getDescription().cStr());
}

Caller Operations::caller(const Request& request) {
  const fuse_ctx& context = request.context();
  Caller caller{context.uid, context.gid, {}, context.umask, request.number()};
  if (context.uid != 0 && context.pid != 0) {
    caller.groups = groups_.groups(context.pid, context.uid, context.gid);
  }
  return caller;
}

struct stat Operations::statOf(const Attributes& attributes, bool looks) {
  constexpr uint64_t SECTOR_BYTES = 512;  // st_blocks counts these
  constexpr blksize_t GOOD_IO_BYTES = 1 << 20;
  struct stat out {};
  out.st_ino = raw(attributes.inode);
  out.st_mode = attributes.mode;
  out.st_nlink = attributes.links;
  out.st_uid = attributes.uid;
  out.st_gid = attributes.gid;
  out.st_rdev = attributes.device;
  out.st_size = static_cast<off_t>(attributes.sizeBytes);
  out.st_blksize = S_ISREG(attributes.mode) ? GOOD_IO_BYTES : BLOCK_BYTES;
  out.st_blocks = static_cast<blkcnt_t>((attributes.allocatedBytes + SECTOR_BYTES - 1) / SECTOR_BYTES);
  out.st_atim = {attributes.accessed.seconds, attributes.accessed.nanos};
  FileTime modified = kernel_.tellModified(attributes, looks);
  out.st_mtim = {modified.seconds, modified.nanos};
  out.st_ctim = {attributes.changed.seconds, attributes.changed.nanos};
  Node* node = nodes_.find(attributes.inode);
  if (node != nullptr) {
    node->mode = attributes.mode;
    node->gid = attributes.gid;
  }
  return out;
}

double Operations::attributeSeconds(const Attributes& attributes) {
  Nanos leased = std::min(client_.believed(attributes.inode), options_.attributeTimeout);
  return seconds(kernel_.tellAttributes(attributes, leased));
}

double Operations::nameSeconds(InodeId directory, const std::string& name, Nanos most) {
  return seconds(kernel_.tellName(directory, std::min(client_.believed(directory, name), most)));
}

fuse_entry_param Operations::entryOf(InodeId directory, const std::string& name, const Attributes& attributes) {
  fuse_entry_param entry{};
  entry.ino = nodeOf(attributes.inode);
  entry.generation = 0;  // inode ids are never reused
  entry.attr = statOf(attributes);
  entry.entry_timeout = nameSeconds(directory, name, options_.entryTimeout);
  entry.attr_timeout = attributeSeconds(attributes);
  return entry;
}

void Operations::sendEntry(Request& request, InodeId directory, const std::string& name,
                           const Attributes& attributes) {
  told(attributes);  // first, for it notes what the kernel is told
  auto entry = entryOf(directory, name, attributes);
  if (!request.entry(entry)) {
    forget(attributes.inode, 1);
  }
}

Node& Operations::told(const Attributes& attributes) {
  Node& node = nodes_.told(attributes);
  noteKnown(attributes.inode);
  holdIfItOpensByItself(attributes.inode, node);
  return node;
}

void Operations::holdIfItOpensByItself(InodeId inode, Node& node) {
  bool opensByItself = S_ISFIFO(node.mode) || S_ISSOCK(node.mode) || S_ISCHR(node.mode) || S_ISBLK(node.mode);
  if (opensByItself && node.held == HandleId{}) {
    node.held = client_.open(inode, 0);
  }
}

void Operations::forget(InodeId inode, uint64_t count) {
  HandleId held = nodes_.forget(inode, count);
  noteKnown(inode);
  if (held != HandleId{}) {
    client_.release(held);
  }
}

void Operations::sendAttributes(Request& request, const Attributes& attributes, bool looks) {
  auto stat = statOf(attributes, looks);
  request.attributes(stat, attributeSeconds(attributes));
}

}  // namespace cairn
