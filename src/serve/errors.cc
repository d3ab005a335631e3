#include "serve/errors.h"

#include "base/json_writer.h"

namespace octavo::serve {

namespace {

constexpr std::string_view kShapePrefix = "body";
// Of a message, which may quote what came; nobody reads more.
constexpr size_t kMaxMessageBytes = 2000;
constexpr size_t kMaxParamBytes = 200;

std::string clipped(std::string_view text, size_t most) {
  if (text.size() <= most) return std::string(text);
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;  // UTF-8
  return std::string(text.substr(0, most)) + "…";
}

std::string_view error_type(int status, std::string_view param) {
  switch (status) {
    case 400:
      return param.starts_with(kShapePrefix) ? "Bad Request" : "BadRequestError";
    case 401:
      return "AuthenticationError";
    case 404:
      return "NotFoundError";
    case 405:
      return "MethodNotAllowedError";
    case 408:
      return "RequestTimeoutError";
    case 413:
      return "RequestTooLargeError";
    case 415:
      return "UnsupportedMediaTypeError";
    case 417:
      return "ExpectationFailedError";
    case 429:
      return "RateLimitError";
    case 431:
      return "RequestHeaderFieldsTooLargeError";
    case 501:
      return "NotImplementedError";
    case 503:
      return "ServiceUnavailableError";
    default:
      return "InternalServerError";
  }
}

std::string_view anthropic_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}

}  // namespace

int http_status(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return 200;
    case StatusCode::kInvalidArgument:
    case StatusCode::kFailedPrecondition:
      return 400;
    case StatusCode::kUnauthenticated:
      return 401;
    case StatusCode::kNotFound:
      return 404;
    case StatusCode::kTooLarge:
      return 413;
    // Only fields of a request reach here; a whole route that is missing is a 404 of the router.
    case StatusCode::kUnimplemented:
      return 400;
    case StatusCode::kResourceExhausted:
      return 429;
    case StatusCode::kUnavailable:
    case StatusCode::kCancelled:
      return 503;
    case StatusCode::kDataLoss:
    case StatusCode::kInternal:
      return 500;
  }
  return 500;
}

Status shape_error(std::string_view field, std::string_view expectation) {
  std::string param(kShapePrefix);
  if (!field.empty()) param.append(".").append(field);
  std::string message = "1 validation error: " + param + ": " + std::string(expectation);
  return invalid_argument(std::move(message)).with_param(std::move(param));
}

std::string error_body(int status, std::string_view message, std::string_view param) {
  JsonWriter w;
  w.begin_object().key("error").begin_object();
  w.key("message").string(clipped(message, kMaxMessageBytes));
  w.key("type").string(error_type(status, param));
  w.key("param");
  if (param.empty()) {
    w.null();
  } else {
    w.string(clipped(param, kMaxParamBytes));
  }
  w.key("code").number(status).end_object().end_object();
  return std::move(w).take();
}

std::string error_body(const Status& status) {
  return error_body(http_status(status.code()), status.message(), status.param());
}

HttpResponse error_response(int status, std::string_view message, std::string_view param) {
  return {.status = status, .body = error_body(status, message, param)};
}

HttpResponse error_response(const Status& status) {
  return {.status = http_status(status.code()), .body = error_body(status)};
}

std::string anthropic_error_body(int status, std::string_view message, std::string_view param,
                                 std::string_view request_id) {
  std::string text(message);
  if (param == "input_tokens") {
    text.insert(0, "prompt is too long: ");  // Anthropic's own words
  } else if (!param.empty() && message.find(param) == std::string_view::npos) {
    text.insert(0, std::string(param) + ": ");
  }
  JsonWriter w;
  w.begin_object().key("type").string("error").key("error").begin_object();
  w.key("type").string(anthropic_type(status)).key("message");
  w.string(clipped(text, kMaxMessageBytes)).end_object();
  w.key("request_id");
  if (request_id.empty()) {
    w.null();
  } else {
    w.string(request_id);
  }
  w.end_object();
  return std::move(w).take();
}

bool path_is_anthropic(std::string_view path) {
  constexpr std::string_view kRoot = "/v1/messages";
  return path.starts_with(kRoot) && (path.size() == kRoot.size() || path[kRoot.size()] == '/');
}

HttpResponse error_response_for(const HttpRequest& request, int status, std::string_view message,
                                std::string_view param) {
  if (!path_is_anthropic(request.path)) return error_response(status, message, param);
  return {.status = status, .body = anthropic_error_body(status, message, param, request.id)};
}

HttpResponse error_response_for(const HttpRequest& request, const Status& status) {
  return error_response_for(request, http_status(status.code()), status.message(), status.param());
}

}  // namespace octavo::serve
