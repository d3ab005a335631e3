// The bodies of /v1/completions and /tokenize as native types, and what chat requests share with
// them (chat_request.h). Behind these files nothing sees JSON. Pure functions, run on the I/O pool;
// fuzzed by tests/fuzz/http_json_fuzz.cc.
//
// Rules: types are strict (json_fields.h); a field the user did not give takes the model's default
// sampling; a known field that we do not support and that would change the answer is refused by
// name; unknown ones pass.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "octavo/sampling_params.h"
#include "octavo/status.h"
#include "octavo/text.h"
#include "octavo/value.h"

namespace octavo::serve {

using PromptInput = std::variant<std::string, std::vector<TokenId>>;

// How the answer is to look; what the engine does not need to know.
struct AnswerOptions {
  bool stream = false;
  bool include_usage = false;     // one more chunk, with the usage
  bool continuous_usage = false;  // usage in every chunk
  bool echo = false;
  bool echo_only = false;        // completions, max_tokens 0: nothing but the prompt is returned
  std::optional<int> logprobs;   // alternatives to show; the engine may have been asked for more
  bool prompt_logprobs = false;  // shown (echo with logprobs also asks the engine for them)
  bool return_token_ids = false;
  bool return_prompt_text = false;  // chat
  bool tokens_as_ids = false;       // "token_id:42" for tokens in logprobs; of GenerationFields
  int stream_interval = 1;          // tokens per event
  bool timings = false;             // llama-server's, with what ends a choice
  bool timings_per_token = false;   // and in every chunk
  bool request_metrics = false;     // vLLM's, of an answer of one choice
};

// What both endpoints share.
struct GenerationFields {
  std::string model;  // empty: not given
  SamplingParams sampling;
  std::optional<int> max_tokens;  // as given; resolve_max_tokens() makes sampling.max_tokens of it
  std::string max_tokens_field = "max_tokens";  // by which name
  AnswerOptions answer;
  std::optional<int> thinking_token_budget;  // none: thinking may take what the answer may
  std::optional<int64_t> priority;
  std::optional<bool> tokens_as_ids;  // none: as the server is set
  std::string request_id;
  std::string cache_salt;
  std::optional<int> truncate_prompt_tokens;  // keep so many; -1: as many as fit
  bool truncate_left = true;                  // which end is dropped
  bool add_special_tokens = true;
};

struct CompletionsRequest : GenerationFields {
  std::vector<PromptInput> prompts;  // 1 to 1024
};

struct TokenizeRequest {
  std::string model;
  std::variant<std::string, ChatPrompt> input;
  bool add_special_tokens = true;
  bool return_token_strs = false;
};

StatusOr<CompletionsRequest> parse_completions(const Value& body, const SamplingParams& defaults);
StatusOr<TokenizeRequest> parse_tokenize(const Value& body);

// Truncates as the request asks. Errors: asks for more than the context holds beside max_tokens.
Status truncate_prompt(const GenerationFields& fields, int max_model_len,
                       std::vector<TokenId>& prompt);

// Errors: asks for no answer, or for a longer one than the context holds, whatever the prompt.
Status check_max_tokens(const GenerationFields& fields, int max_model_len);

// vLLM's rule: the smallest of what the user gave, what generation_config.json allows and what the
// context has left; completions without max_tokens get 16, chat the rest of the context.
std::optional<int> resolve_max_tokens(const GenerationFields& fields,
                                      const SamplingParams& defaults, int max_model_len,
                                      int num_prompt_tokens);

}  // namespace octavo::serve
