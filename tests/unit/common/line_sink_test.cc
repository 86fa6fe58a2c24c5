// Pitfall P16: a log that nobody reads stalls nobody.
#include "common/system/line_sink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spdlog/logger.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>

namespace cairn {
namespace {

class LineSinkTest : public testing::Test {
 protected:
  LineSinkTest() {
    EXPECT_EQ(pipe(ends), 0);
    EXPECT_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);  // only the reader's end
    logger = std::make_shared<spdlog::logger>("test", std::make_shared<LineSink>(ends[1]));
    logger->set_pattern("%v");
  }
  ~LineSinkTest() override {
    close(ends[0]);
    close(ends[1]);
  }

  std::string drain() {
    std::string all;
    char bytes[65536];
    for (ssize_t n; (n = read(ends[0], bytes, sizeof(bytes))) > 0;) {
      all.append(bytes, static_cast<size_t>(n));
    }
    return all;
  }

  int ends[2];
  std::shared_ptr<spdlog::logger> logger;
};

TEST_F(LineSinkTest, LinesArriveWhole) {
  logger->info("one");
  logger->info("two");
  EXPECT_EQ(drain(), "one\ntwo\n");
}

TEST_F(LineSinkTest, P16_APipeThatNobodyReadsDropsLinesAndSaysSo) {
  const std::string line(1000, 'x');
  for (int i = 0; i < 1000; ++i) {  // ten times what a pipe takes
    logger->info(line);
  }
  std::string first = drain();
  size_t arrived = static_cast<size_t>(std::count(first.begin(), first.end(), '\n'));
  EXPECT_GT(arrived, 10u);
  EXPECT_LT(arrived, 1000u);
  EXPECT_EQ(first.size(), arrived * (line.size() + 1));
  logger->info("again");
  std::string dropped = std::to_string(1000 - arrived);
  EXPECT_EQ(drain(), "(" + dropped + " lines of this log were dropped: nobody took them)\nagain\n");
}

TEST_F(LineSinkTest, ALineIsNeverLongerThanAPipeTakesAtOnce) {
  for (int i = 0; i < 100; ++i) {
    logger->info(std::string(10000, 'y'));
  }
  std::string all = drain();
  ASSERT_GE(all.size(), LineSink::LINE_BYTES_MAX);
  EXPECT_EQ(all[LineSink::LINE_BYTES_MAX - 1], '\n');
  EXPECT_EQ(all[LineSink::LINE_BYTES_MAX - 2], 'y');
}

}  // namespace
}  // namespace cairn
