// Compares every account of a namespace with what a count from scratch says.
#pragma once
#include "tests/unit/master/state_fixture.h"

namespace cairn {

void checkAccounts(TestNamespace& ns);

}  // namespace cairn
