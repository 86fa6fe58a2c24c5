#include "master/registration_service.h"

#include <cerrno>

#include "common/log.h"
#include "master/group.h"
#include "master/history.h"
#include "master/orphan_check.h"

namespace cairn {
namespace {

class RegistrationService final : public wire::Registration::Server {
 public:
  RegistrationService(Lifeline& lifeline, ServerId server, Incarnation incarnation, std::string name,
                      wire::MapWatcher::Client watcher, kj::Maybe<wire::CapsuleKeeper::Client> capsules)
      : lifeline_(kj::addRef(lifeline)), server_(server), incarnation_(incarnation) {
    watcher_ = lifeline.core()->publisher.add(kj::mv(watcher), "chunkserver " + name, [this] { lost_ = true; });
    lost_ = watcher_ == 0;
    KJ_IF_MAYBE (keeper, capsules) {
      capsules_ = lifeline.core()->capsules.add(server, name, kj::mv(*keeper));
    }
    auto& replica = lifeline.core()->replica;
    history_ = historyOf(replica.reader(), replica.group().epoch());
  }

  ~RegistrationService() noexcept(false) {
    if (lifeline_->core() != nullptr) {
      lifeline_->core()->publisher.remove(watcher_);
      lifeline_->core()->capsules.remove(capsules_);
      lifeline_->core()->chunkservers.disconnected(server_, incarnation_);
    }
  }

  kj::Promise<void> heartbeat(HeartbeatContext context) override {
    return lifeline_->run([&](Core& core) { return heartbeat(core, context); });
  }
  kj::Promise<void> unknown(UnknownContext context) override {
    return lifeline_->run([&](Core& core) { return unknown(core, context); });
  }
  kj::Promise<void> leave(LeaveContext) override {
    return lifeline_->run([&](Core& core) -> kj::Promise<void> {
      core.chunkservers.leave(server_, incarnation_);
      return kj::READY_NOW;
    });
  }

 private:
  Task<void> heartbeat(Core& core, HeartbeatContext context);
  Task<void> unknown(Core& core, UnknownContext context);

  kj::Own<Lifeline> lifeline_;
  const ServerId server_;
  const Incarnation incarnation_;
  HistoryPoint history_;  // an office is of one term
  uint64_t watcher_ = 0;
  uint64_t capsules_ = 0;
  bool lost_ = false;  // it doesn't follow the map
};

void writeSettings(const NamespaceReader& reader, wire::Work::Builder work) {
  auto settings = reader.settings();
  auto out = work.initSettings(static_cast<unsigned>(settings.size()));
  unsigned i = 0;
  for (const auto& [name, value] : settings) {
    out[i].setName(name);
    out[i++].setValue(value);
  }
}

Task<void> RegistrationService::heartbeat(Core& core, HeartbeatContext context) {
  OperationTimer timer(core.observation.metrics.heartbeat, core.clock);
  auto beat = context.getParams().getBeat();
  Result<Nanos> lease = Error{ESTALE, "the map could not be delivered over this link: register again"};
  if (!lost_ && core.replica.isLeader()) {
    lease = core.chunkservers.beat(server_, incarnation_, beat);
  }
  auto results = context.getResults();
  if (!lease.ok()) {
    setOutcome(lease.error(), results.initOutcome());
    co_return;
  }
  core.observation.loads.report(server_, beat.getLoad(), core.clock.monotonic());
  core.cleanup.done(server_, MapVersion{beat.getMapVersion()}, beat.getDone());
  core.mover.done(server_, MapVersion{beat.getMapVersion()}, beat.getDone());
  auto work = results.initWork();
  core.cleanup.handOut(server_, work);
  core.mover.handOut(server_, work);
  auto agreed = core.chunkservers.agreed(server_);
  auto plans = work.initAgreed(agreed.size());
  for (uint32_t i = 0; i < agreed.size(); ++i) {
    plans.set(i, agreed[i]);
  }
  writeSettings(core.replica.reader(), work);
  auto barrier = co_await core.replica.readBarrier();  // a lease is worth something only from a real leader
  if (!barrier.ok()) {
    throwUnwritten(barrier.error());
  }
  results.setLeaseNanos(lease.value());
  history_.index = core.replica.reader().appliedIndex();
  writeHistory(history_, results.initHistory());
}

Task<void> RegistrationService::unknown(Core& core, UnknownContext context) {
  auto asked = context.getParams().getObjects();
  if (asked.size() > ORPHAN_OBJECTS_MAX) {
    setOutcome(Error{E2BIG, "too many objects in one question"}, context.getResults().initOutcome());
    co_return;
  }
  std::vector<ObjectId> objects;
  for (uint64_t object : asked) {
    objects.push_back(ObjectId{object});
  }
  auto barrier = co_await core.replica.readBarrier();
  if (!barrier.ok()) {
    throwUnwritten(barrier.error());
  }
  auto orphans = co_await findOrphans(core.clock, core.replica.reader(), kj::mv(objects));
  auto out = context.getResults().initUnknown(orphans.size());
  for (uint32_t i = 0; i < orphans.size(); ++i) {
    out.set(i, raw(orphans[i]));
  }
}

}  // namespace

wire::Registration::Client newRegistration(Lifeline& lifeline, ServerId server, Incarnation incarnation,
                                           std::string name, wire::MapWatcher::Client watcher,
                                           kj::Maybe<wire::CapsuleKeeper::Client> capsules) {
  return kj::heap<RegistrationService>(lifeline, server, incarnation, std::move(name), kj::mv(watcher),
                                       kj::mv(capsules));
}

}  // namespace cairn
