// Patterns as OpenAI, Meta, Alibaba, Zhipu and Moonshot publish them. The two that stand here go
// through PCRE2 and are in its words: "\z" for "$", and for "[…&&[^…]]" all that is in neither.
#include "text/tiktoken_form.h"

#include <utility>

#include "text/pattern_scanner.h"

namespace octavo::text {
namespace {

constexpr std::string_view kCl100k =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++\z|\s*[\r\n]|\s+(?!\S)|\s)";
constexpr std::string_view kKimi =
    R"([\p{sc:Han}]+|[^\r\n\p{L}\p{N}]?[^\p{Ll}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{sc:Han}]*[^\p{Lu}\p{Lt}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{sc:Han}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[^\p{Ll}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{sc:Han}]+[^\p{Lu}\p{Lt}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{sc:Han}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr size_t kLlama3Ranks = 128000;

// Names in the order of their ids, from `first` on.
void append_names(std::vector<std::string> names, size_t first, TiktokenForm& form) {
  for (std::string& name : names)
    form.specials.push_back({std::move(name), static_cast<TokenId>(first++)});
}

std::vector<std::string> numbered(std::string_view front, int begin, int end) {
  std::vector<std::string> names;
  for (int i = begin; i < end; ++i) names.push_back(std::string(front) + std::to_string(i) + "|>");
  return names;
}

TiktokenForm o200k_harmony() {
  TiktokenForm form;
  form.pattern = pattern_regex(KnownPattern::kO200k);
  append_names({"<|startoftext|>", "<|endoftext|>", "<|reserved_200000|>", "<|reserved_200001|>",
                "<|return|>", "<|constrain|>", "<|reserved_200004|>", "<|channel|>", "<|start|>",
                "<|end|>", "<|message|>", "<|reserved_200009|>", "<|reserved_200010|>",
                "<|reserved_200011|>", "<|call|>"},
               199998, form);
  append_names(numbered("<|reserved_", 200013, 200018), 200013, form);
  append_names({"<|endofprompt|>"}, 200018, form);
  append_names(numbered("<|reserved_", 200019, 201088), 200019, form);
  return form;
}

TiktokenForm llama3(size_t ranks) {
  TiktokenForm form;
  form.pattern = pattern_regex(KnownPattern::kLlama3);
  append_names({"<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
                "<|reserved_special_token_1|>", "<|reserved_special_token_2|>",
                "<|reserved_special_token_3|>", "<|start_header_id|>", "<|end_header_id|>",
                "<|reserved_special_token_4|>", "<|eot_id|>"},
               ranks, form);
  append_names(numbered("<|reserved_special_token_", 5, 251), ranks + 10, form);
  form.before = {"<|begin_of_text|>"};
  return form;
}

TiktokenForm qwen(size_t ranks) {
  TiktokenForm form;
  form.pattern = pattern_regex(KnownPattern::kQwen2);
  form.normalizer = "NFC";
  append_names({"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, ranks, form);
  append_names(numbered("<|extra_", 0, 205), ranks + 3, form);
  return form;
}

TiktokenForm with(std::string_view pattern, std::vector<TiktokenForm::Special> specials = {}) {
  TiktokenForm form;
  form.pattern = pattern;
  form.specials = std::move(specials);
  return form;
}

}  // namespace

std::optional<TiktokenForm> find_tiktoken_form(std::string_view file_name,
                                               std::string_view tokenizer_class, size_t ranks) {
  const std::string_view stem = file_name.substr(0, file_name.rfind('.'));
  if (tokenizer_class == "QWenTokenizer" || stem == "qwen") return qwen(ranks);
  if (tokenizer_class == "TikTokenTokenizer") {
    TiktokenForm form = with(kKimi);
    form.reserved = 256;
    return form;
  }
  if (tokenizer_class == "ChatGLM4Tokenizer") {
    TiktokenForm form = with(pattern_regex(KnownPattern::kLlama3));
    form.before = {"[gMASK]", "<sop>"};
    return form;
  }
  if (stem == "r50k_base" || stem == "p50k_base")
    return with(pattern_regex(KnownPattern::kGpt2), {{"<|endoftext|>", 50256}});
  if (stem == "cl100k_base") {
    return with(kCl100k, {{"<|endoftext|>", 100257},
                          {"<|fim_prefix|>", 100258},
                          {"<|fim_middle|>", 100259},
                          {"<|fim_suffix|>", 100260},
                          {"<|endofprompt|>", 100276}});
  }
  if (stem == "o200k_base")
    return with(pattern_regex(KnownPattern::kO200k),
                {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}});
  if (stem == "o200k_harmony") return o200k_harmony();
  if (ranks == kLlama3Ranks && tokenizer_class.empty()) return llama3(ranks);
  return std::nullopt;
}

}  // namespace octavo::text
