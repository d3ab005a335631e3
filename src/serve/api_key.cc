#include "serve/api_key.h"

#include <cctype>

namespace octavo::serve {

namespace {

bool equal_in_constant_time(std::string_view secret, std::string_view given) {
  size_t difference = secret.size() ^ given.size();
  for (size_t i = 0; i < given.size(); ++i) {
    const unsigned char expected =
        secret.empty() ? 0 : static_cast<unsigned char>(secret[i % secret.size()]);
    difference |= expected ^ static_cast<unsigned char>(given[i]);
  }
  return difference == 0;
}

}  // namespace

bool path_is_guarded(std::string_view path) {
  for (const std::string_view prefix : {"/v1", "/v2", "/inference", "/cohere", "/engine"}) {
    if (path.starts_with(prefix)) return true;
  }
  return false;
}

bool key_is_valid(std::string_view authorization, const std::vector<std::string>& keys) {
  static constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() < kScheme.size()) return false;
  for (size_t i = 0; i < kScheme.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(authorization[i])) != kScheme[i]) return false;
  }
  authorization.remove_prefix(kScheme.size());
  bool valid = false;
  for (const std::string& key : keys) valid |= equal_in_constant_time(key, authorization);
  return valid;
}

}  // namespace octavo::serve
