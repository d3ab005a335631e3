// HTTP metrics of GET /metrics, under the names that vLLM's server gives them (those of
// prometheus-fastapi-instrumentator).
#pragma once

#include <string>
#include <string_view>

#include "base/metrics.h"

namespace octavo::serve {

class HttpMetrics {
 public:
  // `handler` is the route ("/v1/models/{model}") or "none", so that clients cannot make up label
  // values.
  void record(std::string_view method, std::string_view handler, int status, double seconds);
  std::string text() const { return registry_.text(); }
  MetricsRegistry& registry() { return registry_; }

 private:
  MetricsRegistry registry_;
};

}  // namespace octavo::serve
