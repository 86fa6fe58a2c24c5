// Histograms, timers and the sheet that a daemon is asked for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/metrics/line_limit.h"
#include "common/metrics/sheet.h"
#include "tests/sim/world/world.h"

namespace cairn {
namespace {

using testing::HasSubstr;

TEST(LatencyHistogram, EveryTimeIsInItsBucket) {
  for (Nanos took = 1; took < 100 * SECOND; took += took / 7 + 1) {
    size_t bucket = LatencyHistogram::bucketOf(took);
    ASSERT_LT(bucket, LatencyHistogram::BUCKETS);
    bool isLast = bucket == LatencyHistogram::BUCKETS - 1;
    ASSERT_TRUE(isLast || took < LatencyHistogram::endOf(bucket)) << took;
    ASSERT_TRUE(bucket == 0 || took >= LatencyHistogram::endOf(bucket - 1)) << took;
  }
  EXPECT_EQ(LatencyHistogram::bucketOf(-5), 0u);
}

TEST(LatencyHistogram, BucketsAreAQuarterOfAnOctaveAtMost) {
  for (size_t bucket = 2; bucket + 1 < LatencyHistogram::BUCKETS; ++bucket) {
    double ratio = static_cast<double>(LatencyHistogram::endOf(bucket)) /
                   static_cast<double>(LatencyHistogram::endOf(bucket - 1));
    EXPECT_GT(ratio, 1.0);
    EXPECT_LE(ratio, 1.26);
  }
}

TEST(LatencyHistogram, QuantilesAreWithinABucket) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.quantile(0.5), 0);
  for (int i = 1; i <= 1000; ++i) {
    histogram.add(i * MILLISECOND);
  }
  EXPECT_EQ(histogram.count(), 1000u);
  EXPECT_GE(histogram.quantile(0.5), 500 * MILLISECOND);
  EXPECT_LE(histogram.quantile(0.5), 630 * MILLISECOND);
  EXPECT_GE(histogram.quantile(0.99), 990 * MILLISECOND);
  EXPECT_LE(histogram.quantile(0.99), 1250 * MILLISECOND);
}

TEST(LatencyHistogram, TellsWhatCameSince) {
  LatencyHistogram histogram;
  histogram.add(SECOND);
  LatencyHistogram before = histogram;
  for (int i = 0; i < 10; ++i) {
    histogram.add(MILLISECOND);
  }
  LatencyHistogram since = histogram.since(before);
  EXPECT_EQ(since.count(), 10u);
  EXPECT_LE(since.quantile(1), 2 * MILLISECOND);
  since.add(before);
  EXPECT_EQ(since.sumNanos(), histogram.sumNanos());
}

TEST(OperationTimer, CountsWhenItEndsAndKnowsTheWay) {
  World world(1);
  OperationMetric metric;
  {
    OperationTimer timer(metric, world.clock());
    world.await(world.clock().after(30 * MILLISECOND), SECOND);
    timer.stage("waiting");
    world.await(world.clock().after(12 * SECOND), 20 * SECOND);
    timer.stage("the log");
    timer.fail();
    EXPECT_EQ(timer.path(), "waiting 30 ms, the log 12.0 s");
    EXPECT_EQ(metric.latency.count(), 0u);
  }
  EXPECT_EQ(metric.latency.count(), 1u);
  EXPECT_EQ(metric.errors, 1u);
}

TEST(LineLimit, LetsSomeThroughInAWhile) {
  LineLimit limit;
  unsigned through = 0;
  for (int i = 0; i < 1000; ++i) {
    through += limit.take(SECOND);
  }
  EXPECT_EQ(through, LineLimit::LINES_PER_PERIOD);
  EXPECT_TRUE(limit.take(SECOND + LineLimit::PERIOD));
}

TEST(MetricsSheet, SpeaksPrometheus) {
  MetricsSheet sheet;
  OperationMetric metric;
  metric.latency.add(3 * MILLISECOND);
  sheet.operation("test", "make", metric);
  sheet.operation("test", "rename", OperationMetric());
  sheet.gauge("cairn_test_bytes", "A size", 1 << 20, {{"volume", "a\"b"}});
  sheet.process("dfs-test", "1.2");
  std::string text = sheet.text();
  EXPECT_THAT(text, HasSubstr("# TYPE cairn_test_operation_seconds histogram"));
  EXPECT_THAT(text, HasSubstr("cairn_test_operation_seconds_count{operation=\"make\"} 1"));
  EXPECT_THAT(text, HasSubstr("cairn_test_operation_seconds_bucket{operation=\"make\",le=\"+Inf\"} 1"));
  EXPECT_THAT(text, HasSubstr("cairn_test_operation_errors_total{operation=\"rename\"} 0"));
  EXPECT_THAT(text, HasSubstr("cairn_test_bytes{volume=\"a\\\"b\"} 1048576"));
  EXPECT_THAT(text, HasSubstr("process_resident_memory_bytes"));
  EXPECT_EQ(text.find("cairn_test_operation_seconds histogram"), text.rfind("cairn_test_operation_seconds histogram"))
      << "a family is told once";
}

}  // namespace
}  // namespace cairn
