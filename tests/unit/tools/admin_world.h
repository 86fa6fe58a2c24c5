// A simulated world with the context that dfsadmin's verbs take.
#pragma once
#include "tests/sim/world/world.h"
#include "tools/admin/context.h"

namespace cairn::admin {

struct AdminWorld {
  ~AdminWorld() noexcept {}  // so that a gtest fixture can hold it
  World world{1};
  kj::Own<SimRandom> random = world.random("dfsadmin");
  Context context{world.clock(), world.network().host("dfsadmin"), *random, {}, "this-host", "/", {}, "ann@desk",
                  "dfsadmin", false,       "",                                      false};
};

}  // namespace cairn::admin
