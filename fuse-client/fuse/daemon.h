// The mount's process in the background: the parent waits until the mount answers, and its exit code says how it
// went. In the foreground all of this is nothing but an exit code.
#pragma once
#include <string>

#include "fuse-client/fuse/options.h"

namespace cairn {

class Background {
 public:
  // Unless options.foreground: forks. Returns in the child only; the parent ends here. Before threads exist.
  explicit Background(const MountOptions& options);
  // Of a worker (holder.h): `toParent` is where its holder would have said it, or -1.
  Background(const MountOptions& options, int toParent) : options_(options), toParent_(toParent) {}

  // The mount answers: lets the parent end with 0 once it has seen that itself, and lets go of the terminal.
  void ready();
  // It does not: the parent prints `text` and ends with `code`. The result is `code`.
  int failed(int code, const std::string& text);

  // ---- of a holder
  int toParent() const { return toParent_; }
  // The worker says how it went.
  void leaveToWorker();
  // The mount is there: lets go of the terminal.
  void detach();

 private:
  void tell(int code, const std::string& text);
  void letGo();

  const MountOptions& options_;
  int toParent_ = -1;
  bool left_ = false;  // to a worker
};

}  // namespace cairn
