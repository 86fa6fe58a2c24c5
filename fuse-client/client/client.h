// Client: one mount's view of a cluster. One method per file operation; knows nothing of FUSE.
//
// Every method may be called at any time, many at once; errors are errno values with a reason. Dropping a
// task cancels the wait for it, never the buffered data; a mutation that was sent may still take place.
// Arguments are copied before a method's first wait, but for `data` of write(), which must stay until the
// task is done. The client must outlive all its tasks, and the ReadData that it gave.
//
// Names, attributes and bytes are believed under leases (lease_book.h, byte_leases.h): what another client's call has
// changed is seen by every call that begins after it returned.
#pragma once
#include <kj/async.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/cluster_file.h"
#include "common/random.h"
#include "common/result.h"
#include "common/task.h"
#include "fuse-client/client/ledger.h"
#include "fuse-client/client/options.h"
#include "fuse-client/client/types.h"
#include "fuse-client/client/waits.h"
#include "rpc/network.h"

namespace cairn {

// Bits of open(): what the library needs to know of open(2)'s flags.
enum OpenBits : uint32_t {
  OPEN_APPEND = 1,       // writes go to the end, whatever their offset
  OPEN_SYNC = 2,         // O_SYNC or O_DSYNC: write() answers when the data is durable
  OPEN_DIRECTORY = 4,    // for readDirectory: no data
  OPEN_WRITE = 8,        // may write
  OPEN_NO_ACCESS_TIME = 16,  // O_NOATIME
};

enum class AllocateMode {
  ALLOCATE,        // fallocate(0): grows the file to offset + length when it is shorter
  KEEP_SIZE,       // only checks
  PUNCH,           // frees; size stays
  ZERO,            // zeros; grows the file
  ZERO_KEEP_SIZE,  // zeros; size stays
};

enum class Whence { DATA, HOLE };

// Who keeps a copy of what the library told, for as long as it said (Client::believed): the kernel. A promise resolves
// when nothing that was told before counts any more; the master waits for it before it lets another client go on.
class CacheListener {
 public:
  // Attributes, and a file's bytes.
  virtual kj::Promise<void> forgetInode(InodeId inode) = 0;
  // What a name stands for, or that nothing does.
  virtual kj::Promise<void> forgetName(InodeId directory, const std::string& name) = 0;
  // All names, without a wait.
  virtual void forgetNames() = 0;
  virtual kj::Promise<void> forgetEverything() = 0;

 protected:
  ~CacheListener() = default;
};

class Client {
 public:
  Client(Clock& clock, Network& network, Random& random, ClusterFile cluster, ClientOptions options);
  ~Client() noexcept(false);
  KJ_DISALLOW_COPY(Client);

  // Attaches to the master and waits for the first map. Calls before it is done wait for it.
  Task<Status> start();
  // Where to note what a successor needs. It must outlive the client.
  void setLedger(Ledger& ledger);
  // Takes the place of a client whose process is gone: its session, its open files and locks, and the changes that it
  // sent. What it hadn't written out is an error of those files. REQUIRES: the listener is set, nothing was called
  // before, and the loop hasn't turned.
  void takeUp(const Inheritance& from);
  // Only these requests of the predecessor's will be asked for again.
  void expectOnly(const std::set<uint64_t>& requests);
  // Writes out and syncs everything and ends the session. The error is the first that no fsync or close has
  // reported. Nothing may be called after it.
  Task<Status> stop();

  // ---- names ------------------------------------------------------------------------------------
  Task<Result<Attributes>> lookup(InodeId parent, std::string name, Caller caller);
  // mknod: any type in `mode`; `device` for device nodes.
  Task<Result<Attributes>> makeNode(InodeId parent, std::string name, uint32_t mode, uint32_t device, Caller caller);
  Task<Result<Attributes>> makeDirectory(InodeId parent, std::string name, uint32_t mode, Caller caller);
  Task<Result<Attributes>> symlink(InodeId parent, std::string name, std::string target, Caller caller);
  Task<Result<Attributes>> link(InodeId inode, InodeId parent, std::string name, Caller caller);
  Task<Status> unlink(InodeId parent, std::string name, Caller caller);
  Task<Status> removeDirectory(InodeId parent, std::string name, Caller caller);
  // `flags` as of renameat2: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT.
  Task<Status> rename(InodeId parent, std::string name, InodeId newParent, std::string newName, uint32_t flags,
                      Caller caller);
  Task<Result<std::string>> readLink(InodeId inode, Caller caller);
  // One page of at most `entriesMax` entries after `cookie` (0: from the start).
  Task<Result<DirectoryPage>> readDirectory(InodeId inode, uint64_t cookie, uint32_t entriesMax, bool withAttributes,
                                            Caller caller);

  // ---- attributes -------------------------------------------------------------------------------
  // Asks the master, unless they are leased. `evenGone`: of what has lost its last name by this mount, as it was then,
  // while it is remembered: for who looks at it without having opened it, as a working directory or by O_PATH.
  Task<Result<Attributes>> attributes(InodeId inode, bool evenGone = false);
  // The next read through this mount moves its access time.
  bool movesAccessTime(InodeId inode);
  // For how long the kernel may believe what it is told now without asking again, unless the listener hears otherwise:
  // of an inode's attributes, and of what a name in a directory stands for. 0: not at all.
  Nanos believed(InodeId inode);
  Nanos believed(InodeId directory, const std::string& name);
  // Who is told when that ends early. It must outlive the client or be taken away (setListener(nullptr)).
  void setListener(CacheListener* listener);
  Task<Result<Attributes>> setAttributes(InodeId inode, AttributeChange change, Caller caller);
  Task<Result<std::string>> getXattr(InodeId inode, std::string name, Caller caller);
  Task<Status> setXattr(InodeId inode, std::string name, std::string value, uint32_t flags, Caller caller);
  Task<Status> removeXattr(InodeId inode, std::string name, Caller caller);
  // Names, each ended by a zero byte.
  Task<Result<std::string>> listXattr(InodeId inode, Caller caller);
  Task<Result<SpaceInfo>> space(InodeId inode);

  // ---- open files -------------------------------------------------------------------------------
  // No call to anybody: the hold is sent behind. Permission is checked by the caller (the kernel).
  HandleId open(InodeId inode, uint32_t openBits);
  struct Created {
    Attributes attributes;
    HandleId handle{};
  };
  // Makes a regular file and opens it. EEXIST when the name is there. An empty name, O_TMPFILE: it has none, and is
  // gone with the handle unless link() gives it one; `parent` only says where.
  Task<Result<Created>> create(InodeId parent, std::string name, uint32_t mode, uint32_t openBits, Caller caller);
  // Ends a handle. Buffered data goes on to the chunkservers; its errors are reported by the next fsync or
  // close of another handle of the file, or by stop().
  void release(HandleId handle);

  // At most `length` bytes, fewer only at the end of the file. EIO names the byte range without a good copy.
  Task<Result<ReadData>> read(HandleId handle, uint64_t offset, uint32_t length);
  // Accepts all of `data` into the buffer; waits while the mount has too much dirty data. Fewer bytes, or EDQUOT, when
  // a quota has no room for more.
  // `inPlace`: at `offset`, even if the handle appends. So pages of a map are written back.
  Task<Result<uint64_t>> write(HandleId handle, uint64_t offset, kj::ArrayPtr<const kj::byte> data,
                               bool inPlace = false);
  // At each close(2): starts writing out, waits when the file is large, reports errors not yet reported to this
  // handle.
  Task<Status> flush(HandleId handle);
  // Durable on all in-sync copies, size committed.
  Task<Status> fsync(HandleId handle, bool dataOnly);
  Task<Status> fsyncDirectory(HandleId handle);
  Task<Status> allocate(HandleId handle, AllocateMode mode, uint64_t offset, uint64_t length);
  // ENXIO past the end, as lseek(2).
  Task<Result<uint64_t>> seek(HandleId handle, uint64_t offset, Whence whence);
  // Bytes copied; fewer at the end of the source.
  Task<Result<uint64_t>> copyRange(HandleId from, uint64_t fromOffset, HandleId to, uint64_t toOffset, uint64_t length);

  // ---- locks (lock_ops.cc) ----------------------------------------------------------------------
  // Of fcntl(2) and flock(2); they count on all mounts. EAGAIN: somebody else's is in the way.
  Task<Status> lock(HandleId handle, LockWish wish);
  // Resolves when a lock that was refused may be free, in the order of those who wait: try again. EDEADLK: it would
  // wait for somebody who waits for the same owner.
  Task<Status> awaitLock(HandleId handle, LockWish wish);
  // The lock in the way; mode NONE: nothing is. The pid is 0 when a program of another mount has it.
  Task<Result<LockWish>> testLock(HandleId handle, LockWish wish);
  // At each close(2): the owner's fcntl locks on the file go. No call to anybody when it had none. release() does so
  // with what was taken through that handle alone.
  Task<Status> unlockAll(HandleId handle, uint64_t owner);

  // ---- the whole mount --------------------------------------------------------------------------
  // A barrier: everything written through this mount before the call is durable after it.
  Task<Status> syncAll();
  ClientStats stats() const;
  // What operations now wait for.
  std::vector<Wait> waits() const;
  // A program's call was answered. `failed`: for a fault of the system. Through which servers it went, if it was slow.
  std::optional<std::string> answered(const char* kind, InodeId inode, Nanos began, bool failed);
  // How things stand with the masters, as far as this mount knows.
  LeaderStanding master() const;
  // By which name the inode was found last; empty when that isn't known.
  std::string nameOf(InodeId inode);
  // Resolves when no master has been heard of for CUT_OFF, at once if that is so.
  static constexpr Nanos CUT_OFF = SECOND;
  Task<void> whenCutOff();

 private:
  static constexpr Nanos ACCESS_TIMES_WAIT = 2 * SECOND;  // of a mount that ends, for a master who may be away
  static constexpr uint64_t FLUSH_WAIT_BYTES = 1u << 20;  // a close() with more than this on its way waits for it
  static constexpr uint64_t COPY_STEP_BYTES = 1u << 20;
  static constexpr uint64_t COPY_BYTES_MAX = 32u << 20;  // of one copyRange()

  class Impl;
  kj::Own<Impl> impl_;
};

}  // namespace cairn
