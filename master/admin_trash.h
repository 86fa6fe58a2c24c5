// The trash for administrators: what is in it, bringing it back, ending it early.
#pragma once
#include "common/task.h"
#include "master/core.h"

namespace cairn {

using TrashCall = capnp::CallContext<wire::Admin::TrashParams, wire::Admin::TrashResults>;
using RestoreTrashCall = capnp::CallContext<wire::Admin::RestoreTrashParams, wire::Admin::RestoreTrashResults>;
using PurgeTrashCall = capnp::CallContext<wire::Admin::PurgeTrashParams, wire::Admin::PurgeTrashResults>;
using SetTrashCall = capnp::CallContext<wire::Admin::SetTrashParams, wire::Admin::SetTrashResults>;

Task<void> listTrash(Core& core, TrashCall context);
Task<void> restoreTrash(Core& core, RestoreTrashCall context);
Task<void> purgeTrash(Core& core, PurgeTrashCall context);
Task<void> setTrash(Core& core, SetTrashCall context);

}  // namespace cairn
