// Random names for answers and tool calls: not secret, unlikely to recur. Any thread.
#pragma once

#include <random>
#include <string>
#include <string_view>

namespace octavo::serve {

inline std::string random_word(int length, std::string_view alphabet) {
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  std::uniform_int_distribution<size_t> pick(0, alphabet.size() - 1);
  std::string out(static_cast<size_t>(length), '0');
  for (char& c : out) c = alphabet[pick(generator)];
  return out;
}

inline std::string random_hex(int digits) {
  return random_word(digits, "0123456789abcdef");
}

}  // namespace octavo::serve
