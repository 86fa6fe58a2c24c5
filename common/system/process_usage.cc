#include "common/system/process_usage.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace cairn {
namespace {

constexpr double MICROS = 1e6;
constexpr double NANOS = 1e9;

double secondsOf(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / MICROS;
}

// Since 1970: now, less how long ago that was.
double startedSeconds() {
  constexpr int FIELDS_BEFORE = 19;  // of the start, after the program's name in parentheses
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream rest(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < FIELDS_BEFORE; ++i) {
    rest >> skipped;
  }
  double ticks = 0;
  rest >> ticks;
  timespec now{}, up{};
  clock_gettime(CLOCK_REALTIME, &now);
  clock_gettime(CLOCK_BOOTTIME, &up);
  auto seconds = [](const timespec& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / NANOS;
  };
  return seconds(now) - seconds(up) + ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

ProcessUsage processUsage() {
  ProcessUsage out;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  out.cpuSeconds = secondsOf(usage.ru_utime) + secondsOf(usage.ru_stime);
  std::ifstream memory("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  memory >> total >> resident;
  out.residentBytes = resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  std::error_code none;  // a process that can't see its own descriptors has 0 of them
  for (auto at = std::filesystem::directory_iterator("/proc/self/fd", none); at != std::filesystem::end(at);
       at.increment(none)) {
    ++out.descriptors;
  }
  out.startedSeconds = startedSeconds();
  return out;
}

}  // namespace cairn
