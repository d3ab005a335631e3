#include "serve/openai/chat_messages.h"

#include <string>

#include "base/status_macros.h"
#include "serve/errors.h"
#include "text/chat_content.h"

namespace octavo::serve {

namespace {

constexpr std::string_view kField = "messages";

// The text of one content part.
StatusOr<std::string> part_text(const Value& part) {
  if (part.is_string()) return part.as_string();
  const Value* type = part.find("type");
  if (type == nullptr || !type->is_string()) {
    return shape_error(kField, "Each content part should be a string or a dictionary with `type`");
  }
  const std::string& kind = type->as_string();
  if (kind == "text" || kind == "refusal" || kind == "input_text" || kind == "output_text" ||
      kind == "thinking") {
    const Value* text = part.find(kind == "refusal" || kind == "thinking" ? kind : "text");
    if (text == nullptr || !text->is_string()) {
      return shape_error(kField,
                         "A content part of type `" + kind + "` should carry its text as a string");
    }
    return text->as_string();
  }
  return invalid_argument("A content part of type `" + kind +
                          "` is not supported: the model reads text only.")
      .with_param(std::string(kField));
}

// Text, or a list of {"type": "text", "text": …}; a list stays one, since some templates want it.
StatusOr<Value> normal_content(const Value* content) {
  if (content == nullptr || content->is_null()) return Value("");
  if (content->is_string()) return *content;
  if (!content->is_list()) {
    return shape_error(kField, "`content` should be a string or a list of content parts");
  }
  Value::List parts;
  for (const Value& part : content->as_list()) {
    ASSIGN_OR_RETURN(std::string piece, part_text(part));
    parts.push_back(Value::Dict{{"type", "text"}, {"text", std::move(piece)}});
  }
  return Value(std::move(parts));
}

// Arguments are JSON text, or a dict; which of them the template wants, it says itself. None of
// them are an empty dict's.
Status check_call(Value& tool_call) {
  Value* function = tool_call.find("function");
  if (function == nullptr || !function->is_dict()) {
    return shape_error(kField, "Each of `tool_calls` should be a dictionary with `function`");
  }
  const Value* name = function->find("name");
  if (name == nullptr || !name->is_string()) {
    return shape_error(kField, "Each of `tool_calls` should have the `name` of its function");
  }
  const Value* arguments = function->find("arguments");
  if (arguments == nullptr || arguments->is_null() || *arguments == Value("")) {
    function->set("arguments", Value("{}"));
    return ok_status();
  }
  if (!arguments->is_string()) return ok_status();
  StatusOr<Value> parsed = parse_json(arguments->as_string());
  if (!parsed.ok()) {
    return invalid_argument("The arguments of a tool call are no JSON: " +
                            parsed.status().message())
        .with_param(std::string(kField));
  }
  if (parsed->is_null()) function->set("arguments", Value("{}"));
  return ok_status();
}

// What OpenAI had before tools, and answers that were sound. Templates pass over either, and the
// model would not know of it.
Status refuse_old_calls(const Value& message, const Value& role) {
  if (role == Value("function")) {
    return field_error(kField,
                       "Messages of role `function` are not supported: use role `tool`, and "
                       "`tool_calls` in the message before.");
  }
  for (const auto& [name, instead] :
       {std::pair("function_call", "use `tool_calls`"), std::pair("audio", "give its text")}) {
    const Value* value = message.find(name);
    if (value == nullptr || value->is_null()) continue;
    return field_error(
        kField, "`" + std::string(name) + "` in a message is not supported: " + instead + ".");
  }
  return ok_status();
}

StatusOr<Value> normalise(const Value& message) {
  if (!message.is_dict()) return shape_error(kField, "Each message should be a dictionary");
  const Value* role = message.find("role");
  if (role == nullptr || !role->is_string()) {
    return shape_error(kField, "Each message should have a `role` that is a string");
  }
  RETURN_IF_ERROR(refuse_old_calls(message, *role));
  Value out = Value::Dict{};
  out.set("role", *role);
  const Value* given = message.find("content");
  const Value* refusal = message.find("refusal");  // stands for a content that there is none of
  if ((given == nullptr || given->is_null()) && refusal != nullptr) given = refusal;
  ASSIGN_OR_RETURN(Value content, normal_content(given));
  out.set("content", std::move(content));
  for (const auto& [name, value] : message.as_dict()) {
    if (name == "role" || name == "content" || value.is_null()) continue;
    if (name == "tool_calls" && value.is_list() && value.as_list().empty()) continue;
    out.as_dict().emplace_back(name,
                               value);  // names are unique: a search for each could take hours
  }
  if (Value* calls = out.find("tool_calls")) {
    if (!calls->is_list()) return shape_error(kField, "`tool_calls` should be a list");
    for (Value& call : calls->as_list()) RETURN_IF_ERROR(check_call(call));
  }
  const Value* reasoning = out.find("reasoning");
  const Value* reasoning_content = out.find("reasoning_content");
  if (reasoning != nullptr && reasoning_content == nullptr) {
    out.set("reasoning_content", Value(*reasoning));
  } else if (reasoning == nullptr && reasoning_content != nullptr) {
    out.set("reasoning", Value(*reasoning_content));
  }
  return out;
}

}  // namespace

StatusOr<std::vector<Value>> normalise_messages(const Value::List& messages) {
  if (messages.empty()) {
    return invalid_argument("`messages` must hold at least one message.")
        .with_param(std::string(kField));
  }
  std::vector<Value> out;
  out.reserve(messages.size());
  for (const Value& message : messages) {
    ASSIGN_OR_RETURN(Value normal, normalise(message));
    out.push_back(std::move(normal));
  }
  return out;
}

std::string message_text(const Value& message) {
  return text::content_text(*message.find("content"));
}

}  // namespace octavo::serve
