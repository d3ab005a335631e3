#include "serve/request_origin.h"

#include <strings.h>

#include <utility>

namespace octavo::serve {

RequestOrigin request_origin(const HttpRequest& request, std::string answer_id) {
  RequestOrigin origin{.answer_id = std::move(answer_id)};
  int parents = 0;
  for (const auto& [name, value] : request.headers) {
    if (strcasecmp(name.c_str(), "traceparent") == 0) {
      origin.traceparent = value;
      ++parents;
    } else if (strcasecmp(name.c_str(), "tracestate") == 0) {
      // A list, which may come in several headers.
      if (!origin.tracestate.empty()) origin.tracestate += ',';
      origin.tracestate += value;
    }
  }
  if (parents != 1) {
    origin.traceparent.clear();
    origin.tracestate.clear();
  }
  return origin;
}

}  // namespace octavo::serve
