// Tests of which requests get a span, and when it ends. What is in it is tested in
// tests/e2e/test_tracing.py, by a collector.
#include "trace/tracing_client.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>

#include "base/log.h"

namespace octavo::trace {
namespace {

// An engine that keeps the last sink it was given.
class HeldEngine final : public EngineClient {
 public:
  StatusOr<std::string> submit(GenerateRequest request,
                               std::shared_ptr<StreamSink> given) override {
    if (!refusal.ok()) return refusal;
    sink = std::move(given);
    return request.request_id;
  }
  void cancel(const std::string&) override {}
  const ModelInfo& model() const override { return info; }
  const Text& text() const override { std::abort(); }
  EngineStats stats() const override { return {}; }
  void inspect(StateReader) override {}
  Status health() const override { return {}; }
  std::string metrics_text() const override { return "engine 1\n"; }
  void reset_prefix_cache() override {}
  void shutdown(double) override {}

  Status refusal;
  std::shared_ptr<StreamSink> sink;
  ModelInfo info;
};

class CountingSink final : public StreamSink {
 public:
  bool on_output(RequestOutput) override { return ++outputs < wanted; }
  int outputs = 0;
  int wanted = 100;
};

class TracingClientTest : public testing::Test {
 protected:
  TracingClientTest() {
    set_log_level(LogLevel::kOff);
    ExporterOptions exporter;
    exporter.url = *http::parse_url("http://127.0.0.1:1/v1/traces");  // refuses at once
    exporter.delay_seconds = 1000;
    exporter.max_queue = 0;  // every span that ends is counted as one without room
    client_.emplace(engine_, TraceOptions{.exporter = exporter}, "tiny");
  }

  int spans() const {
    const std::string text = client_->metrics_text(), name = "{reason=\"queue_full\"} ";
    return std::stoi(text.substr(text.find(name) + name.size()));
  }
  Status submit(std::string traceparent = "") {
    GenerateRequest request{.request_id = "r", .prompt_token_ids = {1, 2}};
    request.origin.traceparent = std::move(traceparent);
    return client_->submit(std::move(request), sink_).status();
  }

  HeldEngine engine_;
  std::shared_ptr<CountingSink> sink_ = std::make_shared<CountingSink>();
  std::optional<TracingClient> client_;
};

TEST_F(TracingClientTest, ASpanEndsOnceWithTheLastOutput) {
  ASSERT_TRUE(submit().ok());
  EXPECT_TRUE(engine_.sink->on_output({}));
  EXPECT_EQ(spans(), 0);
  engine_.sink->on_output({.finished = true});
  EXPECT_EQ(spans(), 1);
  engine_.sink.reset();
  EXPECT_EQ(spans(), 1);
  EXPECT_EQ(sink_->outputs, 2);
}

TEST_F(TracingClientTest, ASpanEndsWhenTheSinkWantsNoMore) {
  sink_->wanted = 1;
  ASSERT_TRUE(submit().ok());
  EXPECT_FALSE(engine_.sink->on_output({}));
  EXPECT_EQ(spans(), 1);
}

TEST_F(TracingClientTest, ASpanEndsWhenTheEngineForgetsTheRequest) {
  ASSERT_TRUE(submit().ok());
  engine_.sink.reset();
  EXPECT_EQ(spans(), 1);
}

TEST_F(TracingClientTest, ARefusedRequestHasASpanAndItsStatus) {
  engine_.refusal = unavailable("draining");
  EXPECT_EQ(submit().code(), StatusCode::kUnavailable);
  EXPECT_EQ(spans(), 1);
}

TEST_F(TracingClientTest, ARequestThatIsNotSampledGoesToTheEngineAsItIs) {
  ASSERT_TRUE(submit("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").ok());
  EXPECT_EQ(engine_.sink, sink_);
  engine_.sink.reset();
  EXPECT_EQ(spans(), 0);
}

TEST_F(TracingClientTest, ARequestMayOutliveTheClient) {
  ASSERT_TRUE(submit().ok());
  client_.reset();
  engine_.sink->on_output({.finished = true});
  EXPECT_EQ(sink_->outputs, 1);
}

TEST_F(TracingClientTest, MetricsAreTheEnginesAndTheExporters) {
  EXPECT_TRUE(client_->metrics_text().starts_with("engine 1\n# HELP octavo:trace_spans_exported"));
}

}  // namespace
}  // namespace octavo::trace
