#include "master/admin_quota.h"

#include <sys/stat.h>

#include <cerrno>

#include "master/propose.h"

namespace cairn {
namespace {

Task<void> becomeCurrent(Core& core) {
  auto barrier = co_await core.replica.readBarrier();
  if (!barrier.ok()) {
    throwUnwritten(barrier.error());
  }
}

Result<InodeId> directoryAt(const NamespaceReader& reader, std::string_view path) {
  capnp::MallocMessageBuilder message;
  auto attributes = message.initRoot<wire::Attributes>();
  auto found = reader.resolve(path, attributes);
  if (!found.ok()) {
    return found.error();
  }
  if (!S_ISDIR(attributes.getMode())) {
    return Error{ENOTDIR, "only a directory can have a quota"};
  }
  return InodeId{attributes.getInode()};
}

}  // namespace

// Which quota a file counts for is among its attributes, and who writes it goes by that. So when a directory gets its
// first quota of bytes, or loses it, writers below it are called in: before, so that nothing that was accepted by the
// old rule is still on its way; and again after, for those who have come in between.
Task<void> setQuota(Core& core, SetQuotaCall context) {
  co_await becomeCurrent(core);
  auto params = context.getParams();
  auto outcome = context.getResults().initOutcome();
  auto path = params.getPath();
  auto found = directoryAt(core.replica.reader(), std::string_view(path.asChars().begin(), path.size()));
  if (!found.ok()) {
    setOutcome(found.error(), outcome);
    co_return;
  }
  const InodeId root = found.value();
  auto account = core.replica.reader().account(root);
  const bool otherRoot = account && (account->bytesMax > 0) != (params.getBytesMax() > 0);
  if (otherRoot) {
    co_await core.quotas.recallWriters(root);
  }
  auto fill = [&](wire::Command::Builder command) {
    auto quota = command.initQuotaChange();
    quota.setInode(raw(root));
    quota.setBytesMax(params.getBytesMax());
    quota.setFilesMax(params.getFilesMax());
  };
  auto applied = co_await propose(core.replica, fill);
  auto set = outcomeOf(applied);
  setOutcome(set, outcome);
  if (!set.ok()) {
    co_return;
  }
  if (otherRoot) {
    co_await core.quotas.recallWriters(root);
  }
  co_await core.quotas.recallGrants(root);  // a lower limit holds for what was granted before and isn't used
}

Task<void> listQuotas(Core& core, QuotasCall context) {
  co_await becomeCurrent(core);
  auto& reader = core.replica.reader();
  std::vector<std::pair<std::string, NamespaceReader::Quota>> shown;
  for (auto& quota : reader.quotas()) {
    auto path = reader.pathOf(quota.root);
    auto record = reader.record(quota.root);
    if (path.ok() && record && record->links > 0) {  // not in the trash
      shown.emplace_back(path.value(), quota);
    }
  }
  auto out = context.getResults().initQuotas(static_cast<unsigned>(shown.size()));
  for (unsigned i = 0; i < out.size(); ++i) {
    auto& [path, quota] = shown[i];
    out[i].setPath(kj::StringPtr(path.c_str(), path.size()).asBytes());
    out[i].setInode(raw(quota.root));
    out[i].setBytesMax(quota.account.bytesMax);
    out[i].setFilesMax(quota.account.filesMax);
    out[i].setBytesUsed(quota.account.bytes);
    out[i].setFilesUsed(quota.account.files + quota.account.directories);
    out[i].setBytesGranted(quota.account.granted);
  }
}

}  // namespace cairn
