// The rules that xgrammar makes of a JSON schema, spelled better where they are slow or too wide:
//
//   minLength,  its own rules unroll the string, which takes seconds to compile for a hundred
//   maxLength   characters and a large vocabulary, and let control characters through
//   URI         gets an end
//   numbers     exponents have two digits at most, so that every number fits a double
#pragma once

#include <cstdint>
#include <string>

namespace octavo::text {

// Stands for a string of `least` to `most` characters as the `pattern` of a schema, until
// respell_rules() says what it means. most < 0: no end.
std::string length_pattern(int64_t least, int64_t most);

// `ebnf` as xgrammar::Grammar::ToString() prints it.
std::string respell_rules(std::string ebnf);

}  // namespace octavo::text
