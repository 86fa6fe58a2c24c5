// Runs every file of tests/unit/master/raft/scenarios/ and prints the line that came out otherwise.
#include "tests/unit/master/raft/scenario.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace cairn::raft {
namespace {

constexpr const char* NAMES[] = {
    "election",        "election_log",      "figure7",
    "figure8",         "figure8_committed", "replication",
    "slow_follower",   "check_quorum",      "disruptive_server",
    "stuck_candidate", "membership",        "membership_new_term",
    "unaware_voter",   "leader_removed",    "needed_after_removal",
    "transfer",        "read_index",        "snapshot",
    "snapshot_conflict",
    "damage",          "lease",
    "stalled_disk",    "learner_stands",
};

TEST(RaftScenarioListTest, NamesEveryFile) {
  std::filesystem::directory_iterator files(CAIRN_RAFT_SCENARIOS);
  EXPECT_EQ(std::distance(begin(files), end(files)), std::ssize(NAMES));
}

class RaftScenarioTest : public testing::TestWithParam<const char*> {};

TEST_P(RaftScenarioTest, ComesOutAsWritten) {
  std::string path = std::string(CAIRN_RAFT_SCENARIOS) + "/" + GetParam() + ".txt";
  std::ifstream file(path);
  Scenario scenario;
  std::string line;
  int expectations = 0;
  for (int number = 1; std::getline(file, line); number++) {
    std::string differs;
    try {
      differs = scenario.run(line);
    } catch (const std::exception& e) {
      differs = e.what();
    }
    ASSERT_EQ(differs, "") << path << ":" << number << "\n  written: " << line << "\n  is:      " << differs;
    expectations += line.find("expect") != std::string::npos ? 1 : 0;
  }
  EXPECT_GT(expectations, 2) << path << " says nothing";
}

INSTANTIATE_TEST_SUITE_P(All, RaftScenarioTest, testing::ValuesIn(NAMES),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace cairn::raft
