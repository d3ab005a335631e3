// The value of a parameter that a model wrote as plain text, in the type that the tool's schema
// gives it. Used by the formats whose arguments are no JSON. Pure function.
#pragma once

#include <string_view>

#include "octavo/value.h"

namespace octavo::text {

// A string (or a parameter that no schema in `tools`, an OpenAI list, knows) stays as it is; other
// types are read as JSON, or as Python prints them (True, None), and stay strings where they cannot
// be.
Value typed_argument(const Value& tools, std::string_view function, std::string_view parameter,
                     std::string_view text);

}  // namespace octavo::text
