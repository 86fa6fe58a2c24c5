#include "master/namespace/audit.h"

#include <algorithm>
#include <cerrno>

#include "master/namespace/keys.h"

namespace cairn {

namespace {

std::string clipped(capnp::Text::Reader text, size_t max) {
  return std::string(text.cStr(), std::min<size_t>(text.size(), max));
}

uint64_t countOf(const Store& store) {
  std::string value;
  return store.get(keys::AUDIT_COUNT, value) ? decodeNumber(value) : 0;
}

void add(Execution& execution, AuditItem item) {
  item.time = execution.now();
  uint64_t count = countOf(execution.store);
  if (count < AUDIT_ITEMS_MAX) {
    execution.store.put(std::string(keys::AUDIT_COUNT), encodeNumber(count + 1));
  } else {
    std::string oldest(execution.store.scan(keys::AUDIT).key());
    execution.store.erase(oldest);
  }
  execution.store.put(keys::audit(raw(execution.head.index)), encode(item));
}

void beginItem(Execution& execution, wire::AuditChange::Begin::Reader command) {
  AuditItem item;
  item.who = clipped(command.getWho(), AUDIT_WHO_MAX);
  item.command = clipped(command.getCommand(), AUDIT_COMMAND_MAX);
  item.action = clipped(command.getAction(), AUDIT_ACTION_MAX);
  add(execution, std::move(item));
}

Status endItem(Execution& execution, wire::AuditChange::End::Reader command) {
  std::string value;
  if (!execution.store.get(keys::audit(command.getId()), value)) {
    return Error{ENOENT, "the history has no such action (any more)"};
  }
  AuditItem item;
  decode(value, item);
  if (item.ended) {
    return Error{EALREADY, "the history says already what came of that action"};
  }
  item.ended = true;
  item.errnum = command.getOutcome().getErrno();
  item.why = clipped(command.getOutcome().getWhy(), AUDIT_WHY_MAX);
  execution.store.put(keys::audit(command.getId()), encode(item));
  return {};
}

}  // namespace

void noteAction(Execution& execution, std::string who, std::string action) {
  AuditItem item;
  item.who = std::move(who);
  item.action = std::move(action);
  item.ended = true;
  add(execution, std::move(item));
}

Status changeAudit(Execution& execution, wire::AuditChange::Reader command) {
  if (command.isEnd()) {
    return endItem(execution, command.getEnd());
  }
  beginItem(execution, command.getBegin());
  return {};
}

std::vector<AuditItem> auditItems(const Store& store, size_t max) {
  std::vector<AuditItem> items;
  for (auto at = store.scan(keys::AUDIT); at.valid(); at.next()) {
    auto& item = items.emplace_back();
    decode(at.value(), item);
    item.id = keys::numberAt(at.key(), keys::AUDIT.size());
  }
  items.erase(items.begin(), items.end() - static_cast<ptrdiff_t>(std::min(items.size(), max)));
  return items;
}

Status changeSetting(Execution& execution, wire::SettingChange::Reader command) {
  std::string name = command.getName().cStr();
  const SettingRule* rule = settingRule(name);
  if (rule == nullptr) {
    return Error{EINVAL, "there is no setting '" + name + "'; see: dfsadmin config get"};
  }
  uint64_t value = command.getValue();
  if (!command.getReset() && (value < rule->min || value > rule->max)) {
    return Error{EINVAL, name + " must be a whole number from " + std::to_string(rule->min) + " to " +
                             std::to_string(rule->max)};
  }
  Settings settings = readSettings(execution.store);
  if (command.getReset()) {
    settings.erase(name);
  } else {
    settings[name] = value;
  }
  execution.store.put(std::string(keys::SETTINGS), encode(settings));
  return {};
}

Settings readSettings(const Store& store) {
  Settings settings;
  std::string value;
  if (store.get(keys::SETTINGS, value)) {
    decode(value, settings);
  }
  return settings;
}

}  // namespace cairn
