#include "serve/errors.h"

#include "base/json_writer.h"

namespace octavo::serve {

namespace {

constexpr std::string_view kShapePrefix = "body";

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
  w.key("message").string(message);
  w.key("type").string(error_type(status, param));
  w.key("param");
  if (param.empty()) {
    w.null();
  } else {
    w.string(param);
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

}  // namespace octavo::serve
