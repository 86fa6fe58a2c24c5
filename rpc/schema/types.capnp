@0xd3a1c5e0b7f24a01;
# Words shared by every interface.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::wire");

struct Uuid { high @0 :UInt64; low @1 :UInt64; }

enum Role { client @0; chunkserver @1; master @2; admin @3; }

# First message on every connection. A mismatch of cluster is refused loudly by both sides, and so is a caller who has no
# protocol in common with who is called.
struct Hello {
  cluster @0 :Uuid;
  role @1 :Role;
  protocol @2 :UInt32;      # the newest that the caller speaks: PROTOCOL below
  name @3 :Text;            # of the caller, for messages
  epoch @4 :UInt64;         # GroupEpoch, the highest that the caller knows of
  oldest @5 :UInt32;        # the oldest that the caller still speaks
}
const protocol :UInt32 = 1;
const oldestProtocol :UInt32 = 1;

# What a server's program can do. `level`: feature level, of what may stand in logs and on disks. A cluster is raised to
# a level when all its servers know it, and never falls back; until then nothing of that level is written.
struct Program { version @0 :Text; level @1 :UInt32; }
const featureLevel :UInt32 = 1;

# An errno and its cause. errno 0 is success.
struct Outcome { errno @0 :Int32; why @1 :Text; }

# Seconds since 1970 (may be negative) and nanoseconds in [0, 1e9).
struct Time { seconds @0 :Int64; nanos @1 :UInt32; }

# Which bytes of an object are dead: everything at or past `firstDead` that was written under a
# generation below `generation`.
struct Cut { generation @0 :UInt32; firstDead @1 :UInt64; }

# Where a regular file's bytes live and how to ask for them. Part of its attributes.
struct Layout {
  object @0 :UInt64;
  class @1 :UInt16;
  chunkBits @2 :UInt8;
  generation @3 :UInt32;    # rises with each shrinking truncate
  cuts @4 :List(Cut);       # not yet confirmed by all primaries; at most 8
  movedFrom @5 :UInt64;     # the object that these bytes were in before they were copied into this one; 0: none
}

struct Attributes {
  inode @0 :UInt64;
  mode @1 :UInt32;          # type and permission bits as in stat(2)
  uid @2 :UInt32;
  gid @3 :UInt32;
  links @4 :UInt32;
  device @5 :UInt32;
  size @6 :UInt64;
  allocatedBytes @7 :UInt64;
  accessed @8 :Time;
  modified @9 :Time;
  changed @10 :Time;
  created @11 :Time;
  layout @12 :Layout;       # regular files
  parent @13 :UInt64;       # directories
  quotaRoot @14 :UInt64;    # the directory whose quota of bytes it counts for; 0: none
  lacks @15 :UInt8;         # bits, below: what it is known not to have
}

const lacksAccessAcl :UInt8 = 1;
const lacksDefaultAcl :UInt8 = 2;
const lacksOtherXattrs :UInt8 = 4;

struct Server {
  id @0 :Uuid;
  name @1 :Text;
  incarnation @2 :Uuid;
  address @3 :Text;         # host:port, for other hosts
  socket @4 :Text;          # Unix socket path, for the same host; may be empty
  hostId @5 :Text;          # equal on the same machine (boot id): then `socket` can be tried
  state @6 :ServerState;
  online @7 :Bool;          # holds an unexpired heartbeat lease
  maintenanceSeconds @8 :UInt32;  # state maintenance: for how long, from when the leading master first saw it
  untilBack @9 :Bool;       # state maintenance: ends when the server is back (it was stopped in good order)
  rack @10 :Text;           # failure domains that it is in, as it was told at its start; empty: not known
  zone @11 :Text;
}
enum ServerState { inService @0; maintenance @1; draining @2; drained @3; dead @4; }

struct Volume {
  number @0 :UInt32;
  id @1 :Uuid;
  server @2 :Uuid;
  weight @3 :UInt32;        # proportional to capacity
  usable @4 :Bool;          # false: failed or refused, never placed on
}

struct ReplicationClass {
  id @0 :UInt16;
  copies @1 :UInt8;
  minCopies @2 :UInt8;
  shardBits @3 :UInt8;
  level @4 :FailureDomain;  # no two copies of a shard share one of these
}
enum FailureDomain { server @0; rack @1; zone @2; }

# The acting set of one shard. Only a log entry changes it.
struct Shard {
  id @0 :UInt32;
  epoch @1 :UInt64;
  primary @2 :UInt32;       # volume number; meaningful when inSync isn't empty
  inSync @3 :List(UInt32);
  joining @4 :List(UInt32);
  target @5 :List(UInt32);
}

# The whole map, or the change from version `from` to `version`: then servers, volumes, classes and
# fenced and sealed are complete, and shards are only the changed ones.
struct ShardMap {
  version @0 :UInt64;
  from @1 :UInt64;          # 0: complete
  classes @2 :List(ReplicationClass);
  servers @3 :List(Server);
  volumes @4 :List(Volume);
  shards @5 :List(Shard);
  fenced @6 :List(UInt64);  # evicted sessions whose writes must not land
  sealed @7 :List(UInt64);  # objects that are copied into another class: no client changes them any more
}
