#include "tests/unit/master/state_fixture.h"

namespace cairn {

namespace {

constexpr uint64_t CACHE_BYTES = 1 << 20;

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

void fillCaller(const TestCaller& from, wire::Caller::Builder out) {
  out.setUid(from.uid);
  out.setGid(from.gid);
  auto groups = out.initGroups(static_cast<unsigned>(from.groups.size()));
  for (unsigned i = 0; i < groups.size(); ++i) {
    groups.set(i, from.groups[i]);
  }
}

}  // namespace

TestNamespace::TestNamespace(Bare, leveldb::Env* env, std::string path) : env_(env), path_(kj::mv(path)) {
  if (env_ == nullptr) {
    ownEnv_.reset(leveldb::NewMemEnv(leveldb::Env::Default()));
    env_ = ownEnv_.get();
  }
  open();
}

TestNamespace::TestNamespace(leveldb::Env* env, std::string path) : TestNamespace(Bare{}, env, kj::mv(path)) {
  auto formatted = apply([](wire::Command::Builder command) {
    auto format = command.initFormat();
    toWire(CLUSTER, format.initCluster());
    auto classes = format.initClasses(1);
    classes[0].setCopies(3);
    classes[0].setMinCopies(2);
    classes[0].setShardBits(4);
  });
  EXPECT_EQ(outcome(formatted), 0);
  session = openSession("test", 77);
}

void TestNamespace::open() {
  auto store = Store::open(*env_, path_, CACHE_BYTES);
  KJ_REQUIRE(store.ok(), store.error().why);
  machine_ = kj::heap<StateMachine>(kj::mv(store.value()));
}

void TestNamespace::reopen() {
  uint64_t digest = reader().digest();
  writeOut();
  machine_ = nullptr;
  open();
  EXPECT_EQ(reader().digest(), digest);
}

Applied TestNamespace::apply(const std::function<void(wire::Command::Builder)>& fill) {
  capnp::MallocMessageBuilder message;
  auto command = message.initRoot<wire::Command>();
  command.initTime().setSeconds(now_);
  fill(command);
  auto words = capnp::messageToFlatArray(message);
  return applyWords(words);
}

Applied TestNamespace::applyWords(kj::ArrayPtr<const capnp::word> words) {
  log_.push_back(kj::heapArray(words));
  CommandEntry entry(words.asBytes());
  auto applied = machine_->apply(next(machine_->appliedIndex()), Term{1}, entry.reader());
  replies_.push_back(kj::heapArray(applied.reply.asPtr()));
  return applied;
}

int TestNamespace::outcome(const Applied& applied) {
  capnp::FlatArrayMessageReader message(applied.reply);
  return message.getRoot<wire::Reply>().getOutcome().getErrno();
}

SessionId TestNamespace::openSession(const std::string& name, uint64_t nonce) {
  auto applied = apply([&](wire::Command::Builder command) {
    auto open = command.initOpenSession();
    open.setName(name);
    open.initNonce().setLow(nonce);
  });
  EXPECT_EQ(outcome(applied), 0);
  return applied.changes.opened;
}

TestReply TestNamespace::send(SessionId from, uint8_t slot, uint64_t sequence, const Fill& fill,
                              const TestCaller& caller) {
  return TestReply(apply([&](wire::Command::Builder command) {
    auto client = command.initClient();
    client.setSession(raw(from));
    client.setSlot(slot);
    client.setSequence(sequence);
    client.setHoldersAt(raw(machine_->appliedIndex()));
    auto list = client.initHolders(static_cast<unsigned>(holders.size()));
    for (unsigned i = 0; i < list.size(); ++i) {
      list[i].setInode(raw(holders[i].first));
      auto sessions = list[i].initSessions(static_cast<unsigned>(holders[i].second.size()));
      for (unsigned j = 0; j < sessions.size(); ++j) {
        sessions.set(j, raw(holders[i].second[j]));
      }
    }
    auto op = client.initOp();
    fillCaller(caller, op.initCaller());
    fill(op);
  }));
}

TestReply TestNamespace::execute(const Fill& fill, const TestCaller& caller) {
  ++sequence_;
  return send(session, static_cast<uint8_t>(sequence_ % 64), sequence_, fill, caller);
}

TestReply TestNamespace::make(InodeId parent, const std::string& name, uint32_t mode, const TestCaller& caller,
                              const std::string& target, uint32_t device) {
  return execute(
      [&](wire::Op::Builder op) {
        auto make = op.initMake();
        make.setParent(raw(parent));
        make.setName(bytesOf(name));
        make.setMode(mode);
        make.setTarget(bytesOf(target));
        make.setDevice(device);
      },
      caller);
}

TestReply TestNamespace::link(InodeId inode, InodeId parent, const std::string& name, const TestCaller& caller) {
  return execute(
      [&](wire::Op::Builder op) {
        auto link = op.initLink();
        link.setInode(raw(inode));
        link.setParent(raw(parent));
        link.setName(bytesOf(name));
      },
      caller);
}

TestReply TestNamespace::unlink(InodeId parent, const std::string& name, bool directory, const TestCaller& caller) {
  return execute(
      [&](wire::Op::Builder op) {
        auto unlink = op.initUnlink();
        unlink.setParent(raw(parent));
        unlink.setName(bytesOf(name));
        unlink.setDirectory(directory);
      },
      caller);
}

TestReply TestNamespace::rename(InodeId parent, const std::string& name, InodeId newParent, const std::string& newName,
                                uint32_t flags, const TestCaller& caller) {
  return execute(
      [&](wire::Op::Builder op) {
        auto rename = op.initRename();
        rename.setParent(raw(parent));
        rename.setName(bytesOf(name));
        rename.setNewParent(raw(newParent));
        rename.setNewName(bytesOf(newName));
        rename.setFlags(flags);
      },
      caller);
}

TestReply TestNamespace::set(InodeId inode, uint32_t which,
                             const std::function<void(wire::SetAttributes::Builder)>& fill, const TestCaller& caller) {
  return execute(
      [&](wire::Op::Builder op) {
        auto set = op.initSetAttributes();
        set.setInode(raw(inode));
        set.setWhich(which);
        fill(set);
      },
      caller);
}

TestReply TestNamespace::chmod(InodeId inode, uint32_t mode, const TestCaller& caller) {
  return set(
      inode, 1, [&](auto set) { set.setMode(mode); }, caller);
}

TestReply TestNamespace::chown(InodeId inode, uint32_t uid, uint32_t gid, const TestCaller& caller) {
  return set(
      inode, 6,
      [&](auto set) {
        set.setUid(uid);
        set.setGid(gid);
      },
      caller);
}

TestReply TestNamespace::truncate(InodeId inode, uint64_t size, const TestCaller& caller) {
  return set(
      inode, 8, [&](auto set) { set.setSize(size); }, caller);
}

TestReply TestNamespace::setXattr(InodeId inode, const std::string& name, const std::string& value, uint32_t flags,
                                  const TestCaller& caller) {
  return execute(
      [&](wire::Op::Builder op) {
        auto set = op.initSetXattr();
        set.setInode(raw(inode));
        set.setName(bytesOf(name));
        set.setValue(bytesOf(value));
        set.setFlags(flags);
      },
      caller);
}

TestReply TestNamespace::removeXattr(InodeId inode, const std::string& name, const TestCaller& caller) {
  return execute(
      [&](wire::Op::Builder op) {
        auto remove = op.initRemoveXattr();
        remove.setInode(raw(inode));
        remove.setName(bytesOf(name));
      },
      caller);
}

TestReply TestNamespace::written(InodeId inode, uint64_t object, uint64_t size, int64_t allocated, bool clearSuid) {
  return execute([&](wire::Op::Builder op) {
    auto item = op.initWritten(1)[0];
    item.setInode(raw(inode));
    item.setObject(object);
    item.setSize(size);
    item.setAllocatedDelta(allocated);
    item.setClearSuid(clearSuid);
    item.initModified().setSeconds(now_);
  });
}

int TestNamespace::query(const std::function<void(wire::Query::Builder)>& fill, capnp::MessageBuilder& answer,
                         const TestCaller& caller) {
  capnp::MallocMessageBuilder message;
  auto query = message.initRoot<wire::Query>();
  fillCaller(caller, query.initCaller());
  fill(query);
  auto out = answer.initRoot<wire::Answer>();
  reader().answer(query.asReader(), out);
  return out.getOutcome().getErrno();
}

wire::Attributes::Reader TestNamespace::stat(InodeId inode, int* code) {
  auto answer = kj::heap<capnp::MallocMessageBuilder>();
  int found = query([&](wire::Query::Builder query) { query.setAttributes(raw(inode)); }, *answer);
  if (code != nullptr) {
    *code = found;
  } else {
    EXPECT_EQ(found, 0);
  }
  kept_.push_back(kj::mv(answer));
  auto root = kept_.back()->getRoot<wire::Answer>().asReader();
  return root.isAttributes() ? root.getAttributes() : wire::Attributes::Reader();
}

int TestNamespace::lookup(InodeId parent, const std::string& name, InodeId* found, const TestCaller& caller) {
  capnp::MallocMessageBuilder answer;
  int code = query(
      [&](wire::Query::Builder query) {
        query.initLookup().setParent(raw(parent));
        query.getLookup().setName(bytesOf(name));
      },
      answer, caller);
  if (code == 0 && found != nullptr) {
    *found = InodeId{answer.getRoot<wire::Answer>().getAttributes().getInode()};
  }
  return code;
}

std::vector<TestNamespace::Listed> TestNamespace::list(InodeId directory, uint64_t cookie, uint32_t max, bool* end) {
  capnp::MallocMessageBuilder answer;
  int code = query(
      [&](wire::Query::Builder query) {
        auto read = query.initReadDirectory();
        read.setInode(raw(directory));
        read.setCookie(cookie);
        read.setEntriesMax(max);
      },
      answer);
  EXPECT_EQ(code, 0);
  auto entries = answer.getRoot<wire::Answer>().getEntries();
  if (end != nullptr) {
    *end = entries.getEnd();
  }
  std::vector<Listed> found;
  for (auto entry : entries.getList()) {
    auto name = entry.getName().asChars();
    found.push_back({std::string(name.begin(), name.end()), InodeId{entry.getInode()}, entry.getNext()});
  }
  return found;
}

std::vector<std::string> TestNamespace::names(InodeId directory) {
  std::vector<std::string> names;
  for (uint64_t cookie = 0;;) {
    bool end = false;
    for (const auto& entry : list(directory, cookie, 1000, &end)) {
      names.push_back(entry.name);
      cookie = entry.next;
    }
    if (end) {
      break;
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

void TestNamespace::writeOut() {
  auto job = machine_->beginWrite();
  job();
  machine_->store().endWrite();
}

void TestNamespace::forgetAccounts() {
  for (const auto& [key, value] : contents()) {
    if (key.front() == 'U' || key.front() == 'B') {
      machine_->store().erase(key);
    } else if (key.front() == 'I') {
      InodeRecord inode;
      decode(value, inode);
      inode.parent = S_ISDIR(inode.mode) ? inode.parent : InodeId{};
      machine_->store().put(key, encode(inode));
    }
  }
  writeOut();
  Head head = machine_->store().writtenHead();
  head.counted = false;
  machine_->store().beginWrite(head)();
  machine_->store().endWrite();
  machine_ = nullptr;
  open();
}

std::map<std::string, std::string> TestNamespace::contents() {
  std::map<std::string, std::string> all;
  for (auto at = machine_->store().scan(""); at.valid(); at.next()) {
    if (at.key().find_first_of("HKL") != 0) {
      all.emplace(at.key(), at.value());
    }
  }
  return all;
}

}  // namespace cairn
