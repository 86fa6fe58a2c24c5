// Proposing a command that is built on the spot, and reading what it came to.
#pragma once
#include <capnp/message.h>
#include <capnp/serialize.h>

#include "master/replica.h"

namespace cairn {

// `fill` gets the empty wire::Command. The replica copies it before this returns.
template <typename Fill>
Task<Result<Applied>> propose(Replica& replica, Fill&& fill) {
  constexpr size_t SCRATCH_WORDS = 256;
  capnp::word scratch[SCRATCH_WORDS] = {};
  capnp::MallocMessageBuilder message(kj::arrayPtr(scratch, SCRATCH_WORDS));
  fill(message.initRoot<wire::Command>());
  return replica.propose(message);
}

// Not only that the entry was applied, but that it did what it says.
inline Status outcomeOf(const Result<Applied>& applied) {
  if (!applied.ok()) {
    return applied.error();
  }
  capnp::FlatArrayMessageReader message(applied.value().reply);
  auto outcome = message.getRoot<wire::Reply>().getOutcome();
  return outcome.getErrno() == 0 ? Status() : Status(Error{outcome.getErrno(), outcome.getWhy().cStr()});
}

}  // namespace cairn
