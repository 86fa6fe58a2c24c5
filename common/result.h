// Result<T>: a value, or the reason why there is none. The one way to say an expected failure.
// Broken links are kj::Exception; broken invariants end the process (KJ_ASSERT).
#pragma once
#include <kj/common.h>
#include <kj/debug.h>

#include <string>
#include <utility>
#include <variant>

namespace cairn {

// An errno value (never 0) and what it was about: thing, cause and next step, for people.
struct Error {
  int code;
  std::string why;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  // REQUIRES: ok().
  T& value() & {
    KJ_ASSERT(ok(), error().code, error().why);
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    KJ_ASSERT(ok(), error().code, error().why);
    return *std::get_if<0>(&state_);
  }
  T value() && {
    KJ_ASSERT(ok(), error().code, error().why);
    return std::move(*std::get_if<0>(&state_));
  }
  // REQUIRES: !ok().
  const Error& error() const {
    KJ_ASSERT(!ok());
    return *std::get_if<1>(&state_);
  }
  // The errno, or 0 for success.
  int code() const { return ok() ? 0 : error().code; }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  bool ok() const { return error_.code == 0; }
  const Error& error() const {
    KJ_ASSERT(!ok());
    return error_;
  }
  int code() const { return error_.code; }

 private:
  Error error_{0, {}};
};

using Status = Result<void>;

}  // namespace cairn
