#include "serve/http_metrics.h"

namespace octavo::serve {

void HttpMetrics::record(std::string_view method, std::string_view handler, int status,
                         double seconds) {
  static const std::vector<double> kFine = {0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5,
                                            0.75, 1,     1.5,  2,     2.5, 3,    3.5,
                                            4,    4.5,   5,    7.5,   10,  30,   60};
  static const std::vector<double> kCoarse = {0.1, 0.5, 1};
  const std::string group = std::to_string(status / 100) + "xx";
  const MetricLabels place = {{"handler", std::string(handler)}, {"method", std::string(method)}};
  MetricLabels full = place;
  full.insert(full.begin() + 2, {"status", group});
  registry_
      .counter("http_requests_total", "Total number of requests by method, status and handler.",
               full)
      .add();
  registry_
      .histogram("http_request_duration_highr_seconds",
                 "Latency with many buckets but no API specific labels.", kFine)
      .observe(seconds);
  registry_
      .histogram("http_request_duration_seconds", "Latency with only few buckets by handler.",
                 kCoarse, place)
      .observe(seconds);
}

}  // namespace octavo::serve
