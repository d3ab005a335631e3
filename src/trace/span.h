// A span: one piece of work, as OpenTelemetry means it. A plain value, complete when it is made.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "octavo/status.h"
#include "trace/trace_context.h"

namespace octavo::trace {

struct Attribute {
  std::string key;
  std::variant<int64_t, double, std::string, std::vector<std::string>> value;
};

// Times are nanoseconds since 1970.
struct Event {
  std::string_view name;  // a literal
  int64_t time = 0;
};

struct Span {
  std::string_view name;  // a literal
  TraceId trace_id{};
  SpanId span_id{};
  bool has_parent = false;  // another service's span
  SpanId parent_id{};
  std::string state;  // tracestate
  int64_t start = 0;
  int64_t end = 0;
  std::vector<Attribute> attributes;
  std::vector<Event> events;  // by time
  Status error;               // ok: the span's status is left unset, as OpenTelemetry asks
};

}  // namespace octavo::trace
