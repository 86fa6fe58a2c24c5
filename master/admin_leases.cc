#include "master/admin_leases.h"

#include <map>
#include <string>

namespace cairn {

void writeLeases(const Core& core, InodeId inode, wire::Admin::LeasesResults::Builder out) {
  std::map<SessionId, std::string> names;
  for (auto& session : core.sessions.table().list()) {
    names[session.id] = session.name;
  }
  auto holders = core.sessions.leases().holders(inode);
  auto list = out.initHolders(static_cast<unsigned>(holders.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    const auto& holder = holders[i];
    list[i].setSession(raw(holder.session));
    list[i].setSessionName(names[holder.session]);
    list[i].setWrite(holder.write);
    list[i].setRecalledNanos(holder.askedAt ? core.clock.monotonic() - *holder.askedAt : -1);
  }
}

}  // namespace cairn
