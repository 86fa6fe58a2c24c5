// dfsadmin raft: what it prints, and that a change counts as made when the group shows it, whoever leads then.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <fstream>

#include "rpc/connection.h"
#include "schema/master.capnp.h"
#include "tests/unit/tools/admin_world.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {
namespace {

constexpr Nanos LIMIT = 60 * SECOND;

struct Master {
  std::string name, role;
  bool reachable = true;
};

// What all masters of the fake group know.
struct FakeGroup {
  std::vector<Master> masters{{"m2", "follower"}, {"m1", "leader"}, {"m3", "learner", false}};
  std::string refusal;
  bool leaderGoesSilently = false;  // with the next change
  bool changesNothing = false;
  std::vector<std::pair<wire::RaftChange, std::string>> asked;
  std::vector<uint64_t> digests;  // of m1, m2 ...; 0: not known
  bool equal = true;

  void make(wire::RaftChange change, const std::string& name) {
    if (change == wire::RaftChange::REMOVE) {
      std::erase_if(masters, [&](const Master& master) { return master.name == name; });
    }
    for (auto& master : masters) {
      bool isIt = master.name == name;
      if (change == wire::RaftChange::TRANSFER) {
        master.role = isIt ? "leader" : "follower";
      } else if (change == wire::RaftChange::PROMOTE && isIt) {
        master.role = "follower";
      }
    }
  }
};

class FakeAdmin final : public wire::Admin::Server {
 public:
  explicit FakeAdmin(FakeGroup& group) : group_(group) {}

  kj::Promise<void> raft(RaftContext context) override {
    auto out = context.getResults().initGroup();
    out.setTerm(7);
    out.setCommitIndex(120);
    out.setAppliedIndex(119);
    out.setDigest(0xabc);
    auto list = out.initMembers(static_cast<unsigned>(group_.masters.size()));
    for (unsigned i = 0; i < list.size(); ++i) {
      list[i].setName(group_.masters[i].name);
      list[i].setId(100 + i);
      list[i].setRole(group_.masters[i].role);
      list[i].setReachable(group_.masters[i].reachable);
      list[i].setMatchIndex(110 + i);
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> raftChange(RaftChangeContext context) override {
    auto params = context.getParams();
    group_.asked.emplace_back(params.getChange(), params.getName().cStr());
    if (!group_.refusal.empty()) {
      auto outcome = context.getResults().initOutcome();
      outcome.setErrno(EBUSY);
      outcome.setWhy(group_.refusal);
      return kj::READY_NOW;
    }
    if (!group_.changesNothing) {
      group_.make(params.getChange(), params.getName().cStr());
    }
    if (group_.leaderGoesSilently) {
      return KJ_EXCEPTION(DISCONNECTED, "this master is stopping");
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> raftDigest(RaftDigestContext context) override {
    auto results = context.getResults();
    results.setIndex(group_.digests.empty() ? 0 : 128);
    results.setEqual(group_.equal);
    auto list = results.initMembers(static_cast<unsigned>(group_.digests.size()));
    for (uint32_t i = 0; i < group_.digests.size(); ++i) {
      list[i].setName("m" + std::to_string(i + 1));
      list[i].setKnown(group_.digests[i] != 0);
      list[i].setDigest(group_.digests[i]);
      list[i].setOdd(!group_.equal && group_.digests[i] != group_.digests.front());
    }
    return kj::READY_NOW;
  }

 private:
  FakeGroup& group_;
};

class FakeMaster final : public wire::Master::Server {
 public:
  explicit FakeMaster(FakeGroup& group) : group_(group) {}
  kj::Promise<void> admin(AdminContext context) override {
    context.getResults().setAdmin(kj::heap<FakeAdmin>(group_));
    return kj::READY_NOW;
  }

 private:
  FakeGroup& group_;
};

class FakeDoor final : public wire::MasterDoor::Server {
 public:
  explicit FakeDoor(FakeGroup& group) : group_(group) {}
  kj::Promise<void> enter(EnterContext context) override {
    context.getResults().initOutcome();
    context.getResults().setMaster(kj::heap<FakeMaster>(group_));
    return kj::READY_NOW;
  }

 private:
  FakeGroup& group_;
};

class RaftVerbs : public testing::Test {
 protected:
  RaftVerbs() {
    char path[] = "/tmp/cairn-raft-XXXXXX";
    int fd = mkstemp(path);
    EXPECT_GE(fd, 0);
    close(fd);
    admin.context.clusterFile = path;
    std::ofstream(path) << "cluster = \"0123456789abcdef0123456789abcdef\"\n"
                           "[[master]]\nname = \"m1\"\naddress = \"m1:1\"\n";
    auto door = [this](const PeerIdentity&) -> capnp::Capability::Client { return kj::heap<FakeDoor>(group); };
    server = serveRpc(admin.world.network().host("m1").listen("m1:1").value(), kj::mv(door));
  }
  ~RaftVerbs() noexcept { unlink(admin.context.clusterFile.c_str()); }

  int run(Verb verb, const std::string& name = "") {
    Options options;
    options.name = name;
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    int code = admin.world.await(verb(admin.context, options), LIMIT);
    out = testing::internal::GetCapturedStdout();
    err = testing::internal::GetCapturedStderr();
    return code;
  }

  AdminWorld admin;
  FakeGroup group;
  kj::Own<RpcServer> server;
  std::string out, err;
};

TEST_F(RaftVerbs, StatusIsATableInTheOrderOfNames) {
  EXPECT_EQ(run(showRaft), EXIT_HEALTHY);
  EXPECT_EQ(out,
            "Term 7, committed up to entry 120, state 0000000000000abc at entry 119\n\n"
            "MASTER  ROLE      ANSWERS  DURABLE UP TO\n"
            "m1      leader    yes      111\n"
            "m2      follower  yes      110\n"
            "m3      learner   no       112\n");
}

TEST_F(RaftVerbs, StatusAsJsonHasNumbersForNumbers) {
  admin.context.json = true;
  EXPECT_EQ(run(showRaft), EXIT_HEALTHY);
  auto json = nlohmann::json::parse(out);
  EXPECT_EQ(json["term"], 7);
  EXPECT_EQ(json["commitIndex"], 120);
  EXPECT_EQ(json["appliedIndex"], 119);
  EXPECT_EQ(json["digest"], "0000000000000abc");
  auto third = nlohmann::json{
      {"name", "m3"}, {"id", 102}, {"role", "learner"}, {"reachable", false}, {"matchIndex", 112}};
  ASSERT_EQ(json["members"].size(), 3u);
  EXPECT_EQ(json["members"][2], third);
}

TEST_F(RaftVerbs, EachChangeIsAskedForByNameAndSeen) {
  EXPECT_EQ(run(promoteMaster, "m3"), EXIT_HEALTHY) << err;
  EXPECT_EQ(out, "master m3 has a vote\n");
  EXPECT_EQ(run(transferToMaster, "m2"), EXIT_HEALTHY) << err;
  EXPECT_EQ(out, "master m2 leads\n");
  EXPECT_EQ(run(removeMaster, "m3"), EXIT_HEALTHY) << err;
  EXPECT_NE(out.find("--join"), std::string::npos) << "how to have it back";
  EXPECT_EQ(run(snapshotMaster), EXIT_HEALTHY) << err;
  decltype(group.asked) expected{{wire::RaftChange::PROMOTE, "m3"},
                                 {wire::RaftChange::TRANSFER, "m2"},
                                 {wire::RaftChange::REMOVE, "m3"},
                                 {wire::RaftChange::SNAPSHOT, ""}};
  EXPECT_EQ(group.asked, expected);
}

TEST_F(RaftVerbs, ARefusalIsHandedOnWithTheNextStep) {
  group.refusal = "without master m2 there is no majority";
  EXPECT_EQ(run(removeMaster, "m2"), EXIT_REFUSED);
  EXPECT_EQ(out, "");
  EXPECT_NE(err.find(group.refusal), std::string::npos) << err;
  EXPECT_NE(err.find("dfsadmin raft status"), std::string::npos) << err;
}

TEST_F(RaftVerbs, ALeaderThatGoesWithTheChangeHasMadeIt) {
  group.leaderGoesSilently = true;
  EXPECT_EQ(run(removeMaster, "m1"), EXIT_HEALTHY) << err;
  EXPECT_EQ(group.asked.size(), 1u);
}

TEST_F(RaftVerbs, WhatIsNeverSeenIsNotDone) {
  group.changesNothing = true;
  EXPECT_EQ(run(transferToMaster, "m2"), EXIT_REFUSED);
  EXPECT_NE(err.find("master m2 was asked to lead"), std::string::npos) << err;
  EXPECT_NE(err.find("10 s"), std::string::npos) << err;
}

TEST_F(RaftVerbs, DigestsAreComparedAndTheExitCodeSaysWhatCameOut) {
  EXPECT_EQ(run(compareMasters), EXIT_HEALTHY);
  EXPECT_EQ(out, "Nothing to compare yet: too little has been changed\n");
  group.digests = {0xabc, 0xabc, 0xabc};
  EXPECT_EQ(run(compareMasters), EXIT_HEALTHY);
  EXPECT_EQ(out,
            "At entry 128 the states are equal\n\n"
            "MASTER  STATE             VERDICT\n"
            "m1      0000000000000abc  \n"
            "m2      0000000000000abc  \n"
            "m3      0000000000000abc  \n");
  group.digests = {0xabc, 0xabc, 0};
  EXPECT_EQ(run(compareMasters), EXIT_DEGRADED);
  EXPECT_NE(out.find("equal as far as known"), std::string::npos) << out;
  group.digests = {0xabc, 0xabc, 0xdef};
  group.equal = false;
  EXPECT_EQ(run(compareMasters), EXIT_REFUSED);
  EXPECT_NE(out.find("m3      0000000000000def  differs"), std::string::npos) << out;
  admin.context.json = true;
  EXPECT_EQ(run(compareMasters), EXIT_REFUSED);
  auto json = nlohmann::json::parse(out);
  EXPECT_EQ(json["equal"], false);
  EXPECT_EQ(json["members"][2], (nlohmann::json{{"name", "m3"}, {"digest", "0000000000000def"}, {"odd", true}}));
}

}  // namespace
}  // namespace cairn::admin
