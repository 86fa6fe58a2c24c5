#include "common/system/random.h"

#include <kj/debug.h>
#include <sys/random.h>

#include "common/generator.h"

namespace cairn {

namespace {

class SystemRandom final : public Random {
 public:
  explicit SystemRandom(const Generator& generator) : generator_(generator) {}
  uint64_t next() override { return generator_.next(); }

 private:
  Generator generator_;
};

}  // namespace

kj::Own<Random> newSystemRandom() {
  uint64_t seed[4];
  ssize_t got;
  KJ_SYSCALL(got = getrandom(seed, sizeof(seed), 0));
  KJ_ASSERT(got == sizeof(seed), "getrandom(2) gave too little", got);
  return kj::heap<SystemRandom>(Generator(seed[0], seed[1], seed[2], seed[3]));
}

}  // namespace cairn
