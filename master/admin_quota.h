// Quotas for administrators: setting limits, and how much of them is used.
#pragma once
#include "common/task.h"
#include "master/core.h"

namespace cairn {

using SetQuotaCall = capnp::CallContext<wire::Admin::SetQuotaParams, wire::Admin::SetQuotaResults>;
using QuotasCall = capnp::CallContext<wire::Admin::QuotasParams, wire::Admin::QuotasResults>;

Task<void> setQuota(Core& core, SetQuotaCall context);
Task<void> listQuotas(Core& core, QuotasCall context);

}  // namespace cairn
