#include "common/system/host.h"

#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace cairn {

namespace {

// The kernel writes a space, tab, newline or backslash in a path as three octal digits.
std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

constexpr size_t TEXT_BYTES_MAX = 4u << 20;

// In a process of its own, which may be killed at any time: only async-signal-safe calls. Ends with the errno.
[[noreturn]] void copyFile(const char* path, int out) {
  for (int inherited : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    ::close(inherited);  // nobody who waits for their end is to wait for this process
  }
  int in = ::open(path, O_RDONLY | O_CLOEXEC);
  if (in < 0) {
    ::_exit(errno);
  }
  char piece[4096];
  ssize_t got;
  while ((got = ::read(in, piece, sizeof piece)) > 0) {
    for (ssize_t at = 0; at < got;) {
      ssize_t put = ::write(out, piece + at, static_cast<size_t>(got - at));
      if (put < 0) {
        ::_exit(EPIPE);
      }
      at += put;
    }
  }
  ::_exit(got < 0 ? errno : 0);
}

// True at the end of what comes; false when it hasn't come by `end`, or is too much.
bool gather(int in, std::chrono::steady_clock::time_point end, std::string& out) {
  char piece[4096];
  while (out.size() < TEXT_BYTES_MAX) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd ready{in, POLLIN, 0};
    if (left <= 0 || ::poll(&ready, 1, static_cast<int>(left)) == 0) {
      return false;
    }
    ssize_t got = ::read(in, piece, sizeof piece);
    if (got == 0) {
      return true;
    }
    if (got > 0) {
      out.append(piece, static_cast<size_t>(got));
    }
  }
  return false;
}

struct Reading {
  pid_t child = -1;  // none: `failure` says why
  int from = -1;
  int failure = 0;
};

Reading startReading(const char* path) {
  Reading reading;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    reading.failure = errno;
    return reading;
  }
  reading.child = ::fork();
  reading.failure = errno;
  if (reading.child == 0) {
    copyFile(path, ends[1]);
  }
  ::close(ends[1]);
  reading.from = ends[0];
  return reading;
}

Result<std::string> finishReading(const Reading& reading, const std::string& path,
                                  std::chrono::steady_clock::time_point end) {
  std::string text;
  bool whole = reading.child > 0 && gather(reading.from, end, text);
  ::close(reading.from);
  if (reading.child < 0) {
    return Error{reading.failure, path + ": no process can be started to read it: " + ::strerror(reading.failure)};
  }
  if (!whole) {
    ::kill(reading.child, SIGKILL);  // and it isn't waited for: it may be as stuck as the file system
    return Error{ETIMEDOUT, path + ": it can't be read in time"};
  }
  int status = 0;
  ::waitpid(reading.child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
    return Error{code, path + ": " + ::strerror(code)};
  }
  return text;
}

}  // namespace

std::vector<Result<std::string>> readTextsWithin(const std::vector<std::string>& paths, Nanos limit) {
  auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(limit);
  std::vector<Reading> started;
  for (const auto& path : paths) {
    started.push_back(startReading(path.c_str()));
  }
  std::vector<Result<std::string>> out;
  for (size_t i = 0; i < paths.size(); ++i) {
    out.push_back(finishReading(started[i], paths[i], end));
  }
  return out;
}

std::vector<uint32_t> threadsOf(uint32_t process) {
  std::vector<uint32_t> out;
  std::error_code failure;
  std::filesystem::directory_iterator tasks("/proc/" + std::to_string(process) + "/task", failure), end;
  for (; !failure && tasks != end; tasks.increment(failure)) {
    std::string name = tasks->path().filename().string();
    uint32_t thread = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), thread).ec == std::errc()) {
      out.push_back(thread);
    }
  }
  return out;
}

std::string thisHostId() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  in >> id;
  return id;
}

std::string thisHostName() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "localhost";
}

std::string thisUserName() {
  const char* behind = getenv("SUDO_USER");
  const passwd* entry = getpwuid(geteuid());
  std::string name = entry != nullptr ? entry->pw_name : std::to_string(geteuid());
  return behind != nullptr && *behind != 0 ? std::string(behind) + " as " + name : name;
}

std::vector<MountEntry> mountTable() {
  std::ifstream in("/proc/self/mountinfo");
  std::vector<MountEntry> table;
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string skip;
    MountEntry entry;
    fields >> skip >> skip >> skip >> skip >> entry.at;
    while (fields >> skip && skip != "-") {
    }
    if (fields >> entry.type >> entry.source) {
      entry.at = unescape(entry.at);
      entry.source = unescape(entry.source);
      table.push_back(entry);
    }
  }
  return table;
}

std::string workingDirectory() {
  std::error_code failure;
  auto path = std::filesystem::current_path(failure);
  return failure ? "/" : path.string();
}

}  // namespace cairn
