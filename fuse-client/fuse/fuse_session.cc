#include "fuse-client/fuse/fuse_session.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdarg>
#include <cstring>
#include <utility>

#include "common/log.h"

namespace cairn {
namespace {

constexpr unsigned IO_BYTES_MAX = 1 << 20;
constexpr unsigned BACKGROUND_MAX = 128;  // read-ahead and asynchronous requests in flight
constexpr unsigned CONGESTED_AT = 96;
constexpr unsigned REQUESTS_PER_TURN = 64;  // then the sockets have their turn
constexpr int NOTIFY_RESEND = 7;  // of FUSE 7.40, newer than Debian 12's <linux/fuse.h>

void logLine(fuse_log_level level, const char* format, va_list arguments) {
  char line[512];
  ::vsnprintf(line, sizeof line, format, arguments);
  size_t length = std::strlen(line);
  while (length > 0 && line[length - 1] == '\n') {
    line[--length] = '\0';
  }
  if (level <= FUSE_LOG_ERR) {
    spdlog::error("{}", line);
  } else {
    spdlog::debug("{}", line);
  }
}

}  // namespace

FuseSession::FuseSession(kj::UnixEventPort& port, Clock& clock, Operations& operations, Arrival& arrival)
    : port_(port), clock_(clock), operations_(operations), arrival_(arrival), ready_(nullptr) {
  auto ready = kj::newPromiseAndFulfiller<void>();
  readyFulfiller_ = kj::mv(ready.fulfiller);
  ready_ = ready.promise.fork();
}

FuseSession::~FuseSession() noexcept(false) {
  if (session_ == nullptr) {
    return;
  }
  observer_ = nullptr;
  if (mounted_) {
    fuse_session_unmount(session_);
  }
  fuse_session_destroy(session_);
}

Status FuseSession::makeSession(const MountOptions& options) {
  fuse_set_log_func(&logLine);
  auto table = Operations::table();
  table.init = &FuseSession::startConnection;
  fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
  auto text = libfuseOptions(options);
  fuse_opt_add_arg(&arguments, "dfs-mount");
  fuse_opt_add_arg(&arguments, "-o");
  fuse_opt_add_arg(&arguments, text.c_str());
  session_ = fuse_session_new(&arguments, &table, sizeof table, &operations_);
  fuse_opt_free_args(&arguments);
  if (session_ == nullptr) {
    return Error{EXIT_FAILED, options.mountPoint + ": libfuse refused the options '" + text + "'"};
  }
  return {};
}

Status FuseSession::mount(const MountOptions& options) {
  auto made = makeSession(options);
  if (!made.ok()) {
    return made;
  }
  return attach(options.mountPoint.c_str(), options.mountPoint + ": the mount was refused");
}

Status FuseSession::adopt(const MountOptions& options, int descriptor, const std::string& firstRequest) {
  auto made = makeSession(options);
  if (!made.ok()) {
    return made;
  }
  adopted_ = true;
  auto attached = attach(("/dev/fd/" + std::to_string(descriptor)).c_str(), "the mount can't be taken over");
  if (!attached.ok()) {
    return attached;
  }
  fuse_session_process_buf(session_, &arrival_.replay(firstRequest));
  arrival_.replayed();
  fuse_out_header again{};
  again.len = sizeof again;
  again.error = NOTIFY_RESEND;
  if (::write(this->descriptor(), &again, sizeof again) < 0) {
    return Error{EXIT_FAILED, std::string("the kernel doesn't ask once more what was left unanswered: ") +
                                  ::strerror(errno) + ". That takes Linux 6.9"};
  }
  resending_ = true;
  return {};
}

// `place`: a directory, or the descriptor of a mount that is there.
Status FuseSession::attach(const char* place, const std::string& refusal) {
  errno = 0;
  if (fuse_session_mount(session_, place) != 0) {
    std::string cause = errno == 0 ? "see the line above" : ::strerror(errno);
    return Error{EXIT_FAILED,
                 refusal + ": " + cause + ". Check the right to mount (root, or fusermount3) and the options"};
  }
  mounted_ = true;
  fuse_custom_io io{};
  io.read = &FuseSession::readRequest;
  io.writev = &FuseSession::writeReply;
  operations_.attach(this);
  KJ_ASSERT(fuse_session_custom_io(session_, &io, descriptor()) == 0);
  KJ_SYSCALL(::fcntl(descriptor(), F_SETFL, ::fcntl(descriptor(), F_GETFL) | O_NONBLOCK));
  observer_ = kj::heap<kj::UnixEventPort::FdObserver>(port_, descriptor(), kj::UnixEventPort::FdObserver::OBSERVE_READ);
  return {};
}

FuseSession& FuseSession::of(void* userData) {
  return *static_cast<Operations*>(userData)->attached();
}

void FuseSession::startConnection(void* self, fuse_conn_info* connection) {
  auto take = [connection](unsigned capability, bool wanted) {
    if (!wanted) {
      connection->want &= ~capability;
    } else if ((connection->capable & capability) != 0) {
      connection->want |= capability;
    }
  };
  for (unsigned capability : {FUSE_CAP_ASYNC_READ, FUSE_CAP_ATOMIC_O_TRUNC, FUSE_CAP_ASYNC_DIO,
                              FUSE_CAP_AUTO_INVAL_DATA, FUSE_CAP_READDIRPLUS, FUSE_CAP_READDIRPLUS_AUTO,
                              FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_CACHE_SYMLINKS, FUSE_CAP_EXPORT_SUPPORT,
                              FUSE_CAP_POSIX_LOCKS, FUSE_CAP_FLOCK_LOCKS, FUSE_CAP_POSIX_ACL, FUSE_CAP_DONT_MASK}) {
    take(capability, true);
  }
  // Write-back by the kernel would make it ignore the cluster's sizes and times; splice costs more system calls
  // than it saves here; HANDLE_KILLPRIV's second version is asked for in editInitReply().
  for (unsigned capability : {FUSE_CAP_WRITEBACK_CACHE, FUSE_CAP_SPLICE_READ, FUSE_CAP_SPLICE_WRITE,
                              FUSE_CAP_SPLICE_MOVE, FUSE_CAP_HANDLE_KILLPRIV}) {
    take(capability, false);
  }
  connection->max_write = IO_BYTES_MAX;
  connection->max_read = IO_BYTES_MAX;
  connection->max_readahead = IO_BYTES_MAX;
  connection->max_background = BACKGROUND_MAX;
  connection->congestion_threshold = CONGESTED_AT;
  connection->time_gran = 1;
  auto& session = of(self);
  auto* init = session.arrival_.arguments<fuse_init_in>();
  session.initUnique_ = session.arrival_.unique();
  session.firstRequest_ = session.arrival_.bytes();
  if (init != nullptr) {
    session.offered_ = init->flags;
    session.offered2_ = (init->flags & FUSE_INIT_EXT) != 0 ? init->flags2 : 0;
  }
}

// Adds to libfuse's answer what this file system can do and libfuse 3.14 can't say.
void FuseSession::editInitReply(iovec* parts, int count) {
  initUnique_ = 0;
  if (count == 2 && parts[1].iov_len >= sizeof(fuse_init_out)) {
    auto* out = static_cast<fuse_init_out*>(parts[1].iov_base);
    // libfuse 3.14 takes the wish and doesn't pass it on. Without it one lookup that waits for the cluster holds up all
    // others in its directory, where no signal reaches them.
    out->flags |= offered_ & FUSE_PARALLEL_DIROPS;
    if ((offered_ & FUSE_HANDLE_KILLPRIV_V2) != 0) {
      out->flags |= FUSE_HANDLE_KILLPRIV_V2;
    }
    if ((offered2_ & DIRECT_IO_ALLOW_MMAP2) != 0) {
      out->flags |= FUSE_INIT_EXT;
      out->flags2 |= DIRECT_IO_ALLOW_MMAP2;
    }
  }
  readyFulfiller_->fulfill();
}

ssize_t FuseSession::readRequest(int fd, void* buffer, size_t size, void*) {
  return ::read(fd, buffer, size);
}

ssize_t FuseSession::writeReply(int fd, iovec* parts, int count, void* self) {
  auto& session = of(self);
  auto* header = static_cast<const fuse_out_header*>(parts[0].iov_base);
  if (session.initUnique_ != 0 && header->unique == session.initUnique_) {
    session.editInitReply(parts, count);
    if (session.adopted_) {
      session.adopted_ = false;
      size_t length = 0;
      for (int i = 0; i < count; i++) {
        length += parts[i].iov_len;
      }
      return static_cast<ssize_t>(length);  // the kernel has had it from a predecessor
    }
  }
  return ::writev(fd, parts, count);
}

void FuseSession::resendsOver() {
  if (std::exchange(resending_, false)) {
    operations_.resendsOver();
  }
}

// Takes what has arrived, at most REQUESTS_PER_TURN; false when there is no more.
bool FuseSession::serveSome() {
  for (unsigned i = 0; i < REQUESTS_PER_TURN; i++) {
    fuse_buf& buffer = arrival_.next();
    int got = fuse_session_receive_buf(session_, &buffer);
    if (got == -EAGAIN) {
      resendsOver();
      return false;
    }
    if (got == -EINTR) {
      continue;
    }
    if (got <= 0) {  // 0: unmounted. Else the kernel has ended the connection
      if (got < 0) {
        spdlog::error("mount: reading /dev/fuse: {}; the mount ends", ::strerror(-got));
      }
      fuse_session_exit(session_);
      return false;
    }
    if (arrival_.isQuestion() && !arrival_.isResent()) {
      resendsOver();
    }
    arrival_.translate();
    fuse_session_process_buf(session_, &buffer);
  }
  return true;
}

Task<void> FuseSession::serve() {
  auto paused = kj::newPromiseAndFulfiller<void>();
  auto pauseRequested = paused.promise.fork();
  pauseFulfiller_ = kj::mv(paused.fulfiller);
  paused_ = false;
  while (!paused_) {
    bool more = serveSome();
    if (fuse_session_exited(session_)) {
      mounted_ = false;
      break;
    }
    auto next = more ? clock_.after(0) : observer_->whenBecomesReadable();
    auto woken = next.exclusiveJoin(pauseRequested.addBranch());
    co_await kj::mv(woken);
  }
}

void FuseSession::pause() {
  paused_ = true;
  pauseFulfiller_->fulfill();
}

}  // namespace cairn
