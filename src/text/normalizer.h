// Normalizer: what a tokenizer does to text before anything is cut: the steps under `normalizer` in
// tokenizer.json. Called by the tokenizer for each stretch between added tokens. Immutable; any
// thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "octavo/status.h"
#include "octavo/text.h"
#include "text/charsmap.h"
#include "text/pretokenizer.h"
#include "text/sentencepiece_normalizer.h"
#include "text/unicode.h"

namespace octavo::text {

struct PrependStep {
  std::string prefix;  // nothing is put before an empty text
};
struct ReplaceStep {
  Pattern pattern;
  std::string content;
};
struct LowercaseStep {};
struct StripStep {
  bool left = true, right = true;
};
struct StripAccentsStep {};  // drops every mark; decomposes nothing
struct NmtStep {
};  // SentencePiece's rules for machine translation: controls go, odd spaces become ' '
struct ByteLevelAlphabetStep {};  // bytes to GPT-2's alphabet
struct BertStep {
  bool clean_text = true;            // controls go, white space becomes ' '
  bool handle_chinese_chars = true;  // a space on both sides of each ideograph
  bool strip_accents = true;
  bool lowercase = true;
};
struct PrecompiledStep {
  std::shared_ptr<const Charsmap> map;
};
struct SentencePieceStep {
  std::shared_ptr<const SentencePieceNormalizer> rules;
};
using NormalizerStep =
    std::variant<NormalForm, PrependStep, ReplaceStep, LowercaseStep, StripStep, StripAccentsStep,
                 NmtStep, ByteLevelAlphabetStep, BertStep, PrecompiledStep, SentencePieceStep>;

// Every match of the step's pattern in `text`, replaced.
StatusOr<std::string> replace_all(const ReplaceStep& step, std::string_view text);

class Normalizer {
 public:
  explicit Normalizer(std::vector<NormalizerStep> steps = {}) : steps_(std::move(steps)) {}
  bool empty() const { return steps_.empty(); }

  // `text` itself, or its normal form kept in `storage`. `at_start`: nothing of the input stands
  // before it. REQUIRES: valid UTF-8.
  StatusOr<std::string_view> apply(std::string_view text, std::string& storage,
                                   bool at_start = true) const;

  // Where the ranges of `text` (ascending, disjoint) lie in `normalized`, its normal form. Each
  // part is normalised by itself; from the first part that reads otherwise than it does in the
  // whole (an accent that joins the letter before it), everything counts as one range.
  StatusOr<std::vector<TextRange>> map(std::string_view text, std::string_view normalized,
                                       std::span<const TextRange> ranges) const;

 private:
  StatusOr<std::string> apply_inside(std::string_view part, bool at_front) const;
  std::vector<NormalizerStep> steps_;
};

}  // namespace octavo::text
