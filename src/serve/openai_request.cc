#include "serve/openai_request.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/status_macros.h"
#include "serve/chat_messages.h"
#include "serve/errors.h"
#include "serve/json_fields.h"

namespace octavo::serve {

namespace {

constexpr size_t kMaxPrompts = 1024;
constexpr size_t kMaxStopStrings = 4;

Status field_error(std::string_view field, std::string message) {
  return invalid_argument(std::move(message)).with_param(std::string(field));
}

Status unsupported(std::string_view field) {
  return field_error(field, "`" + std::string(field) + "` is not supported.");
}

// Fields that would change the answer and that we cannot honour. A null or a value that asks for
// nothing passes.
void refuse_unsupported(JsonFields& fields) {
  static constexpr std::string_view kRefused[] = {"structured_outputs",
                                                  "guided_json",
                                                  "guided_regex",
                                                  "guided_choice",
                                                  "guided_grammar",
                                                  "logprob_token_ids",
                                                  "thinking_token_budget",
                                                  "repetition_detection",
                                                  "kv_transfer_params",
                                                  "ec_transfer_params",
                                                  "vllm_xargs",
                                                  "prompt_embeds",
                                                  "functions",
                                                  "function_call",
                                                  "audio",
                                                  "web_search_options",
                                                  "logits_processors"};
  for (const std::string_view name : kRefused) {
    if (fields.has(name)) fields.fail(unsupported(name));
  }
  bool beam_search = false;
  fields.read("use_beam_search", beam_search);
  if (beam_search) fields.fail(unsupported("use_beam_search"));
  if (const auto* format = fields.dict("response_format")) {
    const Value* type = fields.get("response_format")->find("type");
    if (type == nullptr || !type->is_string() || format->empty()) {
      fields.fail(shape_error("response_format.type", "Field required"));
    } else if (type->as_string() != "text") {
      fields.fail(field_error("response_format", "`response_format` of type `" + type->as_string() +
                                                     "` is not supported."));
    }
  }
}

void read_logit_bias(JsonFields& fields, SamplingParams& sampling) {
  const Value::Dict* bias = fields.dict("logit_bias");
  if (bias == nullptr) return;
  for (const auto& [key, value] : *bias) {
    TokenId id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size()) {
      return fields.fail(
          field_error("logit_bias", "Invalid key in logit_bias: `" + key + "` is no token id."));
    }
    if (!value.is_number()) {
      return fields.fail(shape_error("logit_bias." + key, "Input should be a valid number"));
    }
    sampling.logit_bias.emplace_back(
        id, static_cast<float>(std::clamp(value.as_double(), -100.0, 100.0)));
  }
}

void read_sampling(JsonFields& fields, SamplingParams& s) {
  fields.read("n", s.n);
  fields.read("presence_penalty", s.presence_penalty);
  fields.read("frequency_penalty", s.frequency_penalty);
  fields.read("repetition_penalty", s.repetition_penalty);
  fields.read("temperature", s.temperature);
  fields.read("top_p", s.top_p);
  fields.read("top_k", s.top_k);
  fields.read("min_p", s.min_p);
  fields.read("seed", s.seed);
  if (s.seed == -1) s.seed.reset();
  fields.read_strings("stop", s.stop);
  if (s.stop.size() > kMaxStopStrings) {
    fields.fail(field_error("stop", "At most " + std::to_string(kMaxStopStrings) +
                                        " stop strings are accepted, got " +
                                        std::to_string(s.stop.size()) + "."));
  }
  fields.read("stop_token_ids", s.stop_token_ids);
  fields.read("ignore_eos", s.ignore_eos);
  fields.read("min_tokens", s.min_tokens);
  fields.read("prompt_logprobs", s.prompt_logprobs);
  fields.read("allowed_token_ids", s.allowed_token_ids);
  fields.read_strings("bad_words", s.bad_words);
  fields.read("include_stop_str_in_output", s.include_stop_str_in_output);
  fields.read("skip_special_tokens", s.skip_special_tokens);
  read_logit_bias(fields, s);
}

void read_stream_options(JsonFields& fields, AnswerOptions& answer) {
  fields.read("stream", answer.stream);
  if (fields.dict("stream_options") == nullptr) return;
  if (!answer.stream) {
    return fields.fail(
        field_error("stream_options", "Stream options can only be defined when `stream=True`."));
  }
  JsonFields options(*fields.get("stream_options"));
  options.read("include_usage", answer.include_usage);
  options.read("continuous_usage_stats", answer.continuous_usage);
  answer.continuous_usage = answer.continuous_usage && answer.include_usage;
  fields.fail(options.status());
}

void read_prompt_options(JsonFields& fields, GenerationFields& out) {
  fields.read("truncate_prompt_tokens", out.truncate_prompt_tokens);
  if (out.truncate_prompt_tokens && *out.truncate_prompt_tokens < 1 &&
      *out.truncate_prompt_tokens != -1) {
    fields.fail(
        field_error("truncate_prompt_tokens", "truncate_prompt_tokens must be at least 1, or -1."));
  }
  std::string side = "left";
  fields.read("truncation_side", side);
  if (side != "left" && side != "right") {
    fields.fail(field_error("truncation_side", "truncation_side must be `left` or `right`."));
  }
  out.truncate_left = side == "left";
  fields.read("add_special_tokens", out.add_special_tokens);
}

// The fields of both endpoints.
void read_common(JsonFields& fields, GenerationFields& out) {
  fields.read("model", out.model);
  refuse_unsupported(fields);
  read_sampling(fields, out.sampling);
  read_stream_options(fields, out.answer);
  AnswerOptions& answer = out.answer;
  const auto& prompt_logprobs = out.sampling.prompt_logprobs;
  answer.prompt_logprobs = prompt_logprobs.has_value();
  if (answer.stream && prompt_logprobs && (*prompt_logprobs > 0 || *prompt_logprobs == -1)) {
    fields.fail(
        field_error("prompt_logprobs", "`prompt_logprobs` are not available when `stream=True`."));
  }
  if (prompt_logprobs && *prompt_logprobs < -1) {
    fields.fail(
        field_error("prompt_logprobs", "`prompt_logprobs` must be a positive value or -1."));
  }
  fields.read("return_token_ids", answer.return_token_ids);
  fields.read("return_tokens_as_token_ids", answer.tokens_as_ids);
  fields.read("stream_interval", answer.stream_interval);
  if (answer.stream_interval < 1) {
    fields.fail(field_error("stream_interval", "stream_interval must be at least 1."));
  }
  fields.read("echo", answer.echo);
  fields.read("priority", out.priority);
  fields.read("request_id", out.request_id);
  fields.read("cache_salt", out.cache_salt);
  if (fields.has("cache_salt") && out.cache_salt.empty()) {
    fields.fail(field_error("cache_salt",
                            "Parameter 'cache_salt' must be a non-empty string if provided."));
  }
  read_prompt_options(fields, out);
}

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

Status check_logprobs(std::string_view field, int k) {
  if (k >= -1) return ok_status();
  return field_error(field, "`" + std::string(field) + "` must be a positive value or -1.");
}

void read_chat_logprobs(JsonFields& fields, ChatRequest& out) {
  bool logprobs = false;
  std::optional<int> top;
  fields.read("logprobs", logprobs);
  fields.read("top_logprobs", top);
  if (top) fields.fail(check_logprobs("top_logprobs", *top));
  if (top && (*top > 0 || *top == -1) && !logprobs) {
    fields.fail(
        field_error("top_logprobs", "when using `top_logprobs`, `logprobs` must be set to true."));
  }
  if (logprobs) out.answer.logprobs = out.sampling.logprobs = top.value_or(0);
}

// Tools are rendered into the prompt; calls in the answer are not parsed yet, so a forced call is
// refused.
void read_tools(JsonFields& fields, ChatRequest& out) {
  const Value* choice = fields.get("tool_choice");
  if (choice != nullptr && choice->is_string()) {
    const std::string& word = choice->as_string();
    if (word == "required") {
      fields.fail(field_error("tool_choice", "`tool_choice` \"required\" is not supported yet."));
    } else if (word != "auto" && word != "none") {
      fields.fail(field_error("tool_choice", "Invalid value for `tool_choice`: `" + word + "`."));
    }
  } else if (choice != nullptr && choice->is_dict()) {
    fields.fail(field_error("tool_choice", "A named `tool_choice` is not supported yet."));
  } else if (choice != nullptr) {
    fields.fail(shape_error("tool_choice", "Input should be a valid string or dictionary"));
  }
  const Value::List* tools = fields.list("tools");
  if (tools == nullptr) return;
  if (tools->empty())
    return fields.fail(field_error("tools", "`tools` must not be an empty array."));
  for (const Value& tool : *tools) {
    const Value* function = tool.find("function");
    const Value* name = function != nullptr ? function->find("name") : nullptr;
    if (name == nullptr || !name->is_string()) {
      return fields.fail(
          shape_error("tools", "Each tool should be a dictionary with `function.name`"));
    }
  }
  out.chat.tools = *tools;
}

void read_modalities(JsonFields& fields) {
  std::vector<std::string> modalities;
  fields.read_strings("modalities", modalities);
  for (const std::string& word : modalities) {
    if (word != "text")
      fields.fail(field_error("modalities", "`modalities` other than text are not supported."));
  }
}

// The variables of the template, and which template it is.
void read_template_fields(JsonFields& fields, ChatPrompt& chat) {
  fields.read("add_generation_prompt", chat.add_generation_prompt);
  fields.read("continue_final_message", chat.continue_final_message);
  if (chat.add_generation_prompt && chat.continue_final_message) {
    fields.fail(field_error(
        "continue_final_message",
        "Cannot set both `continue_final_message` and `add_generation_prompt` to True."));
  }
  if (const Value::List* documents = fields.list("documents")) {
    for (const Value& document : *documents) {
      if (!document.is_dict())
        fields.fail(shape_error("documents", "Input should be a list of dictionaries"));
    }
    chat.documents = *documents;
  }
  if (const Value::Dict* kwargs = fields.dict("chat_template_kwargs"))
    chat.template_kwargs = *kwargs;
  const Value kwargs_value(chat.template_kwargs);
  if (fields.has("chat_template") || kwargs_value.find("chat_template") != nullptr) {
    fields.fail(field_error("chat_template", "A chat template in the request is not supported."));
  }
  std::string effort;
  fields.read("reasoning_effort", effort);
  if (effort.empty()) return;
  // A template that knows neither name ignores both.
  const auto set_default = [&](std::string_view name, Value value) {
    if (kwargs_value.find(name) == nullptr)
      chat.template_kwargs.emplace_back(std::string(name), std::move(value));
  };
  set_default("reasoning_effort", effort);
  set_default("enable_thinking", effort != "none");
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
  fields.read("max_tokens", out.max_tokens);
  if (const Value* value = body.find("max_tokens"); value != nullptr && value->is_null()) {
    out.max_tokens.reset();
  }
  std::string suffix;
  fields.read("suffix", suffix);
  if (!suffix.empty()) fields.fail(field_error("suffix", "suffix is not currently supported"));
  int best_of = out.sampling.n;
  fields.read("best_of", best_of);
  if (best_of != out.sampling.n) {
    fields.fail(field_error("best_of", "`best_of` other than `n` is not supported."));
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

StatusOr<ChatRequest> parse_chat(const Value& body, const SamplingParams& defaults) {
  JsonFields fields(body);
  RETURN_IF_ERROR(fields.status());
  ChatRequest out;
  out.sampling = defaults;
  out.add_special_tokens = false;  // the template writes them
  read_common(fields, out);
  fields.read("max_tokens", out.max_tokens);
  fields.read("max_completion_tokens", out.max_tokens);
  read_chat_logprobs(fields, out);
  read_tools(fields, out);
  read_modalities(fields);
  read_template_fields(fields, out.chat);
  fields.read("return_prompt_text", out.answer.return_prompt_text);
  const Value::List* messages = fields.list("messages");
  if (messages == nullptr) fields.fail(shape_error("messages", "Field required"));
  RETURN_IF_ERROR(fields.status());
  ASSIGN_OR_RETURN(out.chat.messages, normalise_messages(*messages));
  const Value& last = out.chat.messages.back();
  if (!out.chat.add_generation_prompt) out.role = last.find("role")->as_string();
  if (out.answer.echo && last.find("role")->as_string() == out.role) {
    out.echo_text = last.find("content")->as_string();
  }
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
  ChatRequest chat;
  read_template_fields(fields, chat.chat);
  read_tools(fields, chat);
  out.add_special_tokens = false;
  fields.read("add_special_tokens", out.add_special_tokens);
  const Value::List* messages = fields.list("messages");
  RETURN_IF_ERROR(fields.status());
  ASSIGN_OR_RETURN(chat.chat.messages, normalise_messages(*messages));
  out.input = std::move(chat.chat);
  return out;
}

Status truncate_prompt(const GenerationFields& fields, int max_model_len,
                       std::vector<TokenId>& prompt) {
  if (!fields.truncate_prompt_tokens) return ok_status();
  int keep = *fields.truncate_prompt_tokens;
  if (keep > max_model_len) {
    return field_error("truncate_prompt_tokens",
                       "truncate_prompt_tokens value is greater than max_model_len. "
                       "Please request a smaller truncation size.");
  }
  if (keep == -1) keep = std::max(1, max_model_len - std::max(0, fields.max_tokens.value_or(1)));
  if (prompt.size() <= static_cast<size_t>(keep)) return ok_status();
  if (fields.truncate_left) {
    prompt.erase(prompt.begin(), prompt.end() - keep);
  } else {
    prompt.resize(keep);
  }
  return ok_status();
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
