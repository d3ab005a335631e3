// How values become text: str(), repr(), JSON.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace octavo::text::jinja {

// Appends str(value).
void append_str(Runtime& runtime, Draft& out, const Value& value);
// Appends repr(value).
void append_repr(Runtime& runtime, Draft& out, const Value& value);
// str(value) as a string value; a string stays itself and keeps its safe mark.
Value to_str(Runtime& runtime, const Value& value);
std::string repr(Runtime& runtime, const Value& value);
// repr of a float: the shortest digits that read back as the same double.
std::string float_repr(double d);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool pretty = false;  // each item on a line of its own, behind `indent` for each level
  std::string indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// json.dumps(value). Throws TypeError for what JSON cannot hold.
std::string to_json(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace octavo::text::jinja
