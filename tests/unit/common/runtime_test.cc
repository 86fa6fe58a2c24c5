#include "common/system/runtime.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cairn {
namespace {

TEST(Runtime, TimeGoesForward) {
  Runtime runtime;
  Nanos before = runtime.clock->monotonic();
  runtime.clock->after(2 * MILLISECOND).wait(runtime.io.waitScope);
  EXPECT_GE(runtime.clock->monotonic() - before, 2 * MILLISECOND);
  EXPECT_GT(runtime.clock->wall(), 1'600'000'000 * SECOND);
}

TEST(Runtime, DelaysCountFromTheCallEvenLateInATurn) {
  Runtime runtime;
  Nanos begin = runtime.clock->monotonic();
  while (runtime.clock->monotonic() - begin < 30 * MILLISECOND) {
    // A turn that takes long: the loop's own idea of now stands still.
  }
  Nanos called = runtime.clock->monotonic();
  runtime.clock->after(20 * MILLISECOND).wait(runtime.io.waitScope);
  EXPECT_GE(runtime.clock->monotonic() - called, 20 * MILLISECOND);
}

TEST(Runtime, ChanceDiffers) {
  ClusterId id;
  {
    Runtime other(1);
    id = other.random->uuid<ClusterId>();
  }
  Runtime one(1);
  EXPECT_NE(one.random->uuid<ClusterId>(), id);
  for (int i = 0; i < 1000; i++) {
    EXPECT_LT(one.random->below(7), 7u);
  }
}

// What became of a child that asks for the end by `signals` signals of that kind.
int endOfChild(int signal, int signals) {
  pid_t child = fork();
  if (child == 0) {
    Runtime runtime(1);
    kill(getpid(), signal);
    runtime.stopRequested().wait(runtime.io.waitScope);
    for (int i = 1; i < signals; i++) {
      kill(getpid(), signal);
    }
    _exit(7);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

TEST(Runtime, FirstSignalAsksAndTheSecondEnds) {
  for (int signal : {SIGTERM, SIGINT}) {
    int asked = endOfChild(signal, 1);
    EXPECT_TRUE(WIFEXITED(asked) && WEXITSTATUS(asked) == 7) << asked;
    int ended = endOfChild(signal, 2);
    EXPECT_TRUE(WIFSIGNALED(ended) && WTERMSIG(ended) == signal) << ended;
  }
}

}  // namespace
}  // namespace cairn
