#include "text/grammar/schema_rules.h"

#include <charconv>
#include <set>
#include <string_view>
#include <utility>

#include "text/grammar/json_formats.h"

namespace octavo::text {
namespace {

// A string of 2 to 90 characters is printed as
//   r ::= Regex("^octavo-length-2-90$", json_string=true)
// and becomes
//   r ::= octavo_text_2_90
//   octavo_text_2_90[max_chars=90] ::= Regex("^(…){2,}$")
// An automaton of a character repeated costs some 20 ms a repetition to compile for a vocabulary of
// 150,000, once; a budget costs milliseconds a token near its end, on the engine thread. So strings
// up to 32 characters are automata alone. To a budget an escape is two characters: an answer may be
// shorter than it could be, never too long.
constexpr int kUnrolled = 32;
constexpr std::string_view kLength = "^octavo-length-";
constexpr std::string_view kRegex = "Regex(\"";
constexpr std::string_view kRegexEnd = "$\", json_string=true)";
// One character within a JSON string, as an EBNF string holds a regular expression.
constexpr std::string_view kCharacter = R"(([^\"\\\\\\x00-\\x1f]|\\\\[\"\\\\/bfnrt]))";

using Lengths = std::pair<int64_t, int64_t>;

std::string name_of_text(const Lengths& lengths) {
  const auto& [least, most] = lengths;
  return "octavo_text_" + std::to_string(least) + "_" + (most < 0 ? "more" : std::to_string(most));
}

std::string rule_of_text(const Lengths& lengths) {
  const auto& [least, most] = lengths;
  const bool unrolled = most >= 0 && most <= kUnrolled;
  std::string rule = name_of_text(lengths);
  if (most >= 0 && !unrolled) rule += "[max_chars=" + std::to_string(most) + "]";
  rule += " ::= " + std::string(kRegex) + "^" + std::string(kCharacter) + "{" +
          std::to_string(least) + ",";
  if (unrolled) rule += std::to_string(most);
  return rule + "}$\")\n";
}

// The lengths in a length_pattern() whose numbers begin at `at`; false: it is none.
bool read_lengths(std::string_view text, size_t at, Lengths& lengths, size_t& end) {
  const char* const last = text.data() + text.size();
  const auto first = std::from_chars(text.data() + at, last, lengths.first);
  if (first.ec != std::errc() || first.ptr == last || *first.ptr != '-') return false;
  const auto second = std::from_chars(first.ptr + 1, last, lengths.second);
  if (second.ec != std::errc()) return false;
  end = static_cast<size_t>(second.ptr - text.data());
  return text.substr(end).starts_with(kRegexEnd);
}

void respell_lengths(std::string& ebnf) {
  const std::string mark = std::string(kRegex) + std::string(kLength);
  std::set<Lengths> seen;
  std::string out;
  size_t done = 0;
  for (size_t at = ebnf.find(mark); at != std::string::npos; at = ebnf.find(mark, at + 1)) {
    Lengths lengths;
    size_t end = 0;
    if (!read_lengths(ebnf, at + mark.size(), lengths, end)) continue;
    out.append(ebnf, done, at - done);
    out += name_of_text(lengths);
    done = end + kRegexEnd.size();
    seen.insert(lengths);
  }
  out.append(ebnf, done);
  for (const Lengths& lengths : seen) out += rule_of_text(lengths);
  ebnf = std::move(out);
}

void limit_uris(std::string& ebnf) {
  const std::string uri = " ::= " + std::string(kRegex) + std::string(kUriBegins);
  const std::string limit = "[max_chars=" + std::to_string(kMaxUriLength) + "]";
  for (size_t at = ebnf.find(uri); at != std::string::npos; at = ebnf.find(uri, at)) {
    ebnf.insert(at, limit);
    at += limit.size() + uri.size();
  }
}

//   … ([eE] basic_number_4 basic_number_digits{1, -1}) …
void limit_exponents(std::string& ebnf) {
  constexpr std::string_view kExponent = "([eE] ";
  constexpr std::string_view kDigits = "_digits{1, -1}";
  for (size_t at = ebnf.find(kExponent); at != std::string::npos;
       at = ebnf.find(kExponent, at + 1)) {
    const size_t digits = ebnf.find(kDigits, at);
    if (digits < ebnf.find(')', at)) ebnf.replace(digits, kDigits.size(), "_digits{1, 2}");
  }
}

}  // namespace

std::string length_pattern(int64_t least, int64_t most) {
  return std::string(kLength) + std::to_string(least) + "-" + std::to_string(most) + "$";
}

std::string respell_rules(std::string ebnf) {
  respell_lengths(ebnf);
  limit_uris(ebnf);
  limit_exponents(ebnf);
  return ebnf;
}

}  // namespace octavo::text
