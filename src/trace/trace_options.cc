#include "trace/trace_options.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/status_macros.h"

namespace octavo::trace {
namespace {

// The variable of traces alone wins over the one of all signals.
std::string exporter_variable(const Environment& environment, const std::string& name) {
  const std::string own = environment(("OTEL_EXPORTER_OTLP_TRACES_" + name).c_str());
  return own.empty() ? environment(("OTEL_EXPORTER_OTLP_" + name).c_str()) : own;
}

std::string_view strip(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size()) {
      const char* digits = text.data() + i + 1;
      const auto [end, error] = std::from_chars(digits, digits + 2, value, 16);
      if (error == std::errc() && end == digits + 2) {
        out += static_cast<char>(value);
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

// "a=1,b=x%20y", as W3C Baggage has it. The error says nothing of the values, which may be secrets.
StatusOr<http::Headers> parse_pairs(std::string_view text, const char* variable) {
  http::Headers pairs;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view pair = strip(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    const std::string_view key = strip(pair.substr(0, equals));
    if (equals == std::string_view::npos || key.empty()) {
      return invalid_argument(std::string(variable) + ": an entry is not of the form key=value");
    }
    pairs.emplace_back(percent_decoded(key), percent_decoded(strip(pair.substr(equals + 1))));
  }
  return pairs;
}

StatusOr<http::Url> parse_endpoint(std::string_view endpoint) {
  const auto refuse = [](std::string why) {
    return invalid_argument("--otlp-traces-endpoint: " + why);
  };
  if (endpoint.starts_with("grpc://") || endpoint.find("://") == std::string_view::npos) {
    return refuse(
        "OTLP goes over HTTP here, not gRPC: give the collector's HTTP address, such as "
        "http://localhost:4318");
  }
  auto url = http::parse_url(endpoint);
  if (!url.ok()) return refuse(url.status().message());
  if (url->path == "/") url->path = "/v1/traces";
  return *url;
}

StatusOr<http::Headers> parse_headers(const Environment& environment) {
  ASSIGN_OR_RETURN(http::Headers headers, parse_pairs(exporter_variable(environment, "HEADERS"),
                                                      "OTEL_EXPORTER_OTLP_HEADERS"));
  for (const auto& [name, value] : headers) {
    const auto token = [](char c) { return c > 0x20 && c < 0x7f && c != ':'; };
    const auto text = [](char c) { return c == '\t' || (c >= 0x20 && c != 0x7f); };
    if (!std::all_of(name.begin(), name.end(), token) ||
        !std::all_of(value.begin(), value.end(), text)) {
      return invalid_argument("OTEL_EXPORTER_OTLP_HEADERS: an entry is no HTTP header");
    }
  }
  return headers;
}

StatusOr<std::vector<Attribute>> parse_resource(const Environment& environment) {
  std::vector<Attribute> resource;
  const auto set = [&resource](std::string key, std::string value) {
    const auto same = [&](const Attribute& a) { return a.key == key; };
    const auto found = std::find_if(resource.begin(), resource.end(), same);
    if (found == resource.end()) {
      resource.push_back({std::move(key), std::move(value)});
    } else {
      found->value = std::move(value);
    }
  };
  set("service.name", "octavo");
  set("service.version", OCTAVO_VERSION);
  resource.push_back({"process.pid", static_cast<int64_t>(getpid())});
  ASSIGN_OR_RETURN(const http::Headers pairs, parse_pairs(environment("OTEL_RESOURCE_ATTRIBUTES"),
                                                          "OTEL_RESOURCE_ATTRIBUTES"));
  for (const auto& [key, value] : pairs) set(key, value);
  if (const std::string name = environment("OTEL_SERVICE_NAME"); !name.empty()) {
    set("service.name", name);
  }
  return resource;
}

// A whole number of at least `low`; `value` stays where the variable is not set.
template <typename Number>
Status read_count(const std::string& name, const std::string& text, int64_t low, Number& value) {
  if (text.empty()) return {};
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < low ||
      number > 1'000'000'000) {
    return invalid_argument(name + ": '" + text + "' is no whole number of at least " +
                            std::to_string(low));
  }
  value = static_cast<Number>(number);
  return {};
}

}  // namespace

StatusOr<TraceOptions> read_trace_options(std::string_view endpoint,
                                          const Environment& environment) {
  TraceOptions options;
  ExporterOptions& exporter = options.exporter;
  const std::string protocol = exporter_variable(environment, "PROTOCOL");
  if (!protocol.empty() && protocol != "http/protobuf") {
    return unimplemented("OTEL_EXPORTER_OTLP_PROTOCOL: '" + protocol +
                         "' is not supported, only http/protobuf is");
  }
  ASSIGN_OR_RETURN(exporter.url, parse_endpoint(endpoint));
  ASSIGN_OR_RETURN(exporter.headers, parse_headers(environment));
  ASSIGN_OR_RETURN(exporter.resource, parse_resource(environment));
  double timeout_ms = exporter.timeout_seconds * 1000, delay_ms = exporter.delay_seconds * 1000;
  RETURN_IF_ERROR(read_count("OTEL_EXPORTER_OTLP_TIMEOUT",
                             exporter_variable(environment, "TIMEOUT"), 1, timeout_ms));
  RETURN_IF_ERROR(
      read_count("OTEL_BSP_SCHEDULE_DELAY", environment("OTEL_BSP_SCHEDULE_DELAY"), 0, delay_ms));
  RETURN_IF_ERROR(read_count("OTEL_BSP_MAX_QUEUE_SIZE", environment("OTEL_BSP_MAX_QUEUE_SIZE"), 1,
                             exporter.max_queue));
  RETURN_IF_ERROR(read_count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                             environment("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), 1, exporter.max_batch));
  exporter.timeout_seconds = timeout_ms / 1000;
  exporter.delay_seconds = delay_ms / 1000;
  exporter.max_batch = std::min(exporter.max_batch, exporter.max_queue);
  ASSIGN_OR_RETURN(options.sampler, parse_sampler(environment("OTEL_TRACES_SAMPLER"),
                                                  environment("OTEL_TRACES_SAMPLER_ARG")));
  return options;
}

}  // namespace octavo::trace
