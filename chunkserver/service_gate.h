// ServiceGate: lets RPC methods in while the server stands. Methods run to their end even if the caller is gone, and
// their capabilities live as long as somebody holds them: the gate is what cuts both off when the server goes.
#pragma once
#include <kj/async.h>
#include <kj/debug.h>
#include <kj/refcount.h>

#include "common/task.h"

namespace cairn {

class ServiceGate : public kj::Refcounted {
 public:
  // Runs handlers.method(context) unless the gate is closed, and only until it is.
  template <typename Handlers, typename Context>
  kj::Promise<void> pass(Handlers& handlers, Task<void> (Handlers::*method)(Context), Context context) {
    if (closed_) {
      return KJ_EXCEPTION(DISCONNECTED, "the chunkserver has stopped");
    }
    return canceler_.wrap((handlers.*method)(kj::mv(context)).promise());
  }

  // Cancels what is inside; nothing gets in any more. REQUIRES: not called from inside.
  void close() {
    closed_ = true;
    canceler_.cancel(KJ_EXCEPTION(DISCONNECTED, "the chunkserver has stopped"));
  }
  bool closed() const { return closed_; }

 private:
  bool closed_ = false;
  kj::Canceler canceler_;
};

}  // namespace cairn
