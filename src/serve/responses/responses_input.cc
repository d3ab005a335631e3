#include "serve/responses/responses_input.h"

#include <algorithm>

#include "base/status_macros.h"
#include "serve/errors.h"
#include "serve/random_id.h"

namespace octavo::serve {

namespace {

std::string path(size_t index, std::string_view member = {}) {
  std::string out = "input." + std::to_string(index);
  if (!member.empty()) out.append(".").append(member);
  return out;
}

bool is_word(const Value& object, std::string_view member, std::string_view word) {
  const Value* value = object.find(member);
  return value != nullptr && value->is_string() && value->as_string() == word;
}

// The member, unless it is absent or null.
const Value* given(const Value& object, std::string_view member) {
  const Value* value = object.find(member);
  return value != nullptr && !value->is_null() ? value : nullptr;
}

StatusOr<std::string> read_text(const Value& object, std::string_view member,
                                const std::string& where) {
  const Value* value = given(object, member);
  if (value == nullptr) return shape_error(where + "." + std::string(member), "Field required");
  if (!value->is_string()) {
    return shape_error(where + "." + std::string(member), "Input should be a valid string");
  }
  return value->as_string();
}

Value text_part(std::string_view type, std::string text) {
  Value part(Value::Dict{{"type", type}, {"text", std::move(text)}});
  if (type == "output_text") part.set("annotations", Value(Value::List{}));
  return part;
}

// A part's text, whichever of the two sides wrote it. A refusal is what the assistant said, too.
StatusOr<std::string> read_part(const Value& part, const std::string& where) {
  if (!part.is_dict()) return shape_error(where, "Input should be a valid dictionary");
  ASSIGN_OR_RETURN(const std::string type, read_text(part, "type", where));
  if (type == "input_text" || type == "output_text" || type == "text" || type == "summary_text" ||
      type == "reasoning_text") {
    return read_text(part, "text", where);
  }
  if (type == "refusal") return read_text(part, "refusal", where);
  return field_error("input", "A content part of type `" + type +
                                  "` is not supported: the model reads text only.");
}

// A text, or a list of parts, as a list of parts of one type.
StatusOr<Value> read_content(const Value* content, std::string_view type,
                             const std::string& where) {
  if (content == nullptr) return shape_error(where, "Field required");
  Value::List parts;
  if (content->is_string()) {
    parts.push_back(text_part(type, content->as_string()));
    return Value(std::move(parts));
  }
  if (!content->is_list()) {
    return shape_error(where, "Input should be a string or a list of content parts");
  }
  const Value::List& list = content->as_list();
  parts.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    ASSIGN_OR_RETURN(std::string text, read_part(list[i], where + "." + std::to_string(i)));
    parts.push_back(text_part(type, std::move(text)));
  }
  return Value(std::move(parts));
}

// The members that every kind of item has: `type`, the item's own `id` or a new one, `status`.
StatusOr<Value> begin_item(const Value& item, std::string_view type, std::string_view id_prefix,
                           const std::string& where) {
  Value out(Value::Dict{{"type", type}});
  if (const Value* id = given(item, "id")) {
    if (!id->is_string()) return shape_error(where + ".id", "Input should be a valid string");
    out.set("id", *id);
  } else {
    out.set("id", std::string(id_prefix) + random_hex(32));
  }
  const Value* status = given(item, "status");
  const bool known = status != nullptr && status->is_string() &&
                     (status->as_string() == "in_progress" || status->as_string() == "incomplete");
  out.set("status", known ? *status : Value("completed"));
  return out;
}

StatusOr<Value> read_message(const Value& item, size_t index) {
  const std::string where = path(index);
  ASSIGN_OR_RETURN(Value out, begin_item(item, "message", "msg_", where));
  ASSIGN_OR_RETURN(std::string role, read_text(item, "role", where));
  if (role != "user" && role != "assistant" && role != "system" && role != "developer") {
    return shape_error(where + ".role",
                       "Input should be 'user', 'assistant', 'system' or 'developer'");
  }
  const std::string_view type = role == "assistant" ? "output_text" : "input_text";
  out.set("role", std::move(role));
  ASSIGN_OR_RETURN(Value content, read_content(given(item, "content"), type, where + ".content"));
  out.set("content", std::move(content));
  return out;
}

StatusOr<Value> read_call(const Value& item, size_t index) {
  const std::string where = path(index);
  ASSIGN_OR_RETURN(Value out, begin_item(item, "function_call", "fc_", where));
  for (const char* member : {"call_id", "name", "arguments"}) {
    ASSIGN_OR_RETURN(std::string text, read_text(item, member, where));
    out.set(member, std::move(text));
  }
  const std::string& arguments = out.find("arguments")->as_string();
  const StatusOr<Value> parsed = arguments.empty() ? Value() : parse_json(arguments);
  if (!parsed.ok() && is_word(out, "status", "completed")) {
    return field_error("input", "The arguments of the function call at " + where +
                                    " are no JSON: " + parsed.status().message());
  }
  return out;
}

StatusOr<Value> read_call_output(const Value& item, size_t index) {
  const std::string where = path(index);
  ASSIGN_OR_RETURN(Value out, begin_item(item, "function_call_output", "fco_", where));
  ASSIGN_OR_RETURN(std::string call_id, read_text(item, "call_id", where));
  out.set("call_id", std::move(call_id));
  const Value* output = given(item, "output");
  if (output != nullptr && output->is_string()) {
    out.set("output", *output);
    return out;
  }
  ASSIGN_OR_RETURN(Value parts, read_content(output, "input_text", where + ".output"));
  out.set("output", std::move(parts));
  return out;
}

StatusOr<Value> read_reasoning(const Value& item, size_t index) {
  const std::string where = path(index);
  ASSIGN_OR_RETURN(Value out, begin_item(item, "reasoning", "rs_", where));
  Value none(Value::List{});
  const Value* summary = given(item, "summary");
  ASSIGN_OR_RETURN(Value summaries, read_content(summary != nullptr ? summary : &none,
                                                 "summary_text", where + ".summary"));
  const Value* content = given(item, "content");
  ASSIGN_OR_RETURN(Value texts, read_content(content != nullptr ? content : &none, "reasoning_text",
                                             where + ".content"));
  if (given(item, "encrypted_content") != nullptr && texts.as_list().empty() &&
      summaries.as_list().empty()) {
    return field_error("input",
                       "A reasoning item with nothing but `encrypted_content` is not supported: "
                       "only the server that made it can read it.");
  }
  out.set("summary", std::move(summaries));
  out.set("content", std::move(texts));
  return out;
}

StatusOr<Value> read_reference(const Value& item, size_t index) {
  ASSIGN_OR_RETURN(std::string id, read_text(item, "id", path(index)));
  return Value(Value::Dict{{"type", "item_reference"}, {"id", std::move(id)}});
}

StatusOr<Value> read_item(const Value& item, size_t index) {
  if (!item.is_dict()) return shape_error(path(index), "Input should be a valid dictionary");
  const Value* type = given(item, "type");
  const bool bare_id = given(item, "role") == nullptr && given(item, "content") == nullptr;
  if (type == nullptr && bare_id && given(item, "id") != nullptr)
    return read_reference(item, index);
  if (type == nullptr) return read_message(item, index);
  if (!type->is_string()) {
    return shape_error(path(index, "type"), "Input should be a valid string");
  }
  const std::string& kind = type->as_string();
  if (kind == "message") return read_message(item, index);
  if (kind == "function_call") return read_call(item, index);
  if (kind == "function_call_output") return read_call_output(item, index);
  if (kind == "reasoning") return read_reasoning(item, index);
  if (kind == "item_reference") return read_reference(item, index);
  return field_error("input",
                     "An input item of type `" + kind +
                         "` is not supported: this server knows `message`, `function_call`, "
                         "`function_call_output`, `reasoning` and `item_reference`.");
}

// The texts of a list of parts, joined by line breaks; a text is itself.
std::string joined(const Value* parts) {
  if (parts == nullptr) return {};
  if (parts->is_string()) return parts->as_string();
  std::string out;
  for (const Value& part : parts->as_list()) {
    if (&part != &parts->as_list().front()) out += '\n';
    out += part.find("text")->as_string();
  }
  return out;
}

// The message that what the assistant adds now belongs to: the last one, if it is the assistant's
// and has none of `taken` yet, else a new one.
Value& assistants_turn(std::vector<Value>& messages,
                       std::initializer_list<std::string_view> taken) {
  const bool goes_on = !messages.empty() && is_word(messages.back(), "role", "assistant") &&
                       std::none_of(taken.begin(), taken.end(), [&](std::string_view member) {
                         return messages.back().find(member) != nullptr;
                       });
  if (!goes_on) messages.push_back(Value::Dict{{"role", "assistant"}});
  return messages.back();
}

// A call that the limit of tokens has cut off was never made.
bool is_cut_off(const Value& call) {
  return !is_word(call, "status", "completed") &&
         !parse_json(call.find("arguments")->as_string()).ok();
}

Value call_of_chat(const Value& item) {
  return Value::Dict{{"id", *item.find("call_id")},
                     {"type", "function"},
                     {"function", Value::Dict{{"name", *item.find("name")},
                                              {"arguments", *item.find("arguments")}}}};
}

// A message's content: one part is its text, several stay parts, which some templates tell apart.
Value content_of_chat(const Value& parts) {
  if (parts.is_string()) return parts;
  if (parts.as_list().size() <= 1) return joined(&parts);
  Value::List out;
  for (const Value& part : parts.as_list()) {
    out.push_back(Value::Dict{{"type", "text"}, {"text", *part.find("text")}});
  }
  return out;
}

}  // namespace

StatusOr<Value::List> read_input_items(const Value& input) {
  Value::List out;
  if (input.is_string()) {
    const Value message(Value::Dict{{"role", "user"}, {"content", input}});
    ASSIGN_OR_RETURN(Value item, read_message(message, 0));
    out.push_back(std::move(item));
    return out;
  }
  if (!input.is_list()) {
    return shape_error("input", "Input should be a string or a list of input items");
  }
  out.reserve(input.as_list().size());
  for (const Value& item : input.as_list()) {
    ASSIGN_OR_RETURN(Value read, read_item(item, out.size()));
    out.push_back(std::move(read));
  }
  return out;
}

void append_messages(const Value::List& items, std::vector<Value>& messages) {
  for (const Value& item : items) {
    if (is_word(item, "type", "function_call")) {
      if (is_cut_off(item)) continue;
      Value& message = assistants_turn(messages, {});
      if (message.find("tool_calls") == nullptr) message.set("tool_calls", Value(Value::List{}));
      message.find("tool_calls")->as_list().push_back(call_of_chat(item));
    } else if (is_word(item, "type", "function_call_output")) {
      messages.push_back(Value::Dict{{"role", "tool"},
                                     {"tool_call_id", *item.find("call_id")},
                                     {"content", content_of_chat(*item.find("output"))}});
    } else if (is_word(item, "type", "reasoning")) {
      std::string text = joined(item.find("content"));
      if (text.empty()) text = joined(item.find("summary"));
      if (text.empty()) continue;
      assistants_turn(messages, {"reasoning", "content", "tool_calls"})
          .set("reasoning", std::move(text));
    } else if (is_word(item, "role", "assistant")) {
      assistants_turn(messages, {"content", "tool_calls"})
          .set("content", content_of_chat(*item.find("content")));
    } else {
      messages.push_back(Value::Dict{{"role", *item.find("role")},
                                     {"content", content_of_chat(*item.find("content"))}});
    }
  }
}

bool is_reference(const Value& item) {
  return is_word(item, "type", "item_reference");
}

bool ends_unfinished(const Value::List& items) {
  return !items.empty() && is_word(items.back(), "role", "assistant") &&
         !is_word(items.back(), "status", "completed");
}

}  // namespace octavo::serve
