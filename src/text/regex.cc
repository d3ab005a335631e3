// PCRE2 through its own C interface. Text has been checked as UTF-8 before, so matching skips that
// check.
#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

namespace octavo::text {
namespace {

constexpr size_t kMaxPatternBytes = 64 << 10;
constexpr size_t kJitStackBytes = 1 << 20;

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
  const std::string translated = translate(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
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
