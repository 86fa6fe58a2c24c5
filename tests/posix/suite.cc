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

}  // namespace

Run::Run(const Case& wanted, const std::string& directory) : case_(wanted) {
  int ends[2];
  if (::mkdir(directory.c_str(), 0777) != 0 || ::pipe2(ends, O_CLOEXEC) != 0) {
    why_ = "no place to run in: " + nameOf(errno);
    return;
  }
  child_ = ::fork();
  if (child_ == 0) {
    ::close(ends[0]);
    say(ends[1], attempt(wanted, directory));
    ::_exit(0);
  }
  ::close(ends[1]);
  pipe_ = ends[0];
  if (child_ < 0) {
    why_ = "fork: " + nameOf(errno);
  }
}

Run::~Run() {
  if (pipe_ >= 0) {
    ::close(pipe_);
  }
}

bool Run::hear() {
  char part[4096];
  ssize_t count = ::read(pipe_, part, sizeof part);
  if (count > 0) {
    why_.append(part, static_cast<size_t>(count));
  }
  return count > 0 || (count < 0 && errno == EINTR);
}

std::string Run::wrong() {
  int status = 0;
  while (child_ > 0 && ::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    return why_ + "(ended by " + ::strsignal(WTERMSIG(status)) + ")";
  }
  return WEXITSTATUS(status) == 0 ? why_ : why_ + "(exit " + std::to_string(WEXITSTATUS(status)) + ")";
}

}  // namespace cairn::posix
