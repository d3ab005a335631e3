// OTLP's messages for traces, in protobuf's wire format: opentelemetry.proto.collector.trace.v1.
// Only what is needed is written, by hand; field numbers are those of opentelemetry-proto 1.x.
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trace/span.h"

namespace octavo::trace {

// An ExportTraceServiceRequest. `resource` says which process the spans come from. Text that is no
// UTF-8 is mended, since protobuf's readers refuse the whole message otherwise.
std::string encode_export_request(const std::vector<Attribute>& resource,
                                  std::span<const Span> spans);

// What a collector that has accepted a request did not keep of it.
struct PartialSuccess {
  int64_t rejected_spans = 0;
  std::string message;
};
// Of an ExportTraceServiceResponse; what cannot be read counts as nothing said.
PartialSuccess decode_export_response(std::string_view bytes);

}  // namespace octavo::trace
