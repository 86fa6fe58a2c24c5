// Quotas: how much there may be below a directory. Bytes are the sizes of the files, holes included: a hole may be
// filled at any time, so a sparse file is no way around a quota, and filling it never fails for one. Files and
// directories count alike. What counts where is the accounts' (accounts.h); all quotas above a file count.
//
// Bytes reach the chunkservers before the master hears of them, so a session asks for a *grant* first: bytes by which
// it may let files below a quota's directory grow. At any time the bytes used and those granted are no more than the
// limit together, unless the limit was set below them. Grants are part of the state: another leader knows them, and the
// entry that ends a session frees its own. Whatever comes without one must fit into what is neither used nor granted.
#pragma once
#include "master/namespace/operations.h"

namespace cairn {

// Beyond what it asks for a session gets a part of what is left, so that it needn't ask for every write, and so that
// grants become small where little is left.
constexpr uint64_t GRANT_EXTRA_MAX = 64u << 20;
constexpr uint64_t GRANT_EXTRA_PART = 16;

// Neither used nor granted. REQUIRES: it has a quota of bytes.
uint64_t bytesLeft(const Account& account);

// The nearest directory, from this one up, that has a quota; that has one of bytes. 0: none.
InodeId quotaAbove(const Execution& execution, InodeId directory);
InodeId byteQuotaAbove(const Execution& execution, InodeId directory);

// Whether so much more may come to be below a directory. EDQUOT names the quota that it doesn't fit into.
Status fits(Execution& execution, InodeId directory, const Charge& more);
// A file in `directory` grows by `bytes`: out of the session's grant, but for no more than `grantedMax` of them, and
// out of what is left. Gives what the grant paid.
Result<uint64_t> chargeGrowth(Execution& execution, SessionId session, InodeId directory, uint64_t bytes,
                              uint64_t grantedMax);

Status reserve(Execution& execution, SessionId session, wire::ByteGrant::Reader wish, wire::Reply::Builder reply);
// Root 0: all that the session has. A process that takes a mount over knows of none (client/take_up.cc).
Status giveBack(Execution& execution, SessionId session, wire::ByteGrant::Reader grant);
// At a session's end.
void dropGrants(Execution& execution, SessionId session);
// At a directory's end.
void forgetQuota(Execution& execution, InodeId directory);
// A tree has left the accounts above it, or has come back below others.
void treeMoved(Execution& execution, InodeId directory, bool back);

}  // namespace cairn
