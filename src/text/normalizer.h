// Normalizer: what a tokenizer does to text before anything is cut: the steps under `normalizer` in
// tokenizer.json. Called by the tokenizer for each stretch between added tokens. Immutable; any
// thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "octavo/status.h"
#include "text/charsmap.h"
#include "text/pretokenizer.h"
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
using NormalizerStep =
    std::variant<NormalForm, PrependStep, ReplaceStep, LowercaseStep, StripStep, StripAccentsStep,
                 NmtStep, ByteLevelAlphabetStep, BertStep, PrecompiledStep>;

// Every match of the step's pattern in `text`, replaced.
StatusOr<std::string> replace_all(const ReplaceStep& step, std::string_view text);

class Normalizer {
 public:
  explicit Normalizer(std::vector<NormalizerStep> steps = {}) : steps_(std::move(steps)) {}
  bool empty() const { return steps_.empty(); }

  // `text` itself, or its normal form kept in `storage`. REQUIRES: valid UTF-8.
  StatusOr<std::string_view> apply(std::string_view text, std::string& storage) const;

 private:
  std::vector<NormalizerStep> steps_;
};

}  // namespace octavo::text
