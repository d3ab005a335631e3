// Failures as HTTP answers: OpenAI's error object with vLLM's type names, and Anthropic's on the
// paths of its dialect. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "octavo/status.h"
#include "serve/transport/http_server.h"

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

// Anthropic's: {"type":"error","error":{"type","message"},"request_id"}. It has no `param`: a field
// that the message does not name comes before it.
std::string anthropic_error_body(int status, std::string_view message, std::string_view param,
                                 std::string_view request_id);

// In the shape of the dialect that the request's path belongs to: Anthropic's for /v1/messages and
// below, OpenAI's for all others and where the path is not known.
HttpResponse error_response_for(const HttpRequest& request, int status, std::string_view message,
                                std::string_view param = {});
HttpResponse error_response_for(const HttpRequest& request, const Status& status);
bool path_is_anthropic(std::string_view path);

}  // namespace octavo::serve
