// Normalizer: what a tokenizer does to text before anything is cut: the steps under `normalizer` in
// tokenizer.json. Called by the tokenizer for each stretch between added tokens. Immutable; any
// thread.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "octavo/status.h"
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
using NormalizerStep = std::variant<NormalForm, PrependStep, ReplaceStep, LowercaseStep, StripStep>;

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
