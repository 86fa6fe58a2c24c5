// The shapes of coroutine that this code base uses, under the compiler that it uses.
#include "common/task.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <string>
#include <vector>

namespace cairn {
namespace {

struct Loop {
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
};

kj::Promise<int> later(int value) {
  return kj::evalLater([value] { return value; });
}
kj::Promise<void> failLater(const char* why) {
  return kj::evalLater([why]() -> kj::Promise<void> {
    return kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::str(why));
  });
}

Task<int> addOne(int value) {
  auto got = co_await later(value);
  co_return got + 1;
}
Task<int> addTwo(int value) {
  auto got = co_await addOne(value);
  co_return co_await addOne(got);
}
Task<kj::Own<std::string>> moveOnly() {
  co_await later(0);
  auto made = kj::heap<std::string>("made");
  co_return kj::mv(made);
}

TEST(Task, CarriesValues) {
  Loop loop;
  EXPECT_EQ(addTwo(40).promise().wait(loop.scope), 42);
  EXPECT_EQ(*moveOnly().promise().wait(loop.scope), "made");
}

Task<void> push(std::vector<int>& out, int value) {
  out.push_back(value);
  co_await later(0);
  out.push_back(value + 1);
}

TEST(Task, StartsAtOnce) {
  Loop loop;
  std::vector<int> out;
  auto task = push(out, 1).promise();
  EXPECT_EQ(out, std::vector<int>{1});
  task.wait(loop.scope);
  EXPECT_EQ(out, (std::vector<int>{1, 2}));
}

Task<int> throwBefore() {
  KJ_FAIL_REQUIRE("before");
  co_return 1;
}
Task<int> throwAfter() {
  co_await later(0);
  KJ_FAIL_REQUIRE("after");
}
Task<std::string> catchInside() {
  std::string seen;
  try {
    co_await failLater("inner");
  } catch (const kj::Exception& e) {
    seen = e.getDescription().cStr();
  }
  co_await later(0);
  co_return seen;
}

TEST(Task, CarriesExceptions) {
  Loop loop;
  EXPECT_ANY_THROW(throwBefore().promise().wait(loop.scope));
  EXPECT_ANY_THROW(throwAfter().promise().wait(loop.scope));
  EXPECT_EQ(catchInside().promise().wait(loop.scope), "inner");
}

kj::Promise<void> passOn(kj::Promise<void> promise) {
  return kj::mv(promise);
}

struct Noting {
  Noting(std::vector<std::string>& log, std::string name) : log(log), name(std::move(name)) {}
  ~Noting() { log.push_back(name); }
  std::vector<std::string>& log;
  std::string name;
};

kj::Promise<void> never(std::vector<std::string>& log) {
  auto guard = kj::heap<Noting>(log, "awaited");
  return kj::Promise<void>(kj::NEVER_DONE).attach(kj::mv(guard));
}
Task<void> holdLocals(std::vector<std::string>& log) {
  Noting first(log, "first local");
  Noting second(log, "second local");
  co_await never(log);
}
Task<void> outer(std::vector<std::string>& log) {
  Noting local(log, "outer local");
  co_await holdLocals(log);
}

TEST(Task, DroppingItDropsWhatItAwaitsBeforeItsLocals) {
  Loop loop;
  std::vector<std::string> log;
  {
    auto task = outer(log).promise();
    EXPECT_FALSE(task.poll(loop.scope));
    EXPECT_TRUE(log.empty());
  }
  EXPECT_EQ(log, (std::vector<std::string>{"awaited", "second local", "first local", "outer local"}));
}

TEST(Task, CanBeDroppedWhileItsWakeUpIsQueued) {
  Loop loop;
  std::vector<int> out;
  auto pair = kj::newPromiseAndFulfiller<void>();
  struct Waiter {
    static Task<void> run(kj::Promise<void> promise, std::vector<int>& out) {
      co_await passOn(kj::mv(promise));
      out.push_back(1);
    }
  };
  {
    auto task = Waiter::run(kj::mv(pair.promise), out).promise();
    EXPECT_FALSE(task.poll(loop.scope));
    pair.fulfiller->fulfill();
  }
  loop.scope.poll();
  EXPECT_TRUE(out.empty());
}

Task<int> sumOf(int count) {
  int sum = 0;
  for (int i = 0; i < count; i++) {
    int got = co_await later(i);
    if (got % 2 == 0) {
      continue;
    }
    sum += got;
  }
  co_return sum;
}
Task<int> depth(int levels) {
  if (levels == 0) {
    co_return 0;
  }
  auto below = co_await depth(levels - 1);
  co_return below + 1;
}

TEST(Task, LoopsAndRecursion) {
  Loop loop;
  EXPECT_EQ(sumOf(10'000).promise().wait(loop.scope), 5000 * 5000);
  EXPECT_EQ(depth(500).promise().wait(loop.scope), 500);
}

TEST(Task, JoinsWithADeadlineLikeAnyPromise) {
  Loop loop;
  std::vector<std::string> log;
  auto joined = holdLocals(log).promise().then([] { return 1; }).exclusiveJoin(later(2));
  EXPECT_EQ(joined.wait(loop.scope), 2);
  EXPECT_EQ(log.size(), 3u);  // the loser is gone, not left behind
}

}  // namespace
}  // namespace cairn
