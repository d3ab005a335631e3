// SamplingParams: how the tokens of one request are chosen and when they end. Names, defaults and
// ranges are vLLM's. A plain value; any thread may use its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "octavo/status.h"

namespace octavo {

using TokenId = int32_t;

// What an answer must look like, whatever the model would rather say. Only tokens that lead there
// are drawn, and the end of the answer only where it is complete.
struct StructuredOutput {
  enum class Kind { kJsonSchema, kJsonObject, kRegex, kChoice, kGrammar, kStructuralTag };
  Kind kind = Kind::kJsonObject;
  // kJsonSchema: the schema, as JSON; kJsonObject: nothing; kRegex: the whole answer matches it;
  // kChoice: a JSON list of strings; kGrammar: EBNF in GBNF's dialect, from its rule `root`;
  // kStructuralTag: JSON, {"type": "structural_tag", "format": …} or the older {"structures": …,
  // "triggers": …}.
  std::string text;
  // Of the JSON kinds: no white space but one blank after `:` and `,`.
  bool disable_any_whitespace = false;
  std::string field = "structured_outputs";  // of a request: what an error names as its `param`
};

// The thinking that may come before an answer. Neither `structured_output` nor anything else that
// constrains the answer holds within it.
struct ThinkingBlock {
  std::string start;  // "<think>"; empty: the model cannot open a block
  std::string end;    // "</think>"
  bool open = false;  // the prompt has opened the block; else the answer may begin with it
  std::optional<int> max_tokens;  // so many tokens between start and end, then `end` is forced
};

// Ends an answer that goes round in circles: min_count times the same pattern of tokens, one right
// after the other, at its end. With the reason FinishReason::kRepetition.
struct RepetitionDetection {
  int max_pattern_size = 0;  // tokens, at most 2048; 0: off
  int min_pattern_size = 0;  // tokens; 0 counts as 1
  int min_count = 0;         // at least 2, unless it is off
};

struct SamplingParams {
  int n = 1;                     // sequences for one prompt
  float presence_penalty = 0;    // [-2, 2], over output tokens
  float frequency_penalty = 0;   // [-2, 2], over output tokens
  float repetition_penalty = 1;  // > 0, over prompt and output tokens
  float temperature = 1;         // [0, 2]; below 1e-5 is greedy
  float top_p = 1;               // (0, 1]
  int top_k = 0;                 // 0 or -1: off
  float min_p = 0;               // [0, 1]
  std::optional<int64_t> seed;   // none: drawn from the engine's seed
  std::vector<std::string> stop;
  std::vector<TokenId> stop_token_ids;
  bool ignore_eos = false;
  std::optional<int> max_tokens = 16;  // none: as many as the context holds
  int min_tokens = 0;                  // end-of-sequence and stop ids cannot be drawn before
  std::optional<int> logprobs;         // k most likely alternatives; -1: the whole vocabulary
  std::optional<int> prompt_logprobs;
  std::vector<std::pair<TokenId, float>> logit_bias;  // values are clamped to [-100, 100]
  std::optional<std::vector<TokenId>> allowed_token_ids;
  std::vector<std::string> bad_words;
  bool include_stop_str_in_output = false;
  bool skip_special_tokens = true;
  std::vector<TokenId> shown_special_tokens;  // ascending; these are text even so
  bool detokenize = true;
  std::optional<StructuredOutput> structured_output;
  std::optional<ThinkingBlock> thinking;  // of models that think, as the prompt left it
  std::optional<RepetitionDetection> repetition_detection;  // none: off

  // Checks ranges, with vLLM's words, and what needs the vocabulary when vocab_size > 0. Normalises
  // on the way as vLLM does: greedy resets top_p, top_k and min_p; a temperature in (0, 0.01)
  // becomes 0.01. `max_logprobs` is the server's --max-logprobs.
  Status validate(int vocab_size, int max_logprobs = 20);

  bool greedy() const { return temperature < 1e-5f; }
};

}  // namespace octavo
