// tiktoken merges whichever two neighbours make the token of the lowest rank. It has no list of
// merges; every way to cut a token in two that are tokens as well is one, and its rank is that of
// the token it makes.
#include "text/tokenizer_tiktoken.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "base/status_macros.h"
#include "text/bpe.h"
#include "text/charsmap.h"
#include "text/tokenizer_parts.h"
#include "text/tokenizer_steps_json.h"
#include "text/unicode.h"

namespace octavo::text {
namespace {

namespace fs = std::filesystem;
namespace bj = boost::json;

constexpr size_t kMaxTokenBytes = 512;
constexpr int64_t kMaxId = int64_t{1} << 24;
constexpr size_t kIdsBeyondRanks = size_t{1} << 18;

struct Vocabulary {
  std::vector<std::pair<std::string, TokenId>> tokens;
  TokenIndex index;
};

StatusOr<std::pair<std::string, TokenId>> parse_line(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos) return data_loss("no space between token and rank");
  ASSIGN_OR_RETURN(std::string bytes, decode_base64(line.substr(0, space)));
  if (bytes.empty()) return data_loss("an empty token");
  if (bytes.size() > kMaxTokenBytes) return data_loss("a token longer than 512 bytes");
  const std::string_view digits = line.substr(space + 1);
  TokenId rank = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
  if (error != std::errc() || end != digits.data() + digits.size() || rank < 0 || rank >= kMaxId)
    return data_loss("the rank '" + std::string(digits.substr(0, 40)) + "' is no rank");
  return std::pair(std::move(bytes), rank);
}

StatusOr<Vocabulary> parse_vocabulary(std::string_view text) {
  Vocabulary vocabulary;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::string place = "line " + std::to_string(number);
    auto token = parse_line(line);
    if (!token.ok()) return token.status().with_context(place);
    if (!vocabulary.index.insert(token->first, token->second))
      return data_loss(place + " holds a token that stands above already");
    vocabulary.tokens.push_back(*std::move(token));
  }
  for (int b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    if (vocabulary.index.find({&byte, 1}) < 0)
      return data_loss("byte " + std::to_string(b) + " is no token");
  }
  return vocabulary;
}

StatusOr<std::unique_ptr<const Bpe>> build_model(Vocabulary vocabulary, int id_limit) {
  std::vector<Bpe::Merge> merges;
  for (const auto& [bytes, id] : vocabulary.tokens) {
    const std::string_view whole = bytes;
    for (size_t cut = 1; cut < whole.size(); ++cut) {
      const std::string_view left = whole.substr(0, cut), right = whole.substr(cut);
      if (vocabulary.index.find(left) >= 0 && vocabulary.index.find(right) >= 0)
        merges.emplace_back(left, right);
    }
  }
  BpeConfig config;
  config.byte_level = true;
  config.ignore_merges = true;  // a word that is a token is that token
  config.rank_is_id = true;
  return Bpe::build(std::move(config), std::move(vocabulary.index), merges, id_limit);
}

// The steps around the model, in tokenizer.json's words.
Status read_steps(const TiktokenForm& form, TokenizerParts& parts) {
  const bj::value split = {{"type", "Split"},
                           {"pattern", {{"Regex", form.pattern}}},
                           {"behavior", "Isolated"},
                           {"invert", false}};
  const bj::value bytes = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", false},
                           {"use_regex", false}};
  const bj::value steps = {{"type", "Sequence"}, {"pretokenizers", bj::array{split, bytes}}};
  ASSIGN_OR_RETURN(parts.pretokenizer, read_pretokenizer(&steps));
  ASSIGN_OR_RETURN(parts.decoder, read_decoder(&bytes));
  if (form.normalizer.empty()) return ok_status();
  const bj::value named = {{"type", form.normalizer}};
  ASSIGN_OR_RETURN(parts.normalizer, read_normalizer(&named));
  return ok_status();
}

Status add_token(std::string_view string, TokenId id, TokenizerParts& parts) {
  if (parts.table.known(id)) return data_loss("two tokens have the id " + std::to_string(id));
  parts.table.add(id, string);
  return ok_status();
}

Status add_special(const AddedToken& token, int64_t id_limit, TokenizerParts& parts) {
  if (token.content.empty() || token.id < 0 || token.id >= id_limit) {
    return data_loss("the special token '" + token.content.substr(0, 100) + "' has no usable id");
  }
  RETURN_IF_ERROR(add_token(token.content, token.id, parts));
  if (token.special) parts.table.set_special(token.id);
  // tiktoken's users normalise a text before anything is looked for in it.
  (parts.normalizer.empty() ? parts.added : parts.added_normalized).add(token, token.content);
  if (!parts.outside_model.emplace(token.content, token.id).second)
    return data_loss("two ids for '" + token.content.substr(0, 100) + "'");
  return ok_status();
}

// The settings' tokens first: where they name an id, or a token, the form's own does not count.
Status add_special_tokens(const TiktokenForm& form, const TokenizerSettings& settings, size_t ranks,
                          int64_t id_limit, TokenizerParts& parts) {
  for (const AddedToken& token : settings.added)
    RETURN_IF_ERROR(add_special(token, id_limit, parts));
  const auto taken = [&](const std::string& name, TokenId id) {
    return !settings.added.empty() && (parts.table.known(id) || parts.outside_model.contains(name));
  };
  const auto add = [&](std::string name, TokenId id) {
    if (taken(name, id)) return ok_status();
    AddedToken token;
    token.id = id;
    token.content = std::move(name);
    token.normalized = false;
    token.special = true;
    return add_special(token, id_limit, parts);
  };
  for (const auto& [name, id] : form.specials) RETURN_IF_ERROR(add(name, id));
  for (int i = 0; i < form.reserved; ++i) {
    const auto id = static_cast<TokenId>(ranks) + i;
    if (!parts.table.known(id))
      RETURN_IF_ERROR(add("<|reserved_token_" + std::to_string(id) + "|>", id));
  }
  for (const std::string& name : form.before) {
    if (const auto it = parts.outside_model.find(name); it != parts.outside_model.end())
      parts.prefix.push_back(it->second);
  }
  return ok_status();
}

}  // namespace

bool looks_like_tiktoken(std::string_view text) {
  return parse_line(text.substr(0, std::min(text.find_first_of("\r\n"), text.size()))).ok();
}

StatusOr<TiktokenForm> parse_tiktoken_form(std::string_view json) {
  ASSIGN_OR_RETURN(const bj::object root, parse_json_object(json, "special_tokens.json"));
  TiktokenForm form;
  const bj::value* pattern = json_member(root, "pattern");
  if (pattern == nullptr || !pattern->is_string())
    return data_loss("special_tokens.json holds no string `pattern`");
  form.pattern = pattern->get_string();
  if (const bj::value* normalizer = json_member(root, "normalizer"); normalizer != nullptr) {
    if (!normalizer->is_string()) return data_loss("`normalizer` is no string");
    form.normalizer = normalizer->get_string();
  }
  const bj::value* specials = json_member(root, "special_tokens");
  if (specials == nullptr) return form;
  if (!specials->is_object()) return data_loss("`special_tokens` is no object");
  for (const auto& entry : specials->get_object()) {
    const bj::value& id = entry.value();
    const bool usable = id.is_int64() && id.get_int64() >= 0 && id.get_int64() < kMaxId;
    form.specials.push_back(
        {std::string(entry.key()), usable ? static_cast<TokenId>(id.get_int64()) : -1});
  }
  return form;
}

StatusOr<std::unique_ptr<Tokenizer>> load_tiktoken(const fs::path& file,
                                                   const TokenizerSettings& settings) {
  ASSIGN_OR_RETURN(const std::string ranks, read_tokenizer_file(file));
  const fs::path beside = file.parent_path() / "special_tokens.json";
  std::error_code error;
  if (fs::exists(beside, error)) {
    ASSIGN_OR_RETURN(const std::string json, read_tokenizer_file(beside));
    ASSIGN_OR_RETURN(const TiktokenForm form, parse_tiktoken_form(json));
    return parse_tiktoken(ranks, form);
  }
  const auto lines = static_cast<size_t>(std::count(ranks.begin(), ranks.end(), '\n'));
  const auto form = find_tiktoken_form(file.filename().string(), settings.tokenizer_class(), lines);
  if (!form) {
    return unimplemented(
        "a tiktoken file whose pattern and special tokens neither its name, nor a tokenizer_class "
        "that we know, nor special_tokens.json beside it says");
  }
  return parse_tiktoken(ranks, *form, settings);
}

StatusOr<std::unique_ptr<Tokenizer>> parse_tiktoken(std::string_view ranks,
                                                    const TiktokenForm& form,
                                                    const TokenizerSettings& settings) {
  TokenizerParts parts;
  RETURN_IF_ERROR(read_steps(form, parts));
  ASSIGN_OR_RETURN(Vocabulary vocabulary, parse_vocabulary(ranks));
  // Tables are as long as the largest id: a few entries may not claim a great one.
  const int64_t id_limit =
      std::min(kMaxId, static_cast<int64_t>(kIdsBeyondRanks + 8 * vocabulary.tokens.size()));
  for (const auto& [bytes, id] : vocabulary.tokens) {
    if (id >= id_limit) return data_loss("the rank " + std::to_string(id) + " is out of range");
    RETURN_IF_ERROR(add_token(bytes_to_alphabet(bytes), id, parts));
  }
  RETURN_IF_ERROR(add_special_tokens(form, settings, vocabulary.tokens.size(), id_limit, parts));
  ASSIGN_OR_RETURN(parts.model, build_model(std::move(vocabulary), parts.table.size()));
  RETURN_IF_ERROR(parts.table.set_bytes(parts.decoder));
  return make_tokenizer(std::move(parts));
}

}  // namespace octavo::text
