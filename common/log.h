// Log lines for people, through spdlog: to standard error, which the start script sends to a file.
// Say which thing, what happened, what follows. Never per operation at info level or above.
#pragma once
#include <spdlog/spdlog.h>

#include <string>

namespace cairn {

// Names the program in every line; `level` is spdlog's name of a level ("info").
void startLogging(const char* program, const char* level);
// The level from now on. False: there is none of that name.
bool setLogLevel(const std::string& level);
std::string logLevel();

}  // namespace cairn
