#include "master/observe/observe_service.h"

namespace cairn {
namespace {

class ObserveService final : public wire::Observe::Server {
 public:
  explicit ObserveService(Lifeline& lifeline) : lifeline_(kj::addRef(lifeline)) {}

  kj::Promise<void> page(PageContext context) override {
    return lifeline_->run([&](Core& core) -> kj::Promise<void> {
      context.getResults().setJson(pageOf(core));
      return kj::READY_NOW;
    });
  }

 private:
  kj::Own<Lifeline> lifeline_;
};

}  // namespace

wire::Observe::Client newObserve(Lifeline& lifeline) {
  return kj::heap<ObserveService>(lifeline);
}

}  // namespace cairn
