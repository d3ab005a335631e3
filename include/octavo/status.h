// Status and StatusOr: how every call of the public API, and every call between rooms, reports
// failure. No exception crosses a room border. Both types are plain values: any thread may use its
// own.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace octavo {

enum class StatusCode {
  kOk,
  kInvalidArgument,  // the caller's mistake: HTTP 400
  kUnauthenticated,  // HTTP 401
  kNotFound,         // HTTP 404
  kTooLarge,         // a body or a field beyond its limit: HTTP 413
  kUnimplemented,  // known, and not supported here; the message names it: HTTP 501 (400 for fields)
  kResourceExhausted,   // no memory, too many requests: HTTP 429 or 503
  kFailedPrecondition,  // the engine's state does not allow it
  kUnavailable,         // draining, stopped, or the device is lost: HTTP 503
  kCancelled,
  kDataLoss,  // a file is cut short or lies about itself
  kInternal,  // our own fault: HTTP 500
};

// Stable lower-case name of a code, for logs: "invalid_argument".
std::string_view to_string(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // Name of the request field at fault, as OpenAI's error object reports it in `param`; may be
  // empty.
  const std::string& param() const { return param_; }
  Status with_param(std::string param) && {
    param_ = std::move(param);
    return std::move(*this);
  }
  // The same failure with `context: ` before its message.
  Status with_context(std::string_view context) const;

  // "invalid_argument: temperature must be …"
  std::string to_string() const;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
  std::string param_;
};

inline Status ok_status() {
  return {};
}
inline Status invalid_argument(std::string m) {
  return {StatusCode::kInvalidArgument, std::move(m)};
}
inline Status not_found(std::string m) {
  return {StatusCode::kNotFound, std::move(m)};
}
inline Status unimplemented(std::string m) {
  return {StatusCode::kUnimplemented, std::move(m)};
}
inline Status resource_exhausted(std::string m) {
  return {StatusCode::kResourceExhausted, std::move(m)};
}
inline Status failed_precondition(std::string m) {
  return {StatusCode::kFailedPrecondition, std::move(m)};
}
inline Status unavailable(std::string m) {
  return {StatusCode::kUnavailable, std::move(m)};
}
inline Status cancelled(std::string m) {
  return {StatusCode::kCancelled, std::move(m)};
}
inline Status data_loss(std::string m) {
  return {StatusCode::kDataLoss, std::move(m)};
}
inline Status internal_error(std::string m) {
  return {StatusCode::kInternal, std::move(m)};
}

// A T, or the Status that says why there is none. Reading the value of a failure ends the program.
template <typename T>
class [[nodiscard]] StatusOr {
 public:
  StatusOr(T value) : value_(std::move(value)) {}         // NOLINT(google-explicit-constructor)
  StatusOr(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    if (status_.ok()) status_ = internal_error("StatusOr made from an ok Status without a value");
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & { return value_.value(); }
  const T& value() const& { return value_.value(); }
  T&& value() && { return std::move(value_).value(); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace octavo
