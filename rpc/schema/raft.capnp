@0xd3a1c5e0b7f24a05;
# What masters say to one another. The words are those of master/raft/message.h; here is only how they travel.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::wire");
using Types = import "types.capnp";

interface RaftPeer {
  # One way in meaning: the answer says that it arrived, no more.
  message @0 (message :RaftMessage);
  # The state up to an entry is to come, as the bytes of a snapshot file. A later one takes an earlier one's place.
  snapshot @1 (index :UInt64) -> (outcome :Types.Outcome, sink :SnapshotSink);
  # Of the state after that entry; not known: not applied yet, no checkpoint, or too long ago.
  digest @2 (index :UInt64) -> (known :Bool, digest :UInt64);
  # Most members have another digest there: this one must stop.
  differs @3 (index :UInt64) -> ();
}

interface SnapshotSink {
  write @0 (offset :UInt64, data :Data) -> (outcome :Types.Outcome);
  # All of it is there; the message is the installSnapshot that it belongs to.
  finish @1 (message :RaftMessage) -> (outcome :Types.Outcome);
}

struct Position { term @0 :UInt64; index @1 :UInt64; }

struct RaftEntry {
  term @0 :UInt64;
  kind @1 :UInt8;      # raft::EntryType
  payload @2 :Data;
}

struct RaftMessage {
  from @0 :UInt64;
  to @1 :UInt64;
  term @2 :UInt64;
  union {
    voteRequest :group { last @3 :Position; transfer @4 :Bool; released @25 :UInt64; }
    voteResponse @5 :Bool;
    preVoteRequest @6 :Position;
    preVoteResponse @7 :Bool;
    appendRequest :group { previous @8 :Position; entries @9 :List(RaftEntry); commit @10 :UInt64; }
    appendResponse :group {
      accepted @11 :Bool;
      match @12 :UInt64;
      refused @13 :UInt64;
      hint @14 :Position;
      lost @15 :Bool;
    }
    heartbeat :group { commit @16 :UInt64; round @17 :UInt64; promise @26 :Bool; }
    heartbeatResponse :group { round @18 :UInt64; last @19 :Position; lost @20 :Bool; }
    installSnapshot :group { last @21 :Position; membership @22 :Data; }
    timeoutNow @23 :UInt64;
    staleTerm @24 :Void;
  }
}
