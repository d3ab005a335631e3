// Each of the three is one step or a Sequence of them, which may nest; the JSON parser has bounded
// the nesting.
#include "text/tokenizer_steps_json.h"

#include <type_traits>

#include "base/status_macros.h"

namespace octavo::text {
namespace bj = boost::json;

const bj::value* json_member(const bj::object& object, std::string_view name) {
  const bj::value* value = object.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::string_view json_string(const bj::object& object, std::string_view name) {
  const bj::value* value = json_member(object, name);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string())
                                                : std::string_view();
}

bool json_bool(const bj::object& object, std::string_view name, bool otherwise) {
  const bj::value* value = json_member(object, name);
  return value != nullptr && value->is_bool() ? value->get_bool() : otherwise;
}

namespace {

constexpr size_t kMaxSteps = 64;
constexpr size_t kMaxContentBytes = 256;

Status unknown_step(std::string_view kind, std::string_view type) {
  return unimplemented(std::string(kind) + " '" + std::string(type.substr(0, 100)) + "'");
}

// A string that a step puts into text for each match or text: bounded, lest a short text become a
// huge one.
StatusOr<std::string> read_content(const bj::object& step, std::string_view name) {
  const bj::value* value = json_member(step, name);
  if (value == nullptr || !value->is_string())
    return data_loss("'" + std::string(name) + "' is no string");
  if (value->get_string().size() > kMaxContentBytes) {
    return data_loss("'" + std::string(name) + "' is longer than 256 bytes");
  }
  return std::string(value->get_string());
}

StatusOr<Pattern> read_pattern(const bj::object& step) {
  Pattern pattern;
  const bj::value* json = json_member(step, "pattern");
  if (json != nullptr && json->is_string()) {
    pattern.literal = json->get_string();
    return pattern;
  }
  if (json == nullptr || !json->is_object()) return data_loss("'pattern' is no object");
  if (const bj::value* literal = json->get_object().if_contains("String");
      literal && literal->is_string()) {
    pattern.literal = literal->get_string();
  } else if (const bj::value* regex = json->get_object().if_contains("Regex");
             regex && regex->is_string()) {
    ASSIGN_OR_RETURN(pattern.regex, Regex::compile(regex->get_string()));
  } else {
    return data_loss("'pattern' is neither a String nor a Regex");
  }
  return pattern;
}

StatusOr<std::string> read_replacement(const bj::object& step) {
  ASSIGN_OR_RETURN(std::string replacement, read_content(step, "replacement"));
  if (replacement.empty()) return data_loss("Metaspace without a replacement");
  return replacement;
}

StatusOr<MetaspaceStep::Prepend> read_prepend(const bj::object& step) {
  using Prepend = MetaspaceStep::Prepend;
  const std::string_view scheme = json_string(step, "prepend_scheme");
  if (scheme == "first") return Prepend::kFirst;
  if (scheme == "never") return Prepend::kNever;
  if (scheme == "always") return Prepend::kAlways;
  if (!scheme.empty()) return unknown_step("Metaspace prepend_scheme", scheme);
  return json_bool(step, "add_prefix_space", true) ? Prepend::kAlways
                                                   : Prepend::kNever;  // the older field
}

StatusOr<ReplaceStep> read_replace(const bj::object& step) {
  ReplaceStep replace;
  ASSIGN_OR_RETURN(replace.pattern, read_pattern(step));
  ASSIGN_OR_RETURN(replace.content, read_content(step, "content"));
  return replace;
}

StatusOr<NormalizerStep> read_normalizer_step(std::string_view type, const bj::object& step) {
  if (type == "NFC") return NormalizerStep(NormalForm::kNfc);
  if (type == "NFD") return NormalizerStep(NormalForm::kNfd);
  if (type == "NFKC") return NormalizerStep(NormalForm::kNfkc);
  if (type == "NFKD") return NormalizerStep(NormalForm::kNfkd);
  if (type == "Lowercase") return NormalizerStep(LowercaseStep{});
  if (type == "Strip") {
    return NormalizerStep(
        StripStep{json_bool(step, "strip_left", true), json_bool(step, "strip_right", true)});
  }
  if (type == "Prepend") {
    ASSIGN_OR_RETURN(std::string prefix, read_content(step, "prepend"));
    return NormalizerStep(PrependStep{std::move(prefix)});
  }
  if (type == "Replace") {
    ASSIGN_OR_RETURN(ReplaceStep replace, read_replace(step));
    return NormalizerStep(std::move(replace));
  }
  if (type == "StripAccents") return NormalizerStep(StripAccentsStep{});
  if (type == "Nmt") return NormalizerStep(NmtStep{});
  if (type == "ByteLevel") return NormalizerStep(ByteLevelAlphabetStep{});
  if (type == "BertNormalizer") {
    BertStep bert;
    bert.clean_text = json_bool(step, "clean_text", true);
    bert.handle_chinese_chars = json_bool(step, "handle_chinese_chars", true);
    bert.lowercase = json_bool(step, "lowercase", true);
    bert.strip_accents = json_bool(step, "strip_accents", bert.lowercase);
    return NormalizerStep(bert);
  }
  if (type == "Precompiled") {
    const bj::value* json = json_member(step, "precompiled_charsmap");
    if (json == nullptr || !json->is_string())
      return data_loss("Precompiled: 'precompiled_charsmap' is no string");
    ASSIGN_OR_RETURN(const std::string blob, decode_base64(json->get_string()));
    ASSIGN_OR_RETURN(Charsmap map, Charsmap::parse(blob));
    return NormalizerStep(PrecompiledStep{std::make_shared<const Charsmap>(std::move(map))});
  }
  return unknown_step("normalizer", type);
}

StatusOr<SplitBehavior> read_behavior(std::string_view of, std::string_view name) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return unknown_step(std::string(of) + " behavior", name);
}

StatusOr<SplitStep> read_split(const bj::object& json) {
  SplitStep step;
  ASSIGN_OR_RETURN(step.behavior, read_behavior("Split", json_string(json, "behavior")));
  step.invert = json_bool(json, "invert", false);
  // Where a known pattern matches everything, these two come to the same.
  const bool matches_are_pieces = (step.behavior == SplitBehavior::kIsolated && !step.invert) ||
                                  (step.behavior == SplitBehavior::kRemoved && step.invert);
  if (const bj::value* pattern = json_member(json, "pattern");
      matches_are_pieces && pattern != nullptr && pattern->is_object()) {
    step.known = find_known_pattern(json_string(pattern->get_object(), "Regex"));
    if (step.known && (!step.invert || covers_text(*step.known))) return step;
    step.known.reset();
  }
  ASSIGN_OR_RETURN(step.pattern, read_pattern(json));
  return step;
}

StatusOr<PretokenizerStep> read_pretokenizer_step(std::string_view type, const bj::object& json) {
  if (type == "Split") {
    ASSIGN_OR_RETURN(SplitStep step, read_split(json));
    return PretokenizerStep(std::move(step));
  }
  if (type == "ByteLevel") {
    return PretokenizerStep(ByteLevelStep{json_bool(json, "add_prefix_space", true),
                                          json_bool(json, "use_regex", true)});
  }
  if (type == "Digits")
    return PretokenizerStep(DigitsStep{json_bool(json, "individual_digits", false)});
  if (type == "Metaspace") {
    MetaspaceStep step;
    ASSIGN_OR_RETURN(step.replacement, read_replacement(json));
    ASSIGN_OR_RETURN(step.prepend, read_prepend(json));
    step.split = json_bool(json, "split", true);
    return PretokenizerStep(std::move(step));
  }
  if (type == "Whitespace") return PretokenizerStep(WordsStep{});
  if (type == "UnicodeScripts") return PretokenizerStep(ScriptsStep{});
  using Kind = CharSplitStep::Kind;
  if (type == "WhitespaceSplit")
    return PretokenizerStep(CharSplitStep{Kind::kSpace, SplitBehavior::kRemoved});
  if (type == "Punctuation") {
    const std::string_view name = json_string(json, "behavior");
    ASSIGN_OR_RETURN(const SplitBehavior behavior,
                     read_behavior("Punctuation", name.empty() ? "Isolated" : name));
    return PretokenizerStep(CharSplitStep{Kind::kPunctuation, behavior});
  }
  if (type == "CharDelimiterSplit") {
    const std::string_view text = json_string(json, "delimiter");
    int length = 0;
    const char32_t delimiter = text.empty() ? 0 : decode_valid(text.data(), length);
    if (text.empty() || static_cast<size_t>(length) != text.size())
      return data_loss("CharDelimiterSplit: 'delimiter' is not one character");
    return PretokenizerStep(CharSplitStep{Kind::kDelimiter, SplitBehavior::kRemoved, delimiter});
  }
  if (type == "FixedLength") {
    const bj::value* length = json_member(json, "length");
    if (length != nullptr && (!length->is_int64() || length->get_int64() < 1))
      return data_loss("FixedLength: 'length' is no positive count");
    return PretokenizerStep(
        FixedLengthStep{length != nullptr ? static_cast<size_t>(length->get_int64()) : 5});
  }
  return unknown_step("pre-tokenizer", type);
}

StatusOr<int> read_count(const bj::object& json, std::string_view name) {
  const bj::value* value = json_member(json, name);
  if (value == nullptr || !value->is_int64() || value->get_int64() < 0 ||
      value->get_int64() > 1024) {
    return data_loss("Strip: '" + std::string(name) + "' is no count");
  }
  return static_cast<int>(value->get_int64());
}

StatusOr<DecoderStep> read_decoder_step(std::string_view type, const bj::object& json) {
  if (type == "ByteLevel") return DecoderStep(ByteLevelDecode{});
  if (type == "ByteFallback") return DecoderStep(ByteFallbackDecode{});
  if (type == "Fuse") return DecoderStep(FuseDecode{});
  if (type == "Strip") {
    StripDecode step;
    ASSIGN_OR_RETURN(step.content, read_content(json, "content"));
    if (step.content.empty()) return data_loss("Strip without content");
    ASSIGN_OR_RETURN(step.start, read_count(json, "start"));
    ASSIGN_OR_RETURN(step.stop, read_count(json, "stop"));
    return DecoderStep(std::move(step));
  }
  if (type == "Replace") {
    ASSIGN_OR_RETURN(ReplaceStep replace, read_replace(json));
    return DecoderStep(std::move(replace));
  }
  if (type == "Metaspace") {
    ASSIGN_OR_RETURN(std::string replacement, read_replacement(json));
    ASSIGN_OR_RETURN(const MetaspaceStep::Prepend prepend, read_prepend(json));
    return DecoderStep(
        MetaspaceDecode{std::move(replacement), prepend != MetaspaceStep::Prepend::kNever});
  }
  if (type == "WordPiece") {
    WordPieceDecode step;
    ASSIGN_OR_RETURN(step.prefix, read_content(json, "prefix"));
    step.cleanup = json_bool(json, "cleanup", true);
    return DecoderStep(std::move(step));
  }
  if (type == "BPEDecoder") {
    ASSIGN_OR_RETURN(std::string suffix, read_content(json, "suffix"));
    if (suffix.empty()) return data_loss("BPEDecoder without a suffix");
    return DecoderStep(BpeDecode{std::move(suffix)});
  }
  if (type == "CTC") {
    CtcDecode step;
    ASSIGN_OR_RETURN(step.pad, read_content(json, "pad_token"));
    ASSIGN_OR_RETURN(step.delimiter, read_content(json, "word_delimiter_token"));
    if (step.pad.empty() || step.delimiter.empty())
      return data_loss("CTC without a pad_token or a word_delimiter_token");
    step.cleanup = json_bool(json, "cleanup", true);
    return DecoderStep(std::move(step));
  }
  return unknown_step("decoder", type);
}

// The steps of `json`, a step or a Sequence whose list is called `list_name`, appended to `steps`.
template <typename Step, typename ReadStep>
Status read_steps(std::string_view kind, std::string_view list_name, const bj::value& json,
                  ReadStep read_step, std::vector<Step>& steps) {
  if (!json.is_object()) return data_loss(std::string(kind) + " is no object");
  const bj::object& object = json.get_object();
  const std::string_view type = json_string(object, "type");
  if (type != "Sequence") {
    if (steps.size() == kMaxSteps) return data_loss(std::string(kind) + " has more than 64 steps");
    if constexpr (std::is_same_v<Step, PretokenizerStep>) {
      if (type == "BertPreTokenizer") {  // two steps in one
        using Kind = CharSplitStep::Kind;
        steps.push_back(CharSplitStep{Kind::kSpace, SplitBehavior::kRemoved});
        steps.push_back(CharSplitStep{Kind::kPunctuation, SplitBehavior::kIsolated});
        return ok_status();
      }
    }
    StatusOr<Step> step = read_step(type, object);
    if (!step.ok()) return step.status().with_context(kind);
    steps.push_back(std::move(step).value());
    return ok_status();
  }
  const bj::value* list = json_member(object, list_name);
  if (list == nullptr || !list->is_array()) {
    return data_loss(std::string(kind) + " Sequence without a list '" + std::string(list_name) +
                     "'");
  }
  for (const bj::value& item : list->get_array()) {
    RETURN_IF_ERROR(read_steps(kind, list_name, item, read_step, steps));
  }
  return ok_status();
}

}  // namespace

StatusOr<Normalizer> read_normalizer(const bj::value* json) {
  std::vector<NormalizerStep> steps;
  if (json != nullptr) {
    RETURN_IF_ERROR(read_steps("normalizer", "normalizers", *json, read_normalizer_step, steps));
  }
  return Normalizer(std::move(steps));
}

StatusOr<Pretokenizer> read_pretokenizer(const bj::value* json) {
  std::vector<PretokenizerStep> steps;
  if (json != nullptr) {
    RETURN_IF_ERROR(
        read_steps("pre_tokenizer", "pretokenizers", *json, read_pretokenizer_step, steps));
  }
  for (size_t i = 0; i + 1 < steps.size(); ++i) {
    if (std::holds_alternative<ByteLevelStep>(steps[i])) {
      return unimplemented("pre_tokenizer: a step behind ByteLevel");
    }
  }
  return Pretokenizer(std::move(steps));
}

StatusOr<Decoder> read_decoder(const bj::value* json) {
  if (json == nullptr) {  // then tokens stand with spaces between them
    return Decoder::make({WordPieceDecode{.prefix = {}, .cleanup = false}});
  }
  std::vector<DecoderStep> steps;
  RETURN_IF_ERROR(read_steps("decoder", "decoders", *json, read_decoder_step, steps));
  return Decoder::make(std::move(steps));
}

}  // namespace octavo::text
