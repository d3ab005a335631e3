// What OpenTelemetry's environment variables and --otlp-traces-endpoint say. Main thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "http/fetch.h"
#include "octavo/status.h"
#include "trace/span.h"
#include "trace/trace_context.h"

namespace octavo::trace {

struct ExporterOptions {
  http::Url url;  // with its path: http://host:4318/v1/traces
  http::Headers headers;
  double timeout_seconds = 10;  // of one attempt, from connecting to the last byte of the answer
  double delay_seconds = 5;     // how long a span may wait for others
  size_t max_queue = 2048;      // spans; more are dropped
  size_t max_batch = 512;       // spans in one request
  std::vector<Attribute> resource;  // service.name and the like
};

struct TraceOptions {
  ExporterOptions exporter;
  Sampler sampler;
};

// A variable's value, or empty.
using Environment = std::function<std::string(const char* name)>;

// `endpoint` is the flag's value: a URL, completed by /v1/traces where it has no path. Read are
// OTEL_EXPORTER_OTLP_[TRACES_]HEADERS, …_TIMEOUT and …_PROTOCOL, OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER[_ARG], and OTEL_BSP_SCHEDULE_DELAY,
// _MAX_QUEUE_SIZE and _MAX_EXPORT_BATCH_SIZE. Errors name the flag or the variable, and no secret.
StatusOr<TraceOptions> read_trace_options(std::string_view endpoint,
                                          const Environment& environment);

}  // namespace octavo::trace
