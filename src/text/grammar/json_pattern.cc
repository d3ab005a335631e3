#include "text/grammar/json_pattern.h"

#include <xgrammar/xgrammar.h>

#include <algorithm>
#include <exception>
#include <new>

#include "octavo/value.h"

namespace octavo::text {
namespace {

constexpr int kMany = 1'000'000;  // beyond it lengths are not counted

// Recursive descent over the usual operators: alternatives, groups, classes, escapes, quantifiers.
class LengthReader {
 public:
  explicit LengthReader(std::string_view pattern) : rest_(pattern) {}

  PatternLengths read() {
    const PatternLengths all = alternatives(0);
    return ok_ && rest_.empty() ? all : PatternLengths();
  }

 private:
  PatternLengths alternatives(int depth) {
    PatternLengths all = sequence(depth);
    while (take('|')) {
      const PatternLengths other = sequence(depth);
      all.least = std::min(all.least, other.least);
      all.most = all.most < 0 || other.most < 0 ? -1 : std::max(all.most, other.most);
    }
    return all;
  }
  PatternLengths sequence(int depth) {
    PatternLengths all{0, 0};
    while (ok_ && !rest_.empty() && rest_.front() != '|' && rest_.front() != ')') {
      PatternLengths one = quantified(atom(depth));
      all.least = std::min(all.least + one.least, kMany);
      all.most =
          all.most < 0 || one.most < 0 || all.most + one.most > kMany ? -1 : all.most + one.most;
    }
    return all;
  }
  PatternLengths atom(int depth) {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    if (c == '^' || c == '$') return {0, 0};
    if (c == '(') {
      if (depth > 100) return fail();
      if (take('?') && !take(':')) return fail();
      const PatternLengths inner = alternatives(depth + 1);
      if (!take(')')) return fail();
      return inner;
    }
    if (c == '[') return char_class();
    if (c == '\\') return escape();
    return {1, 1};
  }
  PatternLengths char_class() {
    take('^');
    for (bool first = true; !rest_.empty(); first = false) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == ']' && !first) return {1, 1};
      if (c == '\\' && !rest_.empty()) rest_.remove_prefix(1);
    }
    return fail();
  }
  // Escapes with digits behind them, \x41 and \u{41}, would be taken for several characters.
  PatternLengths escape() {
    if (rest_.empty()) return fail();
    const char c = rest_.front();
    rest_.remove_prefix(1);
    if (c == 'x' || c == 'u' || c == 'c' || (c >= '0' && c <= '9')) return fail();
    return {1, 1};
  }
  PatternLengths quantified(PatternLengths one) {
    int least = 1, most = 1;
    if (take('*')) {
      least = 0, most = -1;
    } else if (take('+')) {
      most = -1;
    } else if (take('?')) {
      least = 0;
    } else if (take('{')) {
      least = most = number();
      if (take(',')) most = !rest_.empty() && rest_.front() == '}' ? -1 : number();
      if (!take('}')) return fail();
    } else {
      return one;
    }
    take('?');  // lazy: the same strings
    const auto times = [](int64_t a, int64_t b) { return std::min<int64_t>(a * b, kMany); };
    PatternLengths all;
    all.least = static_cast<int>(times(one.least, least));
    const bool unbounded = (most < 0 && one.most != 0) || (one.most < 0 && most != 0) ||
                           int64_t{one.most} * most > kMany;
    all.most = unbounded ? -1 : static_cast<int>(times(one.most, most < 0 ? 0 : most));
    return all;
  }
  int number() {
    int value = 0;
    if (rest_.empty() || rest_.front() < '0' || rest_.front() > '9') ok_ = false;
    while (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') {
      value = std::min(value * 10 + (rest_.front() - '0'), kMany);
      rest_.remove_prefix(1);
    }
    return value;
  }
  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  PatternLengths fail() {
    ok_ = false;
    return {};
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace

PatternLengths lengths_of_pattern(std::string_view pattern) {
  return LengthReader(pattern).read();
}

std::string bound_repeated_class(const std::string& pattern, int64_t least, int64_t most) {
  const bool plus = pattern.ends_with("]+$");
  if (!pattern.starts_with("^[") || !(plus || pattern.ends_with("]*$"))) return pattern;
  const size_t length = pattern.size() - 3;  // from '^' to the last ']'
  size_t end = 2;
  while (end < length && (pattern[end] != ']' || end == 2)) end += pattern[end] == '\\' ? 2 : 1;
  if (end != length || most >= kMany) return pattern;
  least = std::max<int64_t>(least, plus ? 1 : 0);
  return pattern.substr(0, length + 1) + "{" + std::to_string(least) + "," + std::to_string(most) +
         "}$";
}

std::string objection_to_json_pattern(const std::string& pattern) {
  const Value schema = Value::Dict{{"type", "string"}, {"pattern", pattern}};
  try {
    const std::string rules = xgrammar::Grammar::FromJSONSchema(to_json(schema)).ToString();
    if (rules.find("json_string=true") != std::string::npos) return {};
  } catch (const std::bad_alloc&) {
    throw;  // the limit of whoever called
  } catch (const std::exception& error) {
    return error.what();
  }
  return "it needs characters that a JSON string has to escape";
}

}  // namespace octavo::text
