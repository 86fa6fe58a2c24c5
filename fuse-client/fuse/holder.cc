#include "fuse-client/fuse/holder.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <utility>

#include "common/log.h"
#include "fuse-client/fuse/mountpoint.h"

namespace cairn {
namespace {

constexpr int STOPPED_EARLY = 128;  // and the signal, as shells say

int64_t nowMilliseconds() {
  timespec now;
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGUSR2, SIGCHLD}) {
    sigaddset(&set, number);
  }
  return set;
}

void keepAcrossExec(int descriptor) {
  if (descriptor >= 0) {
    ::fcntl(descriptor, F_SETFD, 0);
  }
}

std::string describe(int status) {
  return WIFSIGNALED(status) ? std::string("was ended by signal ") + ::strsignal(WTERMSIG(status))
                             : "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

// A byte with room for a descriptor: a worker says by it that it serves.
struct DescriptorMessage {
  DescriptorMessage() {
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    head.msg_control = control;
    head.msg_controllen = sizeof control;
  }
  KJ_DISALLOW_COPY(DescriptorMessage);

  char byte = 'S';
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr head{};
};

}  // namespace

// ---- what a worker is told ----------------------------------------------------------------------

std::string toText(const WorkerPlace& place) {
  std::string out =
      std::to_string(place.holder) + "," + std::to_string(place.fuse) + "," + std::to_string(place.parent);
  for (int descriptor : place.kept) {
    out += "," + std::to_string(descriptor);
  }
  return out;
}

bool parseWorkerPlace(const std::string& text, WorkerPlace& out) {
  std::vector<int*> fields = {&out.holder, &out.fuse, &out.parent};
  for (int& descriptor : out.kept) {
    fields.push_back(&descriptor);
  }
  const char* at = text.data();
  const char* end = at + text.size();
  for (int* field : fields) {
    auto [next, error] = std::from_chars(at, end, *field);
    bool last = field == fields.back();
    if (error != std::errc() || (last ? next != end : next == end || *next != ',')) {
      return false;
    }
    at = next + 1;
  }
  return true;
}

void tellServing(const WorkerPlace& place, int fuse) {
  DescriptorMessage message;
  cmsghdr* header = CMSG_FIRSTHDR(&message.head);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fuse);
  std::memcpy(CMSG_DATA(header), &fuse, sizeof fuse);
  if (::sendmsg(place.holder, &message.head, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    spdlog::error("the holder of the mount doesn't hear that it is served: {}", ::strerror(errno));
  }
}

// ---- the holder ---------------------------------------------------------------------------------

Holder::~Holder() {
  for (int descriptor : {own_, signals_, fuse_, fromWorker_}) {
    if (descriptor >= 0) {
      ::close(descriptor);
    }
  }
  for (int descriptor : kept_) {
    ::close(descriptor);
  }
}

// Why it can't begin; empty: it can.
std::string Holder::prepare() {
  char path[PATH_MAX];
  ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  own_ = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (length <= 0 || own_ < 0) {
    return std::string("/proc/self/exe: ") + ::strerror(errno) + ". Is /proc mounted?";
  }
  program_.assign(path, static_cast<size_t>(length));
  kept_ = KeptState::make();
  sigset_t set = watched();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (kept_.empty() || signals_ < 0) {
    return std::string("no descriptors for what a successor needs: ") + ::strerror(errno) + "; raise 'ulimit -n'";
  }
  return {};
}

int Holder::run() {
  auto refusal = prepare();
  if (!refusal.empty()) {
    return background_.failed(EXIT_FAILED, refusal);
  }
  for (;;) {
    if (!spawn()) {
      return background_.failed(EXIT_FAILED, "no process for the mount can be started: memory or the process limit "
                                             "('ulimit -u') is used up");
    }
    background_.leaveToWorker();
    int status = watch();
    if (!shallGoOn(status)) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
    }
    if (quickDeaths_ >= QUICK_DEATHS_MAX) {
      return giveUp("its process dies again and again");
    }
    if (!pauseAfter(quickDeaths_)) {
      return giveUp("asked to stop while nobody served");
    }
  }
}

int Holder::giveUp(const std::string& why) {
  spdlog::error("the mount {} ends: {}", options_.mountPoint, why);
  startUnmount(options_.mountPoint, fuse_);
  return EXIT_FAILED;
}

bool Holder::spawn() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return false;
  }
  serving_ = false;
  pid_t holder = ::getpid();
  worker_ = ::fork();
  if (worker_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody serves a mount that nobody holds
    if (::getppid() != holder) {
      ::_exit(STOPPED_EARLY);
    }
    becomeWorker(ends[1]);
  }
  ::close(ends[1]);
  if (fromWorker_ >= 0) {
    ::close(fromWorker_);
  }
  fromWorker_ = ends[0];
  return worker_ > 0;
}

void Holder::becomeWorker(int toHolder) {
  ::setpgid(0, 0);  // a terminal's signals come through the holder, once
  sigset_t set = watched();
  ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
  WorkerPlace place{toHolder, fuse_, background_.toParent(), {}};
  for (size_t i = 0; i < kept_.size(); i++) {
    place.kept[i] = kept_[i];
    keepAcrossExec(kept_[i]);
  }
  for (int descriptor : {place.holder, place.fuse, place.parent}) {
    keepAcrossExec(descriptor);
  }
  std::vector<std::string> words = {"dfs-mount"};
  words.insert(words.end(), options_.flags.begin(), options_.flags.end());
  words.insert(words.end(), {"--worker", toText(place), "--", options_.clusterFile, options_.mountPoint});
  std::vector<char*> pointers;
  for (auto& word : words) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  if (!ownImage_) {
    ::execv(program_.c_str(), pointers.data());
  }
  ::fexecve(own_, pointers.data(), environ);
  ::_exit(EXIT_FAILED);
}

int Holder::watch() {
  for (;;) {
    int status = 0;
    if (::waitpid(worker_, &status, WNOHANG) == worker_) {
      handleMessage();  // its last one
      worker_ = -1;
      return status;
    }
    pollfd watched[2] = {{signals_, POLLIN, 0}, {fromWorker_, POLLIN, 0}};
    if (::poll(watched, fromWorker_ < 0 ? 1 : 2, -1) < 0 && errno != EINTR) {
      spdlog::error("the holder of the mount can't wait: {}", ::strerror(errno));
    }
    if ((watched[0].revents & POLLIN) != 0) {
      handleSignal();
    }
    if (watched[1].revents != 0) {
      handleMessage();
    }
  }
}

void Holder::handleSignal() {
  signalfd_siginfo info;
  while (::read(signals_, &info, sizeof info) == sizeof info) {
    int number = static_cast<int>(info.ssi_signo);
    if (number == SIGCHLD) {
      continue;
    }
    stopping_ = stopping_ || number == SIGTERM || number == SIGINT;
    if (number == SIGUSR2 && !serving_) {
      wanted_ = true;  // now it would die of it
    } else if (worker_ > 0) {
      ::kill(worker_, number);
    }
  }
}

void Holder::handleMessage() {
  if (fromWorker_ < 0) {
    return;
  }
  DescriptorMessage message;
  ssize_t got = ::recvmsg(fromWorker_, &message.head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got <= 0) {
    bool gone = got == 0 || (errno != EAGAIN && errno != EINTR);
    if (gone) {
      ::close(fromWorker_);
      fromWorker_ = -1;
    }
    return;
  }
  const cmsghdr* header = CMSG_FIRSTHDR(&message.head);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
    if (fuse_ < 0) {
      fuse_ = descriptor;
    } else {
      ::close(descriptor);
    }
  }
  serving_ = true;
  servingSince_ = nowMilliseconds();
  if (std::exchange(wanted_, false)) {
    ::kill(worker_, SIGUSR2);
  }
  if (!servedOnce_) {
    servedOnce_ = true;
    background_.detach();
  }
}

bool Holder::shallGoOn(int status) {
  bool handedOver = WIFEXITED(status) && WEXITSTATUS(status) == HANDED_OVER;
  bool died = WIFSIGNALED(status) || !serving_;
  if (fuse_ < 0 || stopping_ || !(handedOver || died)) {
    return false;
  }
  bool quick = !serving_ || (!handedOver && nowMilliseconds() - servingSince_ < QUICK_MILLISECONDS);
  quickDeaths_ = quick ? quickDeaths_ + 1 : 0;
  ownImage_ = !serving_;  // the one at the path may be broken
  if (!handedOver) {
    spdlog::error("the process that served {} {}; another one takes its place", options_.mountPoint, describe(status));
  }
  return true;
}

// False: asked to stop meanwhile.
bool Holder::pauseAfter(unsigned deaths) {
  if (deaths == 0) {
    return !stopping_;
  }
  int64_t until = nowMilliseconds() + (PAUSE_MILLISECONDS << (deaths - 1));
  for (int64_t left; !stopping_ && (left = until - nowMilliseconds()) > 0;) {
    pollfd watched{signals_, POLLIN, 0};
    if (::poll(&watched, 1, static_cast<int>(left)) > 0) {
      handleSignal();
    }
  }
  return !stopping_;
}

}  // namespace cairn
