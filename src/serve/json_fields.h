// JsonFields: reads the members of a JSON object into native types, strictly: a string is no
// number, a boolean is no integer; 3.0 is one. An absent member and null both leave the target as
// it is. The first failure sticks, so that a parser reads all its fields and asks for status()
// once. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/sampling_params.h"
#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo::serve {

// An integer, or a double without fraction, within int32; otherwise none.
std::optional<TokenId> as_token_id(const Value& value);

// A request's body as a Value. Errors: no JSON (parse_json), or more values than a request can
// need: each takes 56 bytes while it is parsed, and two in a body like "[0,0,0,…".
StatusOr<Value> parse_body(std::string_view body);

class JsonFields {
 public:
  // `object` must outlive this. Anything but a dict fails at once. `path` stands before the names
  // in errors: "stream_options.".
  explicit JsonFields(const Value& object, std::string path = "");

  const Status& status() const { return status_; }
  void fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  // The member, or null when it is absent or JSON's null.
  const Value* get(std::string_view name) const;
  bool has(std::string_view name) const { return get(name) != nullptr; }

  void read(std::string_view name, bool& out);
  void read(std::string_view name, int& out);
  void read(std::string_view name, int64_t& out);
  void read(std::string_view name, float& out);
  void read(std::string_view name, std::string& out);
  void read(std::string_view name, std::vector<TokenId>& out);
  template <typename T>
  void read(std::string_view name, std::optional<T>& out) {
    if (!has(name)) return;
    T value{};
    read(name, value);
    if (status_.ok()) out = std::move(value);
  }
  // A string or a list of strings.
  void read_strings(std::string_view name, std::vector<std::string>& out);
  // A list of anything; null when absent.
  const Value::List* list(std::string_view name);
  const Value::Dict* dict(std::string_view name);

 private:
  void fail_shape(std::string_view name, std::string_view expectation);

  const Value& object_;
  const std::string path_;
  Status status_;
};

}  // namespace octavo::serve
