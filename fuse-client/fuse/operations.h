// Operations: every question of the kernel, decoded, given to the client library, answered when its task is
// done. One function per FUSE operation, in *_ops.cc by subject. All on the event loop; no operation waits for
// another one.
#pragma once
#include <fuse_lowlevel.h>
#include <kj/async.h>

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/task.h"
#include "fuse-client/client/client.h"
#include "fuse-client/fuse/arrival.h"
#include "fuse-client/fuse/kept_state.h"
#include "fuse-client/fuse/kernel_cache.h"
#include "fuse-client/fuse/nodes.h"
#include "fuse-client/fuse/options.h"
#include "fuse-client/fuse/own_files.h"
#include "fuse-client/fuse/processes.h"
#include "fuse-client/fuse/request.h"

namespace cairn {

class FuseSession;

class Operations final : private kj::TaskSet::ErrorHandler {
 public:
  // `waiters`: workers for what may wait for the kernel. `root` is the inode that the mount shows as its root. `kept`:
  // where to leave what a successor needs; null: nobody succeeds.
  Operations(Client& client, Clock& clock, Workers& workers, Workers& waiters, Processes& processes, Arrival& arrival,
             const MountOptions& options, InodeId root, KeptState* kept = nullptr);
  ~Operations() noexcept(false);
  KJ_DISALLOW_COPY(Operations);

  // What libfuse calls; its user data is this object.
  static fuse_lowlevel_ops table();

  // The root has a name of its own that hides the mount's own files.
  void hideOwnFiles() { own_.hide(); }

  // libfuse has room for one pointer: the session finds itself through this one.
  void attach(FuseSession* session) { session_ = session; }
  FuseSession* attached() { return session_; }

  // The kernel can be told to forget things from now on; -1: no more.
  void connected(int descriptor) { kernel_.attach(descriptor); }

  // ---- of a successor (inherit.cc)
  // Takes over what the kernel knows and has open, and the client's part. REQUIRES: connected().
  void inherit();
  // The kernel has asked once more all that was left unanswered.
  void resendsOver();

  size_t inFlight() const { return calls_.size(); }
  // Ends what is in flight, with EIO. To be called while the session is there: an answer goes through it.
  void giveUp();
  void measure(MetricsSheet& sheet) const { metrics_.measure(sheet); }
  // Resolves when nothing is in flight.
  kj::Promise<void> onIdle();
  // The same, but for what waits for a lock; at the latest after `limit`.
  Task<void> settled(Nanos limit);
  InodeId root() const { return root_; }

 private:
  // One request on its way.
  struct Call {
    Call(Operations& owner, uint64_t id, fuse_req_t request, const char* name)
        : owner(owner), id(id), request(request, name, owner.failures_, owner.clock_.monotonic()) {}
    Operations& owner;
    uint64_t id;
    Request request;
    kj::Promise<void> work = nullptr;
    KeptState::Open undelivered;  // what a predecessor opened for it, without an answer
  };

  // The program of a call got a signal.
  struct Interrupted {
    pid_t program = 0;
    Nanos at = 0;
    Nanos killedAt = 0;  // when it was seen being killed; 0: it wasn't
  };

  // An open directory: the page of entries that the reader is in.
  struct Directory {
    InodeId inode{};
    InodeId parent{};
    DirectoryPage page;
    uint64_t start = 0;  // the cookie that the page begins after
    size_t at = 0;       // the entry that comes next
    bool filled = false;
    Nanos fetchedAt = 0;
    // The page after it is fetched while the reader is in this one.
    kj::Maybe<kj::Promise<Result<DirectoryPage>>> ahead;
    uint64_t aheadAfter = 0;  // the cookie that it begins after
    Nanos aheadFetchedAt = 0;
  };

  // ---- running (operations.cc) ----
  // Starts body(request), which gives a task; replies for it when it throws.
  template <typename Body>
  static void run(fuse_req_t request, const char* name, fuse_ino_t node, Body&& body) {
    run(request, name, node, "", kj::fwd<Body>(body));
  }
  // `entry`: the name in that directory, or of the attribute, that it is about.
  template <typename Body>
  static void run(fuse_req_t request, const char* name, fuse_ino_t node, const char* entry, Body&& body) {
    Operations& self = of(request);
    Call& call = self.admit(request, name);
    call.request.about(raw(self.inodeOf(node)), entry);
    self.identify(call);
    self.watch(call, kj::evalNow([&]() -> kj::Promise<void> { return body(self, call.request); }));
  }
  static Operations& of(fuse_req_t request) { return *static_cast<Operations*>(fuse_req_userdata(request)); }
  Call& admit(fuse_req_t request, const char* name);
  void identify(Call& call);
  void resentEnded(Call& call);
  void releaseUndelivered(Call& call);
  void watch(Call& call, kj::Promise<void> work);
  void ended(Call& call);
  void taskFailed(kj::Exception&& exception) override;

  // ---- ending calls early (early_ends.cc) ----
  static void interrupted(fuse_req_t request, void* call);
  Task<void> watchInterrupted();
  Task<void> watchSlow();
  bool mayEnd(const Call& call, Interrupted& interrupted);
  bool isToEnd(const Call& call) const;
  void endEarly(uint64_t call, const Error& error);

  // ---- the mount's own files (own_ops.cc, own_texts.cc) ----
  static fuse_lowlevel_ops clusterTable();
  static fuse_lowlevel_ops ownTable();
  template <auto Member>
  struct Route;
  template <auto Member, int CODE>
  struct NamedRoute;
  static void ownLookup(fuse_req_t request, fuse_ino_t parent, const char* name);
  static void ownAttributes(fuse_req_t request, fuse_ino_t node, fuse_file_info* file);
  static void ownOpen(fuse_req_t request, fuse_ino_t node, fuse_file_info* file);
  static void ownRead(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* file);
  static void ownRelease(fuse_req_t request, fuse_ino_t node, fuse_file_info* file);
  static void ownReadDirectory(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* file);
  static void ownReadDirectoryPlus(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                                   fuse_file_info* file);
  void sendOwnEntry(fuse_req_t request, fuse_ino_t node);
  std::string ownText(OwnFile file, uint32_t reader) const;
  std::string statsText() const;
  std::string configText() const;
  std::string leaderText() const;
  std::string whyText(uint32_t reader) const;

  // ---- shared by the operations (operations.cc) ----
  InodeId inodeOf(fuse_ino_t node) const { return node == FUSE_ROOT_ID ? root_ : InodeId{node}; }
  fuse_ino_t nodeOf(InodeId inode) const { return inode == root_ ? FUSE_ROOT_ID : raw(inode); }
  Caller caller(const Request& request);
  // `looks`: the kernel compares what it is told with what it knows, and drops pages of a file that has changed.
  struct stat statOf(const Attributes& attributes, bool looks = true);
  // For how long the kernel may believe what it is told now.
  double attributeSeconds(const Attributes& attributes);
  double nameSeconds(InodeId directory, const std::string& name, Nanos most);
  fuse_entry_param entryOf(InodeId directory, const std::string& name, const Attributes& attributes);
  void sendEntry(Request& request, InodeId directory, const std::string& name, const Attributes& attributes);
  Node& told(const Attributes& attributes);  // the kernel was, once more
  void noteKnown(InodeId inode);             // for a successor
  void holdIfItOpensByItself(InodeId inode, Node& node);
  // An open file or directory, before the kernel hears of it; and its end. False: a predecessor has ended it.
  void noteOpen(const Request& request, HandleId handle, InodeId inode, InodeId parent, uint32_t bits);
  bool noteClosed(HandleId handle);
  void forget(InodeId inode, uint64_t count);
  void sendAttributes(Request& request, const Attributes& attributes, bool looks = true);
  static double seconds(Nanos nanos) { return static_cast<double>(nanos) / SECOND; }

  // ---- names (entry_ops.cc) ----
  static void addEntryOps(fuse_lowlevel_ops& table);
  Task<void> lookup(Request& request, InodeId parent, std::string name);
  Task<void> makeNode(Request& request, InodeId parent, std::string name, uint32_t mode, uint32_t device);
  Task<void> makeDirectory(Request& request, InodeId parent, std::string name, uint32_t mode);
  Task<void> symlink(Request& request, InodeId parent, std::string name, std::string target);
  Task<void> link(Request& request, InodeId inode, InodeId parent, std::string name);
  Task<void> unlink(Request& request, InodeId parent, std::string name);
  Task<void> removeDirectory(Request& request, InodeId parent, std::string name);
  Task<void> rename(Request& request, InodeId parent, std::string name, InodeId newParent, std::string newName,
                    uint32_t flags);
  Task<void> readLink(Request& request, InodeId inode);

  // ---- attributes (attribute_ops.cc) ----
  static void addAttributeOps(fuse_lowlevel_ops& table);
  Task<void> getAttributes(Request& request, InodeId inode, bool extended);
  void sendExtended(Request& request, const Attributes& attributes);
  Task<void> setAttributes(Request& request, InodeId inode, AttributeChange change, bool dropSetId);
  Task<void> space(Request& request, InodeId inode);
  // Clears set-user-id and set-group-id, as a write or a truncate by an ordinary user does.
  uint32_t setIdBits(InodeId inode, const Request& request);
  Task<Status> dropSetIdBits(InodeId inode, Request& request);

  // ---- open files (file_ops.cc, range_ops.cc) ----
  static void addFileOps(fuse_lowlevel_ops& table);
  static void addRangeOps(fuse_lowlevel_ops& table);
  Task<void> open(Request& request, InodeId inode, fuse_file_info file, bool dropSetId);
  Task<void> create(Request& request, InodeId parent, std::string name, uint32_t mode, fuse_file_info file);
  Task<void> read(Request& request, HandleId handle, uint64_t offset, uint32_t length);
  Task<void> write(Request& request, InodeId inode, HandleId handle, uint64_t offset, Arrival::Kept data,
                   bool dropSetId, bool ofMap);
  Task<void> flush(Request& request, HandleId handle, uint64_t lockOwner);
  Task<void> unlockUnheard(HandleId handle, uint64_t lockOwner);
  Task<void> fsync(Request& request, HandleId handle, bool dataOnly);
  Task<void> allocate(Request& request, InodeId inode, HandleId handle, AllocateMode mode, uint64_t offset,
                      uint64_t length);
  Task<void> seek(Request& request, HandleId handle, uint64_t offset, Whence whence);
  Task<void> copyRange(Request& request, InodeId inode, HandleId from, uint64_t fromOffset, HandleId to,
                       uint64_t toOffset, uint64_t length);
  static uint32_t openBits(int flags);
  // How the kernel shall treat the file opened with `file.flags`.
  void setOpenMode(fuse_file_info& file, const Attributes& attributes);
  bool everyReadCounts(int flags) const;
  void rememberContents(const Attributes& attributes);
  bool sameContents(const Attributes& attributes);

  // ---- locks (lock_ops.cc) ----
  static void addLockOps(fuse_lowlevel_ops& table);
  Task<void> testLock(Request& request, HandleId handle, LockWish wish);
  Task<void> lock(Request& request, HandleId handle, LockWish wish, bool waits);

  // ---- directories (directory_ops.cc) ----
  static void addDirectoryOps(fuse_lowlevel_ops& table);
  Task<void> openDirectory(Request& request, InodeId inode, fuse_file_info file);
  Task<void> readDirectory(Request& request, uint64_t handle, uint64_t offset, size_t size, bool plus);
  Task<void> fsyncDirectory(Request& request, HandleId handle);
  bool positionAt(Directory& directory, uint64_t cookie);
  kj::Promise<Result<DirectoryPage>> nextPage(Directory& directory, uint64_t cookie, const Caller& caller);
  void fetchAhead(Directory& directory, const Caller& caller);
  void sendPage(Request& request, Directory& directory, uint64_t offset, size_t size, bool plus);
  size_t addDots(Request& request, const Directory& directory, kj::ArrayPtr<char> out, uint64_t offset, bool plus);
  size_t addEntry(Request& request, InodeId directory, kj::ArrayPtr<char> room, const DirectoryEntry& entry, bool plus);
  size_t addDot(Request& request, char* out, size_t room, const char* name, InodeId inode, off_t next, bool plus);

  // ---- extended attributes (xattr_ops.cc) ----
  static void addXattrOps(fuse_lowlevel_ops& table);
  // What the client library answers; of the root what is known, once the mount is cut off (attribute_ops.cc).
  kj::Promise<Result<std::string>> askXattr(InodeId inode, const std::string& name, const Caller& caller);
  Task<void> getXattr(Request& request, InodeId inode, std::string name, size_t size);
  Task<void> setXattr(Request& request, InodeId inode, std::string name, std::string value, uint32_t flags);
  Task<void> removeXattr(Request& request, InodeId inode, std::string name);
  // A file that is written loses its security.capability. The kernel sees to that but where its pages are passed by.
  Task<Status> dropCapability(InodeId inode);
  Task<void> listXattr(Request& request, InodeId inode, size_t size);
  static void sendXattr(Request& request, const std::string& bytes, size_t size);

  Client& client_;
  Clock& clock_;
  Processes& processes_;
  Arrival& arrival_;
  const MountOptions& options_;
  const InodeId root_;
  FuseSession* session_ = nullptr;
  KeptState* const kept_;
  std::map<uint64_t, KeptState::Open> openedBy_;  // by a predecessor, by request; until resendsOver()
  std::set<uint64_t> resent_;  // requests that the kernel asked once more, and that are under way
  bool resendsOver_ = false;

  FailureLog failures_;
  MountMetrics metrics_;
  GroupCache groups_;
  Nodes nodes_;
  KernelCache kernel_;
  OwnFiles own_;
  Attributes lastRoot_;  // as the kernel was told last
  std::map<std::string, Result<std::string>> lastRootXattrs_;  // a few of them
  SpaceInfo lastSpace_;
  std::unordered_map<uint64_t, Directory> directories_;  // by handle
  uint64_t lastCall_ = 0;
  // The kernel bounds what it has in flight (one per waiting program, max_background for the rest).
  std::unordered_map<uint64_t, kj::Own<Call>> calls_;
  std::vector<kj::Own<Call>> finished_;    // can't be destroyed by their own last step
  std::map<uint64_t, Interrupted> interrupted_;  // calls whose program got a signal; a subset of calls_
  bool watchingInterrupted_ = false;
  bool watchingSlow_ = false;
  bool reaping_ = false;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> idleWaiters_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
