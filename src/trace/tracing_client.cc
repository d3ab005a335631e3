#include "trace/tracing_client.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"

namespace octavo::trace {
namespace {

// Clients choose ids, and messages quote requests; a span stays small whatever they send.
constexpr size_t kMaxIdBytes = 256;
constexpr size_t kMaxMessageBytes = 1024;

// A time of the steady clock as nanoseconds since 1970.
int64_t unix_nanoseconds(double steady) {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  const double ago = steady_seconds() - steady;
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec - static_cast<int64_t>(ago * 1e9);
}

// What is known of a request before it runs.
Span begin_span(const GenerateRequest& request, const TraceId& trace_id, const Parent* parent,
                const std::string& model) {
  Span span{.name = "llm_request", .trace_id = trace_id, .span_id = random_span_id()};
  if (parent != nullptr) {
    span.has_parent = true;
    span.parent_id = parent->span_id;
    span.state = parent->state;
  }
  const SamplingParams& sampling = request.sampling;
  const std::string& id =
      request.origin.answer_id.empty() ? request.request_id : request.origin.answer_id;
  span.attributes = {
      {"gen_ai.request.id", id.substr(0, kMaxIdBytes)},
      {"gen_ai.response.model", model},
      {"gen_ai.request.temperature", static_cast<double>(sampling.temperature)},
      {"gen_ai.request.top_p", static_cast<double>(sampling.top_p)},
      {"gen_ai.request.n", int64_t{sampling.n}},
      {"gen_ai.usage.prompt_tokens", static_cast<int64_t>(request.prompt_token_ids.size())},
  };
  if (sampling.max_tokens) {
    span.attributes.push_back({"gen_ai.request.max_tokens", int64_t{*sampling.max_tokens}});
  }
  return span;
}

// Durations, as far as the request has come; the same differences that EngineMetrics observes.
void add_times(Span& span, const RequestMetrics& times, double now) {
  const auto add = [&span](const char* name, double seconds) {
    span.attributes.push_back({std::string("gen_ai.latency.") + name, std::max(0.0, seconds)});
  };
  add("e2e", now - times.arrival);
  if (times.first_scheduled > 0) {
    add("time_in_queue", times.first_scheduled - times.arrival);
    add("time_in_model_inference", now - times.first_scheduled);
    span.events.push_back({"scheduled", unix_nanoseconds(times.first_scheduled)});
  }
  if (times.first_token > 0) {
    add("time_to_first_token", times.first_token - times.arrival);
    add("time_in_model_prefill", times.first_token - times.first_scheduled);
    add("time_in_model_decode", times.last_token - times.first_token);
    span.events.push_back({"first_token", unix_nanoseconds(times.first_token)});
  }
}

// Stands before a request's sink and watches what passes. Its span ends once: with the last output,
// when the sink wants no more, or when the engine lets the request go without a word.
class TracedSink final : public StreamSink {
 public:
  TracedSink(std::shared_ptr<StreamSink> sink, std::shared_ptr<SpanExporter> exporter, Span span,
             double arrival, int n)
      : sink_(std::move(sink)),
        exporter_(std::move(exporter)),
        span_(std::move(span)),
        finish_reasons_(static_cast<size_t>(std::max(n, 1)), FinishReason::kNone) {
    times_.arrival = arrival;
  }
  ~TracedSink() override { end(); }

  bool on_output(RequestOutput output) override {
    for (const CompletionOutput& choice : output.outputs) {
      completion_tokens_ += static_cast<int64_t>(choice.token_ids.size());
      const auto index = static_cast<size_t>(choice.index);
      if (index < finish_reasons_.size()) finish_reasons_[index] = choice.finish_reason;
    }
    if (output.metrics.arrival > 0) times_ = output.metrics;
    if (!output.error.ok()) error_ = output.error;
    const bool finished = output.finished;
    const bool more = sink_->on_output(std::move(output));
    if (finished || !more) end();
    return more;
  }

  // The engine did not take the request.
  void refuse(const Status& error) {
    error_ = error;
    end();
  }

 private:
  void end() {
    if (std::exchange(ended_, true)) return;
    const double now = steady_seconds();
    span_.start = unix_nanoseconds(times_.arrival);
    span_.end = std::max(span_.start, unix_nanoseconds(now));
    span_.attributes.push_back({"gen_ai.usage.completion_tokens", completion_tokens_});
    add_times(span_, times_, now);
    std::vector<std::string> reasons;
    for (const FinishReason reason : finish_reasons_) {
      const bool cut = reason == FinishReason::kNone;
      reasons.emplace_back(to_string(!cut          ? reason
                                     : error_.ok() ? FinishReason::kAbort
                                                   : FinishReason::kError));
    }
    span_.attributes.push_back({"gen_ai.response.finish_reasons", std::move(reasons)});
    if (!error_.ok()) {
      span_.attributes.push_back({"error.type", std::string(to_string(error_.code()))});
      span_.error = Status(error_.code(), error_.message().substr(0, kMaxMessageBytes));
    }
    exporter_->submit(std::move(span_));
  }

  const std::shared_ptr<StreamSink> sink_;
  const std::shared_ptr<SpanExporter> exporter_;
  Span span_;
  std::vector<FinishReason> finish_reasons_;
  RequestMetrics times_;
  int64_t completion_tokens_ = 0;
  Status error_;
  bool ended_ = false;
};

}  // namespace

TracingClient::TracingClient(EngineClient& engine, TraceOptions options, std::string model)
    : engine_(engine),
      sampler_(options.sampler),
      model_(std::move(model)),
      exporter_(std::make_shared<SpanExporter>(std::move(options.exporter))) {}

TracingClient::~TracingClient() {
  exporter_->close();
}

StatusOr<std::string> TracingClient::submit(GenerateRequest request,
                                            std::shared_ptr<StreamSink> sink) {
  const auto parent = parse_trace_context(request.origin.traceparent, request.origin.tracestate);
  const Parent* known = parent ? &*parent : nullptr;
  const TraceId trace_id = parent ? parent->trace_id : random_trace_id();
  if (!sampler_.keeps(known, trace_id)) {
    return engine_.submit(std::move(request), std::move(sink));
  }
  if (request.arrival == 0) request.arrival = steady_seconds();
  const auto traced = std::make_shared<TracedSink>(std::move(sink), exporter_,
                                                   begin_span(request, trace_id, known, model_),
                                                   request.arrival, request.sampling.n);
  StatusOr<std::string> id = engine_.submit(std::move(request), traced);
  if (!id.ok()) traced->refuse(id.status());
  return id;
}

std::string TracingClient::metrics_text() const {
  return engine_.metrics_text() + exporter_->metrics_text();
}

}  // namespace octavo::trace
