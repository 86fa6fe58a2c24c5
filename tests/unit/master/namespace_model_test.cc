// Random operations against a small model of a file tree, with the state written out and opened again in between; and
// replays that must come out the same.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

struct Node {
  uint32_t type = 0;
  uint32_t links = 0;
  uint64_t size = 0;
  std::map<std::string, InodeId> entries;
  InodeId parent{};
  bool isDirectory() const { return type == S_IFDIR; }
};

// What the tree should be, as plainly as it can be said.
class Model {
 public:
  Model() { nodes_[ROOT_INODE] = {S_IFDIR, 2, 0, {}, ROOT_INODE}; }

  int make(InodeId parent, const std::string& name) {
    int code = directory(parent);
    if (code != 0) {
      return code;
    }
    return find(parent, name) != nullptr ? EEXIST : 0;
  }
  void made(InodeId parent, const std::string& name, uint32_t type, InodeId inode) {
    nodes_[inode] = {type, type == S_IFDIR ? 2u : 1u, 0, {}, parent};
    enter(parent, name, inode);
  }

  int link(InodeId inode, InodeId parent, const std::string& name) {
    if (nodes_.count(inode) == 0) {
      return ESTALE;
    }
    int code = directory(parent);
    if (code != 0) {
      return code;
    }
    if (find(parent, name) != nullptr) {
      return EEXIST;
    }
    if (nodes_[inode].isDirectory()) {
      return EPERM;
    }
    nodes_[inode].links++;
    nodes_[parent].entries[name] = inode;
    return 0;
  }

  int unlink(InodeId parent, const std::string& name, bool wantDirectory) {
    int code = directory(parent);
    if (code != 0) {
      return code;
    }
    const InodeId* found = find(parent, name);
    if (found == nullptr) {
      return ENOENT;
    }
    code = removable(*found, wantDirectory);
    if (code == 0) {
      leave(parent, name);
    }
    return code;
  }

  int rename(InodeId parent, const std::string& name, InodeId newParent, const std::string& newName, uint32_t flags) {
    int code = directory(parent);
    code = code != 0 ? code : directory(newParent);
    if (code != 0) {
      return code;
    }
    const InodeId* source = find(parent, name);
    const InodeId* target = find(newParent, newName);
    if (source == nullptr) {
      return ENOENT;
    }
    if (flags == 1 && target != nullptr) {
      return EEXIST;
    }
    if (flags == 2 && target == nullptr) {
      return ENOENT;
    }
    if (isAbove(*source, newParent)) {
      return EINVAL;
    }
    if (target != nullptr && isAbove(*target, parent)) {
      return flags == 2 ? EINVAL : ENOTEMPTY;
    }
    if (target != nullptr && *source == *target) {
      return 0;
    }
    return flags == 2 ? swap(parent, name, newParent, newName) : move(parent, name, newParent, newName);
  }

  int resize(InodeId inode, uint64_t size) {
    auto found = nodes_.find(inode);
    if (found == nodes_.end()) {
      return ESTALE;
    }
    if (found->second.type != S_IFREG) {
      return found->second.isDirectory() ? EISDIR : EINVAL;
    }
    found->second.size = size;
    return 0;
  }

  const std::map<InodeId, Node>& nodes() const { return nodes_; }

 private:
  int directory(InodeId inode) const {
    auto found = nodes_.find(inode);
    if (found == nodes_.end()) {
      return ESTALE;
    }
    return found->second.isDirectory() ? 0 : ENOTDIR;
  }
  const InodeId* find(InodeId parent, const std::string& name) const {
    const auto& entries = nodes_.at(parent).entries;
    auto found = entries.find(name);
    return found == entries.end() ? nullptr : &found->second;
  }
  int removable(InodeId inode, bool wantDirectory) const {
    const auto& node = nodes_.at(inode);
    if (wantDirectory != node.isDirectory()) {
      return wantDirectory ? ENOTDIR : EISDIR;
    }
    return node.entries.empty() ? 0 : ENOTEMPTY;
  }
  bool isAbove(InodeId ancestor, InodeId of) const {
    if (!nodes_.at(ancestor).isDirectory()) {
      return false;
    }
    for (InodeId at = of; at != ancestor; at = nodes_.at(at).parent) {
      if (at == ROOT_INODE) {
        return false;
      }
    }
    return true;
  }
  void enter(InodeId parent, const std::string& name, InodeId inode) {
    nodes_[parent].entries[name] = inode;
    if (nodes_[inode].isDirectory()) {
      nodes_[inode].parent = parent;
      nodes_[parent].links++;
    }
  }
  InodeId take(InodeId parent, const std::string& name) {
    InodeId inode = nodes_[parent].entries[name];
    nodes_[parent].entries.erase(name);
    if (nodes_[inode].isDirectory()) {
      nodes_[parent].links--;
    }
    return inode;
  }
  void leave(InodeId parent, const std::string& name) {
    InodeId inode = take(parent, name);
    auto& node = nodes_[inode];
    if (node.isDirectory() || --node.links == 0) {
      nodes_.erase(inode);
    }
  }
  int move(InodeId parent, const std::string& name, InodeId newParent, const std::string& newName) {
    const InodeId* target = find(newParent, newName);
    if (target != nullptr) {
      int code = removable(*target, nodes_.at(*find(parent, name)).isDirectory());
      if (code != 0) {
        return code;
      }
      leave(newParent, newName);
    }
    enter(newParent, newName, take(parent, name));
    return 0;
  }
  int swap(InodeId parent, const std::string& name, InodeId newParent, const std::string& newName) {
    InodeId one = take(parent, name);
    InodeId other = take(newParent, newName);
    enter(newParent, newName, one);
    enter(parent, name, other);
    return 0;
  }

  std::map<InodeId, Node> nodes_;
};

class Comparison {
 public:
  explicit Comparison(uint64_t seed, TestNamespace& ns) : random_(seed), ns_(ns) {}

  void step() {
    ns_.tick();
    InodeId parent = anyInode(20);
    InodeId other = anyInode(20);
    std::string name = anyName();
    std::string newName = anyName();
    switch (below(10)) {
      case 0:
      case 1:
      case 2: {
        uint32_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO};
        uint32_t type = types[below(4)];
        int expected = model_.make(parent, name);
        auto made = ns_.make(parent, name, type | 0755, ROOT, "target");
        ASSERT_EQ(made.code(), expected);
        if (expected == 0) {
          model_.made(parent, name, type, made.inode());
        }
        break;
      }
      case 3:
        ASSERT_EQ(ns_.link(other, parent, name).code(), model_.link(other, parent, name));
        break;
      case 4:
      case 5: {
        bool directory = below(2) == 0;
        ASSERT_EQ(ns_.unlink(parent, name, directory).code(), model_.unlink(parent, name, directory));
        break;
      }
      case 6:
      case 7:
      case 8: {
        uint32_t flags = below(3);
        ASSERT_EQ(ns_.rename(parent, name, other, newName, flags).code(),
                  model_.rename(parent, name, other, newName, flags));
        break;
      }
      default: {
        uint64_t size = below(3) == 0 ? 0 : below(100);
        int code = ns_.truncate(other, size).code();
        if (code == EAGAIN) {
          for (const auto& cut : ns_.reader().cuts(0, 1000)) {
            ns_.apply([&](auto command) { command.initCutsApplied(1).set(0, cut.id); });
          }
          code = ns_.truncate(other, size).code();
        }
        ASSERT_EQ(code, model_.resize(other, size));
      }
    }
  }

  void compareAll() {
    uint64_t files = 0;
    for (const auto& [inode, node] : model_.nodes()) {
      int code = 0;
      auto got = ns_.stat(inode, &code);
      ASSERT_EQ(code, 0) << raw(inode);
      EXPECT_EQ(got.getMode() & S_IFMT, node.type);
      EXPECT_EQ(got.getLinks(), node.links) << raw(inode);
      if (node.type == S_IFREG) {
        EXPECT_EQ(got.getSize(), node.size);
      }
      if (node.isDirectory()) {
        EXPECT_EQ(got.getParent(), raw(node.parent));
        std::vector<std::string> names;
        for (const auto& [name, child] : node.entries) {
          names.push_back(name);
          InodeId found{};
          EXPECT_EQ(ns_.lookup(inode, name, &found), 0);
          EXPECT_EQ(found, child);
        }
        EXPECT_EQ(ns_.names(inode), names);
      }
      ++files;
    }
    EXPECT_EQ(ns_.reader().counters().inodes, files);
  }

  uint64_t below(uint64_t bound) { return random_() % bound; }

 private:
  std::string anyName() { return std::string(1, static_cast<char>('a' + below(5))); }
  // Mostly something that exists.
  InodeId anyInode(uint64_t oddOnes) {
    if (below(oddOnes) == 0) {
      return InodeId{2 + below(200)};
    }
    auto at = model_.nodes().begin();
    std::advance(at, below(model_.nodes().size()));
    return at->first;
  }

  std::mt19937_64 random_;
  TestNamespace& ns_;
  Model model_;
};

class ModelTest : public testing::TestWithParam<uint64_t> {};

TEST_P(ModelTest, RandomOperationsFollowTheModel) {
  uint64_t seed = GetParam();
  SCOPED_TRACE("seed " + std::to_string(seed));
  TestNamespace ns;
  Comparison comparison(seed, ns);
  for (int i = 0; i < 3000 && !testing::Test::HasFatalFailure(); ++i) {
    comparison.step();
    if (comparison.below(50) == 0) {
      ns.writeOut();
    }
    if (comparison.below(200) == 0) {
      ns.reopen();
    }
    if (i % 500 == 0) {
      comparison.compareAll();
    }
  }
  comparison.compareAll();
}
INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest, testing::Range<uint64_t>(1, 9));

TEST(Replay, GivesTheSameStateAndTheSameReplies) {
  TestNamespace live;
  Comparison comparison(4711, live);
  for (int i = 0; i < 2000; ++i) {
    comparison.step();
    if (i % 97 == 0) {
      live.writeOut();
    }
  }
  TestNamespace again(TestNamespace::Bare{});
  for (size_t i = 0; i < live.log().size(); ++i) {
    auto applied = again.applyWords(live.log()[i]);
    ASSERT_EQ(applied.reply.asBytes(), live.replies()[i].asBytes()) << "entry " << i + 1;
  }
  EXPECT_EQ(again.reader().digest(), live.reader().digest());
  EXPECT_EQ(again.contents(), live.contents());
}

TEST(Replay, ADifferentEntryGivesAnotherDigest) {
  TestNamespace one;
  TestNamespace other;
  EXPECT_EQ(one.reader().digest(), other.reader().digest());
  one.make(ROOT_INODE, "a", S_IFREG | 0644);
  other.make(ROOT_INODE, "a", S_IFREG | 0640);
  EXPECT_NE(one.reader().digest(), other.reader().digest());
}

// ---- reading directories while they change ----

TEST(Directories, EveryNameThatStaysIsSeenOnce) {
  std::mt19937_64 random(20);
  TestNamespace ns;
  std::set<std::string> staying;
  for (int i = 0; i < 300; ++i) {
    ns.make(ROOT_INODE, "stay" + std::to_string(i), S_IFREG | 0644);
    ns.make(ROOT_INODE, "go" + std::to_string(i), S_IFREG | 0644);
    staying.insert("stay" + std::to_string(i));
  }
  ns.writeOut();
  std::multiset<std::string> seen;
  uint64_t cookie = 0;
  int more = 0;
  for (bool end = false; !end;) {
    for (const auto& entry : ns.list(ROOT_INODE, cookie, 1 + random() % 20, &end)) {
      EXPECT_GT(entry.next, cookie);
      cookie = entry.next;
      seen.insert(entry.name);
    }
    for (int i = 0; i < 10; ++i) {
      ns.unlink(ROOT_INODE, "go" + std::to_string(random() % 300));
      if (more < 1000) {
        ns.make(ROOT_INODE, "new" + std::to_string(more++), S_IFREG | 0644);
      }
    }
    // A replaced entry keeps its place.
    std::string replaced = "stay" + std::to_string(random() % 300);
    ns.make(ROOT_INODE, "tmp", S_IFREG | 0644);
    ASSERT_EQ(ns.rename(ROOT_INODE, "tmp", ROOT_INODE, replaced).code(), 0);
    if (random() % 3 == 0) {
      ns.writeOut();
    }
  }
  for (const auto& name : staying) {
    EXPECT_EQ(seen.count(name), 1u) << name;
  }
  for (const auto& name : seen) {
    EXPECT_EQ(seen.count(name), 1u) << name;
  }
}

TEST(Directories, CookiesLeaveRoomForDots) {
  TestNamespace ns;
  ns.make(ROOT_INODE, "a", S_IFREG | 0644);
  ASSERT_EQ(ns.list(ROOT_INODE).size(), 1u);
  EXPECT_GE(ns.list(ROOT_INODE)[0].next, NamespaceReader::FIRST_COOKIE);
  EXPECT_EQ(ns.list(ROOT_INODE, 2).size(), 1u);
  EXPECT_TRUE(ns.list(ROOT_INODE, ns.list(ROOT_INODE)[0].next).empty());
  EXPECT_TRUE(ns.list(ROOT_INODE, UINT64_MAX).empty());
}

TEST(Directories, ReadingNeedsPermission) {
  TestNamespace ns;
  auto closed = ns.make(ROOT_INODE, "closed", S_IFDIR | 0700).inode();
  auto listable = ns.make(ROOT_INODE, "listable", S_IFDIR | 0744).inode();
  auto file = ns.make(listable, "f", S_IFREG | 0644).inode();
  auto read = [&](InodeId inode, capnp::MessageBuilder& answer) {
    return ns.query(
        [&](auto query) {
          auto read = query.initReadDirectory();
          read.setInode(raw(inode));
          read.setEntriesMax(10);
          read.setWithAttributes(true);
        },
        answer, ALICE);
  };
  capnp::MallocMessageBuilder answers[4];
  EXPECT_EQ(read(closed, answers[0]), EACCES);
  EXPECT_EQ(read(file, answers[1]), ENOTDIR);
  EXPECT_EQ(read(InodeId{999}, answers[2]), ESTALE);
  EXPECT_EQ(read(listable, answers[3]), 0);
  auto entry = answers[3].getRoot<wire::Answer>().getEntries().getList()[0];
  EXPECT_EQ(entry.getInode(), raw(file));
  EXPECT_FALSE(entry.hasAttributes());  // may list, may not search
}

TEST(Directories, AHundredThousandNames) {
  TestNamespace ns;
  auto d = ns.make(ROOT_INODE, "d", S_IFDIR | 0755).inode();
  constexpr int COUNT = 100000;
  for (int i = 0; i < COUNT; ++i) {
    ASSERT_EQ(ns.make(d, "file" + std::to_string(i), S_IFREG | 0644).code(), 0);
    if (i % 10000 == 0) {
      ns.writeOut();
    }
  }
  EXPECT_EQ(ns.names(d).size(), static_cast<size_t>(COUNT));
  EXPECT_EQ(ns.lookup(d, "file99999"), 0);
  EXPECT_EQ(ns.unlink(ROOT_INODE, "d", true).code(), ENOTEMPTY);
  for (int i = 0; i < COUNT; ++i) {
    ASSERT_EQ(ns.unlink(d, "file" + std::to_string(i)).code(), 0);
  }
  EXPECT_EQ(ns.unlink(ROOT_INODE, "d", true).code(), 0);
  EXPECT_EQ(ns.reader().counters().inodes, 1u);
}

}  // namespace
}  // namespace cairn
