#include "serve/messages/messages_request.h"

#include <algorithm>

#include "base/status_macros.h"
#include "serve/errors.h"
#include "serve/messages/messages_conversation.h"

namespace octavo::serve {

namespace {

constexpr size_t kMaxStopSequences = 64;

// What would change the answer and cannot be had here. What only asks for less, or for an account
// or a price (metadata, service_tier, cache_control, …), passes unread.
void refuse_unsupported(JsonFields& fields) {
  for (const std::string_view name : {"container", "kv_transfer_params"}) {
    if (fields.has(name)) {
      fields.fail(field_error(name, "`" + std::string(name) + "` is not supported."));
    }
  }
  const Value::List* servers = fields.list("mcp_servers");
  if (servers != nullptr && !servers->empty()) {
    fields.fail(field_error("mcp_servers",
                            "`mcp_servers` is not supported: this server calls no other. Give the "
                            "tools as `tools`, and call them in the client."));
  }
}

// A variable of the template that the request has not set by itself.
void set_default(ChatPrompt& chat, std::string_view name, Value value) {
  const Value kwargs(chat.template_kwargs);
  if (kwargs.find(name) == nullptr) {
    chat.template_kwargs.emplace_back(std::string(name), std::move(value));
  }
}

// Templates that think on demand know one of these two variables.
void set_thinking(ChatPrompt& chat, bool on) {
  set_default(chat, "enable_thinking", on);
  set_default(chat, "thinking", on);
}

void read_thinking(JsonFields& fields, ChatRequest& out) {
  if (fields.dict("thinking") == nullptr) return;
  JsonFields thinking(*fields.get("thinking"));
  std::string type, display = "summarized";
  thinking.read("type", type);
  thinking.read("display", display);
  std::optional<int> budget;
  thinking.read("budget_tokens", budget);
  fields.fail(thinking.status());
  if (type == "enabled") {
    if (!budget) return fields.fail(shape_error("thinking.budget_tokens", "Field required"));
    if (*budget < 1) {
      return fields.fail(
          shape_error("thinking.budget_tokens", "Input should be greater than or equal to 1"));
    }
    out.thinking_token_budget = budget;
  } else if (type != "disabled" && type != "adaptive") {
    return fields.fail(
        shape_error("thinking.type", "Input should be 'enabled', 'disabled' or 'adaptive'"));
  }
  if (display != "summarized" && display != "omitted") {
    return fields.fail(
        shape_error("thinking.display", "Input should be 'summarized' or 'omitted'"));
  }
  out.include_reasoning = display == "summarized";
  set_thinking(out.chat, type != "disabled");
}

void read_output_format(JsonFields& fields, const Value& format, std::string_view field,
                        SamplingParams& sampling) {
  const Value* type = format.find("type");
  if (type == nullptr || *type != Value("json_schema")) {
    return fields.fail(shape_error(std::string(field) + ".type", "Input should be 'json_schema'"));
  }
  const Value* schema = format.find("schema");
  if (schema == nullptr || !schema->is_dict()) {
    return fields.fail(
        shape_error(std::string(field) + ".schema", "Input should be a valid dictionary"));
  }
  sampling.structured_output = StructuredOutput{.kind = StructuredOutput::Kind::kJsonSchema,
                                                .text = to_json(*schema),
                                                .field = std::string(field)};
}

// `output_format` is the older name of `output_config.format`.
void read_output_config(JsonFields& fields, ChatRequest& out) {
  if (const Value* format = fields.get("output_format")) {
    read_output_format(fields, *format, "output_format", out.sampling);
  }
  if (fields.dict("output_config") == nullptr) return;
  const Value& config = *fields.get("output_config");
  if (const Value* format = config.find("format"); format != nullptr && !format->is_null()) {
    read_output_format(fields, *format, "output_config.format", out.sampling);
  }
  static constexpr std::string_view kEfforts[] = {"low", "medium", "high", "xhigh", "max"};
  const Value* effort = config.find("effort");
  if (effort == nullptr || effort->is_null()) return;
  if (!effort->is_string() || std::find(std::begin(kEfforts), std::end(kEfforts),
                                        effort->as_string()) == std::end(kEfforts)) {
    return fields.fail(shape_error("output_config.effort",
                                   "Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"));
  }
  set_default(out.chat, "reasoning_effort", *effort);
}

// One tool as OpenAI's dialect has it, which is the one that templates know. A tool that brings a
// schema is a function, whatever its type.
StatusOr<Value> read_tool(const Value& tool, const std::string& path) {
  if (!tool.is_dict()) return shape_error(path, "Input should be a valid dictionary");
  const Value* schema = tool.find("input_schema");
  if (schema == nullptr || schema->is_null()) {
    const Value* type = tool.find("type");
    if (type != nullptr && type->is_string() && type->as_string() != "custom") {
      return field_error(path, path + ": a tool of type `" + type->as_string() +
                                   "` is not supported: this server runs no tools. A tool with an "
                                   "`input_schema` is called by the model and run by the client.");
    }
    return shape_error(path + ".input_schema", "Field required");
  }
  if (!schema->is_dict()) {
    return shape_error(path + ".input_schema", "Input should be a valid dictionary");
  }
  const Value* name = tool.find("name");
  if (name == nullptr || !name->is_string() || name->as_string().empty()) {
    return shape_error(path + ".name", "Input should be a valid string");
  }
  Value function(Value::Dict{{"name", *name}});
  if (const Value* description = tool.find("description");
      description != nullptr && !description->is_null()) {
    if (!description->is_string()) {
      return shape_error(path + ".description", "Input should be a valid string");
    }
    function.set("description", *description);
  }
  Value parameters(*schema);
  if (parameters.find("type") == nullptr) parameters.set("type", "object");
  function.set("parameters", std::move(parameters));
  return Value(Value::Dict{{"type", "function"}, {"function", std::move(function)}});
}

// tool_choice in OpenAI's words, added to `out`.
Status read_tool_choice(const Value& choice, Value& out) {
  if (!choice.is_dict()) return shape_error("tool_choice", "Input should be a valid dictionary");
  const Value* type = choice.find("type");
  const std::string word = type != nullptr && type->is_string() ? type->as_string() : "";
  if (word == "auto" || word == "none") {
    out.set("tool_choice", word);
  } else if (word == "any") {
    out.set("tool_choice", "required");
  } else if (word == "tool") {
    const Value* name = choice.find("name");
    if (name == nullptr || !name->is_string() || name->as_string().empty()) {
      return shape_error("tool_choice.name", "Input should be a valid string");
    }
    out.set("tool_choice",
            Value::Dict{{"type", "function"}, {"function", Value::Dict{{"name", *name}}}});
  } else {
    return shape_error("tool_choice.type", "Input should be 'auto', 'any', 'tool' or 'none'");
  }
  const Value* serial = choice.find("disable_parallel_tool_use");
  if (serial == nullptr || serial->is_null()) return ok_status();
  if (!serial->is_bool()) {
    return shape_error("tool_choice.disable_parallel_tool_use", "Input should be a valid boolean");
  }
  out.set("parallel_tool_calls", !serial->as_bool());
  return ok_status();
}

void read_tool_fields(JsonFields& fields, ChatRequest& out) {
  Value openai(Value::Dict{});
  if (const Value::List* list = fields.list("tools"); list != nullptr && !list->empty()) {
    Value::List tools;
    for (size_t i = 0; i < list->size(); ++i) {
      StatusOr<Value> tool = read_tool((*list)[i], "tools." + std::to_string(i));
      if (!tool.ok()) return fields.fail(tool.status());
      tools.push_back(*std::move(tool));
    }
    openai.set("tools", std::move(tools));
  }
  if (const Value* choice = fields.get("tool_choice")) {
    if (Status status = read_tool_choice(*choice, openai); !status.ok()) {
      return fields.fail(std::move(status));
    }
  }
  JsonFields translated(openai);
  out.tool_choice = read_tools(translated, out.chat.tools);
  fields.fail(translated.status());
}

// What decides over the prompt.
void read_prompt(JsonFields& fields, ChatRequest& out) {
  fields.read("model", out.model);
  if (out.model.empty()) fields.fail(shape_error("model", "Field required"));
  refuse_unsupported(fields);
  out.add_special_tokens = false;  // the template writes them
  out.call_id_prefix = "toolu_";
  if (const Value::Dict* kwargs = fields.dict("chat_template_kwargs")) {
    out.chat.template_kwargs = *kwargs;
    if (Value(*kwargs).find("chat_template") != nullptr) {
      fields.fail(field_error("chat_template_kwargs",
                              "A chat template in `chat_template_kwargs` is not supported."));
    }
  }
  read_thinking(fields, out);
  read_output_config(fields, out);
  read_tool_fields(fields, out);
  const Value::List* messages = fields.list("messages");
  if (messages == nullptr) return fields.fail(shape_error("messages", "Field required"));
  fields.fail(read_conversation(fields.get("system"), *messages, out.chat));
}

void read_stop_sequences(JsonFields& fields, std::vector<std::string>& stop) {
  fields.read_strings("stop_sequences", stop);
  if (stop.size() > kMaxStopSequences) {
    fields.fail(field_error("stop_sequences", "At most " + std::to_string(kMaxStopSequences) +
                                                  " `stop_sequences` are accepted, got " +
                                                  std::to_string(stop.size()) + "."));
  }
  if (std::find(stop.begin(), stop.end(), "") != stop.end()) {
    fields.fail(field_error("stop_sequences", "`stop_sequences` must not hold an empty string."));
  }
}

}  // namespace

StatusOr<ChatRequest> parse_messages(const Value& body, const SamplingParams& defaults) {
  JsonFields fields(body);
  RETURN_IF_ERROR(fields.status());
  ChatRequest out;
  out.sampling = defaults;
  read_prompt(fields, out);
  fields.read("max_tokens", out.max_tokens);
  if (!out.max_tokens) fields.fail(shape_error("max_tokens", "Field required"));
  if (out.max_tokens && *out.max_tokens < 1) {
    fields.fail(shape_error("max_tokens", "Input should be greater than or equal to 1"));
  }
  fields.read("stream", out.answer.stream);
  fields.read("temperature", out.sampling.temperature);
  fields.read("top_p", out.sampling.top_p);
  fields.read("top_k", out.sampling.top_k);
  read_stop_sequences(fields, out.sampling.stop);
  (void)fields.dict("metadata");
  RETURN_IF_ERROR(fields.status());
  return out;
}

StatusOr<ChatRequest> parse_count_tokens(const Value& body) {
  JsonFields fields(body);
  RETURN_IF_ERROR(fields.status());
  ChatRequest out;
  read_prompt(fields, out);
  RETURN_IF_ERROR(fields.status());
  return out;
}

}  // namespace octavo::serve
