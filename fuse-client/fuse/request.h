// Request: one question of the kernel. It is answered exactly once: by the first reply, or with EIO by the
// destructor. Replies after the first are ignored, so that an interrupted operation may still finish.
// The only place where errors become errno values for the kernel.
#pragma once
#include <fuse_lowlevel.h>
#include <kj/exception.h>
#include <sys/uio.h>

#include <cerrno>
#include <string>

#include "common/clock.h"
#include "common/result.h"
#include "fuse-client/fuse/failure_log.h"
#include "fuse-client/fuse/mount_metrics.h"

namespace cairn {

class Request {
 public:
  Request(fuse_req_t request, const char* operation, FailureLog& log, Nanos since)
      : request_(request), operation_(operation), log_(log), context_(*fuse_req_ctx(request)), since_(since) {}
  ~Request() noexcept {
    if (request_ != nullptr) {
      log_.add(operation_, inode_, "ended without an answer; the program gets EIO. This is a bug");
      fail(EIO);
    }
  }
  KJ_DISALLOW_COPY(Request);

  // Whom to tell of its answer.
  void countedBy(MountMetrics& metrics) { metrics_ = &metrics; }

  bool answered() const { return request_ == nullptr; }
  const char* operation() const { return operation_; }
  const fuse_ctx& context() const { return context_; }
  // The kernel's request, for libfuse's helpers. REQUIRES: !answered().
  fuse_req_t raw() const { return request_; }

  // Replies. Those that hand out something return false when it didn't reach the kernel (the caller was
  // interrupted), so that it can be taken back.
  void done() { fail(0); }
  void fail(int code) {
    code_ = code;
    reply([code](fuse_req_t r) { return fuse_reply_err(r, code); });
  }
  void fail(const Error& error) {
    bool usable = error.code > 0 && error.code < LARGEST_ERRNO;
    if (!usable || error.code == EIO) {
      log_.add(operation_, inode_, error.why);
    }
    fail(usable ? error.code : EIO);
  }
  void fail(const kj::Exception& exception) {
    log_.add(operation_, inode_, std::string(exception.getDescription().cStr()) + "; the program gets EIO");
    fail(EIO);
  }
  void finish(const Status& status) {
    if (status.ok()) {
      done();
    } else {
      fail(status.error());
    }
  }
  bool entry(const fuse_entry_param& entry) {
    return reply([&entry](fuse_req_t r) { return fuse_reply_entry(r, &entry); });
  }
  bool created(const fuse_entry_param& entry, const fuse_file_info& file) {
    return reply([&entry, &file](fuse_req_t r) { return fuse_reply_create(r, &entry, &file); });
  }
  bool opened(const fuse_file_info& file) {
    return reply([&file](fuse_req_t r) { return fuse_reply_open(r, &file); });
  }
  void attributes(const struct stat& stat, double timeoutSeconds) {
    reply([&stat, timeoutSeconds](fuse_req_t r) { return fuse_reply_attr(r, &stat, timeoutSeconds); });
  }
  void link(const char* target) {
    reply([target](fuse_req_t r) { return fuse_reply_readlink(r, target); });
  }
  void written(size_t count) {
    reply([count](fuse_req_t r) { return fuse_reply_write(r, count); });
  }
  bool bytes(const void* data, size_t size) {
    return reply([data, size](fuse_req_t r) { return fuse_reply_buf(r, static_cast<const char*>(data), size); });
  }
  void parts(const iovec* parts, int count) {
    reply([parts, count](fuse_req_t r) { return fuse_reply_iov(r, parts, count); });
  }
  void space(const struct statvfs& space) {
    reply([&space](fuse_req_t r) { return fuse_reply_statfs(r, &space); });
  }
  void xattrSize(size_t size) {
    reply([size](fuse_req_t r) { return fuse_reply_xattr(r, size); });
  }
  void lock(const struct flock& lock) {
    reply([&lock](fuse_req_t r) { return fuse_reply_lock(r, &lock); });
  }
  void position(off_t offset) {
    reply([offset](fuse_req_t r) { return fuse_reply_lseek(r, offset); });
  }

  // While it is, any signal to its program ends it with EINTR.
  void setInterruptible(bool interruptible) { interruptible_ = interruptible; }
  bool isInterruptible() const { return interruptible_; }

  // The kernel's number of it; `resent`: a predecessor of this process got it too.
  void numbered(uint64_t number, bool resent) {
    number_ = number;
    resent_ = resent;
  }
  uint64_t number() const { return number_; }
  bool isResent() const { return resent_; }

  // For people: which inode this is about, and which name in it.
  void about(uint64_t inode, const char* name = "") {
    inode_ = inode;
    name_ = name;
  }
  uint64_t inode() const { return inode_; }
  const std::string& name() const { return name_; }
  Nanos since() const { return since_; }

 private:
  static constexpr int LARGEST_ERRNO = 512;  // beyond are codes private to the kernel

  template <typename Send>
  bool reply(Send&& send) {
    if (request_ == nullptr) {
      return false;
    }
    fuse_req_t request = request_;
    request_ = nullptr;
    if (metrics_ != nullptr) {
      metrics_->answered(operation_, InodeId{inode_}, since_, code_, interruptible_);
    }
    return send(request) == 0;
  }

  fuse_req_t request_;
  const char* operation_;
  FailureLog& log_;
  fuse_ctx context_;
  const Nanos since_;  // when it came
  uint64_t inode_ = 0;
  std::string name_;
  uint64_t number_ = 0;
  bool resent_ = false;
  bool interruptible_ = false;
  MountMetrics* metrics_ = nullptr;
  int code_ = 0;
};

}  // namespace cairn
