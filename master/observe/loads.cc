#include "master/observe/loads.h"

#include <algorithm>

namespace cairn {
namespace {

std::string shortened(kj::StringPtr text) {
  return std::string(text.begin(), std::min(text.size(), Loads::TEXT_BYTES_MAX));
}

// What was added since the last report; of a process that has begun anew, all.
uint64_t added(uint64_t before, uint64_t now) {
  return now >= before ? now - before : now;
}

}  // namespace

void Rate::report(uint64_t count, Nanos now) {
  if (!steps_.empty() && count < steps_.back().count) {
    steps_.clear();
  }
  constexpr Nanos STEP = WINDOW / 10;
  if (steps_.size() >= 2 && now - steps_[steps_.size() - 2].at < STEP) {
    steps_.pop_back();
  }
  steps_.push_back({now, count});
  while (steps_.size() > 2 && steps_[1].at <= now - WINDOW) {
    steps_.pop_front();
  }
}

double Rate::perSecond(Nanos now) const {
  if (steps_.size() < 2 || now - steps_.back().at > WINDOW) {
    return 0;
  }
  Nanos time = now - steps_.front().at;
  auto added = static_cast<double>(steps_.back().count - steps_.front().count);
  return time <= 0 ? 0 : added * SECOND / static_cast<double>(time);
}

void Loads::report(ServerId server, wire::ServerLoad::Reader load, Nanos now) {
  bool isNew = !servers_.contains(server);
  WorkLoad& known = servers_[server];
  bytesRead_ += isNew ? 0 : added(known.bytesRead, load.getBytesRead());
  bytesWritten_ += isNew ? 0 : added(known.bytesWritten, load.getBytesWritten());
  known.bytesRead = load.getBytesRead();
  known.bytesWritten = load.getBytesWritten();
  known.slow = load.getSlow();
  known.operations = known.errors = 0;
  for (auto item : load.getOperations()) {
    std::string name = shortened(item.getKind());
    if (!known.kinds.contains(name) && known.kinds.size() >= KINDS_MAX) {
      continue;
    }
    KindLoad& kind = known.kinds[name];
    kind.count = item.getCount();
    kind.errors = item.getErrors();
    kind.p99 = static_cast<Nanos>(item.getP99Nanos());
    kind.rate.report(kind.count, now);
    known.operations += kind.count;
    known.errors += kind.errors;
  }
  known.operationRate.report(known.operations, now);
  known.readRate.report(known.bytesRead, now);
  known.writeRate.report(known.bytesWritten, now);
  known.heardAt = now;
}

void Loads::report(SessionId session, wire::ClientLoad::Reader load, Nanos now, int64_t wallSeconds) {
  WorkLoad& known = clients_[session];
  known.operations = load.getOperations();
  known.errors = load.getErrors();
  known.bytesRead = load.getBytesRead();
  known.bytesWritten = load.getBytesWritten();
  known.slow = load.getSlowCount();
  known.operationRate.report(known.operations, now);
  known.readRate.report(known.bytesRead, now);
  known.writeRate.report(known.bytesWritten, now);
  known.heardAt = now;
  for (auto item : load.getSlow()) {
    if (slow_.size() == SLOW_MAX) {
      slow_.pop_front();
    }
    slow_.push_back({wallSeconds, session, shortened(item.getKind()), item.getInode(),
                     static_cast<Nanos>(item.getNanos()), shortened(item.getPath())});
  }
}

void Loads::forgetOld(Nanos now) {
  auto isOld = [now](auto& entry) { return now - entry.second.heardAt > FORGOTTEN_AFTER; };
  std::erase_if(servers_, isOld);
  std::erase_if(clients_, isOld);
}

Nanos Loads::worstP99(const std::string& kind) const {
  Nanos worst = 0;
  for (auto& [server, load] : servers_) {
    auto found = load.kinds.find(kind);
    worst = found == load.kinds.end() ? worst : std::max(worst, found->second.p99);
  }
  return worst;
}

}  // namespace cairn
