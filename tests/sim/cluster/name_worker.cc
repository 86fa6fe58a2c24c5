#include "tests/sim/cluster/name_worker.h"

namespace cairn {

Task<void> NameWorker::run() {
  for (unsigned i = 0; !stopping; ++i) {
    std::string name = "n" + std::to_string(i);
    auto made = co_await client_.makeNode(directory_, name, 0100644, 0, superuser());
    model_.created(name, made.ok() ? raw(made.value().inode) : 0, endOf(made.code()));
    if (i % 3 == 1) {
      auto renamed = co_await client_.rename(directory_, name, directory_, "r" + name, 0, superuser());
      model_.renamed(name, "r" + name, endOf(renamed.code()));
    }
    if (i % 3 == 2) {
      auto removed = co_await client_.unlink(directory_, name, superuser());
      model_.removed(name, endOf(removed.code()));
    }
    ++done;
  }
}

Task<NameModel::Listing> NameWorker::listing(Client& reader, InodeId directory) {
  NameModel::Listing out;
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = co_await reader.readDirectory(directory, cookie, 100, false, superuser());
    for (auto& entry : page.value().entries) {
      out[entry.name] = raw(entry.inode);
      cookie = entry.next;
    }
    end = page.value().end;
  }
  co_return kj::mv(out);
}

}  // namespace cairn
