#include "master/upgrade.h"

#include "common/log.h"
#include "master/propose.h"

namespace cairn {

std::vector<std::string> levelHeldBy(Replica& replica, const Chunkservers& chunkservers) {
  std::vector<std::string> names;
  const uint32_t wanted = replica.group().program().level;
  auto look = [&](const std::string& name, const std::optional<Program>& program) {
    if (!program || program->level < wanted) {
      names.push_back(name);
    }
  };
  for (const auto& member : replica.group().status().members) {
    look(member.name, member.program);
  }
  for (const auto& [id, server] : replica.reader().map().servers) {
    look(server.name, chunkservers.program(id));
  }
  return names;
}

void Upgrade::tick() {
  Nanos now = clock_.monotonic();
  if (raising_ || now - lookedAt_ < PERIOD) {
    return;
  }
  lookedAt_ = now;
  uint32_t level = replica_.group().program().level;
  if (replica_.reader().featureLevel() < level && levelHeldBy(replica_, chunkservers_).empty()) {
    raising_ = true;
    tasks_.add(raise(level));
  }
}

Task<void> Upgrade::raise(uint32_t level) {
  auto fill = [&](wire::Command::Builder command) { command.setRaiseLevel(level); };
  auto applied = co_await propose(replica_, fill);
  raising_ = false;
  auto outcome = outcomeOf(applied);
  if (outcome.ok()) {
    spdlog::info("all servers know feature level {}: the cluster has been raised to it", level);
  } else {
    spdlog::warn("the cluster can't be raised to feature level {} yet: {}", level, outcome.error().why);
  }
}

void Upgrade::taskFailed(kj::Exception&& e) {
  raising_ = false;
  spdlog::error("raising the feature level: {}", kj::str(e).cStr());
}

}  // namespace cairn
