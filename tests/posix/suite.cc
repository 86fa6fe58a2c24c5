#include "tests/posix/suite.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "tests/posix/support.h"

namespace cairn::posix {
namespace {

constexpr unsigned CASE_SECONDS_MAX = 60;

std::string attempt(const Case& wanted, const std::string& directory) {
  ::umask(0);
  ::alarm(CASE_SECONDS_MAX);
  if (::chdir(directory.c_str()) != 0) {
    return directory + ": " + nameOf(errno);
  }
  try {
    wanted.body();
  } catch (const Failure& failure) {
    return failure.why;
  }
  return {};
}

void say(int pipe, const std::string& text) {
  // A text longer than a pipe holds would wait for the reader, which reads: so nothing is lost.
  size_t sent = 0;
  while (sent < text.size()) {
    ssize_t count = ::write(pipe, text.data() + sent, text.size() - sent);
    if (count <= 0) {
      ::_exit(1);
    }
    sent += static_cast<size_t>(count);
  }
}

std::string hear(int pipe) {
  std::string text;
  char part[4096];
  for (;;) {
    ssize_t count = ::read(pipe, part, sizeof part);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return text;
    }
    text.append(part, static_cast<size_t>(count));
  }
}

}  // namespace

std::string runCase(const Case& wanted, const std::string& directory) {
  if (::mkdir(directory.c_str(), 0777) != 0) {
    return "mkdir " + directory + ": " + nameOf(errno);
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return std::string("pipe: ") + nameOf(errno);
  }
  pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    say(ends[1], attempt(wanted, directory));
    ::_exit(0);
  }
  ::close(ends[1]);
  if (child < 0) {
    ::close(ends[0]);
    return std::string("fork: ") + nameOf(errno);
  }
  std::string why = hear(ends[0]);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    return why + "(ended by " + ::strsignal(WTERMSIG(status)) + ")";
  }
  return WEXITSTATUS(status) == 0 ? why : why + "(exit " + std::to_string(WEXITSTATUS(status)) + ")";
}

}  // namespace cairn::posix
