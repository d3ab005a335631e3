#include "hub/names.h"

#include <algorithm>
#include <cctype>

namespace octavo::hub {
namespace {

constexpr size_t kMaxName = 96;  // the hub's own limit for owner/name
constexpr size_t kMaxRevision = 200;
constexpr size_t kMaxFileName = 200;  // with the cache's additions still a name for a file system

bool of_name_characters(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '_' || c == '-';
  });
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool is_name_part(std::string_view text) {
  const auto at_edge = [](char c) { return c == '.' || c == '-'; };
  return of_name_characters(text) && !at_edge(text.front()) && !at_edge(text.back()) &&
         !contains(text, "..") && !contains(text, "--");
}

}  // namespace

bool is_model_name(std::string_view text) {
  const size_t slash = text.find('/');
  return slash != std::string_view::npos && text.size() <= kMaxName &&
         is_name_part(text.substr(0, slash)) && is_name_part(text.substr(slash + 1));
}

bool is_revision(std::string_view text) {
  if (text.size() > kMaxRevision || contains(text, "..")) return false;
  while (true) {
    const size_t slash = text.find('/');
    const std::string_view part = text.substr(0, slash);
    if (!of_name_characters(part) || part.front() == '-' || part == ".") return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
}

bool is_file_name(std::string_view text) {
  return text.size() <= kMaxFileName && of_name_characters(text) && text.front() != '.' &&
         text.front() != '-';
}

StatusOr<ModelReference> parse_model_reference(std::string_view text) {
  const size_t at = text.find('@');
  ModelReference reference{std::string(text.substr(0, at)), ""};
  if (!is_model_name(reference.model)) {
    return invalid_argument("'" + std::string(text.substr(0, 200)) +
                            "' is no name of a model: owner/name, or owner/name@revision");
  }
  if (at == std::string_view::npos) return reference;
  reference.revision = text.substr(at + 1);
  if (!is_revision(reference.revision))
    return invalid_argument("'" + reference.revision + "' is no revision: a branch, tag or commit");
  return reference;
}

}  // namespace octavo::hub
