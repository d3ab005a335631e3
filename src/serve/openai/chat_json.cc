#include "serve/openai/chat_json.h"

#include "base/json_writer.h"

namespace octavo::serve {

namespace {

// `reasoning` is vLLM's name, `reasoning_content` the one that most clients know.
void append_reasoning(std::string& out, const std::string& reasoning) {
  out += "\"reasoning\":";
  append_json_string(out, reasoning);
  out += ",\"reasoning_content\":";
  append_json_string(out, reasoning);
}

// {"id","type","function":{"name","arguments"}}; a stream's pieces have an index, and id, type and
// name where the call begins.
void append_call(std::string& out, const ToolCallDelta& call, bool in_stream) {
  out += '{';
  if (in_stream) out.append("\"index\":").append(std::to_string(call.index));
  const bool begins = !call.id.empty();
  if (begins) {
    out += in_stream ? ",\"id\":" : "\"id\":";
    append_json_string(out, call.id);
    out += ",\"type\":\"function\"";
  }
  out += ",\"function\":{";
  if (begins) {
    out += "\"name\":";
    append_json_string(out, call.name);
    out += ',';
  }
  out += "\"arguments\":";
  append_json_string(out, call.arguments);
  out += "}}";
}

void append_calls(std::string& out, const std::vector<ToolCallDelta>& calls, bool in_stream) {
  out += "\"tool_calls\":[";
  for (const ToolCallDelta& call : calls) {
    if (&call != &calls.front()) out += ',';
    append_call(out, call, in_stream);
  }
  out += ']';
}

}  // namespace

void append_message(std::string& out, std::string_view role, std::string_view before,
                    const ChatDelta& answer) {
  out += "{\"role\":";
  append_json_string(out, role);
  out += ",\"content\":";
  const bool other = !answer.calls.empty() || !answer.reasoning.empty();
  if (other && before.empty() && answer.content.empty()) {
    out += "null";
  } else {
    append_json_string(out, std::string(before) + answer.content);
  }
  out += ",\"refusal\":null,\"annotations\":null,\"audio\":null,\"function_call\":null,";
  if (!answer.calls.empty()) {
    append_calls(out, answer.calls, false);
    out += ',';
  }
  if (answer.reasoning.empty()) {
    out += "\"reasoning\":null";
  } else {
    append_reasoning(out, answer.reasoning);
  }
  out += '}';
}

void append_delta(std::string& out, const ChatDelta& delta, bool parsed) {
  std::string_view comma;
  if (!delta.reasoning.empty()) {
    append_reasoning(out, delta.reasoning);
    comma = ",";
  }
  if (!delta.content.empty() || !parsed) {
    out.append(comma).append("\"content\":");
    append_json_string(out, delta.content);
    comma = ",";
  }
  if (!delta.calls.empty()) {
    out += comma;
    append_calls(out, delta.calls, true);
  }
}

}  // namespace octavo::serve
