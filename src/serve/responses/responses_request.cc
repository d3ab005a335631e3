#include "serve/responses/responses_request.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/json_writer.h"
#include "base/status_macros.h"
#include "serve/errors.h"
#include "serve/json_fields.h"
#include "serve/responses/responses_input.h"
#include "serve/responses/responses_tools.h"

namespace octavo::serve {

namespace {

struct Refused {
  std::string_view name;
  std::string_view instead;
};

// Chat's names, and what would change the answer and is not supported.
constexpr Refused kRefused[] = {
    {"messages", "use `input`"},
    {"max_tokens", "use `max_output_tokens`"},
    {"max_completion_tokens", "use `max_output_tokens`"},
    {"response_format", "use `text.format`"},
    {"reasoning_effort", "use `reasoning.effort`"},
    {"logprobs", "use `top_logprobs`, or `include`: [\"message.output_text.logprobs\"]"},
    {"echo", "the answer is the answer alone"},
    {"prompt_logprobs", "use /v1/completions"},
    {"return_token_ids", "use /v1/chat/completions"},
    {"return_prompt_text", "use /v1/chat/completions"},
    {"timings", "use /v1/chat/completions"},
    {"timings_per_token", "use /v1/chat/completions"},
    {"include_metrics", "use /v1/chat/completions"},
    {"add_generation_prompt", "an unfinished last message is gone on from by itself"},
    {"continue_final_message", "an unfinished last message is gone on from by itself"},
    {"background", "ask with `stream`, and wait"},
    {"conversation", "use `previous_response_id`"},
    {"prompt", "send the prompt itself, as `instructions` and `input`"},
    {"context_management", "use `truncation`"},
    {"moderation", "this server does not judge what it is asked or answers"},
    {"previous_response", "use `previous_response_id`, or send its items in `input`"},
    {"previous_input_messages", "send them in `input`"},
    {"enable_response_messages", "use /v1/chat/completions"},
};

// Members that are read here, in one way or another; all others are a chat's, too.
constexpr std::string_view kOwn[] = {
    "input",    "instructions",      "previous_response_id", "store",      "include",
    "metadata", "max_output_tokens", "max_tool_calls",       "reasoning",  "text",
    "tools",    "tool_choice",       "top_logprobs",         "truncation", "service_tier",
    "n"};

template <size_t n>
bool is_one_of(std::string_view word, const std::array<std::string_view, n>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

void refuse_fields(JsonFields& fields) {
  for (const Refused& field : kRefused) {
    const Value* value = fields.get(field.name);
    if (value == nullptr || (value->is_bool() && !value->as_bool())) continue;
    fields.fail(field_error(field.name, "`" + std::string(field.name) +
                                            "` is not supported by /v1/responses: " +
                                            std::string(field.instead) + "."));
  }
  int n = 1;
  fields.read("n", n);
  if (n != 1) {
    fields.fail(field_error("n", "`n` is not supported by /v1/responses: it gives one answer."));
  }
}

void read_metadata(JsonFields& fields) {
  constexpr size_t kMaxPairs = 16;
  constexpr size_t kMaxKey = 64;
  constexpr size_t kMaxValue = 512;
  const Value::Dict* metadata = fields.dict("metadata");
  if (metadata == nullptr) return;
  if (metadata->size() > kMaxPairs) {
    return fields.fail(field_error("metadata", "`metadata` may hold 16 pairs at most."));
  }
  for (const auto& [key, value] : *metadata) {
    if (!value.is_string()) {
      fields.fail(shape_error("metadata." + key, "Input should be a valid string"));
    } else if (key.size() > kMaxKey || value.as_string().size() > kMaxValue) {
      fields.fail(
          field_error("metadata", "A key of `metadata` may be 64 bytes long, a value 512 bytes."));
    }
  }
}

// Which of the parts that are left out by default the answer shall hold. Those of tools that this
// server does not have are never there.
void read_logprobs(JsonFields& fields, Value& chat) {
  static constexpr std::string_view kLogprobs = "message.output_text.logprobs";
  static constexpr std::array<std::string_view, 8> kKnown = {
      kLogprobs,
      "reasoning.encrypted_content",
      "file_search_call.results",
      "web_search_call.results",
      "web_search_call.action.sources",
      "message.input_image.image_url",
      "computer_call_output.output.image_url",
      "code_interpreter_call.outputs"};
  std::vector<std::string> include;
  fields.read_strings("include", include);
  for (const std::string& word : include) {
    if (!is_one_of(word, kKnown)) {
      fields.fail(shape_error("include", "Input `" + word + "` is not among the known ones"));
    }
  }
  int top = 0;
  fields.read("top_logprobs", top);
  if (top < 0) fields.fail(field_error("top_logprobs", "`top_logprobs` must be at least 0."));
  if (top == 0 && std::find(include.begin(), include.end(), kLogprobs) == include.end()) return;
  chat.set("logprobs", true);
  chat.set("top_logprobs", top);
}

void read_format(const Value& format, JsonFields& fields, Value& chat) {
  if (!format.is_dict()) {
    return fields.fail(shape_error("text.format", "Input should be a valid dictionary"));
  }
  const Value* type = format.find("type");
  if (type == nullptr || !type->is_string()) {
    return fields.fail(shape_error("text.format.type", "Field required"));
  }
  if (*type != Value("json_schema")) {
    if (*type != Value("text") && *type != Value("json_object")) {
      return fields.fail(shape_error("text.format.type",
                                     "Input should be 'text', 'json_object' or 'json_schema'"));
    }
    return chat.set("response_format", Value::Dict{{"type", *type}});
  }
  const Value* schema = format.find("schema");
  if (schema == nullptr || !schema->is_dict()) {
    return fields.fail(shape_error("text.format.schema", "Input should be a valid dictionary"));
  }
  chat.set("response_format",
           Value::Dict{{"type", *type}, {"json_schema", Value::Dict{{"schema", *schema}}}});
}

void read_text(JsonFields& fields, Value& chat, Value& echo) {
  const Value plain(Value::Dict{{"type", "text"}});
  echo.set("text", Value::Dict{{"format", plain}});
  if (fields.dict("text") == nullptr) return;
  const Value& text = *fields.get("text");
  echo.set("text", text);
  const Value* format = text.find("format");
  if (format != nullptr && !format->is_null()) {
    read_format(*format, fields, chat);
  } else {
    echo.find("text")->set("format", plain);
  }
  if (const Value* verbosity = text.find("verbosity")) {
    if (!verbosity->is_null() && !verbosity->is_string()) {
      fields.fail(shape_error("text.verbosity", "Input should be 'low', 'medium' or 'high'"));
    }
    chat.set("verbosity", *verbosity);
  }
}

// A summary is the thinking itself here, in the reasoning's content; asking for one is no error.
void read_reasoning(JsonFields& fields, Value& chat, Value& echo) {
  Value shown = Value::Dict{};
  if (fields.dict("reasoning") != nullptr) {
    JsonFields reasoning(*fields.get("reasoning"));
    std::string effort, summary;
    reasoning.read("effort", effort);
    reasoning.read("summary", summary);
    if (!reasoning.status().ok()) {
      return fields.fail(shape_error("reasoning", "`effort` and `summary` should be strings"));
    }
    if (!effort.empty()) chat.set("reasoning_effort", effort);
    shown = *fields.get("reasoning");
  }
  for (const char* member : {"effort", "summary"}) {
    if (shown.find(member) == nullptr) shown.set(member, Value());
  }
  echo.set("reasoning", std::move(shown));
}

void read_limits(JsonFields& fields, Value& chat) {
  std::optional<int> max_output_tokens, max_tool_calls;
  fields.read("max_output_tokens", max_output_tokens);
  if (max_output_tokens) {
    if (*max_output_tokens < 1) {
      fields.fail(field_error("max_output_tokens", "`max_output_tokens` must be at least 1."));
    }
    chat.set("max_completion_tokens", *max_output_tokens);
  }
  fields.read("max_tool_calls", max_tool_calls);  // of the server's own tools: there are none
  std::string truncation = "disabled";
  fields.read("truncation", truncation);
  if (truncation == "auto") {
    chat.set("truncate_prompt_tokens", -1);
  } else if (truncation != "disabled") {
    fields.fail(shape_error("truncation", "Input should be 'auto' or 'disabled'"));
  }
  static constexpr std::array<std::string_view, 7> kTiers = {
      "auto", "default", "flex", "scale", "priority", "fast", "ultrafast"};
  std::string tier = "auto";
  fields.read("service_tier", tier);
  if (!is_one_of(tier, kTiers)) {
    fields.fail(shape_error("service_tier", "Input `" + tier + "` is not among the known ones"));
  }
}

// The tools as they were given, with the members that clients expect.
void echo_tools(const JsonFields& fields, Value& echo) {
  Value tools(Value::List{});
  if (const Value* given = fields.get("tools")) tools = *given;
  for (Value& tool : tools.as_list()) {
    for (const char* member : {"parameters", "strict"}) {
      if (tool.find(member) == nullptr) tool.set(member, Value());
    }
  }
  echo.set("tools", std::move(tools));
  const Value* choice = fields.get("tool_choice");
  echo.set("tool_choice", choice != nullptr ? *choice : Value("auto"));
}

void read_rest(JsonFields& fields, ResponsesRequest& out) {
  fields.read("instructions", out.instructions);
  fields.read("previous_response_id", out.previous_id);
  fields.read("store", out.store);
  bool parallel = true;
  fields.read("parallel_tool_calls", parallel);
  out.echo.set("parallel_tool_calls", parallel);
  for (const char* name :
       {"instructions", "previous_response_id", "max_output_tokens", "max_tool_calls", "metadata",
        "user", "safety_identifier", "prompt_cache_key", "truncation", "top_logprobs"}) {
    const Value* value = fields.get(name);
    out.echo.set(name, value != nullptr ? *value : Value());
  }
  for (const char* name : {"user", "safety_identifier", "prompt_cache_key"}) {
    std::string text;
    fields.read(name, text);
  }
  if (!fields.has("truncation")) out.echo.set("truncation", "disabled");
  if (!fields.has("metadata")) out.echo.set("metadata", Value::Dict{});
  if (!fields.has("top_logprobs")) out.echo.set("top_logprobs", 0);
}

// An id that the client chooses may have the prefix that answers get, or not.
void strip_id_prefix(Value& chat) {
  constexpr std::string_view kPrefix = "resp_";
  Value* id = chat.find("request_id");
  if (id != nullptr && id->is_string() && id->as_string().starts_with(kPrefix)) {
    id->as_string().erase(0, kPrefix.size());
  }
}

// A failure in chat's names, in this dialect's.
Status renamed(const Status& failure) {
  static constexpr std::string_view kNames[][2] = {{"max_completion_tokens", "max_output_tokens"},
                                                   {"response_format", "text.format"},
                                                   {"reasoning_effort", "reasoning.effort"},
                                                   {"verbosity", "text.verbosity"},
                                                   {"messages", "input"}};
  std::string message = failure.message();
  std::string param = failure.param();
  for (const auto& [chat, own] : kNames) {
    const size_t at = param.find(chat);
    if (at == std::string::npos) continue;
    param.replace(at, chat.size(), own);
    if (const size_t in = message.find(chat); in != std::string::npos) {
      message.replace(in, chat.size(), own);
    }
    break;
  }
  return Status(failure.code(), std::move(message)).with_param(std::move(param));
}

void append_float(std::string& out, float value) {
  char buffer[32];
  out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
}

}  // namespace

StatusOr<ResponsesRequest> parse_responses(const Value& body) {
  JsonFields fields(body);
  RETURN_IF_ERROR(fields.status());
  ResponsesRequest out;
  refuse_fields(fields);
  for (const auto& member : body.as_dict()) {
    const bool own = std::find(std::begin(kOwn), std::end(kOwn), member.first) != std::end(kOwn);
    if (!own) out.chat.as_dict().push_back(member);
  }
  strip_id_prefix(out.chat);
  read_rest(fields, out);
  read_metadata(fields);
  read_limits(fields, out.chat);
  read_logprobs(fields, out.chat);
  read_text(fields, out.chat, out.echo);
  read_reasoning(fields, out.chat, out.echo);
  translate_tools(fields, out.chat);
  const Value* input = fields.get("input");
  if (input == nullptr) fields.fail(shape_error("input", "Field required"));
  RETURN_IF_ERROR(fields.status());
  echo_tools(fields, out.echo);
  ASSIGN_OR_RETURN(out.items, read_input_items(*input));
  return out;
}

StatusOr<ChatRequest> make_chat_request(ResponsesRequest& request, std::vector<Value> messages,
                                        const SamplingParams& defaults) {
  if (messages.empty()) return field_error("input", "`input` must hold at least one message.");
  if (!request.instructions.empty()) {
    messages.insert(messages.begin(),
                    Value::Dict{{"role", "system"}, {"content", request.instructions}});
  }
  request.chat.set("messages", Value(std::move(messages)));
  if (ends_unfinished(request.items)) {
    request.chat.set("continue_final_message", true);
    request.chat.set("add_generation_prompt", false);
  }
  StatusOr<ChatRequest> chat = parse_chat(request.chat, defaults);
  request.chat = Value();
  if (!chat.ok()) return renamed(chat.status());
  if (auto& output = chat->sampling.structured_output; output && output->field == "response_format")
    output->field = "text.format";
  return chat;
}

std::string echo_members(const ResponsesRequest& request, const ChatRequest& chat) {
  std::string out = "\"background\":false,\"service_tier\":\"default\",\"prompt\":null";
  out.append(",\"store\":").append(request.store ? "true" : "false");
  out += ",\"temperature\":";
  append_float(out, chat.sampling.temperature);
  out += ",\"top_p\":";
  append_float(out, chat.sampling.top_p);
  for (const auto& [name, value] : request.echo.as_dict()) {
    out += ',';
    append_json_string(out, name);
    out.append(":").append(to_json(value));
  }
  return out;
}

}  // namespace octavo::serve
