// The head of an answer, as bytes. io thread.
#pragma once

#include <cstddef>
#include <string>

#include "serve/transport/http_server.h"

namespace octavo::serve {

// How the answer is framed, which the connection decides.
struct ResponseFraming {
  bool http10 = false;
  bool chunked = false;
  bool keep_alive = true;
  bool length_known = true;
  size_t body_bytes = 0;  // if the length is known
};

// Appends status line and headers of `response` (not its body), `more` headers, and the blank line.
// A line break in a header's value would end it early, so control characters become blanks.
void append_response_head(std::string& out, const HttpResponse& response, const HttpHeaders& more,
                          const ResponseFraming& framing);

}  // namespace octavo::serve
