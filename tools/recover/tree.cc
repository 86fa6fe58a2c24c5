#include "tools/recover/tree.h"

#include <capnp/message.h>
#include <sys/stat.h>

#include <cerrno>
#include <set>

namespace cairn::rescue {

namespace {

struct Name {
  std::string name;
  InodeId inode{};
};

std::string textOf(capnp::Data::Reader data) {
  return std::string(reinterpret_cast<const char*>(data.begin()), data.size());
}

// All names of a directory. One that can't be read has none.
std::vector<Name> namesOf(const NamespaceReader& reader, InodeId directory) {
  std::vector<Name> names;
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    capnp::MallocMessageBuilder question, answer;
    auto query = question.initRoot<wire::Query>();
    query.initCaller();
    auto list = query.initReadDirectory();
    list.setInode(raw(directory));
    list.setCookie(cookie);
    list.setEntriesMax(NamespaceReader::DIRECTORY_ENTRIES_MAX);
    reader.answer(query.asReader(), answer.initRoot<wire::Answer>());
    auto answered = answer.getRoot<wire::Answer>().asReader();
    if (answered.getOutcome().getErrno() != 0 || !answered.isEntries()) {
      break;
    }
    for (auto entry : answered.getEntries().getList()) {
      names.push_back({textOf(entry.getName()), InodeId{entry.getInode()}});
      cookie = entry.getNext();
    }
    end = answered.getEntries().getEnd() || answered.getEntries().getList().size() == 0;
  }
  return names;
}

// A directory that is being walked through.
struct Level {
  TreeEntry entry;
  std::vector<Name> names;
  size_t next = 0;
};

}  // namespace

Status walkTree(const NamespaceReader& reader, const std::string& start, kj::Function<bool(const TreeEntry&)> enter,
                kj::Function<void(const TreeEntry&)> leave) {
  capnp::MallocMessageBuilder message;
  auto attributes = message.initRoot<wire::Attributes>();
  auto found = reader.resolve("/" + start, attributes);
  auto record = found.ok() ? reader.record(InodeId{attributes.getInode()}) : std::nullopt;
  if (!record) {
    return found.ok() ? Error{ENOENT, "/" + start + ": no such file"} : found.error();
  }
  std::vector<Level> levels;
  std::set<InodeId> entered;  // in a damaged state a directory may be found below itself
  auto visit = [&](TreeEntry entry) {
    bool into = enter(entry) && S_ISDIR(entry.inode.mode) && entered.insert(entry.inode.id).second;
    if (into) {
      auto names = namesOf(reader, entry.inode.id);
      levels.push_back({std::move(entry), std::move(names)});
    }
  };
  visit({start, start.substr(start.rfind('/') + 1), *record});
  while (!levels.empty()) {
    auto& level = levels.back();
    if (level.next == level.names.size()) {
      leave(level.entry);
      levels.pop_back();
      continue;
    }
    auto& name = level.names[level.next++];
    auto inode = reader.record(name.inode);
    if (inode) {
      std::string path = level.entry.path.empty() ? name.name : level.entry.path + "/" + name.name;
      visit({std::move(path), name.name, *inode});
    }
  }
  return {};
}

std::vector<std::pair<std::string, std::string>> xattrsOf(const NamespaceReader& reader, InodeId inode) {
  std::vector<std::pair<std::string, std::string>> found;
  capnp::MallocMessageBuilder question, answer;
  auto query = question.initRoot<wire::Query>();
  query.initCaller();
  query.setListXattr(raw(inode));
  reader.answer(query.asReader(), answer.initRoot<wire::Answer>());
  auto listed = answer.getRoot<wire::Answer>().asReader();
  std::string names = listed.isBytes() ? textOf(listed.getBytes()) : "";
  for (size_t at = 0, end; (end = names.find('\0', at)) != std::string::npos; at = end + 1) {
    std::string name = names.substr(at, end - at);
    capnp::MallocMessageBuilder asked, told;
    auto get = asked.initRoot<wire::Query>();
    get.initCaller();
    auto which = get.initGetXattr();
    which.setInode(raw(inode));
    which.setName(kj::arrayPtr(reinterpret_cast<const kj::byte*>(name.data()), name.size()));
    reader.answer(get.asReader(), told.initRoot<wire::Answer>());
    auto value = told.getRoot<wire::Answer>().asReader();
    if (value.isBytes()) {
      found.push_back({name, textOf(value.getBytes())});
    }
  }
  return found;
}

}  // namespace cairn::rescue
