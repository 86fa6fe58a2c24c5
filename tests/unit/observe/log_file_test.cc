// Log files that are begun anew, and lines for programs.
#include "common/system/log_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/logger.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/json_lines.h"
#include "common/log.h"
#include "common/system/line_sink.h"

namespace cairn {
namespace {

std::string textOf(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class LogFileTest : public testing::Test {
 protected:
  LogFileTest() { EXPECT_NE(mkdtemp(directory), nullptr); }
  ~LogFileTest() override { std::filesystem::remove_all(directory); }

  std::shared_ptr<spdlog::logger> logger(uint64_t bytesMax) {
    auto file = LogFile::open(path(), bytesMax);
    EXPECT_TRUE(file.ok());
    sink = std::make_shared<LineSink>(std::move(file.value()));
    auto out = std::make_shared<spdlog::logger>("m1", sink);
    out->set_pattern("%v");
    return out;
  }
  std::string path() const { return std::string(directory) + "/m1.log"; }

  char directory[32] = "/tmp/cairn-log-XXXXXX";
  std::shared_ptr<LineSink> sink;
};

TEST_F(LogFileTest, IsBegunAnewWhenItHasGrown) {
  auto log = logger(100);
  for (int i = 0; i < 60; ++i) {
    log->info("line {:03} of the log", i);  // 20 bytes
  }
  size_t files = 0;
  for (auto& entry : std::filesystem::directory_iterator(directory)) {
    EXPECT_LE(entry.file_size(), 100u);
    ++files;
  }
  EXPECT_EQ(files, LoggingOptions::FILES_KEPT);
  EXPECT_THAT(textOf(path()), testing::HasSubstr("line 059"));
  EXPECT_THAT(textOf(path() + ".1"), testing::HasSubstr("line 054"));
}

TEST_F(LogFileTest, GoesOnWithWhatIsThere) {
  logger(1000)->info("before");
  logger(1000)->info("after");
  EXPECT_EQ(textOf(path()), "before\nafter\n");
}

TEST_F(LogFileTest, AMovedFileIsFollowedByANewOne) {
  auto log = logger(1000);
  log->info("one");
  std::filesystem::rename(path(), path() + ".moved");
  log->info("two");
  sink->reopen();
  log->info("three");
  EXPECT_EQ(textOf(path() + ".moved"), "one\ntwo\n");
  EXPECT_EQ(textOf(path()), "three\n");
}

TEST_F(LogFileTest, ADirectoryThatIsGoneLosesNothing) {
  auto log = logger(1000);
  log->info("one");
  std::filesystem::rename(directory, std::string(directory) + "-elsewhere");
  sink->reopen();
  log->info("two");
  EXPECT_EQ(textOf(std::string(directory) + "-elsewhere/m1.log"), "one\ntwo\n");
  std::filesystem::rename(std::string(directory) + "-elsewhere", directory);
}

TEST_F(LogFileTest, SaysWhyItCantBeOpened) {
  auto file = LogFile::open(std::string(directory) + "/none/m1.log", 1000);
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.error().why, testing::HasSubstr("--log-file"));
}

TEST_F(LogFileTest, FullDiskDropsLinesAndCountsThem) {
  auto file = LogFile::open("/dev/full", 1000);
  ASSERT_TRUE(file.ok());
  auto full = std::make_shared<LineSink>(std::move(file.value()));
  spdlog::logger log("m1", full);
  log.info("nobody hears this");
  EXPECT_EQ(full->dropped(), 1u);
}

TEST_F(LogFileTest, LinesForProgramsAreJsonWhateverIsInThem) {
  auto log = logger(1 << 20);
  log->set_formatter(std::make_unique<JsonLines>());
  const std::string TEXTS[] = {"plain", "a \"quote\" and a \\", "line\nfeed\tand \x01", "not UTF-8: \xff\xfe",
                               std::string(20000, 'x'), std::string(20000, '\n')};
  for (auto& text : TEXTS) {
    log->warn(text);
  }
  std::istringstream lines(textOf(path()));
  std::string line;
  for (auto& text : TEXTS) {
    ASSERT_TRUE(std::getline(lines, line));
    EXPECT_LE(line.size(), LineSink::LINE_BYTES_MAX);
    auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json["level"], "warning");
    EXPECT_EQ(json["program"], "m1");
    EXPECT_THAT(json["time"].get<std::string>(), testing::MatchesRegex("20..-..-..T..:..:......Z"));
    if (text.size() < 100 && text[0] != 'n') {
      EXPECT_EQ(json["text"], text);
    }
  }
}

}  // namespace
}  // namespace cairn
