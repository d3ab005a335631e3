// Tests of W3C Trace Context, of the sampler, of OpenTelemetry's environment variables, and of a
// queue that nobody empties. The way to a collector is tested in tests/e2e/test_tracing.py.
#include <gtest/gtest.h>

#include <map>

#include "base/log.h"
#include "trace/span_exporter.h"
#include "trace/trace_context.h"
#include "trace/trace_options.h"

namespace octavo::trace {
namespace {

constexpr const char* kParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(TraceContext, ReadsAParent) {
  const auto parent = parse_trace_context(kParent, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
  ASSERT_TRUE(parent);
  EXPECT_EQ(parent->trace_id[0], 0x0a);
  EXPECT_EQ(parent->trace_id[15], 0x9c);
  EXPECT_EQ(parent->span_id[0], 0xb7);
  EXPECT_EQ(parent->span_id[7], 0x31);
  EXPECT_TRUE(parent->sampled);
  EXPECT_EQ(parent->state, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
}

TEST(TraceContext, ReadsTheFlagAloneAndLaterVersions) {
  const std::string ids = "-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-";
  EXPECT_FALSE(parse_trace_context("00" + ids + "00", "")->sampled);
  EXPECT_FALSE(parse_trace_context("00" + ids + "fe", "")->sampled);
  EXPECT_TRUE(parse_trace_context("00" + ids + "ff", "")->sampled);
  EXPECT_TRUE(parse_trace_context("cc" + ids + "01", "")->sampled);
  EXPECT_TRUE(parse_trace_context("cc" + ids + "01-what-comes-then", "")->sampled);
  EXPECT_FALSE(parse_trace_context("cc" + ids + "01what", ""));
}

TEST(TraceContext, IgnoresMalformedParents) {
  for (const char* bad : {"", "00", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
                          "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                          "00-0af7651916cd43dd8448eb211c80319-b7ad6b71692033311-01",
                          "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                          "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                          "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                          "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
                          "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
                          "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331.01",
                          "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}) {
    EXPECT_FALSE(parse_trace_context(bad, "a=1")) << bad;
  }
}

TEST(TraceContext, LeavesAMalformedStateOut) {
  EXPECT_EQ(parse_trace_context(kParent, " a=1 ,, t@v=2,x/y*z-_=~ ")->state,
            "a=1 ,, t@v=2,x/y*z-_=~");
  std::string many = "k0=1";
  for (int i = 1; i < 33; ++i) many += ",k" + std::to_string(i) + "=1";
  for (const std::string& bad :
       {std::string("a"), std::string("=1"), std::string("a="), std::string("A=1"),
        std::string("a=1=2"), std::string("a=\xff"), many, "a=" + std::string(600, 'x')}) {
    const auto parent = parse_trace_context(kParent, bad);
    ASSERT_TRUE(parent) << bad;
    EXPECT_EQ(parent->state, "") << bad;
  }
}

TEST(TraceContext, MakesIdsThatDiffer) {
  EXPECT_NE(random_trace_id(), random_trace_id());
  EXPECT_NE(random_span_id(), random_span_id());
}

TEST(Sampler, FollowsTheParentUnlessToldOtherwise) {
  const Parent kept{.sampled = true, .state = ""}, dropped{.sampled = false, .state = ""};
  const Sampler by_default = *parse_sampler("", "");
  EXPECT_TRUE(by_default.keeps(nullptr, {}));
  EXPECT_TRUE(by_default.keeps(&kept, {}));
  EXPECT_FALSE(by_default.keeps(&dropped, {}));
  EXPECT_TRUE(parse_sampler("always_on", "")->keeps(&dropped, {}));
  EXPECT_FALSE(parse_sampler("always_off", "")->keeps(&kept, {}));
  EXPECT_FALSE(parse_sampler("parentbased_always_off", "")->keeps(nullptr, {}));
  EXPECT_TRUE(parse_sampler("parentbased_always_off", "")->keeps(&kept, {}));
}

TEST(Sampler, KeepsAShareByTheTracesId) {
  const Sampler quarter = *parse_sampler("parentbased_traceidratio", "0.25");
  TraceId low{}, high{};
  low[8] = 0x3f;
  high[8] = 0x41;
  EXPECT_TRUE(quarter.keeps(nullptr, low));
  EXPECT_FALSE(quarter.keeps(nullptr, high));
  for (const char* bad : {"2", "-1", "nan", "half", "0.5x"}) {
    EXPECT_FALSE(parse_sampler("traceidratio", bad).ok()) << bad;
  }
  EXPECT_NE(parse_sampler("jaeger_remote", "").status().message().find("jaeger_remote"),
            std::string::npos);
}

StatusOr<TraceOptions> read(const char* endpoint, std::map<std::string, std::string> variables) {
  return read_trace_options(endpoint, [&](const char* name) { return variables[name]; });
}

std::string text_of(const std::vector<Attribute>& attributes, std::string_view key) {
  std::string found;
  for (const Attribute& a : attributes) {
    if (a.key == key) found += std::get<std::string>(a.value) + ";";
  }
  return found;
}

TEST(TraceOptions, CompleteAnEndpointWithoutAPath) {
  EXPECT_EQ(read("http://c:4318", {})->exporter.url.to_string(), "http://c:4318/v1/traces");
  EXPECT_EQ(read("https://c/", {})->exporter.url.to_string(), "https://c/v1/traces");
  EXPECT_EQ(read("http://c/otlp/x", {})->exporter.url.to_string(), "http://c/otlp/x");
}

TEST(TraceOptions, RefuseGrpcByName) {
  for (const char* endpoint : {"grpc://localhost:4317", "localhost:4317"}) {
    const auto options = read(endpoint, {});
    ASSERT_FALSE(options.ok());
    EXPECT_NE(options.status().message().find("gRPC"), std::string::npos);
  }
  const auto options = read("http://c", {{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"}});
  EXPECT_EQ(options.status().code(), StatusCode::kUnimplemented);
}

TEST(TraceOptions, ReadOpenTelemetrysVariables) {
  const auto options =
      read("http://c", {{"OTEL_EXPORTER_OTLP_HEADERS", "lost=1"},
                        {"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-key=a%20b%3D, y = 2 ,"},
                        {"OTEL_SERVICE_NAME", "front"},
                        {"OTEL_RESOURCE_ATTRIBUTES", "service.name=back,zone=eu%2C1"},
                        {"OTEL_EXPORTER_OTLP_TIMEOUT", "2500"},
                        {"OTEL_BSP_SCHEDULE_DELAY", "100"},
                        {"OTEL_BSP_MAX_QUEUE_SIZE", "10"}});
  ASSERT_TRUE(options.ok());
  const ExporterOptions& exporter = options->exporter;
  EXPECT_EQ(exporter.headers, (http::Headers{{"x-key", "a b="}, {"y", "2"}}));
  EXPECT_EQ(text_of(exporter.resource, "service.name"), "front;");
  EXPECT_EQ(text_of(exporter.resource, "zone"), "eu,1;");
  EXPECT_EQ(exporter.timeout_seconds, 2.5);
  EXPECT_EQ(exporter.delay_seconds, 0.1);
  EXPECT_EQ(exporter.max_queue, 10u);
  EXPECT_EQ(exporter.max_batch, 10u);
  EXPECT_EQ(text_of(read("http://c", {})->exporter.resource, "service.name"), "octavo;");
}

TEST(TraceOptions, NameTheVariableAtFaultAndNotItsSecret) {
  const std::pair<const char*, const char*> bad[] = {
      {"OTEL_EXPORTER_OTLP_HEADERS", "secret"},
      {"OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0d%0ab: c"},
      {"OTEL_EXPORTER_OTLP_HEADERS", "a b=secret"},
      {"OTEL_EXPORTER_OTLP_TIMEOUT", "0"},
      {"OTEL_BSP_SCHEDULE_DELAY", "soon"},
      {"OTEL_RESOURCE_ATTRIBUTES", "=x"},
  };
  for (const auto& [name, value] : bad) {
    const auto options = read("http://c", {{name, value}});
    ASSERT_FALSE(options.ok()) << name << value;
    EXPECT_NE(options.status().message().find(name), std::string::npos);
    EXPECT_EQ(options.status().message().find("secret"), std::string::npos);
  }
}

TEST(SpanExporter, DropsAndCountsWhatFindsNoRoomAndWhatNobodyTakes) {
  set_log_level(LogLevel::kOff);
  // Port 1 refuses at once, and the delay keeps the queue from being emptied before close().
  auto options = read("http://127.0.0.1:1", {{"OTEL_BSP_SCHEDULE_DELAY", "1000000"},
                                             {"OTEL_BSP_MAX_QUEUE_SIZE", "4"},
                                             {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"}});
  options->exporter.max_batch = 100;
  SpanExporter exporter(options->exporter);
  for (int i = 0; i < 10; ++i) exporter.submit({.name = "llm_request"});
  const auto holds = [&](const std::string& line) {
    return exporter.metrics_text().find("\n" + line + "\n") != std::string::npos;
  };
  EXPECT_TRUE(holds("octavo:trace_spans_dropped_total{reason=\"queue_full\"} 6.0"));
  exporter.close();
  exporter.submit({.name = "llm_request"});
  EXPECT_TRUE(holds("octavo:trace_spans_dropped_total{reason=\"queue_full\"} 7.0"));
  EXPECT_TRUE(holds("octavo:trace_spans_dropped_total{reason=\"export_failed\"} 4.0"));
  EXPECT_TRUE(holds("octavo:trace_spans_exported_total 0.0"));
}

}  // namespace
}  // namespace octavo::trace
