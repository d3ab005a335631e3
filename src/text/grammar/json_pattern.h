// What a `pattern` of a JSON string can be: regular expressions in printable ASCII, as
// prepare_regex() leaves them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace octavo::text {

// How many characters a match has; most = -1: no end. Of a pattern it cannot read: 0 and -1.
struct PatternLengths {
  int least = 0;
  int most = -1;
};
PatternLengths lengths_of_pattern(std::string_view pattern);

// The pattern "^[a-z]+$", of one class repeated, with lengths: "^[a-z]{1,20}$". Others as they are.
std::string bound_repeated_class(const std::string& pattern, int64_t least, int64_t most);

// Why the pattern cannot be enforced; empty: it can. xgrammar makes an automaton of it that leaves
// out the characters which JSON wants escaped; where it cannot, it falls back to rules that would
// write a bare quote into the string.
std::string objection_to_json_pattern(const std::string& pattern);

}  // namespace octavo::text
