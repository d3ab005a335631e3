// The tools of a chat request, and which of them the answer may or must call. Pure functions, run
// on the I/O pool.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "octavo/status.h"
#include "octavo/value.h"
#include "serve/json_fields.h"

namespace octavo::serve {

struct ToolChoice {
  enum class Kind { kNone, kAuto, kRequired, kNamed };
  Kind kind = Kind::kNone;
  std::string function;  // kNamed
  bool parallel = true;  // false: one call at most

  bool forced() const { return kind == Kind::kRequired || kind == Kind::kNamed; }
};

// Reads `tools`, `tool_choice` and `parallel_tool_calls`. Without a choice, tools mean auto. What
// is wrong fails `fields`, in vLLM's words, with the field's name.
ToolChoice read_tools(JsonFields& fields, std::optional<std::vector<Value>>& tools);

// The JSON schema that an answer to a forced choice obeys: for kRequired a list of
// {"name", "parameters"}, for kNamed that function's parameters. Definitions within the parameters'
// schemas move to the schema's root, where their references look for them. Errors
// (kInvalidArgument, param `tools`): parameters that are no object, two definitions of one name.
// REQUIRES: choice.forced(), and `tools` are what read_tools() has checked.
StatusOr<std::string> call_schema(const ToolChoice& choice, const std::vector<Value>& tools);

}  // namespace octavo::serve
