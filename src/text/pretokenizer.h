// Pretokenizer: cuts text into the pieces ("words") that the model works within, as the steps under
// `pre_tokenizer` in tokenizer.json say. The patterns of the great families are scanned by hand
// (pattern_scanner.h); any other goes through PCRE2. Called by the tokenizer. Immutable; any
// thread.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "octavo/status.h"
#include "text/pattern_scanner.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace octavo::text {

// A literal string or a regular expression, as the file writes {"String": …} or {"Regex": …}.
struct Pattern {
  std::string literal;
  std::shared_ptr<const Regex> regex;  // null: the literal counts

  StatusOr<bool> find(std::string_view text, size_t from, size_t& begin, size_t& end) const;
};

enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct SplitStep {
  std::optional<KnownPattern>
      known;  // then the pieces are its matches, and the rest does not count
  Pattern pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
};
// Always the last step: the model then reads bytes.
struct ByteLevelStep {
  bool add_prefix_space = false;
  bool use_regex = true;
};
struct DigitsStep {
  bool individual = false;
};
struct MetaspaceStep {
  enum class Prepend { kAlways, kFirst, kNever };
  std::string replacement;
  Prepend prepend = Prepend::kAlways;
  bool split = true;
};
// Cuts at single characters of a kind, as Split does at matches.
struct CharSplitStep {
  enum class Kind { kSpace, kPunctuation, kDelimiter };
  Kind kind = Kind::kSpace;
  SplitBehavior behavior = SplitBehavior::kRemoved;
  char32_t delimiter = 0;  // of kDelimiter
};
struct WordsStep {};    // runs of word characters, and runs of what is neither word nor space
struct ScriptsStep {};  // cuts where one script follows another
struct FixedLengthStep {
  size_t chars = 5;
};
using PretokenizerStep = std::variant<SplitStep, ByteLevelStep, DigitsStep, MetaspaceStep,
                                      CharSplitStep, WordsStep, ScriptsStep, FixedLengthStep>;

class Pretokenizer {
 public:
  // REQUIRES: a ByteLevelStep only at the end.
  explicit Pretokenizer(std::vector<PretokenizerStep> steps = {});

  bool byte_level() const { return byte_level_; }
  // Set when the steps together are this pattern alone: the caller may run the scanner itself.
  const std::optional<PatternScanner>& sole_pattern() const { return sole_pattern_; }

  struct Piece {
    std::string_view text;
    bool at_start;  // nothing of the input stands before it
  };
  // Pieces of one text; their characters live in `storage` where a step rewrote them.
  struct Pieces {
    std::vector<Piece> list;
    std::deque<std::string> storage;
  };
  // REQUIRES: valid UTF-8 that outlives `pieces`.
  Status split(std::string_view text, bool at_start, Pieces& pieces) const;

 private:
  std::vector<PretokenizerStep> steps_;
  bool byte_level_ = false;
  std::optional<PatternScanner> sole_pattern_;
};

}  // namespace octavo::text
