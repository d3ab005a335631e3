// Values as people write them on a command line, and the search for the word they meant.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "cli/flags.h"

namespace octavo::cli {
namespace {

Status not_a(std::string_view kind, std::string_view text) {
  return invalid_argument("'" + std::string(text) + "' is not " + std::string(kind));
}

// The multiplier of a suffix, or 0. Lower case is decimal, upper case is binary.
double multiplier(char suffix) {
  switch (suffix) {
    case 'k':
      return 1e3;
    case 'm':
      return 1e6;
    case 'g':
      return 1e9;
    case 't':
      return 1e12;
    case 'K':
      return 1024.0;
    case 'M':
      return 1024.0 * 1024;
    case 'G':
      return 1024.0 * 1024 * 1024;
    case 'T':
      return 1024.0 * 1024 * 1024 * 1024;
    default:
      return 0;
  }
}

}  // namespace

StatusOr<int64_t> parse_integer(std::string_view text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return not_a("an integer", text);
  return value;
}

StatusOr<double> parse_number(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || std::isnan(value)) return not_a("a number", text);
  return value;
}

StatusOr<int64_t> parse_count(std::string_view text) {
  const double factor = text.empty() ? 0 : multiplier(text.back());
  if (factor == 0) return parse_integer(text);
  const std::string_view digits = text.substr(0, text.size() - 1);
  const bool decimal = text.back() >= 'a';
  const auto value = parse_number(digits);
  const bool plain = digits.find_first_not_of("0123456789.") == std::string_view::npos;
  if (!value.ok() || !plain) return not_a("a count like 4096, 4k or 4K", text);
  if (!decimal && digits.find('.') != std::string_view::npos) {
    return invalid_argument("'" + std::string(text) +
                            "': fractions need a decimal suffix (k, m, g, t)");
  }
  const double product = std::round(*value * factor);
  if (product > 9e18) return not_a("a count that fits 64 bits", text);
  return static_cast<int64_t>(product);
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string nearest_word(std::string_view word, const Words& known) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace octavo::cli
