#include "text/tokenizer_settings.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <unordered_set>

#include "base/status_macros.h"
#include "text/tokenizer_steps_json.h"

namespace octavo::text {
namespace {

namespace fs = std::filesystem;
namespace bj = boost::json;

constexpr size_t kMaxFileBytes = size_t{256} << 20;
constexpr size_t kMaxTokenBytes = 4096;
constexpr int64_t kMaxId = int64_t{1} << 24;

// A special token stands as a string, or as an object with its `content`.
std::string_view token_content(const bj::value& value) {
  if (value.is_string()) return value.get_string();
  return value.is_object() ? json_string(value.get_object(), "content") : std::string_view();
}

StatusOr<bj::object> read_json(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(file, error)) return bj::object();
  ASSIGN_OR_RETURN(const std::string json, read_tokenizer_file(file));
  return parse_json_object(json, file.string());
}

void read_specials(const bj::object& from, std::vector<std::string>& specials) {
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                           "cls_token", "mask_token"}) {
    if (const bj::value* token = json_member(from, name))
      specials.emplace_back(token_content(*token));
  }
  const bj::value* more = json_member(from, "additional_special_tokens");
  if (more == nullptr || !more->is_array()) return;
  for (const bj::value& token : more->get_array()) specials.emplace_back(token_content(token));
}

Status add_token(AddedToken token, std::vector<AddedToken>& added) {
  const std::string shown = "the added token '" + token.content.substr(0, 100) + "'";
  if (token.content.empty()) return ok_status();
  if (token.content.size() > kMaxTokenBytes) return data_loss(shown + " is longer than 4 KiB");
  if (token.id < 0 || token.id >= kMaxId) return data_loss(shown + " has no usable id");
  added.push_back(std::move(token));
  return ok_status();
}

// {"32000": {"content": "<pad>", "special": true, …}}
Status read_decoder_map(const bj::object& config, std::vector<AddedToken>& added) {
  const bj::value* map = json_member(config, "added_tokens_decoder");
  if (map == nullptr) return ok_status();
  if (!map->is_object()) return data_loss("added_tokens_decoder is no object");
  for (const auto& entry : map->get_object()) {
    if (!entry.value().is_object()) return data_loss("added_tokens_decoder: a token is no object");
    const bj::object& json = entry.value().get_object();
    AddedToken token;
    const std::string_view digits = entry.key();
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), token.id);
    if (error != std::errc() || end != digits.data() + digits.size())
      return data_loss("added_tokens_decoder: '" + std::string(digits.substr(0, 40)) +
                       "' is no id");
    token.content = json_string(json, "content");
    token.special = json_bool(json, "special", false);
    token.single_word = json_bool(json, "single_word", false);
    token.lstrip = json_bool(json, "lstrip", false);
    token.rstrip = json_bool(json, "rstrip", false);
    token.normalized = json_bool(json, "normalized", !token.special);
    RETURN_IF_ERROR(add_token(std::move(token), added));
  }
  return ok_status();
}

// {"<pad>": 32000}: the older form, which says nothing else.
Status read_added_map(const bj::object& map, const std::vector<std::string>& specials,
                      std::vector<AddedToken>& added) {
  std::unordered_set<std::string> known;
  for (const AddedToken& token : added) known.insert(token.content);
  const std::unordered_set<std::string> special(specials.begin(), specials.end());
  for (const auto& entry : map) {
    AddedToken token;
    token.content = entry.key();
    if (known.contains(token.content)) continue;
    const bj::value& id = entry.value();
    if (id.is_int64() && id.get_int64() >= 0 && id.get_int64() < kMaxId)
      token.id = static_cast<TokenId>(id.get_int64());
    token.special = special.contains(token.content);
    token.normalized = !token.special;
    RETURN_IF_ERROR(add_token(std::move(token), added));
  }
  return ok_status();
}

}  // namespace

std::string_view TokenizerSettings::special(std::string_view name) const {
  for (const bj::object* from : {&config, &special_map}) {
    if (const bj::value* token = json_member(*from, name)) return token_content(*token);
  }
  return {};
}

std::string_view TokenizerSettings::tokenizer_class() const {
  std::string_view name = json_string(config, "tokenizer_class");
  if (name.ends_with("Fast")) name.remove_suffix(4);
  return name;
}

StatusOr<TokenizerSettings> read_tokenizer_settings(const fs::path& directory) {
  TokenizerSettings settings;
  ASSIGN_OR_RETURN(settings.config, read_json(directory / "tokenizer_config.json"));
  ASSIGN_OR_RETURN(settings.special_map, read_json(directory / "special_tokens_map.json"));
  ASSIGN_OR_RETURN(const bj::object added, read_json(directory / "added_tokens.json"));
  ASSIGN_OR_RETURN(const bj::object model, read_json(directory / "config.json"));
  settings.model_type = json_string(model, "model_type");
  read_specials(settings.config, settings.specials);
  read_specials(settings.special_map, settings.specials);
  std::erase(settings.specials, "");
  const Status read = read_decoder_map(settings.config, settings.added);
  if (!read.ok()) return read.with_context((directory / "tokenizer_config.json").string());
  const Status more = read_added_map(added, settings.specials, settings.added);
  if (!more.ok()) return more.with_context((directory / "added_tokens.json").string());
  std::stable_sort(settings.added.begin(), settings.added.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return settings;
}

StatusOr<std::string> read_tokenizer_file(const fs::path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  if (error) return not_found(file.string() + ": " + error.message());
  if (size > kMaxFileBytes) return data_loss(file.string() + " is longer than 256 MiB");
  std::string text(size, '\0');
  std::ifstream in(file, std::ios::binary);
  if (!in.read(text.data(), static_cast<std::streamsize>(size)))
    return data_loss(file.string() + " cannot be read");
  return text;
}

StatusOr<bj::object> parse_json_object(std::string_view json, std::string_view name) {
  boost::system::error_code error;
  bj::value value = bj::parse(json, error);
  if (error) return data_loss(std::string(name) + " is not JSON: " + error.message());
  if (!value.is_object()) return data_loss(std::string(name) + " is no object");
  return std::move(value.get_object());
}

}  // namespace octavo::text
