@0xd3a1c5e0b7f24a06;
# What the daemons tell the leading master of their work, and what it tells whoever shows that. Nothing is decided by it.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::wire");

# Counts since the start of who tells them. `p99Nanos`: of the last seconds; 0: there were none.
struct OperationLoad { kind @0 :Text; count @1 :UInt64; errors @2 :UInt64; nanos @3 :UInt64; p99Nanos @4 :UInt64; }

struct ServerLoad {
  operations @0 :List(OperationLoad);
  bytesRead @1 :UInt64;
  bytesWritten @2 :UInt64;
  slow @3 :UInt64;            # operations that took longer than its threshold
}

# A call of a program that took long. No name of a file is in it. `path`: through which servers, and how long each took.
struct SlowOperation { kind @0 :Text; inode @1 :UInt64; nanos @2 :UInt64; path @3 :Text; }

struct ClientLoad {
  operations @0 :UInt64;      # calls of programs, answered
  errors @1 :UInt64;          # of them, with EIO
  bytesRead @2 :UInt64;
  bytesWritten @3 :UInt64;
  slowCount @4 :UInt64;
  slow @5 :List(SlowOperation);  # the slowest since the last time
}

# Served by the leading master.
interface Observe {
  # What its status page shows, as JSON (tests/schemas/page.json).
  page @0 () -> (json :Text);
}
