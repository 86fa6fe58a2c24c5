@0xd3a1c5e0b7f24a04;
# What the master's log holds. Everything that must come out the same on every member and at every replay is in
# the entry: time, new ids, who holds an inode open.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::wire");
using Types = import "types.capnp";
using Master = import "master.capnp";
using Audit = import "admin.capnp";

struct Command {
  time @0 :Types.Time;             # the leader's clock, never before the previous entry's
  union {
    noop @1 :Void;                 # first entry of a term
    format @2 :Format;             # first entry of a cluster
    client @3 :ClientCommand;
    openSession @4 :OpenSession;   # the new session's id is in the reply
    endSession @5 :UInt64;         # drops its holds, frees orphans only it held, puts it on the fenced list
    dropHolds @6 :DropHolds;       # orphans that lost their last holder are freed
    cluster @7 :ClusterChange;
    reclaimed @8 :List(UInt64);    # reclaim queue ids whose chunks are gone
    cutsApplied @9 :List(UInt64);  # cut queue ids that every primary has confirmed
    unfence @10 :List(UInt64);     # sessions whose late writes can't exist any more
    membership @11 :Data;          # of the masters: an encoded raft::Membership, in force from this entry on
    recovered @12 :UInt64;         # GroupEpoch: the group was begun anew from one survivor; numbers leap over what is lost
    classChange @14 :ClassChange;
    quotaChange @15 :QuotaChange;
    trashChange @16 :TrashChange;
    breakLock @17 :LockBreak;
    raiseLevel @18 :UInt32;        # the cluster's feature level (Types.Program)
    audit @19 :Audit.AuditChange;
    setting @20 :Audit.SettingChange;
  }
  drawn @13 :UInt64;               # of the first entry of a term: drawn at random by the process that leads
}

struct Format { cluster @0 :Types.Uuid; classes @1 :List(Types.ReplicationClass); uid @2 :UInt32; gid @3 :UInt32; }
struct ClientCommand {
  session @0 :UInt64;
  slot @1 :UInt8;
  sequence @2 :UInt64;
  op @3 :Master.Op;
  holders @4 :List(Holder);        # of inodes that this op could leave nameless
  holdersAt @5 :UInt64;            # applied index when they were gathered: whoever made an inode later holds it as its make said
}
struct Holder { inode @0 :UInt64; sessions @1 :List(UInt64); }
# The same nonce again: the same session. `leases`: it may come to believe what it was told under leases.
struct OpenSession { name @0 :Text; nonce @1 :Types.Uuid; leases @2 :Bool; }
struct DropHolds { session @0 :UInt64; inodes @1 :List(UInt64); }

# Into which replication class bytes go.
struct ClassChange {
  union {
    none @0 :Void;
    set :group { inode @1 :UInt64; class @2 :UInt16; }  # of a directory: what is made in it from now on
    # Files to be copied into another class: each gets an object there. What has no bytes just gets the class.
    begin :group { inodes @3 :List(UInt64); class @4 :UInt16; task @5 :UInt64; }
    # Of files being copied: no client changes or reads their objects any more, or it may again.
    seal :group { inodes @6 :List(UInt64); on @7 :Bool; }
    finish @8 :List(MoveEnd);      # all their bytes are in the new object
    drop @9 :List(UInt64);         # files that stay in the object that they have
    beginTask @10 :MoveTask;       # its id is in the reply's index
    endTask @11 :UInt64;
  }
}
# 0: no limit. Both 0: it is no quota's directory any more.
struct QuotaChange { inode @0 :UInt64; bytesMax @1 :UInt64; filesMax @2 :UInt64; }
struct TrashChange {
  union {
    restore :group { item @0 :UInt64; parent @1 :UInt64; name @2 :Data; }
    purge @3 :List(UInt64);
    retention :group { inode @4 :UInt64; seconds @5 :UInt64; set @6 :Bool; }
    detach :group { parent @7 :UInt64; name @8 :Data; }
    reclaim @9 :UInt64;              # a step of what is done behind: some entries of a tree that nothing leads to any more
  }
}
struct LockBreak { session @0 :UInt64; lock @1 :Master.LockRequest; }
# `chunks`: how many chunks the old object has, whatever sizes have been told.
struct MoveEnd { inode @0 :UInt64; to @1 :UInt64; chunks @2 :UInt32; }
struct MoveTask { inode @0 :UInt64; class @1 :UInt16; path @2 :Data; }

# Complete new records; what isn't named stays. Refused as a whole (outcome EAGAIN) unless the state's map version is
# `expected`: the proposer decided on an older map.
struct ClusterChange {
  expected @0 :UInt64;
  servers @1 :List(Types.Server);
  volumes @2 :List(Types.Volume);
  shards @3 :List(Types.Shard);
  classes @4 :List(Types.ReplicationClass);
  removedServers @5 :List(Types.Uuid);   # with all their volumes
}
