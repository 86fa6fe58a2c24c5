@0xd3a1c5e0b7f24a08;
# Certificates: who gets one, whose are void.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::wire");
using Types = import "types.capnp";

# What somebody without a certificate finds on a master's TCP port.
interface Enrollment {
  # Trades a join token's secret for a certificate. `request`: a certificate request (PKCS #10, PEM) for the caller's own
  # key. Good once; the same key again gets another answer like the first, for that may have been lost.
  # EAGAIN: not the leader, another master of the token may be. EACCES: no such token, used up or expired.
  redeem @0 (secret :Data, request :Text) -> (outcome :Types.Outcome, certificate :Text, authority :Text,
                                              clusterFile :Text);
}

# For admins.
interface CertificateAdmin {
  makeToken @0 (role :Types.Role, name :Text, seconds :UInt32) -> (outcome :Types.Outcome, token :Text);
  issue @1 (role :Types.Role, name :Text, request :Text) -> (outcome :Types.Outcome, certificate :Text);
  # All certificates of that role and name issued so far are void, and so are its tokens.
  revoke @2 (role :Types.Role, name :Text) -> (outcome :Types.Outcome);
  list @3 () -> (certificates :List(CertificateRecord), revoked :List(Types.Revocation), tokens :List(TokenRecord));
}

# Times are in seconds since 1970.
struct CertificateRecord { role @0 :Types.Role; name @1 :Text; serial @2 :Text; begins @3 :Int64; expires @4 :Int64; }
struct TokenRecord {
  digest @0 :Data;           # SHA-256 of the secret
  role @1 :Types.Role;
  name @2 :Text;
  expires @3 :Int64;
  usedBy @4 :Data;           # SHA-256 of the public key that got a certificate for it
}

# An entry of the log.
struct SecurityChange {
  union {
    none @0 :Void;
    issued @1 :CertificateRecord;
    addToken @2 :TokenRecord;
    redeem :group { digest @3 :Data; key @4 :Data; certificate @5 :CertificateRecord; }
    revoke @6 :Types.Revocation;
  }
}
