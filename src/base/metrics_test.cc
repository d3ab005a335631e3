// Tests of the metrics registry: values, the Prometheus text, and writers on many threads.
#include "base/metrics.h"

#include <gtest/gtest.h>

#include <thread>

namespace octavo {
namespace {

TEST(Metrics, CountersOfOneNameShareHelpAndType) {
  MetricsRegistry registry;
  registry.counter("http_requests_total", "Requests.", {{"method", "GET"}, {"status", "2xx"}})
      .add();
  Counter& post =
      registry.counter("http_requests_total", "Requests.", {{"method", "POST"}, {"status", "4xx"}});
  post.add(2.5);
  EXPECT_EQ(&post,
            &registry.counter("http_requests_total", "", {{"method", "POST"}, {"status", "4xx"}}));
  EXPECT_EQ(registry.text(),
            "# HELP http_requests_total Requests.\n"
            "# TYPE http_requests_total counter\n"
            "http_requests_total{method=\"GET\",status=\"2xx\"} 1.0\n"
            "http_requests_total{method=\"POST\",status=\"4xx\"} 2.5\n");
}

TEST(Metrics, HistogramBucketsAreCumulativeAndBoundsInclusive) {
  MetricsRegistry registry;
  Histogram& h = registry.histogram("ttft_seconds", "Time to first token.", {0.1, 1, 10},
                                    {{"model_name", "m"}});
  h.observe(0.1);
  h.observe(0.5, 3);
  h.observe(100);
  EXPECT_EQ(registry.text(),
            "# HELP ttft_seconds Time to first token.\n"
            "# TYPE ttft_seconds histogram\n"
            "ttft_seconds_bucket{model_name=\"m\",le=\"0.1\"} 1.0\n"
            "ttft_seconds_bucket{model_name=\"m\",le=\"1.0\"} 4.0\n"
            "ttft_seconds_bucket{model_name=\"m\",le=\"10.0\"} 4.0\n"
            "ttft_seconds_bucket{model_name=\"m\",le=\"+Inf\"} 5.0\n"
            "ttft_seconds_count{model_name=\"m\"} 5.0\n"
            "ttft_seconds_sum{model_name=\"m\"} 101.6\n");
}

TEST(Metrics, GaugesMoveBothWaysAndLabelsAreEscaped) {
  MetricsRegistry registry;
  Gauge& g = registry.gauge("running", "Line\nbreak.", {{"name", "a\"b\\c\nd"}});
  g.set(3);
  g.add(-1);
  EXPECT_EQ(registry.text(),
            "# HELP running Line\\nbreak.\n# TYPE running gauge\n"
            "running{name=\"a\\\"b\\\\c\\nd\"} 2.0\n");
}

TEST(Metrics, ATotalThatIsCountedElsewhereIsReachedOnceByAllWhoReadIt) {
  Counter counter;
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 4; ++reader) {
    readers.emplace_back([&] {
      for (int total = 0; total <= 20'000; ++total) {
        counter.raise_to(total);
        EXPECT_GE(counter.value(), total);
        EXPECT_LE(counter.value(), 20'000);
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  counter.raise_to(5);
  EXPECT_EQ(counter.value(), 20'000);
}

TEST(Metrics, ManyThreadsLoseNothing) {
  MetricsRegistry registry;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) {
        registry.counter("c_total", "").add();
        registry.histogram("h", "", {1}).observe(i % 2 ? 0.5 : 2);
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(registry.counter("c_total", "").value(), 40000);
  EXPECT_EQ(registry.histogram("h", "", {}).bucket(0), 20000u);
  EXPECT_EQ(registry.histogram("h", "", {}).bucket(1), 20000u);
}

}  // namespace
}  // namespace octavo
