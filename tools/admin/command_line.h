// The command line of dfsadmin: which words there are, and what they mean.
#pragma once
#include <functional>

#include "tools/admin/verbs.h"

namespace cairn::admin {

// Reads the words into `context` (the global options) and `options`, then runs the verb that they name through `run`.
// Returns the exit code; a wrong word is EXIT_USAGE and a message that says which.
int runCommandLine(int argc, char** argv, Context& context, const std::function<int(Verb, const Options&)>& run);

}  // namespace cairn::admin
