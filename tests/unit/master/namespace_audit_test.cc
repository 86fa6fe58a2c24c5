// The history of what administrators did, and the cluster's settings, in the replicated state.
#include <gtest/gtest.h>

#include "master/namespace/audit.h"
#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

class Audit : public testing::Test {
 protected:
  uint64_t begin(const std::string& action, const std::string& command = "dfsadmin frob") {
    auto applied = ns.apply([&](auto entry) {
      auto begin = entry.initAudit().initBegin();
      begin.setWho("ann@desk");
      begin.setCommand(command);
      begin.setAction(action);
    });
    EXPECT_EQ(ns.outcome(applied), 0);
    return raw(applied.index);
  }
  int end(uint64_t id, int errnum, const std::string& why = "") {
    auto applied = ns.apply([&](auto entry) {
      auto end = entry.initAudit().initEnd();
      end.setId(id);
      end.initOutcome().setErrno(errnum);
      end.getOutcome().setWhy(why);
    });
    return ns.outcome(applied);
  }
  int set(const std::string& name, uint64_t value, bool reset = false) {
    auto applied = ns.apply([&](auto entry) {
      auto change = entry.initSetting();
      change.setName(name);
      change.setValue(value);
      change.setReset(reset);
    });
    return ns.outcome(applied);
  }
  std::vector<AuditItem> items() { return ns.reader().audit(AUDIT_ITEMS_MAX); }

  TestNamespace ns;
};

TEST_F(Audit, AnActionIsToldOfBeforeItHasEnded) {
  auto id = begin("node drain c1");
  ASSERT_EQ(items().size(), 1u);
  EXPECT_FALSE(items()[0].ended);
  EXPECT_EQ(items()[0].id, id);
  EXPECT_EQ(items()[0].who, "ann@desk");
  EXPECT_EQ(items()[0].time.seconds, ns.now());
  ns.tick();
  EXPECT_EQ(end(id, EBUSY, "not now"), 0);
  EXPECT_TRUE(items()[0].ended);
  EXPECT_EQ(items()[0].errnum, EBUSY);
  EXPECT_EQ(items()[0].why, "not now");
  EXPECT_EQ(items()[0].time.seconds, ns.now() - 1);
}

TEST_F(Audit, AnOutcomeIsToldOnce) {
  auto id = begin("node drain c1");
  EXPECT_EQ(end(id, EBUSY, "not now"), 0);
  EXPECT_EQ(end(id, 0), EALREADY);
  EXPECT_EQ(end(id + 1000, 0), ENOENT);
  EXPECT_EQ(items()[0].errnum, EBUSY);
}

TEST_F(Audit, TheOldestGoes) {
  auto first = begin("first");
  for (size_t i = 1; i < AUDIT_ITEMS_MAX; ++i) {
    begin("other");
  }
  EXPECT_EQ(items().front().id, first);
  auto last = begin("last");
  ASSERT_EQ(items().size(), AUDIT_ITEMS_MAX);
  EXPECT_NE(items().front().id, first);
  EXPECT_EQ(items().back().id, last);
  EXPECT_EQ(end(first, 0), ENOENT);
  EXPECT_EQ(ns.reader().audit(1).front().id, last);
}

TEST_F(Audit, LongTextsAreCut) {
  begin(std::string(100000, 'a'), std::string(100000, 'c'));
  EXPECT_EQ(items()[0].action.size(), AUDIT_ACTION_MAX);
  EXPECT_EQ(items()[0].command.size(), AUDIT_COMMAND_MAX);
}

TEST_F(Audit, IsThereAfterARestart) {
  auto id = begin("node drain c1");
  EXPECT_EQ(set("scrub_days", 7), 0);
  ns.reopen();
  EXPECT_EQ(end(id, 0), 0);
  EXPECT_EQ(items()[0].action, "node drain c1");
  EXPECT_EQ(ns.reader().settings(), (Settings{{"scrub_days", 7}}));
}

TEST_F(Audit, AGroupBegunAnewIsInTheHistory) {
  ns.apply([](auto entry) { entry.setRecovered(1); });
  ASSERT_EQ(items().size(), 1u);
  EXPECT_TRUE(items()[0].ended);
  EXPECT_NE(items()[0].action.find("begun anew"), std::string::npos);
}

TEST_F(Audit, OnlySettingsThatMakeSenseAreSet) {
  EXPECT_EQ(set("frob", 1), EINVAL);
  EXPECT_EQ(set("scrub_days", 0), EINVAL);
  EXPECT_EQ(set("scrub_days", 100000), EINVAL);
  EXPECT_EQ(set("repair_mib_per_second", 0), 0);  // as fast as users don't feel it
  EXPECT_EQ(set("scrub_days", 30), 0);
  ClusterFile file;
  file.repairMibPerSecond = 50;
  auto now = inForce(file, ns.reader().settings());
  EXPECT_EQ(now.scrubDays, 30u);
  EXPECT_EQ(now.repairMibPerSecond, 0u);
  EXPECT_EQ(now.quarantineSeconds, file.quarantineSeconds);
  EXPECT_EQ(set("scrub_days", 0, true), 0);
  EXPECT_EQ(inForce(file, ns.reader().settings()).scrubDays, file.scrubDays);
}

}  // namespace
}  // namespace cairn
