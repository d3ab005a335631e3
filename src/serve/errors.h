// Failures as HTTP answers: OpenAI's error object with vLLM's type names. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "octavo/status.h"
#include "serve/http_server.h"

namespace octavo::serve {

// 400 for what the caller got wrong, 404, 413, 429, 503, 500 …
int http_status(StatusCode code);

// A field of the wrong shape: vLLM reports these (pydantic's) as type "Bad Request" with param
// "body.<field>".
Status shape_error(std::string_view field, std::string_view expectation);

// Any other failure of one field.
inline Status field_error(std::string_view field, std::string message) {
  return invalid_argument(std::move(message)).with_param(std::string(field));
}

// {"error":{"message","type","param","code"}} for an HTTP status, for answers and for SSE events
// alike.
std::string error_body(int status, std::string_view message, std::string_view param = {});
std::string error_body(const Status& status);

HttpResponse error_response(int status, std::string_view message, std::string_view param = {});
HttpResponse error_response(const Status& status);

}  // namespace octavo::serve
