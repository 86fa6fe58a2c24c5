// A namespace to test: the state machine over LevelDB in memory, formatted, with one session. Each call applies one
// log entry.
#pragma once
#include <capnp/serialize.h>
#include <gtest/gtest.h>
#include <leveldb/helpers/memenv.h>
#include <sys/stat.h>

#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "master/entry.h"
#include "master/namespace/state_machine.h"

namespace cairn {

struct TestCaller {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups = {};
};
inline const TestCaller ROOT{};
inline const TestCaller ALICE{1000, 1000, {1000, 50}};
inline const TestCaller BOB{1001, 1001, {1001}};

// A decoded reply. Copies share nothing.
class TestReply {
 public:
  explicit TestReply(Applied applied) : applied_(kj::mv(applied)), message_(applied_.reply) {}
  wire::Reply::Reader get() { return message_.getRoot<wire::Reply>(); }
  int code() { return get().getOutcome().getErrno(); }
  InodeId inode() { return InodeId{get().getAttributes().getInode()}; }
  wire::Attributes::Reader attributes() { return get().getAttributes(); }
  const Applied& applied() const { return applied_; }

 private:
  Applied applied_;
  capnp::FlatArrayMessageReader message_;
};

class TestNamespace {
 public:
  using Fill = std::function<void(wire::Op::Builder)>;
  static constexpr ClusterId CLUSTER{1, 2};

  explicit TestNamespace(leveldb::Env* env = nullptr, std::string path = "/state");
  struct Bare {};  // nothing applied yet
  explicit TestNamespace(Bare, leveldb::Env* env = nullptr, std::string path = "/state");
  ~TestNamespace() noexcept {}  // gtest's fixtures need it

  // ---- clients' operations, by the first session ----
  TestReply execute(const Fill& fill, const TestCaller& caller = ROOT);
  TestReply make(InodeId parent, const std::string& name, uint32_t mode, const TestCaller& caller = ROOT,
                 const std::string& target = "", uint32_t device = 0);
  TestReply link(InodeId inode, InodeId parent, const std::string& name, const TestCaller& caller = ROOT);
  TestReply unlink(InodeId parent, const std::string& name, bool directory = false, const TestCaller& caller = ROOT);
  TestReply rename(InodeId parent, const std::string& name, InodeId newParent, const std::string& newName,
                   uint32_t flags = 0, const TestCaller& caller = ROOT);
  TestReply set(InodeId inode, uint32_t which, const std::function<void(wire::SetAttributes::Builder)>& fill,
                const TestCaller& caller = ROOT);
  TestReply chmod(InodeId inode, uint32_t mode, const TestCaller& caller = ROOT);
  TestReply chown(InodeId inode, uint32_t uid, uint32_t gid, const TestCaller& caller = ROOT);
  TestReply truncate(InodeId inode, uint64_t size, const TestCaller& caller = ROOT);
  TestReply setXattr(InodeId inode, const std::string& name, const std::string& value, uint32_t flags = 0,
                     const TestCaller& caller = ROOT);
  TestReply removeXattr(InodeId inode, const std::string& name, const TestCaller& caller = ROOT);
  TestReply written(InodeId inode, uint64_t object, uint64_t size, int64_t allocated = 0, bool clearSuid = false);

  // Who holds what, as the next operations' commands will say.
  std::vector<std::pair<InodeId, std::vector<SessionId>>> holders;
  SessionId session{};

  // ---- any command ----
  Applied apply(const std::function<void(wire::Command::Builder)>& fill);
  Applied applyWords(kj::ArrayPtr<const capnp::word> words);
  SessionId openSession(const std::string& name, uint64_t nonce);
  int outcome(const Applied& applied);
  // A client's command with a slot and sequence of its own.
  TestReply send(SessionId from, uint8_t slot, uint64_t sequence, const Fill& fill, const TestCaller& caller = ROOT);

  // ---- questions ----
  int query(const std::function<void(wire::Query::Builder)>& fill, capnp::MessageBuilder& answer,
            const TestCaller& caller = ROOT);
  // The inode's attributes; errno through `code`.
  wire::Attributes::Reader stat(InodeId inode, int* code = nullptr);
  int lookup(InodeId parent, const std::string& name, InodeId* found = nullptr, const TestCaller& caller = ROOT);
  struct Listed {
    std::string name;
    InodeId inode;
    uint64_t next;
  };
  std::vector<Listed> list(InodeId directory, uint64_t cookie = 0, uint32_t max = 1000000, bool* end = nullptr);
  std::vector<std::string> names(InodeId directory);
  uint64_t object(InodeId inode) { return stat(inode).getLayout().getObject(); }

  StateMachine& machine() { return *machine_; }
  const NamespaceReader& reader() { return machine_->reader(); }
  // Every command so far, for a replay.
  const std::vector<kj::Array<capnp::word>>& log() const { return log_; }
  const std::vector<kj::Array<capnp::word>>& replies() const { return replies_; }
  void tick(int64_t seconds = 1) { now_ += seconds; }  // the next commands come later
  int64_t now() const { return now_; }
  // Writes everything applied to LevelDB.
  void writeOut();
  // Writes out, closes and opens again.
  void reopen();
  // Makes the state what it was before there were accounts, and opens it again.
  void forgetAccounts();
  // All keys and values but the store's own.
  std::map<std::string, std::string> contents();

 private:
  void open();

  std::unique_ptr<leveldb::Env> ownEnv_;
  leveldb::Env* env_;
  std::string path_;
  kj::Own<StateMachine> machine_;
  std::vector<kj::Array<capnp::word>> log_;
  std::vector<kj::Array<capnp::word>> replies_;
  std::vector<kj::Own<capnp::MallocMessageBuilder>> kept_;  // answers that stat() gave out
  int64_t now_ = 1'000'000;
  uint64_t sequence_ = 0;
};

}  // namespace cairn
