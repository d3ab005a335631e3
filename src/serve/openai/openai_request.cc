#include "serve/openai/openai_request.h"

#include <algorithm>
#include <limits>

#include "base/status_macros.h"
#include "serve/errors.h"
#include "serve/json_fields.h"
#include "serve/openai/chat_request.h"
#include "serve/openai/request_fields.h"

namespace octavo::serve {

namespace {

constexpr size_t kMaxPrompts = 1024;

// A string, token ids, or a list of either kind, all of one kind.
void read_prompts(JsonFields& fields, std::vector<PromptInput>& out) {
  static constexpr std::string_view kExpected =
      "Input should be a string, a list of strings, a list of token ids or a list of lists of "
      "token ids";
  const Value* prompt = fields.get("prompt");
  if (prompt == nullptr) return fields.fail(shape_error("prompt", "Field required"));
  if (prompt->is_string()) return void(out.emplace_back(prompt->as_string()));
  if (!prompt->is_list()) return fields.fail(shape_error("prompt", kExpected));
  const Value::List& list = prompt->as_list();
  if (list.empty()) return fields.fail(field_error("prompt", "The prompt must not be empty."));
  if (list.front().is_number()) {
    std::vector<TokenId> ids;
    fields.read("prompt", ids);
    return void(out.emplace_back(std::move(ids)));
  }
  if (list.size() > kMaxPrompts) {
    return fields.fail(field_error("prompt", "At most " + std::to_string(kMaxPrompts) +
                                                 " prompts are accepted in one request, got " +
                                                 std::to_string(list.size()) + "."));
  }
  const bool strings = list.front().is_string();
  for (const Value& item : list) {
    if (strings && item.is_string()) {
      out.emplace_back(item.as_string());
      continue;
    }
    if (strings || !item.is_list()) return fields.fail(shape_error("prompt", kExpected));
    std::vector<TokenId> ids;
    ids.reserve(item.as_list().size());
    for (const Value& value : item.as_list()) {
      const auto id = as_token_id(value);
      if (!id) return fields.fail(shape_error("prompt", kExpected));
      ids.push_back(*id);
    }
    out.emplace_back(std::move(ids));
  }
}

}  // namespace

StatusOr<CompletionsRequest> parse_completions(const Value& body, const SamplingParams& defaults) {
  JsonFields fields(body);
  RETURN_IF_ERROR(fields.status());
  CompletionsRequest out;
  out.sampling = defaults;
  out.max_tokens = 16;
  read_common(fields, out);
  read_prompts(fields, out.prompts);
  out.answer.request_metrics = out.answer.request_metrics && out.prompts.size() == 1;
  fields.read("max_tokens", out.max_tokens);
  std::string suffix;
  fields.read("suffix", suffix);
  if (!suffix.empty()) {
    fields.fail(field_error("suffix",
                            "suffix is not currently supported: put what comes after into the "
                            "prompt, as the model was trained to see it."));
  }
  std::optional<int> logprobs;
  fields.read("logprobs", logprobs);
  if (logprobs) {
    fields.fail(check_logprobs("logprobs", *logprobs));
    out.answer.logprobs = out.sampling.logprobs = logprobs;
  }
  if (out.answer.echo) {
    if (!out.sampling.prompt_logprobs) out.sampling.prompt_logprobs = logprobs;
    out.answer.echo_only = out.max_tokens == 0;
    if (out.answer.echo_only) out.max_tokens = 1;
  }
  RETURN_IF_ERROR(fields.status());
  return out;
}

StatusOr<TokenizeRequest> parse_tokenize(const Value& body) {
  JsonFields fields(body);
  RETURN_IF_ERROR(fields.status());
  TokenizeRequest out;
  fields.read("model", out.model);
  fields.read("return_token_strs", out.return_token_strs);
  if (!fields.has("messages")) {
    std::string prompt;
    if (!fields.has("prompt")) fields.fail(shape_error("prompt", "Field required"));
    fields.read("prompt", prompt);
    out.input = std::move(prompt);
    fields.read("add_special_tokens", out.add_special_tokens);
    RETURN_IF_ERROR(fields.status());
    return out;
  }
  ChatPrompt chat;
  read_chat_prompt(fields, chat);
  out.add_special_tokens = false;
  fields.read("add_special_tokens", out.add_special_tokens);
  RETURN_IF_ERROR(fields.status());
  out.input = std::move(chat);
  return out;
}

Status truncate_prompt(const GenerationFields& fields, int max_model_len,
                       std::vector<TokenId>& prompt) {
  if (!fields.truncate_prompt_tokens) return ok_status();
  int keep = *fields.truncate_prompt_tokens;
  const int room = max_model_len - std::max(0, fields.max_tokens.value_or(0));
  if (keep > room) {
    return field_error("truncate_prompt_tokens", "truncate_prompt_tokens=" + std::to_string(keep) +
                                                     " cannot be greater than max_model_len - " +
                                                     fields.max_tokens_field + " = " +
                                                     std::to_string(room) +
                                                     ". Please request a smaller truncation size.");
  }
  // The answer needs one token at least.
  if (keep == -1) keep = std::max(1, std::min(room, max_model_len - 1));
  if (prompt.size() <= static_cast<size_t>(keep)) return ok_status();
  if (fields.truncate_left) {
    prompt.erase(prompt.begin(), prompt.end() - keep);
  } else {
    prompt.resize(keep);
  }
  return ok_status();
}

Status check_max_tokens(const GenerationFields& fields, int max_model_len) {
  if (!fields.max_tokens) return ok_status();
  const std::string& field = fields.max_tokens_field;
  if (*fields.max_tokens < 1) {
    return field_error(
        field, field + " must be at least 1, got " + std::to_string(*fields.max_tokens) + ".");
  }
  if (*fields.max_tokens <= max_model_len) return ok_status();
  return field_error(field,
                     field + "=" + std::to_string(*fields.max_tokens) +
                         " cannot be greater than max_model_len=" + std::to_string(max_model_len) +
                         ". Please request fewer output tokens.");
}

std::optional<int> resolve_max_tokens(const GenerationFields& fields,
                                      const SamplingParams& defaults, int max_model_len,
                                      int num_prompt_tokens) {
  std::optional<int> limit = fields.max_tokens;
  // SamplingParams' own default is no word of the model's.
  if (defaults.max_tokens && defaults.max_tokens != SamplingParams{}.max_tokens) {
    int cap = *defaults.max_tokens;
    if (!limit) cap = std::min(cap, std::max(1, max_model_len - num_prompt_tokens));
    limit = std::min(limit.value_or(std::numeric_limits<int>::max()), cap);
  }
  return limit;
}

}  // namespace octavo::serve
