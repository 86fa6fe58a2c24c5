// Log lines for people, through spdlog: to standard error, which the start script sends to a file.
// Say which thing, what happened, what follows. Never per operation at info level or above.
#pragma once
#include <spdlog/spdlog.h>

namespace cairn {

// Names the program in every line; `level` is spdlog's name of a level ("info").
void startLogging(const char* program, const char* level);

}  // namespace cairn
