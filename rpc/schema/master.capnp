@0xd3a1c5e0b7f24a02;
# What clients, chunkservers and admins ask of a master.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::wire");
using Types = import "types.capnp";
using Raft = import "raft.capnp";
using Audit = import "admin.capnp";

# Bootstrap capability of a master's ports.
interface MasterDoor {
  # errno ESTALE: wrong cluster or protocol; EAGAIN: not the leader (`leader` names it when known). `grouped`: it is one
  # of a group, and doesn't only wait for one to take it in. `epoch`: GroupEpoch; a caller that knows of a higher one gets
  # EAGAIN. `leaderAddress`: host:port, for callers whose cluster.toml doesn't name the leader yet.
  enter @0 (hello :Types.Hello) -> (outcome :Types.Outcome, leader :Text, master :Master, grouped :Bool, epoch :UInt64,
                                    leaderAddress :Text);
  # Another master. `to` is the member it means to speak to: errno ESTALE when this one is another (a new directory
  # under the old name), or of another cluster, or when their epochs differ: then the one with the lower `epoch` is of a
  # group that was replaced, and must end. `to` 0: nobody, it is only about the epochs.
  raft @1 (hello :Types.Hello, to :UInt64)
      -> (outcome :Types.Outcome, peer :Raft.RaftPeer, epoch :UInt64, program :Types.Program);
  # A new master's directory asks to become part of the group: as a learner first, as a voter when it has caught up.
  # EAGAIN: not the leader; EEXIST: the group has a member of that name with another directory. `address`: where the
  # others find it, whose cluster.toml may not name it yet.
  join @2 (hello :Types.Hello, member :UInt64, address :Text) -> (outcome :Types.Outcome, leader :Text);
  # About the process itself, whether it leads or not. `logLevel`: from now on; empty: as it is.
  daemon @3 (hello :Types.Hello, logLevel :Text) -> (outcome :Types.Outcome, about :Audit.DaemonAbout);
}

interface Master {
  # Makes a session, or takes an unexpired one up again (`session` not 0). errno ESTALE: it was evicted.
  # `watcher` gets the map now and after every change. leaseNanos counts from when this was *sent*.
  # Who attaches has given up all leases that it had; `leases` is asked for those it gets from now on (none: it wants none).
  # `attempt` rises with every attach that a client sends. errno EALREADY: a later one has been here, so this one comes
  # from a link that the client has given up, and must not take the session from the newer link.
  # `writing`: inodes whose write lease it goes on with, for it has bytes of them that nobody else has seen.
  attach @0 (session :UInt64, name :Text, watcher :MapWatcher, leases :LeaseHolder, attempt :UInt64,
             writing :List(UInt64))
      -> (outcome :Types.Outcome, session :UInt64, leaseNanos :Int64, client :ClientSession);
  # A chunkserver's arrival: replaces its earlier incarnation. errno EEXIST: another live process has
  # this server id; ESTALE: history or format mismatch.
  # ENOTRECOVERABLE: this master's history lacks what the chunkserver has obeyed. `history`: where it is.
  register @1 (server :ServerHello, watcher :MapWatcher)
      -> (outcome :Types.Outcome, registration :Registration, history :HistoryPoint);
  # `caller`: for the history of what administrators did.
  admin @2 (caller :Audit.AdminCaller) -> (admin :Admin);
}

interface MapWatcher {
  # A delta whose `from` the watcher doesn't have is answered by have < from: a complete map follows.
  push @0 (map :Types.ShardMap) -> (have :UInt64);
}

# ---- clients ----------------------------------------------------------------------------------

interface ClientSession {
  # A mutation, exactly once: the same (slot, sequence) again gets the first reply. Slots 0..63, one
  # request in flight per slot, sequence rises by one per new request of a slot.
  # `leased` (bits of `Leased` below) says what of the reply may be believed until it is recalled.
  execute @0 (slot :UInt8, sequence :UInt64, op :Op) -> (reply :Reply, leased :UInt8);
  # Strongly consistent read (behind a read barrier).
  read @1 (query :Query) -> (answer :Answer, leased :UInt8);
  # Open files: an inode that some session holds outlives its last unlink. Not logged; sent in order
  # with execute(). `taken` and `dropped` are inode numbers.
  # After a session was taken up again its first call is hold() with all that it holds, if that is anything: what the
  # first call doesn't name, the session holds no more. Until then it counts as a holder of everything.
  hold @2 (taken :List(UInt64), dropped :List(UInt64)) -> ();
  # Keeps the session. The lease counts from when the request was sent.
  renew @3 () -> (leaseNanos :Int64);
  # Ends the session in good order.
  detach @4 () -> ();
  # Leases that the client gives up by itself. What is granted by calls sent after this counts.
  forget @5 (inodes :List(UInt64)) -> ();
  # A lease on a regular file's bytes. Waits until nobody else has one that is in its way. To read (`write` false) is the
  # lease on its attributes; to write is to be the only one who has any. `answer`: the attributes, as nobody else changes
  # them. Bits of `leased`: leasedAttributes, leasedWriting. Without them nothing was granted: ask again.
  # `order`: of recalls and of these answers, as the master gave them out; whatever is of before a recall of the inode
  # doesn't count.
  acquire @6 (inode :UInt64, write :Bool) -> (answer :Answer, leased :UInt8, order :UInt64);
  # Resolves when a lock that was refused with EAGAIN may be free, in the order in which they were asked for; the caller
  # tries again. errno EDEADLK: it would wait for somebody who waits for it.
  awaitLock @7 (lock :LockRequest) -> (outcome :Types.Outcome);
}

# A lease on an inode lets a client believe what it was told of it until the master recalls that, or until the session's
# lease time has run out, or its link is gone: the attributes and, of a directory, which inode each name stands for.
# Nothing leased to others is changed before they have answered the recall.
interface LeaseHolder {
  # `changes` are about to happen. Nothing told at log index `index` or before is believed of them once this is
  # answered. `dropped`: inodes among them of which nothing is believed any more.
  # Of a file that it has the lease to write: before it answers, what it has written is at the chunkservers, and its size
  # and times at the master.
  recall @0 (changes :List(LeaseChange), index :UInt64, order :UInt64) -> (dropped :List(UInt64));
  # Sizes and times of files that it has the lease to write, as its own programs see them. What it hasn't is left out.
  report @1 (inodes :List(UInt64)) -> (files :List(Written));
  # Others are short of a quota's bytes: what it can do without of its grant it gives back (Op.giveBack) before it
  # answers.
  giveBack @2 (root :UInt64) -> ();
}
struct LeaseChange {
  inode @0 :UInt64;          # its attributes change,
  name @1 :Data;             # and, when not empty, what this name in it stands for
  share @2 :Bool;            # nothing changes: others want to read what only this session may know
}
# Bits of `leased` beside a reply or an answer. Of an answer to readDirectory, `attributes` is about every entry's.
const leasedNames :UInt8 = 1;          # names in the (first) directory concerned, and that directory's attributes
const leasedAttributes :UInt8 = 2;     # of the inode that `attributes` tells of
const leasedNewParent :UInt8 = 4;      # rename: the other directory, as leasedNames
const leasedWriting :UInt8 = 8;        # of the inode that `attributes` tells of: nobody else reads or writes its bytes

struct Caller { uid @0 :UInt32; gid @1 :UInt32; groups @2 :List(UInt32); }

struct Op {
  caller @0 :Caller;
  union {
    make :group {            # mknod, create, mkdir, symlink: type from `mode`
      parent @1 :UInt64;
      name @2 :Data;
      mode @3 :UInt32;
      device @4 :UInt32;
      target @5 :Data;       # of a symlink
      hold @6 :Bool;         # the caller opens it: counts as hold(taken = it)
      umask @27 :UInt32;     # counts where the directory has no default ACL
      unnamed @28 :Bool;     # O_TMPFILE: `parent` only says where; it has no name until it is linked
    }
    link :group { inode @7 :UInt64; parent @8 :UInt64; name @9 :Data; }
    unlink :group { parent @10 :UInt64; name @11 :Data; directory @12 :Bool; }  # directory: rmdir
    rename :group {
      parent @13 :UInt64; name @14 :Data;
      newParent @15 :UInt64; newName @16 :Data;
      flags @17 :UInt32;     # RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4
    }
    setAttributes @18 :SetAttributes;
    setXattr :group { inode @19 :UInt64; name @20 :Data; value @21 :Data; flags @22 :UInt32; }
    removeXattr :group { inode @23 :UInt64; name @24 :Data; }
    written @25 :List(Written);    # sizes and times that came with written data; several files at once
    lock @26 :LockRequest;         # EAGAIN: somebody else's is in the way
    detach :group { parent @29 :UInt64; name @30 :Data; }  # a whole tree at once: into the trash, or reclaimed
    # By how many bytes files below a quota's directory (Attributes.quotaRoot) may grow. Reply.granted may be more than is
    # asked for, or less; EDQUOT: there is nothing left; ENOENT: it has no quota. The grant is the session's until it is
    # used up (Reply.charged) or given back.
    reserve @31 :ByteGrant;
    giveBack @32 :ByteGrant;
  }
}

struct ByteGrant { root @0 :UInt64; bytes @1 :UInt64; }

enum LockKind { posix @0; flock @1; }                  # fcntl(2), open file descriptions' included; flock(2)
enum LockType { none @0; shared @1; exclusive @2; }    # none: unlocked
# `owner`: of this session, as the kernel tells them apart. Of bytes first..last, both included.
struct LockRequest {
  inode @0 :UInt64; owner @1 :UInt64; pid @2 :UInt32; kind @3 :LockKind; type @4 :LockType; first @5 :UInt64; last @6 :UInt64;
}

struct SetAttributes {
  inode @0 :UInt64;
  which @1 :UInt32;          # bits: 1 mode, 2 uid, 4 gid, 8 size, 16 atime, 32 mtime, 64 atime now, 128 mtime now, 256 only-grow (fallocate), 512 ctime
  mode @2 :UInt32;
  uid @3 :UInt32;
  gid @4 :UInt32;
  size @5 :UInt64;
  accessed @6 :Types.Time;
  modified @7 :Types.Time;
  held @8 :Bool;             # through an open descriptor (ftruncate): permission was checked at open
  granted @9 :UInt64;        # so many bytes of a growth may come out of the session's grant
}

# Size becomes max(size, this). Ignored, with ESTALE inside the reply's list, when the inode has another
# object or is gone. With `accessed`: nothing was written, it was read, and it may be anything.
struct Written {
  inode @0 :UInt64;
  object @1 :UInt64;
  size @2 :UInt64;           # end of the last written byte; 0: no growth
  modified @3 :Types.Time;
  allocatedDelta @4 :Int64;
  clearSuid @5 :Bool;
  accessed @6 :Types.Time;
}

struct Reply {
  outcome @0 :Types.Outcome;
  term @1 :UInt64;
  index @2 :UInt64;
  attributes @3 :Types.Attributes;   # of the inode made, linked, changed
  parent @4 :Types.Attributes;       # of the directory changed (make, link, unlink, rename source)
  newParent @5 :Types.Attributes;    # rename
  written @6 :List(Types.Outcome);
  replaced @7 :Types.Attributes;     # rename: of what stood at the new name, as it is now; absent when nothing did; the same inode: nothing was done
  writtenNow @8 :List(Types.Attributes);  # written: as they are now; empty ones where it failed
  granted @9 :UInt64;                # reserve
  charged @10 :List(UInt64);         # written, setAttributes: bytes of each file's growth that came out of the session's grant; empty: none
}

struct Query {
  caller @0 :Caller;
  union {
    lookup :group { parent @1 :UInt64; name @2 :Data; }
    attributes @3 :UInt64;
    readDirectory :group {
      inode @4 :UInt64;
      cookie @5 :UInt64;     # 0: from the start; else `next` of the last entry seen
      entriesMax @6 :UInt32;
      withAttributes @7 :Bool;
    }
    readLink @8 :UInt64;
    getXattr :group { inode @9 :UInt64; name @10 :Data; }
    listXattr @11 :UInt64;
    space @12 :UInt64;       # statfs of this directory
    testLock @13 :LockRequest;
  }
}

struct Answer {
  outcome @0 :Types.Outcome;
  term @1 :UInt64;
  index @2 :UInt64;
  union {
    none @3 :Void;
    attributes @4 :Types.Attributes;
    entries :group { list @5 :List(Entry); end @6 :Bool; }
    bytes @7 :Data;          # readLink, getXattr; listXattr: names, each ended by a zero byte
    space @8 :Space;
    lock @9 :LockRequest;    # testLock: the one in the way, `type` none when nothing is
  }
}

# Cookies are stable while a directory changes: an entry keeps its cookie for its whole life.
struct Entry { name @0 :Data; inode @1 :UInt64; mode @2 :UInt32; next @3 :UInt64; attributes @4 :Types.Attributes; }

struct Space { totalBytes @0 :UInt64; availableBytes @1 :UInt64; files @2 :UInt64; filesMax @3 :UInt64; copies @4 :UInt8; rawTotalBytes @5 :UInt64; rawUsedBytes @6 :UInt64; retiredBytes @7 :UInt64; }

# ---- chunkservers -----------------------------------------------------------------------------

struct ServerHello {
  id @0 :Types.Uuid;
  name @1 :Text;
  incarnation @2 :Types.Uuid;
  address @3 :Text;
  socket @4 :Text;
  hostId @5 :Text;
  volumes @6 :List(VolumeHello);
  history @7 :HistoryPoint;           # the newest that it has obeyed
  rack @8 :Text;                      # as in Types.Server
  zone @9 :Text;
  program @10 :Types.Program;         # ESTALE: it doesn't know the level that the cluster was raised to
}
# A committed entry of the masters: the group's epoch, the entry's term, what its leader drew when that term began.
struct HistoryPoint { epoch @0 :UInt64; term @1 :UInt64; drawn @2 :UInt64; index @3 :UInt64; }
struct VolumeHello { id @0 :Types.Uuid; totalBytes @1 :UInt64; usedBytes @2 :UInt64; usable @3 :Bool; why @4 :Text; }

interface Registration {
  # Every ~150 ms. The server may serve until `leaseNanos` after it *sent* the heartbeat that was
  # answered; the master replaces it no earlier than twice that after the heartbeat arrived.
  heartbeat @0 (beat :Heartbeat) -> (outcome :Types.Outcome, leaseNanos :Int64, work :Work, history :HistoryPoint);
  # Ends the registration in good order (daemon stopping): its lease is given up at once.
  leave @1 () -> ();
  # Which of these objects no file has, nor the reclaim queue. Objects of a number not given out yet aren't among them.
  unknown @2 (objects :List(UInt64)) -> (outcome :Types.Outcome, unknown :List(UInt64));
}

struct Heartbeat {
  mapVersion @0 :UInt64;              # applied
  fencesDrained @1 :UInt64;           # every session fenced up to this map version has no accepted write left
  volumes @2 :List(VolumeReport);
  # Joining members that have everything of that epoch, synced. Counts only when `mapVersion` is at least the version
  # that last changed the shard's record: an older claim may have missed forwards.
  caughtUp @3 :List(CaughtUp);
  suspects @4 :List(Types.Uuid);      # servers that didn't answer a forward in time
  # Ids of finished work: for every shard whose primary this server was at `mapVersion`. A shard that got another
  # primary since is not covered.
  done @5 :List(UInt64);
  takenOverBytes @6 :UInt64;          # that joining members have fetched since the server's start
}
struct VolumeReport {
  id @0 :Types.Uuid; totalBytes @1 :UInt64; usedBytes @2 :UInt64;
  badBlocks @3 :UInt64;      # found since the server's start, also those replaced since, or still there from before
  adoptedBlocks @4 :UInt64;
  failed @5 :Text;
  unmendedBlocks @6 :UInt64;  # bad now
  differingChunks @7 :UInt64; # found by a scrub: all copies verify and are not equal
  slow @8 :Bool;              # the disk takes far longer than it should
  ownBytes @9 :UInt64;        # of usedBytes, what this volume's chunks take
  retiredBytes @10 :UInt64;   # of deleted chunks that are kept for a while; not in usedBytes
  held @11 :HeldRemoval;
  noRoom @12 :Bool;           # a joining member of its didn't find room for a chunk, and none has come since
}
# Chunks of a volume that no file has or that belong elsewhere, and that are so many that people have to agree to their
# removal. Plan 0: there is nothing to agree to.
struct HeldRemoval { plan @0 :UInt64; unknownChunks @1 :UInt64; surplusChunks @2 :UInt64; ofChunks @3 :UInt64; }
struct CaughtUp { shard @0 :UInt32; epoch @1 :UInt64; volume @2 :UInt32; }

# For primaries: each must be done for the chunks whose shard's primary this server is, and replicated.
struct Work {
  reclaim @0 :List(Reclaim);
  cuts @1 :List(ApplyCut);
  agreed @2 :List(UInt64);    # plans of HeldRemoval that people have agreed to
  copies @3 :List(CopyObject);
  settings @4 :List(Audit.Setting);  # those that are set; the others are as cluster.toml says
}
# For the primaries of `to`: make its chunks equal to those of `from`. `to` 0: for the primaries of `from`, who say how
# many chunks it has (rpc/copy_work.h).
struct CopyObject {
  id @0 :UInt64; inode @1 :UInt64; chunkBits @2 :UInt8; generation @3 :UInt32; chunks @4 :UInt32;
  from @5 :UInt64; fromClass @6 :UInt16; to @7 :UInt64; toClass @8 :UInt16;
}
struct Reclaim { id @0 :UInt64; object @1 :UInt64; class @2 :UInt16; chunks @3 :UInt32; }
struct ApplyCut { id @0 :UInt64; object @1 :UInt64; class @2 :UInt16; chunkBits @3 :UInt8; generation @4 :UInt32; firstDead @5 :UInt64; chunks @6 :UInt32; }

# ---- administration ---------------------------------------------------------------------------

interface Admin {
  status @0 () -> (status :ClusterStatus);
  map @1 () -> (map :Types.ShardMap);
  # Resolves a path from the root, without following a last symlink.
  resolve @2 (path :Data) -> (outcome :Types.Outcome, attributes :Types.Attributes);
  sessions @3 () -> (sessions :List(SessionInfo));
  evict @4 (session :UInt64) -> (outcome :Types.Outcome);
  # The group of masters.
  raft @5 () -> (group :GroupInfo);
  # A change of it, by a member's name (of no meaning for a snapshot). Refused is what would leave no majority.
  raftChange @6 (change :RaftChange, name :Text) -> (outcome :Types.Outcome);
  # Asks all voters for the digest of their state at a recent entry. Entry 0: too little has been changed yet.
  raftDigest @7 () -> (index :UInt64, equal :Bool, members :List(MemberDigest));
  # A chunkserver's state, by its name. EBUSY: not in this state, `why` says what to do. `seconds`: of maintenance.
  changeServer @8 (name :Text, change :ServerChange, seconds :UInt32) -> (outcome :Types.Outcome);
  # Makes `volume` the shard's only in-sync member, though those that were in sync can't be asked. Without `apply`
  # nothing is done, and the outcome says whether it would be. EINVAL: there is no need, or the volume can't.
  forceShard @9 (shard :UInt32, volume :UInt32, apply :Bool) -> (outcome :Types.Outcome);
  # Agrees to a HeldRemoval. ENOENT: no volume that is here waits for that plan.
  agreeRemoval @10 (plan :UInt64) -> (outcome :Types.Outcome);
  # How many copies there are of what is below a directory, or of a file, and what no two of them share. `existing`: also
  # of the files that are there already, whose bytes are copied in the background by the task of that id (0: none).
  # EINVAL: there aren't so many failure domains, `why` says how many. Without `apply` it says only what it would do.
  setReplicas @11 (path :Data, copies :UInt8, level :Types.FailureDomain, existing :Bool, apply :Bool)
      -> (outcome :Types.Outcome, task :UInt64);
  copyTasks @12 () -> (tasks :List(CopyTask));
  # What it has copied stays as it is. ENOENT: there is no such task.
  cancelCopyTask @13 (task :UInt64) -> (outcome :Types.Outcome);
  # Limits of all that is below a directory; 0: none. Both 0: it is no quota's directory any more.
  setQuota @14 (path :Data, bytesMax :UInt64, filesMax :UInt64) -> (outcome :Types.Outcome);
  quotas @15 () -> (quotas :List(QuotaInfo));
  # What was deleted and can be brought back, oldest first; `after`: the last item seen, 0 at first.
  trash @16 (after :UInt64, itemsMax :UInt32) -> (items :List(TrashItem), end :Bool);
  # Back to its own path, or to `to` when that isn't empty. EEXIST: something else is there.
  restoreTrash @17 (item :UInt64, to :Data) -> (outcome :Types.Outcome, path :Data);
  # 0: all that was deleted more than `olderThanSeconds` ago.
  purgeTrash @18 (item :UInt64, olderThanSeconds :UInt64) -> (outcome :Types.Outcome, items :UInt64);
  # How long what is deleted below a directory stays in the trash; 0: not at all.
  setTrash @19 (path :Data, seconds :UInt64) -> (outcome :Types.Outcome);
  locks @20 () -> (locks :List(LockInfo));
  # ENOENT: there is no such lock.
  breakLock @21 (lock :LockInfo) -> (outcome :Types.Outcome);
  # Who may believe, or hold back, what of an inode.
  leases @22 (inode :UInt64) -> (holders :List(LeaseInfo));
  detachTree @23 (path :Data) -> (outcome :Types.Outcome);
  # What administrators did, oldest first: the newest `itemsMax` of it.
  history @24 (itemsMax :UInt32) -> (items :List(Audit.AuditItem));
  # For what is done elsewhere and belongs into the history all the same.
  beginAction @25 (action :Text) -> (outcome :Types.Outcome, id :UInt64);
  endAction @26 (id :UInt64, outcome :Types.Outcome) -> (outcome :Types.Outcome);
  settings @27 () -> (settings :List(Audit.SettingInfo));
  # EINVAL: there is no such setting, or it can't have that value.
  changeSetting @28 (change :Audit.SettingChange) -> (outcome :Types.Outcome);
  # All paths of an inode. ENOENT: there is none of that number, or it has no name.
  paths @29 (inode :UInt64) -> (outcome :Types.Outcome, paths :List(Data));
}
struct QuotaInfo {
  path @0 :Data; inode @1 :UInt64; bytesMax @2 :UInt64; filesMax @3 :UInt64; bytesUsed @4 :UInt64; filesUsed @5 :UInt64;
  bytesGranted @6 :UInt64;
}
# `path`: as it was. `bytes` and `files`: of the whole tree. `deleted` and `expires`: seconds since 1970.
struct TrashItem {
  id @0 :UInt64; inode @1 :UInt64; path @2 :Data; directory @3 :Bool; bytes @4 :UInt64; files @5 :UInt64; deleted @6 :Int64;
  expires @7 :Int64;
}
struct LockInfo { session @0 :UInt64; sessionName @1 :Text; lock @2 :LockRequest; waiting @3 :Bool; path @4 :Data; }
struct LeaseInfo { session @0 :UInt64; sessionName @1 :Text; write @2 :Bool; recalledNanos @3 :Int64; }
# Files below `path` that are copied into another replication class. `waiting`: files that have been passed over, since
# they change all the time; they are looked at again. `why`: what stops it now, empty when nothing does.
struct CopyTask {
  id @0 :UInt64; path @1 :Data; copies @2 :UInt8; level @3 :Types.FailureDomain;
  filesDone @4 :UInt64; bytesDone @5 :UInt64; filesWaiting @6 :UInt64; why @7 :Text;
}
enum ServerChange { drain @0; maintain @1; resume @2; remove @3; }
# Not known: the member doesn't answer, or has restarted since.
struct MemberDigest { name @0 :Text; known @1 :Bool; digest @2 :UInt64; odd @3 :Bool; }

enum RaftChange { promote @0; remove @1; transfer @2; snapshot @3; }
struct GroupInfo { term @0 :UInt64; commitIndex @1 :UInt64; appliedIndex @2 :UInt64; digest @3 :UInt64; members @4 :List(GroupMemberInfo); }
# `matchIndex`: up to where the member's log is known to be durable.
struct GroupMemberInfo { name @0 :Text; id @1 :UInt64; role @2 :Text; reachable @3 :Bool; matchIndex @4 :UInt64; }
struct SessionInfo { id @0 :UInt64; name @1 :Text; holds @2 :UInt32; leaseNanosLeft @3 :Int64; attached @4 :Bool; }
struct ClusterStatus {
  health @0 :Text;                    # healthy, degraded, critical
  reasons @1 :List(Reason);
  masters @2 :List(MasterStatus);
  servers @3 :List(ServerStatus);
  shards @4 :ShardCounts;
  space @5 :Space;
  sessions @6 :UInt32;
  version @7 :Text;
  repairBytesLeft @8 :UInt64;
  repairBytesPerSecond @9 :UInt64;
  reclaimBacklog @10 :UInt64;
  level @11 :UInt32;                  # feature level, see Types.Program
  levelHeldBy @12 :List(Text);        # servers that aren't known to know the leader's level
}
struct Reason { code @0 :Text; text @1 :Text; action @2 :Text; critical @3 :Bool; }
struct MasterStatus { name @0 :Text; address @1 :Text; role @2 :Text; term @3 :UInt64; commitIndex @4 :UInt64; appliedIndex @5 :UInt64; version @6 :Text; }
struct ServerStatus { name @0 :Text; address @1 :Text; state @2 :Text; online @3 :Bool; volumes @4 :List(VolumeStatus); maintenanceSecondsLeft @5 :UInt32; rack @6 :Text; zone @7 :Text; version @8 :Text; }
struct VolumeStatus { number @0 :UInt32; id @1 :Types.Uuid; state @2 :Text; usedBytes @3 :UInt64; totalBytes @4 :UInt64; badBlocks @5 :UInt64; adoptedBlocks @6 :UInt64; unmendedBlocks @7 :UInt64; differingChunks @8 :UInt64; slow @9 :Bool; ownBytes @10 :UInt64; retiredBytes @11 :UInt64; held @12 :HeldRemoval; }
struct ShardCounts { total @0 :UInt32; healthy @1 :UInt32; degraded @2 :UInt32; atRisk @3 :UInt32; unavailable @4 :UInt32; misplaced @5 :UInt32; }
