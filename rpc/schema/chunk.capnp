@0xd3a1c5e0b7f24a03;
# What clients and other chunkservers ask of a chunkserver.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::wire");
using Types = import "types.capnp";
using Audit = import "admin.capnp";

interface ChunkDoor {
  # `server`: whom the caller means to reach; null when it doesn't care. errno ESTALE: wrong cluster, protocol or server.
  enter @0 (hello :Types.Hello, server :Types.Uuid) -> (outcome :Types.Outcome, chunks :ChunkService, peer :PeerService);
  # About the process itself. `logLevel`: from now on; empty: as it is.
  daemon @1 (hello :Types.Hello, server :Types.Uuid, logLevel :Text) -> (outcome :Types.Outcome, about :Audit.DaemonAbout);
}

enum Verdict {
  ok @0;
  staleEpoch @1;     # caller's epoch is older: get the map, retry
  notPrimary @2;     # this server isn't the shard's primary (write), or not in sync (read): get the map, retry
  notReady @3;       # fenced by itself, reconciling, or below min-copies: wait a little, retry
  fenced @4;         # the session was evicted: final
  noSpace @5;        # final: ENOSPC
  corrupt @6;        # the blocks asked for have no good copy here: try another in-sync member
  failed @7;         # I/O error: try another member (read), retry after the map changes (write)
  badRequest @8;     # final: a bug or damage in flight (piece checksum mismatch: send again)
  staleLayout @9;    # the target's generation is older than the chunk's: get the attributes, send again
}

struct Target {
  shard @0 :UInt32;
  epoch @1 :UInt64;
  mapVersion @2 :UInt64;
  session @3 :UInt64;
  object @4 :UInt64;
  index @5 :UInt32;
  chunkBits @6 :UInt8;
  generation @7 :UInt32;
  cuts @8 :List(Types.Cut);
  inode @9 :UInt64;       # for the chunk's self-description; 0 when unknown
  mode @10 :UInt32;
  uid @11 :UInt32;
  gid @12 :UInt32;
  path @13 :Text;         # hint
  request @14 :UInt64;    # the client's number of the call, for people who look for it in logs
}

# Bytes for [offset, offset + data.size) of a chunk. One checksum for each block touched, over just this
# piece's bytes in that block: for a whole block it is the block's checksum.
struct Piece { offset @0 :UInt32; data @1 :Data; sums @2 :List(UInt64); }

# `slow`: where the time went, empty unless it took long.
struct Answer2 { verdict @0 :Verdict; why @1 :Text; mapVersion @2 :UInt64; slow @3 :Text; }

# Who has acknowledged, under which incarnation, and since which epoch it has been a member of the shard without a gap:
# one that was left out and joined again may have had newer bytes replaced by what the others still had.
struct Verifier { volume @0 :UInt32; incarnation @1 :Types.Uuid; since @2 :UInt64; }

interface ChunkService {
  # Applied on every in-sync member when answered. `durable`: synced on every one of them as well.
  write @0 (target :Target, pieces :List(Piece), durable :Bool)
      -> (answer :Answer2, verifiers :List(Verifier), allocatedDelta :Int64);
  # Block-aligned. Holes and absent chunks are zeros with checksum 0, `data` may end early: the rest is a
  # hole. Checksums are for the reader to check.
  read @1 (target :Target, offset :UInt32, length :UInt32)
      -> (answer :Answer2, data :Data, sums :List(UInt64));
  # Makes earlier acknowledged writes of this chunk durable on every in-sync member.
  sync @2 (target :Target) -> (answer :Answer2, verifiers :List(Verifier));
  # Zeros [offset, offset + length) and frees whole blocks. Replicated like a write.
  punch @3 (target :Target, offset :UInt32, length :UInt32)
      -> (answer :Answer2, verifiers :List(Verifier), allocatedDelta :Int64);
  # Allocated blocks as a bitmap (bit i of byte i/8), for SEEK_HOLE and SEEK_DATA.
  allocated @4 (target :Target) -> (answer :Answer2, bitmap :Data);
  # A reader found that these blocks don't match their checksums.
  reportBad @5 (target :Target, blocks :List(UInt32)) -> ();
  # How the scrub of each of this server's volumes is getting on. `start`: begins a pass at once, and quickly.
  scrub @6 (start :Bool) -> (volumes :List(ScrubState));
}

# Times are of the wall clock, in seconds; 0: never. Counts are since the server's start, `unmended` is of now.
struct ScrubState {
  volume @0 :Types.Uuid;
  running @1 :Bool;
  fast @2 :Bool;             # started by hand
  bytesDone @3 :UInt64;      # of this pass, or of the last
  bytesTotal @4 :UInt64;
  begun @5 :Int64;
  lastPassBegun @6 :Int64;   # of the last complete pass
  lastPassEnded @7 :Int64;
  badBlocks @8 :UInt64;
  mended @9 :UInt64;
  unmended @10 :UInt64;
  differing @11 :UInt64;     # chunks whose copies all verify and are not equal
  bytesPerSecond @12 :UInt64;  # what the pass is paced at now
}

# Between the members of a shard. Every message carries the epoch of the sender.
interface PeerService {
  # The primary passes a mutation on, in its order. `sequence` rises by one per mutation of the shard in
  # an epoch; everything below `completeBelow` is known complete on all members.
  forward @0 (volume :UInt32, target :Target, sequence :UInt64, completeBelow :UInt64, change :Change)
      -> (answer :Answer2, incarnation :Types.Uuid);
  sync @1 (volume :UInt32, target :Target) -> (answer :Answer2, incarnation :Types.Uuid);
  # Reconciliation: chunks with mutations not known complete everywhere (after a restart: all dirty ones),
  # for many shards at once.
  pending @2 (volume :UInt32, shards :List(ShardEpoch)) -> (answer :Answer2, shards :List(PendingShard), incarnation :Types.Uuid);
  # What is stored of these chunks. `deep`: with block checksums, and which blocks really match them (read from
  # the disk); otherwise `sums`, `bad` and `torn` stay empty.
  describe @3 (volume :UInt32, shard :UInt32, epoch :UInt64, chunks :List(ChunkName), deep :Bool)
      -> (answer :Answer2, chunks :List(ChunkState));
  # A whole chunk, for a member that must take it over. Ordered with forwards of the same link. `background`: it may
  # wait a little while users are busy here.
  fetch @4 (volume :UInt32, shard :UInt32, epoch :UInt64, chunk :ChunkName, background :Bool) -> (answer :Answer2, image :ChunkImage);
  # The primary makes this member's chunk equal to its own. The chunk is pending until `sequence` is complete; 0: until
  # the epoch is settled.
  install @5 (volume :UInt32, shard :UInt32, epoch :UInt64, image :ChunkImage, sequence :UInt64)
      -> (answer :Answer2, incarnation :Types.Uuid);
  # Chunks of a shard last changed in `since` or later, or dirty, in order, after `after` (absent: from the start);
  # `unchanged`: the other chunks there are in the same range; `end`: no more. `member` is the caller's joining
  # volume: a call without `after` starts its forwards, the first of which will have the sequence `next`.
  # Waits for `mapVersion`, so that both ends speak of the same record of the shard.
  changed @6 (volume :UInt32, shard :UInt32, epoch :UInt64, mapVersion :UInt64, since :UInt64, after :ChunkName,
              member :UInt32)
      -> (answer :Answer2, next :UInt64, chunks :List(ChunkState), unchanged :List(ChunkName), end :Bool,
          bytes :UInt64);   # without `after`: how much is in all chunks of the whole list
  # From the primary: `epoch` is reconciled, so the member may serve reads of it, and everything below
  # `completeBelow` is complete everywhere. Sent at the start of an epoch and when a shard falls quiet.
  settled @7 (volume :UInt32, shards :List(ShardSettled)) -> (answer :Answer2);
  # A joining member has taken every chunk. Answered when it has acknowledged every forward sent so far; from then
  # on writes and syncs wait for it too, so what it syncs after the answer leaves nothing out. notReady: it has
  # missed a forward, so it starts again with `changed`.
  taken @8 (volume :UInt32, shard :UInt32, epoch :UInt64, mapVersion :UInt64, member :UInt32) -> (answer :Answer2);
  # To the primary: a member found blocks of this chunk bad. Answered when the copies have been made equal.
  repair @9 (volume :UInt32, shard :UInt32, epoch :UInt64, chunk :ChunkName) -> (answer :Answer2);
}

struct ShardEpoch { shard @0 :UInt32; epoch @1 :UInt64; }
struct ShardSettled { shard @0 :UInt32; epoch @1 :UInt64; completeBelow @2 :UInt64; }
struct ChunkName { object @0 :UInt64; index @1 :UInt32; }
# `since`: see Verifier.
struct PendingShard { shard @0 :UInt32; chunks @1 :List(ChunkName); restarted @2 :Bool; since @3 :UInt64; }
# Present chunks of equal digest have equal bytes, allocation, length and generation.
struct ChunkState { name @0 :ChunkName; present @1 :Bool; digest @2 :UInt64; lastEpoch @3 :UInt64; sums @4 :List(UInt64); bad @5 :List(UInt32); torn @6 :List(UInt32); allocatedBytes @7 :UInt32; }

struct Change {
  union {
    write @0 :List(Piece);
    punch :group { offset @1 :UInt32; length @2 :UInt32; }
    cut @3 :Void;        # just apply the target's cuts
    remove @4 :Void;
    nothing @6 :Void;    # keeps the sequence whole while the primary makes the chunk's copies equal
  }
  durable @5 :Bool;
}

struct ChunkImage {
  name @0 :ChunkName;
  present @1 :Bool;      # false: the chunk is absent, so remove it
  generation @2 :UInt32;
  chunkBits @3 :UInt8;
  lastEpoch @4 :UInt64;
  inode @5 :UInt64; mode @6 :UInt32; uid @7 :UInt32; gid @8 :UInt32; path @9 :Text;
  sums @10 :List(UInt64);   # one per block of the chunk's length; 0: hole
  data @11 :Data;           # the allocated blocks, one after another, in order
  bad @12 :List(UInt32);    # blocks that don't match their sums at the sender either
  discard @13 :Bool;        # with present = false: nobody was ever told that it exists, no need for quarantine
  keepOld @14 :Bool;        # a copy of what it replaces goes to quarantine
}
