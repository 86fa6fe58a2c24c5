#include "master/audit.h"

#include "master/propose.h"

namespace cairn {

// Who is at the other end of a connection is known here: a name that is proven takes the place of the claimed one here.
AuditCaller auditCaller(wire::AdminCaller::Reader claimed, const PeerIdentity& peer) {
  std::string name = claimed.hasWho() ? claimed.getWho().cStr() : "unknown";
  return {name + " (" + peer.text + ")", claimed.getCommand().cStr()};
}

Task<Result<uint64_t>> beginAction(Replica& replica, AuditCaller caller, std::string action) {
  auto fill = [&](wire::Command::Builder command) {
    auto begin = command.initAudit().initBegin();
    begin.setWho(caller.who);
    begin.setCommand(caller.command);
    begin.setAction(action);
  };
  auto applied = co_await propose(replica, fill);
  auto begun = outcomeOf(applied);
  if (!begun.ok()) {
    co_return begun.error();
  }
  co_return raw(applied.value().index);
}

Task<Status> endAction(Replica& replica, uint64_t id, Status outcome) {
  auto fill = [&](wire::Command::Builder command) {
    auto end = command.initAudit().initEnd();
    end.setId(id);
    setOutcome(outcome, end.initOutcome());
  };
  auto applied = co_await propose(replica, fill);
  co_return outcomeOf(applied);
}

Task<Status> changeSetting(Replica& replica, std::string name, uint64_t value, bool reset) {
  auto fill = [&](wire::Command::Builder command) {
    auto change = command.initSetting();
    change.setName(name);
    change.setValue(value);
    change.setReset(reset);
  };
  auto applied = co_await propose(replica, fill);
  co_return outcomeOf(applied);
}

void writeHistory(const NamespaceReader& reader, uint32_t itemsMax, wire::Admin::HistoryResults::Builder out) {
  auto items = reader.audit(itemsMax);
  auto list = out.initItems(static_cast<unsigned>(items.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    const AuditItem& item = items[i];
    list[i].setId(item.id);
    list[i].initTime().setSeconds(item.time.seconds);
    list[i].getTime().setNanos(item.time.nanos);
    list[i].setWho(item.who);
    list[i].setCommand(item.command);
    list[i].setAction(item.action);
    list[i].setEnded(item.ended);
    list[i].initOutcome().setErrno(item.errnum);
    list[i].getOutcome().setWhy(item.why);
  }
}

void writeSettings(const Core& core, wire::Admin::SettingsResults::Builder out) {
  auto settings = core.replica.reader().settings();
  auto file = inForce(core.cluster, settings);
  const auto& rules = settingRules();
  auto list = out.initSettings(static_cast<unsigned>(rules.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    list[i].setName(std::string(rules[i].name));
    list[i].setValue(file.*(rules[i].field));
    list[i].setIsSet(settings.contains(rules[i].name));
  }
}

}  // namespace cairn
