#include "cli/chat/input.h"

#include <algorithm>
#include <cctype>

namespace octavo::cli {
namespace {

constexpr std::string_view kQuotes = "\"\"\"";

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  const size_t last = text.find_last_not_of(kBlanks);
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

}  // namespace

EnterMeans enter_means(const std::string& text) {
  const std::string_view inner = trimmed(text);
  if (inner.starts_with(kQuotes)) {
    const bool closed = inner.size() >= 2 * kQuotes.size() && inner.ends_with(kQuotes);
    return closed ? EnterMeans::kEnd : EnterMeans::kNewline;
  }
  return text.ends_with('\\') ? EnterMeans::kDropBackslash : EnterMeans::kEnd;
}

std::string without_quotes(const std::string& text) {
  std::string_view inner = trimmed(text);
  if (inner.size() < 2 * kQuotes.size() || !inner.starts_with(kQuotes) || !inner.ends_with(kQuotes))
    return text;
  inner.remove_prefix(kQuotes.size());
  inner.remove_suffix(kQuotes.size());
  if (inner.starts_with('\n')) inner.remove_prefix(1);
  if (inner.ends_with('\n')) inner.remove_suffix(1);
  return std::string(inner);
}

TypedCommand parse_command(std::string_view text) {
  if (!text.starts_with('/')) return {};
  text.remove_prefix(1);
  const size_t end = std::min(text.find_first_of(" \t\n"), text.size());
  const std::string_view name = text.substr(0, end);
  const bool word = !name.empty() && std::all_of(name.begin(), name.end(),
                                                 [](unsigned char c) { return std::isalpha(c); });
  if (!word) return {};
  return {std::string(name), without_quotes(std::string(trimmed(text.substr(end))))};
}

}  // namespace octavo::cli
