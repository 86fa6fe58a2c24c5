// What administrators did, kept in the replicated state: who, when, with which command, what the master was asked for,
// and what came of it. An action is written down before it is begun, so that nothing is done that isn't told of; one
// whose leader went before the end stays without an outcome. The newest are kept.
#pragma once
#include "common/settings.h"
#include "master/namespace/tables.h"

namespace cairn {

constexpr size_t AUDIT_ITEMS_MAX = 1000;
// Longer texts are cut.
constexpr size_t AUDIT_WHO_MAX = 128;
constexpr size_t AUDIT_COMMAND_MAX = 512;
constexpr size_t AUDIT_ACTION_MAX = 256;
constexpr size_t AUDIT_WHY_MAX = 512;

// Something that was done while no master ran.
void noteAction(Execution& execution, std::string who, std::string action);
Status changeAudit(Execution& execution, wire::AuditChange::Reader command);
// The newest `max`, oldest first.
std::vector<AuditItem> auditItems(const Store& store, size_t max);

// A setting of the whole cluster.
Status changeSetting(Execution& execution, wire::SettingChange::Reader command);
Settings readSettings(const Store& store);

}  // namespace cairn
