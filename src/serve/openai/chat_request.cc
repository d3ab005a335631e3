#include "serve/openai/chat_request.h"

#include <algorithm>

#include "base/status_macros.h"
#include "serve/errors.h"
#include "serve/openai/chat_messages.h"
#include "serve/openai/request_fields.h"

namespace octavo::serve {

namespace {

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

void read_modalities(JsonFields& fields) {
  std::vector<std::string> modalities;
  fields.read_strings("modalities", modalities);
  for (const std::string& word : modalities) {
    if (word != "text")
      fields.fail(field_error("modalities", "`modalities` other than text are not supported."));
  }
}

// Both variables of templates that know how to think less, or not at all; a template that knows
// neither ignores them.
void read_reasoning_effort(JsonFields& fields, ChatPrompt& chat) {
  static constexpr std::string_view kEfforts[] = {"none", "minimal", "low", "medium",
                                                  "high", "xhigh",   "max"};
  std::string effort;
  fields.read("reasoning_effort", effort);
  if (effort.empty()) return;
  if (std::find(std::begin(kEfforts), std::end(kEfforts), effort) == std::end(kEfforts)) {
    return fields.fail(shape_error(
        "reasoning_effort",
        "Input should be 'none', 'minimal', 'low', 'medium', 'high', 'xhigh' or 'max'"));
  }
  const Value kwargs(chat.template_kwargs);
  const auto set_default = [&](std::string_view name, Value value) {
    if (kwargs.find(name) == nullptr)
      chat.template_kwargs.emplace_back(std::string(name), std::move(value));
  };
  set_default("reasoning_effort", effort);
  set_default("enable_thinking", effort != "none");
}

// A template of the request's own, by itself or among the variables.
void read_chat_template(JsonFields& fields, ChatPrompt& chat) {
  constexpr std::string_view kName = "chat_template";
  const auto given = std::find_if(chat.template_kwargs.begin(), chat.template_kwargs.end(),
                                  [&](const auto& variable) { return variable.first == kName; });
  if (given != chat.template_kwargs.end()) {
    if (given->second.is_string()) {
      chat.chat_template = given->second.as_string();
    } else if (!given->second.is_null()) {
      fields.fail(
          shape_error("chat_template_kwargs.chat_template", "Input should be a valid string"));
    }
    chat.template_kwargs.erase(given);
  }
  fields.read(kName, chat.chat_template);
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
  read_chat_template(fields, chat);
  read_reasoning_effort(fields, chat);
}

}  // namespace

ToolChoice read_chat_prompt(JsonFields& fields, ChatPrompt& chat) {
  read_template_fields(fields, chat);
  ToolChoice choice = read_tools(fields, chat.tools);
  const Value::List* messages = fields.list("messages");
  if (messages == nullptr) fields.fail(shape_error("messages", "Field required"));
  if (!fields.status().ok()) return choice;
  StatusOr<std::vector<Value>> normal = normalise_messages(*messages);
  if (normal.ok()) {
    chat.messages = *std::move(normal);
  } else {
    fields.fail(normal.status());
  }
  return choice;
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
  if (fields.has("max_completion_tokens")) out.max_tokens_field = "max_completion_tokens";
  read_chat_logprobs(fields, out);
  read_modalities(fields);
  out.tool_choice = read_chat_prompt(fields, out.chat);
  fields.read("include_reasoning", out.include_reasoning);
  fields.read("return_prompt_text", out.answer.return_prompt_text);
  RETURN_IF_ERROR(fields.status());
  const Value& last = out.chat.messages.back();
  if (!out.chat.add_generation_prompt) out.role = last.find("role")->as_string();
  if (out.answer.echo && last.find("role")->as_string() == out.role) {
    out.echo_text = message_text(last);
  }
  return out;
}

}  // namespace octavo::serve
