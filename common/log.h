// Log lines for people, through spdlog: to standard error, or to a file that is begun anew when it has grown.
// Say which thing, what happened, what follows. Never per operation at info level or above.
#pragma once
#include <spdlog/spdlog.h>

#include <cstdint>
#include <string>

#include "common/result.h"

namespace cairn {

struct LoggingOptions {
  static constexpr uint64_t FILE_BYTES_MAX = 64 << 20;
  static constexpr unsigned FILES_KEPT = 4;  // FILE.1 is the one before

  std::string program;          // named in every line
  std::string level = "info";   // spdlog's name of a level
  std::string file;             // empty: standard error
  bool json = false;            // a line is a JSON object: time, level, program, text
  uint64_t fileBytesMax = FILE_BYTES_MAX;
};

// EACCES and the like: the file can't be opened.
Status startLogging(const LoggingOptions& options);
void startLogging(const char* program, const char* level);
// The level from now on. False: there is none of that name.
bool setLogLevel(const std::string& level);
std::string logLevel();

// The file may have been moved away by a program that looks after logs: goes on in a new one. Without a file: nothing.
void reopenLog();

// Lines that nobody took, since the start.
uint64_t droppedLogLines();

}  // namespace cairn
