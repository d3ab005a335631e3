// The files are put together into the tokenizer.json that Transformers would make of them.
#include "text/tokenizer_vocabulary.h"

#include <boost/json.hpp>
#include <unordered_set>

#include "base/status_macros.h"
#include "base/utf8.h"
#include "text/pattern_scanner.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_steps_json.h"

namespace octavo::text {
namespace {

namespace bj = boost::json;

constexpr int64_t kMaxLines = int64_t{1} << 24;

// The lines of a text one after the other, without their ends.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}
  bool next(std::string_view& line) {
    if (rest_.empty()) return false;
    const size_t newline = rest_.find('\n');
    line = rest_.substr(0, newline);
    rest_.remove_prefix(newline == std::string_view::npos ? rest_.size() : newline + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return true;
  }

 private:
  std::string_view rest_;
};

bj::object added_token(const AddedToken& token) {
  return {{"id", token.id},          {"content", token.content}, {"single_word", token.single_word},
          {"lstrip", token.lstrip},  {"rstrip", token.rstrip},   {"normalized", token.normalized},
          {"special", token.special}};
}

// The settings' tokens, and the named special ones that stand in the vocabulary only.
bj::array added_tokens(const bj::object& vocabulary, const TokenizerSettings& settings) {
  bj::array list;
  std::unordered_set<std::string_view> known;
  for (const AddedToken& token : settings.added) {
    list.push_back(added_token(token));
    known.insert(token.content);
  }
  for (const std::string& name : settings.specials) {
    const bj::value* id = vocabulary.if_contains(name);
    if (id == nullptr || !id->is_int64() || !known.insert(name).second) continue;
    list.push_back(
        bj::object{{"id", *id}, {"content", name}, {"normalized", false}, {"special", true}});
  }
  return list;
}

StatusOr<int64_t> id_of(std::string_view token, const bj::object& vocabulary,
                        const TokenizerSettings& settings) {
  for (const AddedToken& added : settings.added) {
    if (added.content == token) return added.id;
  }
  const bj::value* id = vocabulary.if_contains(token);
  if (id == nullptr || !id->is_int64())
    return data_loss("the token '" + std::string(token.substr(0, 100)) +
                     "' is not in the vocabulary");
  return id->get_int64();
}

// A TemplateProcessing of `before`, the text, and `after`; either may be empty.
StatusOr<bj::value> ends(std::string_view before, std::string_view after,
                         const bj::object& vocabulary, const TokenizerSettings& settings) {
  bj::array single;
  bj::object ids;
  const auto put = [&](std::string_view token) -> Status {
    if (token.empty()) return ok_status();
    ASSIGN_OR_RETURN(const int64_t id, id_of(token, vocabulary, settings));
    single.push_back(bj::object{{"SpecialToken", {{"id", token}}}});
    ids[token] = {{"ids", bj::array{id}}};
    return ok_status();
  };
  RETURN_IF_ERROR(put(before));
  single.push_back(bj::object{{"Sequence", {{"id", "A"}}}});
  RETURN_IF_ERROR(put(after));
  return bj::value{{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", ids}};
}

StatusOr<bj::array> read_merges(std::string_view text) {
  if (!valid_utf8(text)) return data_loss("merges.txt is not UTF-8");
  bj::array merges;
  Lines lines(text);
  int64_t number = 0;
  for (std::string_view line; lines.next(line);) {
    if (++number > kMaxLines) return data_loss("merges.txt has more than 16,777,216 lines");
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
      return data_loss("merges.txt, line " + std::to_string(number) + " is no pair of tokens");
    merges.push_back(bj::array{line.substr(0, space), line.substr(space + 1)});
  }
  return merges;
}

// How the classes that read vocab.json and merges.txt differ.
struct ByteLevelClass {
  std::string_view name;
  KnownPattern pattern = KnownPattern::kGpt2;
  bool nfc = false;
  bool cls_and_sep = false;
};
constexpr ByteLevelClass kByteLevelClasses[] = {
    {"GPT2Tokenizer"},
    {"CodeGenTokenizer"},
    {"RobertaTokenizer", KnownPattern::kGpt2, false, true},
    {"BartTokenizer", KnownPattern::kGpt2, false, true},
    {"LongformerTokenizer", KnownPattern::kGpt2, false, true},
    {"Qwen2Tokenizer", KnownPattern::kQwen2, true, false},
};

StatusOr<ByteLevelClass> find_class(const TokenizerSettings& settings) {
  std::string_view name = settings.tokenizer_class();
  if (name.empty())
    name = settings.model_type.starts_with("qwen2") ? "Qwen2Tokenizer" : "GPT2Tokenizer";
  for (const ByteLevelClass& known : kByteLevelClasses) {
    if (known.name == name) return known;
  }
  return unimplemented("vocab.json and merges.txt of the tokenizer_class '" +
                       std::string(name.substr(0, 100)) + "'");
}

std::string_view special_or(const TokenizerSettings& settings, std::string_view role,
                            std::string_view otherwise) {
  const std::string_view given = settings.special(role);
  return given.empty() ? otherwise : given;
}

// `settings` with the special tokens that a class has without being told, where the vocabulary
// does.
TokenizerSettings roberta_settings(TokenizerSettings settings) {
  settings.specials.insert(settings.specials.end(), {"<s>", "<pad>", "</s>", "<unk>", "<mask>"});
  return settings;
}
TokenizerSettings bert_settings(TokenizerSettings settings) {
  constexpr std::pair<const char*, const char*> kRoles[] = {{"unk_token", "[UNK]"},
                                                            {"sep_token", "[SEP]"},
                                                            {"pad_token", "[PAD]"},
                                                            {"cls_token", "[CLS]"},
                                                            {"mask_token", "[MASK]"}};
  for (const auto& [role, name] : kRoles)
    settings.specials.emplace_back(special_or(settings, role, name));
  return settings;
}

}  // namespace

StatusOr<std::unique_ptr<Tokenizer>> parse_vocab_json(std::string_view vocabulary,
                                                      std::string_view merges,
                                                      const TokenizerSettings& settings) {
  ASSIGN_OR_RETURN(const ByteLevelClass form, find_class(settings));
  ASSIGN_OR_RETURN(bj::object ids, parse_json_object(vocabulary, "vocab.json"));
  ASSIGN_OR_RETURN(bj::array pairs, read_merges(merges));
  const bool prefix_space = json_bool(settings.config, "add_prefix_space", false);
  const bj::value bytes = {{"type", "ByteLevel"},
                           {"add_prefix_space", prefix_space},
                           {"trim_offsets", true},
                           {"use_regex", form.pattern == KnownPattern::kGpt2}};
  bj::object root;
  root["added_tokens"] =
      added_tokens(ids, form.cls_and_sep ? roberta_settings(settings) : settings);
  root["decoder"] = bytes;
  root["pre_tokenizer"] = bytes;
  if (form.pattern != KnownPattern::kGpt2) {
    const bj::value split = {{"type", "Split"},
                             {"pattern", {{"Regex", pattern_regex(form.pattern)}}},
                             {"behavior", "Isolated"},
                             {"invert", false}};
    root["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", bj::array{split, bytes}}};
  }
  if (form.nfc) root["normalizer"] = {{"type", "NFC"}};
  std::string_view before = "", after = "";
  if (form.cls_and_sep) {
    before = special_or(settings, "cls_token", "<s>");
    after = special_or(settings, "sep_token", "</s>");
  } else {
    if (json_bool(settings.config, "add_bos_token", false)) before = settings.special("bos_token");
    if (json_bool(settings.config, "add_eos_token", false)) after = settings.special("eos_token");
  }
  if (!before.empty() || !after.empty()) {
    ASSIGN_OR_RETURN(root["post_processor"], ends(before, after, ids, settings));
  }
  root["model"] = bj::object{{"type", "BPE"}};
  bj::object& model = root["model"].get_object();
  model["vocab"] = std::move(ids);
  model["merges"] = std::move(pairs);
  return build_tokenizer(root);
}

StatusOr<std::unique_ptr<Tokenizer>> parse_vocab_txt(std::string_view vocabulary,
                                                     const TokenizerSettings& settings) {
  const std::string_view name = settings.tokenizer_class();
  const bool bert = name.empty() || name == "BertTokenizer" || name == "DistilBertTokenizer" ||
                    name == "ElectraTokenizer";
  if (!bert) {
    return unimplemented("vocab.txt of the tokenizer_class '" + std::string(name.substr(0, 100)) +
                         "'");
  }
  if (!valid_utf8(vocabulary)) return data_loss("vocab.txt is not UTF-8");
  bj::object ids;
  int64_t id = 0;
  Lines lines(vocabulary);
  for (std::string_view line; lines.next(line);) {
    if (id == kMaxLines) return data_loss("vocab.txt has more than 16,777,216 lines");
    ids[line] = id++;
  }

  const bool lowercase = json_bool(settings.config, "do_lower_case", true);
  bj::object root;
  root["added_tokens"] = added_tokens(ids, bert_settings(settings));
  root["normalizer"] = {
      {"type", "BertNormalizer"},
      {"clean_text", true},
      {"handle_chinese_chars", json_bool(settings.config, "tokenize_chinese_chars", true)},
      {"strip_accents", json_bool(settings.config, "strip_accents", lowercase)},
      {"lowercase", lowercase}};
  root["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  root["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  ASSIGN_OR_RETURN(root["post_processor"],
                   ends(special_or(settings, "cls_token", "[CLS]"),
                        special_or(settings, "sep_token", "[SEP]"), ids, settings));
  root["model"] = bj::object{{"type", "WordPiece"},
                             {"unk_token", special_or(settings, "unk_token", "[UNK]")},
                             {"continuing_subword_prefix", "##"},
                             {"max_input_chars_per_word", 100}};
  root["model"].get_object()["vocab"] = std::move(ids);
  return build_tokenizer(root);
}

}  // namespace octavo::text
