// Task<T>: what a coroutine returns. It is a kj::Promise<T> that GCC 12 can compile.
//
// KJ 0.9.2 has no coroutines; KJ 1.x has, but returning kj::Promise from one crashes GCC 12, whose
// coroutines need a return type with a noexcept destructor. This uses KJ's public interface only.
// It starts at once, like KJ's own promises; dropping it cancels the coroutine and what it awaits.
// Never destroy a task from inside itself.
//
// GCC 12 miscompiles some shapes of co_await, so use only these three statements, their arguments
// named values, calls or plain constructors (tests/tidy.py enforces it):
//   co_await f(args);      auto x = co_await f(args);      co_return co_await f(args);
// or, like the second, to a variable that is there already.
#pragma once
#include <kj/async.h>

#include <coroutine>
#include <optional>

namespace cairn {

template <typename T>
class TaskFrame;

template <typename T>
class [[nodiscard]] Task {
 public:
  using promise_type = TaskFrame<T>;
  Task(kj::Promise<T>&& promise) : promise_(kj::mv(promise)) {}
  Task(Task&&) = default;
  ~Task() noexcept {}  // GCC 12 crashes when a coroutine's return type may throw here
  operator kj::Promise<T>() && { return kj::mv(promise_); }
  kj::Promise<T> promise() && { return kj::mv(promise_); }

 private:
  kj::Promise<T> promise_;
};

class TaskFrameBase {
 public:
  std::suspend_never initial_suspend() noexcept { return {}; }
  std::suspend_always final_suspend() noexcept { return {}; }

  template <typename U>
  class Awaiter;
  template <typename U>
  Awaiter<U> await_transform(kj::Promise<U>&& p) {
    return {*this, kj::mv(p)};
  }
  template <typename U>
  Awaiter<U> await_transform(kj::Promise<U>& p) {
    return {*this, kj::mv(p)};
  }
  template <typename U>
  Awaiter<U> await_transform(Task<U>&& t) {
    return {*this, kj::mv(t)};
  }

 private:
  // A continuation must not destroy the promise that runs it, and resuming may begin the next
  // await: so two places, used in turn.
  kj::Promise<void> wakeups_[2];
  unsigned turn_ = 0;

 protected:
  TaskFrameBase() : wakeups_{nullptr, nullptr} {}  // written out: GCC 12 crashes on the implicit one
};

template <typename U>
struct TaskValue {
  std::optional<U> value;
  U take() { return kj::mv(*value); }
};
template <>
struct TaskValue<void> {
  void take() {}
};

template <typename U>
class TaskFrameBase::Awaiter {
 public:
  Awaiter(TaskFrameBase& frame, kj::Promise<U>&& promise) : frame_(frame), promise_(kj::mv(promise)) {}
  ~Awaiter() noexcept(false) {
    if (waiting_) {
      frame_.wakeups_[frame_.turn_] = nullptr;  // cancelled
    }
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    waiting_ = true;
    frame_.turn_ ^= 1;
    auto wake = [this, handle] {
      waiting_ = false;
      handle.resume();
    };
    auto failed = [this, wake](kj::Exception&& e) {
      error_ = kj::mv(e);
      wake();
    };
    auto& wakeup = frame_.wakeups_[frame_.turn_];
    if constexpr (std::is_void_v<U>) {
      wakeup = promise_.then(kj::mv(wake), kj::mv(failed)).eagerlyEvaluate(nullptr);
    } else {
      auto arrived = [this, wake](U&& v) {
        result_.value.emplace(kj::mv(v));
        wake();
      };
      wakeup = promise_.then(kj::mv(arrived), kj::mv(failed)).eagerlyEvaluate(nullptr);
    }
  }
  U await_resume() {
    KJ_IF_MAYBE(e, error_) {
      kj::throwFatalException(kj::mv(*e));
    }
    return result_.take();
  }

 private:
  TaskFrameBase& frame_;
  kj::Promise<U> promise_;
  TaskValue<U> result_;
  kj::Maybe<kj::Exception> error_;
  bool waiting_ = false;
};

template <typename T>
class TaskResult : public TaskFrameBase {
 public:
  void return_value(T value) { fulfiller_->fulfill(kj::mv(value)); }

 protected:
  kj::PromiseFulfiller<T>* fulfiller_ = nullptr;
};
template <>
class TaskResult<void> : public TaskFrameBase {
 public:
  void return_void() { fulfiller_->fulfill(); }

 protected:
  kj::PromiseFulfiller<void>* fulfiller_ = nullptr;
};

template <typename T>
class TaskFrame : public TaskResult<T> {
 public:
  Task<T> get_return_object() { return kj::newAdaptedPromise<T, Owner>(*this); }
  void unhandled_exception() {
    this->fulfiller_->rejectIfThrows([] { throw; });
  }

 private:
  // Dropping the promise handed to the caller cancels the coroutine.
  struct Owner {
    TaskFrame& frame;
    Owner(kj::PromiseFulfiller<T>& f, TaskFrame& frame) : frame(frame) { frame.fulfiller_ = &f; }
    ~Owner() noexcept(false) { std::coroutine_handle<TaskFrame>::from_promise(frame).destroy(); }
  };
};

}  // namespace cairn
