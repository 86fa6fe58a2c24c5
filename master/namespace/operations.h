// The commands of the log, one function each, one file for each kind. A function makes all its checks, in the order in
// which ext4 and Linux's VFS make them, before it changes anything; what it returns is the reply's outcome.
#pragma once
#include "master/namespace/tables.h"
#include "master/namespace/trash.h"

namespace cairn {

constexpr uint32_t LINKS_MAX = 65000;
constexpr size_t SYMLINK_BYTES_MAX = 4095;
constexpr size_t CUTS_MAX = 8;        // in one layout
constexpr uint8_t SLOTS = 64;         // reply slots of a session
constexpr size_t WRITTEN_MAX = 4096;  // items of one `written`
constexpr size_t XATTR_NAME_BYTES_MAX = 255;
constexpr size_t XATTR_VALUE_BYTES_MAX = 65536;
constexpr size_t XATTR_LIST_BYTES_MAX = 65536;
constexpr std::string_view OWN_XATTRS = "user.dfs.";  // never stored and never listed
constexpr std::string_view CAPABILITY_XATTR = "security.capability";

// ---- a client's operations ----
Status make(Execution& execution, const Requester& client, wire::Op::Make::Reader op, wire::Reply::Builder reply);
Status link(Execution& execution, const Requester& client, wire::Op::Link::Reader op, wire::Reply::Builder reply);
// A whole tree at once: into the trash, or taken apart behind.
Status detach(Execution& execution, const Requester& client, wire::Op::Detach::Reader op, wire::Reply::Builder reply);
Status unlink(Execution& execution, const Requester& client, wire::Op::Unlink::Reader op, wire::Reply::Builder reply);
Status rename(Execution& execution, const Requester& client, wire::Op::Rename::Reader op, wire::Reply::Builder reply);
Status setAttributes(Execution& execution, const Requester& client, wire::SetAttributes::Reader op,
                     wire::Reply::Builder reply);
Status setXattr(Execution& execution, const Requester& client, wire::Op::SetXattr::Reader op,
                wire::Reply::Builder reply);
Status removeXattr(Execution& execution, const Requester& client, wire::Op::RemoveXattr::Reader op,
                   wire::Reply::Builder reply);
Status lock(Execution& execution, const Requester& client, wire::LockRequest::Reader op);
Status written(Execution& execution, SessionId session, capnp::List<wire::Written>::Reader items,
               wire::Reply::Builder reply);

enum class Execute { RAN, REPEATED, REFUSED };
// Runs an operation once. RAN: `reply` is filled and must be kept. REPEATED: its (slot, sequence) is that of the slot's
// last request, whose reply is put in `stored`. REFUSED: `reply` says why.
Execute runOnce(Execution& execution, wire::ClientCommand::Reader command, wire::Reply::Builder reply,
                std::string& stored);
// Keeps the finished reply for a repetition.
void keepReply(Execution& execution, wire::ClientCommand::Reader command, std::string_view reply);

// ---- the master's own commands ----
Status format(Execution& execution, wire::Format::Reader command);
Status openSession(Execution& execution, wire::OpenSession::Reader command);
Status endSession(Execution& execution, SessionId session);
Status dropHolds(Execution& execution, wire::DropHolds::Reader command);
Status changeCluster(Execution& execution, wire::ClusterChange::Reader command);
Status changeQuota(Execution& execution, wire::QuotaChange::Reader command);
Status changeTrash(Execution& execution, wire::TrashChange::Reader command, wire::Reply::Builder reply);
void beginTerm(Execution& execution, uint64_t drawn);
Status changeClass(Execution& execution, wire::ClassChange::Reader command);
Status beginMoves(Execution& execution, wire::ClassChange::Begin::Reader command);
Status sealMoves(Execution& execution, wire::ClassChange::Seal::Reader command);
Status finishMoves(Execution& execution, capnp::List<wire::MoveEnd>::Reader ends);
Status dropMoves(Execution& execution, capnp::List<uint64_t>::Reader inodes);
Status beginMoveTask(Execution& execution, wire::MoveTask::Reader command);
Status endMoveTask(Execution& execution, uint64_t id);
Status breakLock(Execution& execution, wire::LockBreak::Reader command);
Status changeMembership(Execution& execution, capnp::Data::Reader membership);
Status leap(Execution& execution, GroupEpoch epoch);
Status raiseLevel(Execution& execution, uint32_t level);
Status unfence(Execution& execution, capnp::List<uint64_t>::Reader sessions);
Status reclaimed(Execution& execution, capnp::List<uint64_t>::Reader ids);
Status cutsApplied(Execution& execution, capnp::List<uint64_t>::Reader ids);

// ---- steps that several of them share ----
// Where an inode had the name that it has lost.
struct LostName {
  const InodeRecord& directory;
  std::string_view name;
};
// After the last name went (links is 0): keeps the inode as an orphan of those who hold it; else it goes into the
// trash, or is freed.
void loseLastName(Execution& execution, const Requester& client, InodeRecord& inode, const LostName& lost);
// The nameless inode lives as long as the session holds it.
void keepOrphan(Execution& execution, InodeId inode, SessionId session);
// The nameless inode gets a name, so that it needs no holder.
void adopt(Execution& execution, InodeRecord& inode);
// Removes the inode with its xattrs; its object goes to the reclaim queue.
void freeInode(Execution& execution, const InodeRecord& inode, bool inUse);
// Queues the inode's object for deletion, if it may have chunks, and forgets its cuts. `inUse`: somebody may have
// written bytes that no size tells of yet.
void reclaimObject(Execution& execution, const InodeRecord& inode, bool inUse);
// The file's bytes change in a way that its copy under way can't follow: it stays in the object that it has.
void dropMove(Execution& execution, InodeId inode);
// No client reads or changes the object, or it may again. True when that is new; then the map must rise.
bool seal(Execution& execution, ObjectId object, bool sealed);
// Makes bytes from `size` on dead. False, and nothing changed, when the layout has no room for a cut.
bool addCut(Execution& execution, InodeRecord& inode, uint64_t size);
// Drops set-id bits and file capabilities after a change by somebody who may not keep them.
void dropPrivileges(Execution& execution, InodeRecord& inode);
// Drops `session`'s hold on an orphan, and the orphan with its last.
void dropHold(Execution& execution, SessionId session, InodeId inode);
// Puts a session on the fenced list, or takes it off.
void fence(Execution& execution, SessionId session, bool fenced);
void raiseMap(Execution& execution);
// Removes one xattr, if it is there.
void eraseXattr(Execution& execution, InodeRecord& inode, std::string_view name);
// Reading one: ENODATA and who may. `name` was checked.
Status mayReadXattr(const Credentials& caller, const InodeRecord& inode, std::string_view name);
Status checkXattrName(std::string_view name);
// Number of chunks of an object of `size` bytes.
uint32_t chunkCount(uint64_t size, uint8_t chunkBits);
// The largest file that chunks of this size can hold.
uint64_t sizeMax(uint8_t chunkBits);

}  // namespace cairn
