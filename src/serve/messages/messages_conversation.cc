#include "serve/messages/messages_conversation.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "base/status_macros.h"
#include "serve/errors.h"

namespace octavo::serve {

namespace {

Status wrong(const std::string& path, std::string_view expectation) {
  return field_error(path, path + ": " + std::string(expectation));
}

std::string join(const std::string& path, std::string_view member) {
  return path + "." + std::string(member);
}
std::string join(const std::string& path, size_t index) {
  return path + "." + std::to_string(index);
}

StatusOr<std::string> read_text(const Value& block, std::string_view name,
                                const std::string& path) {
  const Value* text = block.find(name);
  if (text == nullptr || !text->is_string()) {
    return wrong(join(path, name), "Input should be a valid string");
  }
  return text->as_string();
}

StatusOr<std::string> block_type(const Value& block, const std::string& path) {
  if (!block.is_dict()) return wrong(path, "Input should be a valid dictionary");
  return read_text(block, "type", path);
}

// The texts of a string, or of a list of text blocks. Empty ones are left out.
StatusOr<std::vector<std::string>> read_texts(const Value& content, const std::string& path) {
  std::vector<std::string> out;
  if (content.is_string()) {
    if (!content.as_string().empty()) out.push_back(content.as_string());
    return out;
  }
  if (!content.is_list()) return wrong(path, "Input should be a string or a list of blocks");
  for (size_t i = 0; i < content.as_list().size(); ++i) {
    const Value& block = content.as_list()[i];
    const std::string at = join(path, i);
    ASSIGN_OR_RETURN(const std::string type, block_type(block, at));
    if (type != "text") {
      return wrong(
          at, "a block of type `" + type + "` is not supported here: the model reads text only.");
    }
    ASSIGN_OR_RETURN(std::string text, read_text(block, "text", at));
    if (!text.empty()) out.push_back(std::move(text));
  }
  return out;
}

// Text, or text blocks. Claude Code puts first a block with a hash that is another one in each
// request; in a prompt it would keep the prefix cache from ever being of use.
StatusOr<std::vector<std::string>> read_instructions(const Value& content,
                                                     const std::string& path) {
  ASSIGN_OR_RETURN(std::vector<std::string> texts, read_texts(content, path));
  if (content.is_list()) {
    std::erase_if(texts, [](const std::string& text) {
      return text.starts_with("x-anthropic-billing-header");
    });
  }
  return texts;
}

Value text_parts(std::vector<std::string> texts) {
  if (texts.empty()) return "";
  if (texts.size() == 1) return std::move(texts.front());
  Value::List parts;
  for (std::string& text : texts) {
    parts.push_back(Value::Dict{{"type", "text"}, {"text", std::move(text)}});
  }
  return parts;
}

// One turn: all neighbouring messages of one role.
struct Turn {
  bool assistant = false;
  std::vector<std::string> texts;
  std::string thinking;    // assistant
  Value::List calls;       // assistant
  Value::List results;     // user: messages of role `tool`
  std::string calls_path;  // of the last of `calls`
};

Status read_tool_use(const Value& block, const std::string& path, Turn& turn) {
  ASSIGN_OR_RETURN(std::string id, read_text(block, "id", path));
  ASSIGN_OR_RETURN(std::string name, read_text(block, "name", path));
  const Value* input = block.find("input");
  if (input != nullptr && !input->is_null() && !input->is_dict()) {
    return wrong(join(path, "input"), "Input should be a valid dictionary");
  }
  const bool given = input != nullptr && input->is_dict();
  turn.calls.push_back(
      Value::Dict{{"id", std::move(id)},
                  {"type", "function"},
                  {"function", Value::Dict{{"name", std::move(name)},
                                           {"arguments", given ? *input : Value(Value::Dict{})}}}});
  turn.calls_path = path;
  return ok_status();
}

Status read_tool_result(const Value& block, const std::string& path, Turn& turn) {
  ASSIGN_OR_RETURN(std::string id, read_text(block, "tool_use_id", path));
  std::vector<std::string> texts;
  if (const Value* content = block.find("content"); content != nullptr && !content->is_null()) {
    ASSIGN_OR_RETURN(texts, read_texts(*content, join(path, "content")));
  }
  const Value* failed = block.find("is_error");
  if (failed != nullptr && !failed->is_null() && !failed->is_bool()) {
    return wrong(join(path, "is_error"), "Input should be a valid boolean");
  }
  if (failed != nullptr && *failed == Value(true)) {
    // Templates have no word of their own for it.
    if (texts.empty()) texts.emplace_back();
    texts.front().insert(0, "Error: ");
  }
  turn.results.push_back(Value::Dict{{"role", "tool"},
                                     {"tool_call_id", std::move(id)},
                                     {"content", text_parts(std::move(texts))}});
  return ok_status();
}

Status read_block(const Value& block, const std::string& path, Turn& turn) {
  ASSIGN_OR_RETURN(const std::string type, block_type(block, path));
  if (type == "text") {
    ASSIGN_OR_RETURN(std::string text, read_text(block, "text", path));
    if (!text.empty()) turn.texts.push_back(std::move(text));
    return ok_status();
  }
  if (turn.assistant && type == "thinking") {
    ASSIGN_OR_RETURN(const std::string thinking, read_text(block, "thinking", path));
    if (!turn.thinking.empty()) turn.thinking += '\n';
    turn.thinking += thinking;
    return ok_status();
  }
  if (turn.assistant && type == "redacted_thinking") return ok_status();  // nobody here can read it
  if (turn.assistant && type == "tool_use") return read_tool_use(block, path, turn);
  if (!turn.assistant && type == "tool_result") return read_tool_result(block, path, turn);
  const bool misplaced = type == "thinking" || type == "redacted_thinking" || type == "tool_use" ||
                         type == "tool_result";
  if (misplaced) {
    return wrong(path, "a block of type `" + type + "` cannot stand in a message of role `" +
                           (turn.assistant ? "assistant" : "user") + "`.");
  }
  return wrong(path, "a block of type `" + type + "` is not supported: the model reads text only.");
}

Status read_content(const Value& content, const std::string& path, Turn& turn) {
  if (content.is_string()) {
    if (!content.as_string().empty()) turn.texts.push_back(content.as_string());
    return ok_status();
  }
  if (!content.is_list()) return wrong(path, "Input should be a string or a list of blocks");
  for (size_t i = 0; i < content.as_list().size(); ++i) {
    RETURN_IF_ERROR(read_block(content.as_list()[i], join(path, i), turn));
  }
  return ok_status();
}

enum class Role { kUser, kAssistant, kSystem };

// `ctx` and `msg` are Claude Code's, for what it tells the model beside the user's words.
StatusOr<Role> read_role(const Value& message, const std::string& path) {
  if (!message.is_dict()) return wrong(path, "Input should be a valid dictionary");
  ASSIGN_OR_RETURN(const std::string role, read_text(message, "role", path));
  if (role == "user" || role == "ctx" || role == "msg") return Role::kUser;
  if (role == "assistant") return Role::kAssistant;
  if (role == "system") return Role::kSystem;
  return wrong(join(path, "role"), "Input should be 'user', 'assistant' or 'system'");
}

// The blocks of an answer are one text, cut where it has thought, called or cited.
std::string answer_text(const Turn& turn) {
  std::string out;
  for (const std::string& text : turn.texts) out += text;
  return out;
}

void append_turn(Turn&& turn, std::vector<Value>& messages) {
  if (turn.assistant) {
    Value message(Value::Dict{{"role", "assistant"}, {"content", answer_text(turn)}});
    if (!turn.thinking.empty()) {
      message.set("reasoning", turn.thinking);
      message.set("reasoning_content", std::move(turn.thinking));
    }
    if (!turn.calls.empty()) message.set("tool_calls", std::move(turn.calls));
    messages.push_back(std::move(message));
    return;
  }
  const bool results = !turn.results.empty();
  std::move(turn.results.begin(), turn.results.end(), std::back_inserter(messages));
  if (results && turn.texts.empty()) return;
  messages.push_back(Value::Dict{{"role", "user"}, {"content", text_parts(std::move(turn.texts))}});
}

// How the conversation ends: what comes next is an answer, or the rest of one.
Status settle_end(std::vector<Turn>& turns, ChatPrompt& chat) {
  if (turns.empty() || !turns.back().assistant) return ok_status();
  const Turn& last = turns.back();
  if (!last.calls.empty()) {
    return wrong(last.calls_path, "a `tool_use` needs its `tool_result` in the next message.");
  }
  if (!last.texts.empty()) {
    chat.continue_final_message = true;
    chat.add_generation_prompt = false;
  } else if (last.thinking.empty()) {
    turns.pop_back();
  } else {
    return wrong("messages",
                 "The last message, with which the answer goes on, has thinking but no text.");
  }
  return ok_status();
}

}  // namespace

Status read_conversation(const Value* system, const Value::List& messages, ChatPrompt& chat) {
  if (messages.empty()) return wrong("messages", "at least one message is required");
  std::vector<std::string> instructions;
  if (system != nullptr) {
    ASSIGN_OR_RETURN(instructions, read_instructions(*system, "system"));
  }
  std::vector<Turn> turns;
  for (size_t i = 0; i < messages.size(); ++i) {
    const Value& message = messages[i];
    const std::string path = join("messages", i);
    ASSIGN_OR_RETURN(const Role role, read_role(message, path));
    const Value* content = message.find("content");
    if (content == nullptr) return wrong(join(path, "content"), "Field required");
    if (role == Role::kSystem && turns.empty()) {
      ASSIGN_OR_RETURN(std::vector<std::string> more,
                       read_instructions(*content, join(path, "content")));
      std::move(more.begin(), more.end(), std::back_inserter(instructions));
      continue;
    }
    // Later instructions are told where they stand, as the user's: most templates know of one
    // system prompt, and to change that would lose the whole conversation's cache.
    const bool assistant = role == Role::kAssistant;
    if (turns.empty() || turns.back().assistant != assistant) {
      turns.emplace_back().assistant = assistant;
    }
    RETURN_IF_ERROR(read_content(*content, join(path, "content"), turns.back()));
  }
  RETURN_IF_ERROR(settle_end(turns, chat));
  if (!instructions.empty()) {
    chat.messages.push_back(
        Value::Dict{{"role", "system"}, {"content", text_parts(std::move(instructions))}});
  }
  for (Turn& turn : turns) append_turn(std::move(turn), chat.messages);
  if (chat.messages.empty()) return wrong("messages", "at least one message needs content");
  return ok_status();
}

}  // namespace octavo::serve
