#include "fuse-client/fuse/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse-client/fuse/mountpoint.h"

namespace cairn {
namespace {

// How long the parent waits for the first answer through the kernel.
constexpr unsigned ANSWER_SECONDS = 15;

void print(const std::string& text) {
  ::fprintf(stderr, "dfs-mount: %s\n", text.c_str());
}

void onSilence(int) {
  static constexpr char TEXT[] =
      "dfs-mount: mounted, but it does not answer: no master, or no quorum of them. It goes on trying; "
      "look with dfsadmin status\n";
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, TEXT, sizeof TEXT - 1);
  ::_exit(EXIT_UNREACHABLE);
}

// The parent's part: what the child says, then what the mount itself says.
[[noreturn]] void await(pid_t child, int fromChild, const std::string& mountPoint) {
  std::string said;
  char piece[512];
  for (ssize_t got; (got = ::read(fromChild, piece, sizeof piece)) != 0;) {
    if (got > 0) {
      said.append(piece, static_cast<size_t>(got));
    } else if (errno != EINTR) {
      break;
    }
  }
  if (said.empty()) {
    int status = 0;
    ::waitpid(child, &status, 0);
    print("the background process ended before the mount was there; run with --foreground to see why");
    ::_exit(EXIT_FAILED);
  }
  int code = static_cast<unsigned char>(said[0]);
  if (code != EXIT_DONE) {
    print(said.substr(1));
    ::_exit(code);
  }
  ::signal(SIGALRM, &onSilence);
  ::alarm(ANSWER_SECONDS);
  if (!mountAnswers(mountPoint)) {
    print(mountPoint + ": mounted, but gone again at once; run with --foreground to see why");
    ::_exit(EXIT_FAILED);
  }
  ::_exit(EXIT_DONE);
}

void redirect(int descriptor, const std::string& path, int flags) {
  int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd >= 0) {
    ::dup2(fd, descriptor);
    ::close(fd);
  }
}

}  // namespace

Background::Background(const MountOptions& options) : options_(options) {
  if (!options.logFile.empty()) {
    redirect(STDERR_FILENO, options.logFile, O_WRONLY | O_CREAT | O_APPEND);
  }
  if (options.foreground) {
    return;
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    print("no pipe: too many open files? raise 'ulimit -n'");
    ::_exit(EXIT_FAILED);
  }
  pid_t child = ::fork();
  if (child < 0) {
    print("no process can be started: memory or the process limit ('ulimit -u') is used up");
    ::_exit(EXIT_FAILED);
  }
  if (child > 0) {
    ::close(ends[1]);
    await(child, ends[0], options.mountPoint);
  }
  ::close(ends[0]);
  toParent_ = ends[1];
  ::setsid();
}

void Background::tell(int code, const std::string& text) {
  std::string message(1, static_cast<char>(code));
  message += text;
  [[maybe_unused]] ssize_t written = ::write(toParent_, message.data(), message.size());
  ::close(toParent_);
  toParent_ = -1;
}

void Background::ready() {
  if (toParent_ < 0) {
    return;
  }
  tell(EXIT_DONE, {});
  letGo();
}

void Background::leaveToWorker() {
  if (toParent_ >= 0) {
    ::close(toParent_);
    toParent_ = -1;
    left_ = true;
  }
}

void Background::detach() {
  if (left_) {
    letGo();
  }
}

void Background::letGo() {
  [[maybe_unused]] int moved = ::chdir("/");
  redirect(STDIN_FILENO, "/dev/null", O_RDONLY);
  redirect(STDOUT_FILENO, "/dev/null", O_WRONLY);
  if (options_.logFile.empty()) {
    redirect(STDERR_FILENO, "/dev/null", O_WRONLY);
  }
}

int Background::failed(int code, const std::string& text) {
  if (toParent_ < 0) {
    print(text);
  } else {
    tell(code, text);
  }
  return code;
}

}  // namespace cairn
