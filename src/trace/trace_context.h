// The trace that a request belongs to: W3C Trace Context (level 1) as clients send it, ids for
// spans of our own, and which traces are kept. Plain values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "octavo/status.h"

namespace octavo::trace {

using TraceId = std::array<uint8_t, 16>;
using SpanId = std::array<uint8_t, 8>;

// Never all zeros, which means "none".
TraceId random_trace_id();
SpanId random_span_id();

// The client's span, which ours becomes a child of.
struct Parent {
  TraceId trace_id{};
  SpanId span_id{};
  bool sampled = false;  // the client keeps its part of the trace
  std::string state;     // tracestate, for the collector; empty where it was malformed
};

// None where `traceparent` is malformed or of a version that may mean something else: the request
// then begins a trace, as the specification asks. A malformed `tracestate` is left out.
std::optional<Parent> parse_trace_context(std::string_view traceparent,
                                          std::string_view tracestate);

// Which traces are kept; OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG.
struct Sampler {
  bool follows_parent = true;  // where there is one, its `sampled` decides
  double ratio = 1;            // of the other traces, by their ids, so that all services agree
  bool keeps(const Parent* parent, const TraceId& trace_id) const;
};

// always_on, always_off, traceidratio, and the three with parentbased_ before them; empty is
// parentbased_always_on. `argument`: the ratio, 0 to 1; empty: 1.
StatusOr<Sampler> parse_sampler(std::string_view name, std::string_view argument);

}  // namespace octavo::trace
