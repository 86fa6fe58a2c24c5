@0xd3a1c5e0b7f24a07;
# Namespace capsules: copies of the masters' state that chunkservers keep, so that disks alone can rebuild the tree.
# The frames themselves are in rpc/capsule_format.h: they travel as they lie on the disks.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::wire");
using Types = import "types.capnp";

# A state of the masters: that after an entry of their log. `epoch`: GroupEpoch.
struct CapsuleId { epoch @0 :UInt64; term @1 :UInt64; index @2 :UInt64; }

# The best that some volume of the server has. `capsule.index` 0: none. `tailEnd`: the last entry of the log that it has
# after the capsule, without a gap.
struct CapsuleState { capsule @0 :CapsuleId; capsuleBytes @1 :UInt64; tailEnd @2 :UInt64; tailBytes @3 :UInt64; }

# What a chunkserver offers the master that leads. One call at a time.
interface CapsuleKeeper {
  state @0 () -> (outcome :Types.Outcome, state :CapsuleState);
  # The next frame of a capsule; the first one begins it, the last one makes it durable. errno ESTALE: out of order, or
  # what is kept is newer; ENOSPC.
  put @1 (frame :Data) -> (outcome :Types.Outcome);
  # Entries after the newest capsule. Durable when it is answered. errno ESTALE: they don't follow; look at the state.
  append @2 (frame :Data) -> (outcome :Types.Outcome, state :CapsuleState);
}
