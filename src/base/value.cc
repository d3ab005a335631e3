#include "octavo/value.h"

#include <boost/json.hpp>
#include <cmath>

#include "base/json_writer.h"
#include "base/utf8.h"

namespace octavo {

const Value* Value::find(std::string_view key) const {
  if (!is_dict()) return nullptr;
  for (const auto& [name, value] : as_dict()) {
    if (name == key) return &value;
  }
  return nullptr;
}
Value* Value::find(std::string_view key) {
  return const_cast<Value*>(static_cast<const Value*>(this)->find(key));
}
void Value::set(std::string_view key, Value value) {
  if (Value* old = find(key)) {
    *old = std::move(value);
  } else {
    as_dict().emplace_back(std::string(key), std::move(value));
  }
}
std::string_view Value::type_name() const {
  static constexpr std::string_view kNames[] = {"null",   "boolean", "integer", "number",
                                                "string", "array",   "object"};
  return kNames[data_.index()];
}

namespace {
namespace bj = boost::json;

// REQUIRES: nesting was bounded by the parser.
Status convert(const bj::value& from, Value& to) {
  switch (from.kind()) {
    case bj::kind::null:
      to = Value();
      break;
    case bj::kind::bool_:
      to = from.get_bool();
      break;
    case bj::kind::int64:
      to = from.get_int64();
      break;
    case bj::kind::uint64:
      to = static_cast<double>(from.get_uint64());
      break;
    case bj::kind::double_:
      if (!std::isfinite(from.get_double())) return invalid_argument("JSON number out of range");
      to = from.get_double();
      break;
    case bj::kind::string:
      to = std::string(from.get_string());
      break;
    case bj::kind::array: {
      Value::List list(from.get_array().size());
      for (size_t i = 0; i < list.size(); ++i) {
        if (Status s = convert(from.get_array()[i], list[i]); !s.ok()) return s;
      }
      to = std::move(list);
      break;
    }
    case bj::kind::object: {
      Value::Dict dict;
      dict.reserve(from.get_object().size());
      for (const auto& member : from.get_object()) {
        dict.emplace_back(std::string(member.key()), Value());
        if (Status s = convert(member.value(), dict.back().second); !s.ok()) return s;
      }
      to = std::move(dict);
      break;
    }
  }
  return ok_status();
}
}  // namespace

StatusOr<Value> parse_json(std::string_view text, int max_depth) {
  bj::parse_options options;
  options.max_depth = static_cast<size_t>(max_depth);
  bj::parser parser(bj::storage_ptr(), options);
  boost::system::error_code error;
  const size_t consumed = parser.write(text.data(), text.size(), error);
  if (error == bj::error::incomplete) {
    return invalid_argument("invalid JSON: unexpected end of the text at byte " +
                            std::to_string(text.size()));
  }
  if (error) {
    return invalid_argument("invalid JSON: " + error.message() + " at byte " +
                            std::to_string(consumed));
  }
  Value value;
  if (Status s = convert(parser.release(), value); !s.ok()) return s;
  return value;
}

std::string to_json(const Value& value) {
  JsonWriter writer;
  writer.value(value);
  return std::move(writer).take();
}

}  // namespace octavo
