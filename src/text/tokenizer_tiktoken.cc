// tiktoken merges whichever two neighbours make the token of the lowest rank. It has no list of
// merges; every way to cut a token in two that are tokens as well is one, and its rank is that of
// the token it makes.
#include "text/tokenizer_tiktoken.h"

#include <boost/json.hpp>
#include <charconv>
#include <fstream>
#include <sstream>

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

constexpr size_t kMaxFileBytes = size_t{256} << 20;
constexpr size_t kMaxTokenBytes = 512;
constexpr int64_t kMaxId = int64_t{1} << 24;

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
Status read_steps(const Value& beside, TokenizerParts& parts) {
  const Value* pattern = beside.find("pattern");
  if (pattern == nullptr || !pattern->is_string())
    return data_loss("special_tokens.json holds no string `pattern`");
  const bj::value split = {{"type", "Split"},
                           {"pattern", {{"Regex", pattern->as_string()}}},
                           {"behavior", "Isolated"},
                           {"invert", false}};
  const bj::value bytes = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", false},
                           {"use_regex", false}};
  const bj::value steps = {{"type", "Sequence"}, {"pretokenizers", bj::array{split, bytes}}};
  ASSIGN_OR_RETURN(parts.pretokenizer, read_pretokenizer(&steps));
  ASSIGN_OR_RETURN(parts.decoder, read_decoder(&bytes));
  const Value* normalizer = beside.find("normalizer");
  if (normalizer == nullptr || normalizer->is_null()) return ok_status();
  if (!normalizer->is_string()) return data_loss("`normalizer` is no string");
  const bj::value named = {{"type", normalizer->as_string()}};
  ASSIGN_OR_RETURN(parts.normalizer, read_normalizer(&named));
  return ok_status();
}

Status add_token(std::string_view string, TokenId id, TokenizerParts& parts) {
  if (parts.table.known(id)) return data_loss("two tokens have the id " + std::to_string(id));
  parts.table.add(id, string);
  return ok_status();
}

Status add_special_tokens(const Value& beside, int64_t id_limit, TokenizerParts& parts) {
  const Value* specials = beside.find("special_tokens");
  if (specials == nullptr || specials->is_null()) return ok_status();
  if (!specials->is_dict()) return data_loss("`special_tokens` is no object");
  for (const auto& [name, id] : specials->as_dict()) {
    if (name.empty() || !id.is_int() || id.as_int() < 0 || id.as_int() >= id_limit)
      return data_loss("the special token '" + name.substr(0, 100) + "' has no usable id");
    AddedToken token;
    token.id = static_cast<TokenId>(id.as_int());
    token.content = name;
    token.normalized = false;
    token.special = true;
    RETURN_IF_ERROR(add_token(name, token.id, parts));
    parts.table.set_special(token.id);
    parts.added.add(token, name);
    parts.outside_model.emplace(name, token.id);
  }
  return ok_status();
}

StatusOr<std::string> read_file(const fs::path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  if (error) return not_found(file.string() + ": " + error.message());
  if (size > kMaxFileBytes) return data_loss(file.string() + " is longer than 256 MiB");
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (in) text << in.rdbuf();
  if (!in) return data_loss(file.string() + " cannot be read");
  return text.str();
}

}  // namespace

std::optional<fs::path> find_tiktoken_file(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    if (path.extension() == ".tiktoken") return path;
    return std::nullopt;
  }
  if (fs::exists(path / "tokenizer.json", error)) return std::nullopt;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".tiktoken") return entry->path();
  }
  return std::nullopt;
}

StatusOr<std::unique_ptr<Tokenizer>> load_tiktoken(const fs::path& file) {
  ASSIGN_OR_RETURN(const std::string ranks, read_file(file));
  const fs::path beside = file.parent_path() / "special_tokens.json";
  std::error_code error;
  if (!fs::exists(beside, error)) {
    return unimplemented(file.string() +
                         ": a tiktoken file without special_tokens.json beside it, which says the "
                         "pattern and the special tokens");
  }
  ASSIGN_OR_RETURN(const std::string json, read_file(beside));
  const StatusOr<Value> value = parse_json(json);
  if (!value.ok()) return value.status().with_context(beside.string());
  auto tokenizer = parse_tiktoken(ranks, *value);
  if (!tokenizer.ok()) return tokenizer.status().with_context(file.string());
  return tokenizer;
}

StatusOr<std::unique_ptr<Tokenizer>> parse_tiktoken(std::string_view ranks, const Value& beside) {
  TokenizerParts parts;
  RETURN_IF_ERROR(read_steps(beside, parts));
  ASSIGN_OR_RETURN(Vocabulary vocabulary, parse_vocabulary(ranks));
  // Tables are as long as the largest id: a few entries may not claim a great one.
  const int64_t id_limit =
      std::min(kMaxId, static_cast<int64_t>(65536 + 8 * vocabulary.tokens.size()));
  for (const auto& [bytes, id] : vocabulary.tokens) {
    if (id >= id_limit) return data_loss("the rank " + std::to_string(id) + " is out of range");
    RETURN_IF_ERROR(add_token(bytes_to_alphabet(bytes), id, parts));
  }
  RETURN_IF_ERROR(add_special_tokens(beside, id_limit, parts));
  ASSIGN_OR_RETURN(parts.model, build_model(std::move(vocabulary), parts.table.size()));
  RETURN_IF_ERROR(parts.table.set_bytes(parts.decoder));
  return make_tokenizer(std::move(parts));
}

}  // namespace octavo::text
