// `format`: what each name means for a string. A pattern here is never wider than the format: that
// of a date knows the lengths of months and leap years.
#pragma once

#include <string_view>

namespace octavo::text {

struct JsonFormat {
  enum class Kind {
    kUnknown,  // no way to enforce it
    kFree,     // says how a string or number is used, and nothing of its text
    kPattern,
  };
  Kind kind = Kind::kUnknown;
  std::string_view pattern;  // of the whole string, without anchors
  int min_length = 0;        // of what the pattern matches, in characters
  int max_length = -1;       // -1: no end
};

// The pattern of a URI begins so, and string_lengths.h ends it after so many characters.
constexpr std::string_view kUriBegins = "^([a-z][a-z0-9+]{0,9}://";
constexpr int kMaxUriLength = 2083;

JsonFormat find_json_format(std::string_view name);

// A pattern with look-around that Pydantic or zod writes, spelled without and no wider; empty: it
// is not one of those.
std::string_view without_lookaround(std::string_view pattern);

}  // namespace octavo::text
