// PCRE2 through its own C interface. Text has been checked as UTF-8 before, so matching skips that
// check.
#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>

#include "base/status_macros.h"

namespace octavo::text {
namespace {

constexpr size_t kMaxPatternBytes = 64 << 10;
constexpr size_t kJitStackBytes = 64 << 20;  // reserved; taken only by patterns that need it

// What one thread needs to match: a stack for the JIT's code, and room for one pair of offsets.
struct MatchState {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 << 10, kJitStackBytes, nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);

  MatchState() {
    if (context != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchState() {
    pcre2_match_data_free(data);
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
  }
  static MatchState& get() {
    thread_local MatchState state;
    return state;
  }
};

pcre2_code* compile_as_is(std::string_view pattern, int& error) {
  PCRE2_SIZE offset = 0;
  return pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                       PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
}

// "{Han}" becomes "{sc:Han}": PCRE2 would take characters that only occur with a script along.
std::string script_braces(std::string_view braces) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
  std::string script = "{sc:" + std::string(braces.substr(1));
  const bool name = braces.size() > 4 && braces.find_first_not_of(kLetters, 1) == braces.size() - 1;
  int error = 0;
  pcre2_code* code = name ? compile_as_is("\\p" + script, error) : nullptr;
  pcre2_code_free(code);
  return code != nullptr ? script : std::string(braces);
}

// End of the bracket expression that begins at `at`, behind its bracket; npos: it has none.
size_t end_of_brackets(std::string_view pattern, size_t at) {
  int depth = 0;
  for (size_t i = at; i < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      ++i;
    } else if (pattern[i] == '[') {
      ++depth;
    } else if (pattern[i] == ']' && --depth == 0) {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

// "[a&&[^b]]", which PCRE2 lacks, as a look ahead: "(?:(?=[^b])[a])". Other intersections are
// refused, for PCRE2 would read them as the characters that they are written with.
StatusOr<std::string> without_intersections(std::string_view pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size();) {
    if (pattern[i] != '[') {
      const size_t length = pattern[i] == '\\' ? 2 : 1;
      out.append(pattern.substr(i, length));
      i += length;
      continue;
    }
    const size_t end = std::min(end_of_brackets(pattern, i), pattern.size());
    const std::string_view set = pattern.substr(i, end - i);
    const size_t both = set.find("&&[");
    if (both != std::string_view::npos && end_of_brackets(set, both + 2) == set.size() - 1) {
      const std::string_view second = set.substr(both + 2, set.size() - both - 3);
      out.append("(?:(?=").append(second).append(")").append(set.substr(0, both)).append("])");
    } else if (set.find("&&") != std::string_view::npos) {
      return unimplemented("the class intersection '" + std::string(set.substr(0, 100)) + "'");
    } else {
      out.append(set);
    }
    i = end;
  }
  return out;
}

// Oniguruma's classes in PCRE2's words. PCRE2 counts U+180E as space and leaves marks out of \w;
// Oniguruma's \w has Latin-1's superscripts and fractions, but no others.
std::string translate(std::string_view pattern) {
  constexpr std::string_view kWordMembers =
      "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";
  std::string out;
  int depth = 0;  // of bracket expressions
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\' || i + 1 == pattern.size()) {
      if (c == '[') ++depth;
      if (c == ']' && depth > 0) --depth;
      out.push_back(c);
      continue;
    }
    const char next = pattern[++i];
    const bool inside = depth > 0;
    if (next == 's') {
      out += "\\p{White_Space}";
    } else if (next == 'S') {
      out += "\\P{White_Space}";
    } else if (next == 'w') {
      out.append(inside ? "" : "[").append(kWordMembers).append(inside ? "" : "]");
    } else if (next == 'W' && !inside) {
      out.append("[^").append(kWordMembers).append("]");
    } else if ((next == 'p' || next == 'P') && pattern.substr(i + 1).starts_with('{')) {
      const size_t end = std::min(pattern.find('}', i), pattern.size() - 1);
      out.append({'\\', next}).append(script_braces(pattern.substr(i + 1, end - i)));
      i = end;
    } else if (next == 'h') {
      out += inside ? "0-9a-fA-F" : "[0-9a-fA-F]";
    } else {
      out.push_back('\\');
      out.push_back(next);
    }
  }
  return out;
}

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

StatusOr<std::shared_ptr<const Regex>> Regex::compile(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes)
    return invalid_argument("regular expression is longer than 64 KiB");
  ASSIGN_OR_RETURN(const std::string united, without_intersections(pattern));
  int error = 0;
  pcre2_code* code = compile_as_is(translate(united), error);
  if (code == nullptr) {
    return invalid_argument("bad regular expression '" + std::string(pattern.substr(0, 200)) +
                            "': " + error_text(error));
  }
  // Without a JIT (a build or a kernel that forbids it) the interpreter gives the same matches.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return std::shared_ptr<const Regex>(new Regex(code));
}

Regex::~Regex() {
  pcre2_code_free(static_cast<pcre2_code*>(code_));
}

StatusOr<bool> Regex::find(std::string_view text, size_t from, size_t& begin, size_t& end) const {
  MatchState& state = MatchState::get();
  if (state.context == nullptr || state.stack == nullptr || state.data == nullptr) {
    return resource_exhausted("no memory to match a regular expression");
  }
  const int rc =
      pcre2_match(static_cast<const pcre2_code*>(code_), reinterpret_cast<PCRE2_SPTR>(text.data()),
                  text.size(), from, PCRE2_NO_UTF_CHECK, state.data, state.context);
  if (rc == PCRE2_ERROR_NOMATCH) return false;
  if (rc < 0) return resource_exhausted("regular expression of the tokenizer: " + error_text(rc));
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(state.data);
  begin = offsets[0];
  end = offsets[1];
  return end >= begin;
}

}  // namespace octavo::text
