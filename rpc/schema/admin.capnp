@0xd3a1c5e0b7f24a09;
# What administrators have done and set.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::wire");
using Types = import "types.capnp";

# Who asks, and with which words. What the caller says of itself; the master adds what it knows.
struct AdminCaller { who @0 :Text; command @1 :Text; }

# An action of an administrator, as the replicated log tells it. `action`: what the master was asked to do. Not `ended`:
# it is under way, or its leader has gone before it could say what came of it.
struct AuditItem {
  id @0 :UInt64;
  time @1 :Types.Time;
  who @2 :Text;
  command @3 :Text;
  action @4 :Text;
  ended @5 :Bool;
  outcome @6 :Types.Outcome;
}

# In the log: before an action is begun, and when it has ended. The first one's index is the action's id.
struct AuditChange {
  union {
    begin :group { who @0 :Text; command @1 :Text; action @2 :Text; }
    end :group { id @3 :UInt64; outcome @4 :Types.Outcome; }
  }
}

# A setting of the whole cluster (common/settings.h) that counts instead of what cluster.toml says.
struct Setting { name @0 :Text; value @1 :UInt64; }
# `reset`: what cluster.toml says counts again.
struct SettingChange { name @0 :Text; value @1 :UInt64; reset @2 :Bool; }
struct SettingInfo { name @0 :Text; value @1 :UInt64; isSet @2 :Bool; }

# A running daemon.
struct DaemonAbout { version @0 :Text; logLevel @1 :Text; }
