#include "tools/admin/file_path.h"

#include <sys/stat.h>

#include <cerrno>

#include "fuse-client/client/wire.h"
#include "tools/admin/paths.h"

namespace cairn::admin {

Task<Result<ResolvedPath>> resolvePath(Context& context, MasterLink& master, std::string path) {
  auto inside = clusterPath(context, path);
  if (!inside.ok()) {
    co_return inside.error();
  }
  auto request = master.admin.resolveRequest();
  request.setPath(wireBytes(inside.value()));
  kj::Promise<capnp::Response<wire::Admin::ResolveResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "resolve");
  auto outcome = readOutcome(reply.getOutcome());
  if (!outcome.ok()) {
    co_return Error{outcome.code(), inside.value() + ": " + outcome.error().why +
                                        "; give a path from the cluster's root, or one below a mount point"};
  }
  ResolvedPath resolved{inside.value(), kj::mv(reply)};
  co_return kj::mv(resolved);
}

Task<Result<FileTarget>> resolveFile(Context& context, MasterLink& master, const std::string& path) {
  auto resolved = co_await resolvePath(context, master, path);
  if (!resolved.ok()) {
    co_return resolved.error();
  }
  auto attributes = resolved.value().attributes();
  if (!S_ISREG(attributes.getMode())) {
    co_return Error{EINVAL,
                    resolved.value().path + ": not a regular file, so it has no chunks; name a regular file"};
  }
  co_return readTarget(attributes, resolved.value().path);
}

}  // namespace cairn::admin
