// TracingClient: an EngineClient that makes a span of every request that passes through it, and
// leaves everything else to the engine behind it. Names and attributes are vLLM's: `llm_request`,
// `gen_ai.*`; the times are those that /metrics knows. A span ends with its request's last output,
// on the output thread, and is sent by a SpanExporter.
//
// Concurrency: as EngineClient.
#pragma once

#include <memory>
#include <string>

#include "octavo/engine_client.h"
#include "trace/span_exporter.h"
#include "trace/trace_options.h"

namespace octavo::trace {

class TracingClient final : public EngineClient {
 public:
  // `engine` must outlive it. `model` is the name that clients know.
  TracingClient(EngineClient& engine, TraceOptions options, std::string model);
  // Sends what waits, see SpanExporter::close(). Spans of requests that are still under way are
  // lost.
  ~TracingClient() override;

  StatusOr<std::string> submit(GenerateRequest request, std::shared_ptr<StreamSink> sink) override;
  // The engine's, and the exporter's.
  std::string metrics_text() const override;

  void cancel(const std::string& request_id) override { engine_.cancel(request_id); }
  const ModelInfo& model() const override { return engine_.model(); }
  const Text& text() const override { return engine_.text(); }
  EngineStats stats() const override { return engine_.stats(); }
  void inspect(StateReader reader) override { engine_.inspect(std::move(reader)); }
  Status health() const override { return engine_.health(); }
  void reset_prefix_cache() override { engine_.reset_prefix_cache(); }
  void shutdown(double timeout_seconds) override { engine_.shutdown(timeout_seconds); }

 private:
  EngineClient& engine_;
  const Sampler sampler_;
  const std::string model_;
  const std::shared_ptr<SpanExporter> exporter_;  // shared with the sinks of requests
};

}  // namespace octavo::trace
