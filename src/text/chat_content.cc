#include "text/chat_content.h"

namespace octavo::text {

namespace {

Value as_parts(const Value& text) {
  return Value::List{Value::Dict{{"type", "text"}, {"text", text}}};
}

// A rendering of `messages`; empty if it fails or does not show `text`.
std::string try_out(const ChatTemplate& chat_template, const Value::Dict& special_tokens,
                    Value::List messages, std::string_view text) {
  const RenderResult result = chat_template.render(special_tokens,
                                                   {{"messages", std::move(messages)},
                                                    {"tools", Value()},
                                                    {"documents", Value()},
                                                    {"add_generation_prompt", true}},
                                                   0);
  const bool shown = result.ok() && result.output.find(text) != std::string::npos;
  return shown ? result.output : "";
}

Value::List saying(Value content) {
  return {Value::Dict{{"role", "user"}, {"content", std::move(content)}}};
}

ContentForm try_both(const ChatTemplate& chat_template, const Value::Dict& special_tokens) {
  constexpr std::string_view kProbe = "What form has this text?";
  const std::string string = try_out(chat_template, special_tokens, saying(kProbe), kProbe);
  const std::string parts =
      try_out(chat_template, special_tokens, saying(as_parts(kProbe)), kProbe);
  if (string.empty()) return parts.empty() ? ContentForm::kString : ContentForm::kParts;
  return parts == string ? ContentForm::kEither : ContentForm::kString;
}

}  // namespace

StatusOr<ContentForm> content_form(std::string_view word, const ChatTemplate& chat_template,
                                   const Value::Dict& special_tokens) {
  if (word == "string") return ContentForm::kString;
  if (word == "openai") return ContentForm::kParts;
  if (word == "auto" || word.empty()) return try_both(chat_template, special_tokens);
  return invalid_argument("--chat-template-content-format is auto, string or openai, not `" +
                          std::string(word) + "`");
}

void apply_content_form(ContentForm form, Value::List& messages) {
  if (form == ContentForm::kEither) return;
  for (Value& message : messages) {
    Value* content = message.find("content");
    if (content == nullptr) continue;
    if (form == ContentForm::kString && content->is_list()) *content = content_text(*content);
    if (form == ContentForm::kParts && content->is_string() && !content->as_string().empty()) {
      *content = as_parts(Value(*content));
    }
  }
}

CallForm call_form(const ChatTemplate& chat_template, const Value::Dict& special_tokens) {
  constexpr std::string_view kName = "what_form_has_this_call";
  const Value function(
      Value::Dict{{"name", kName}, {"arguments", Value::Dict{{"what_form", "has it"}}}});
  const Value call(Value::Dict{{"id", "abc123def"}, {"type", "function"}, {"function", function}});
  for (const bool null_content : {false, true}) {
    for (const bool as_text : {false, true}) {
      const CallForm form{.arguments_as_text = as_text, .null_content = null_content};
      Value::List messages = saying("Go.");
      messages.push_back(
          Value::Dict{{"role", "assistant"}, {"content", ""}, {"tool_calls", Value::List{call}}});
      apply_call_form(form, messages);
      if (!try_out(chat_template, special_tokens, std::move(messages), kName).empty()) return form;
    }
  }
  return {};
}

void apply_call_form(CallForm form, Value::List& messages) {
  for (Value& message : messages) {
    Value* calls = message.find("tool_calls");
    if (calls == nullptr || !calls->is_list()) continue;
    Value* content = message.find("content");
    if (form.null_content && content != nullptr && *content == Value("")) *content = nullptr;
    for (Value& call : calls->as_list()) {
      Value* function = call.find("function");
      Value* arguments = function == nullptr ? nullptr : function->find("arguments");
      if (arguments == nullptr) continue;
      if (form.arguments_as_text && arguments->is_dict()) *arguments = to_json(*arguments);
      if (form.arguments_as_text || !arguments->is_string()) continue;
      if (auto parsed = parse_json(arguments->as_string()); parsed.ok()) {
        *arguments = *std::move(parsed);
      }
    }
  }
}

bool shows_developer(const ChatTemplate& chat_template, const Value::Dict& special_tokens,
                     ContentForm form) {
  constexpr std::string_view kProbe = "What is a developer called?";
  Value::List messages = {Value::Dict{{"role", "developer"}, {"content", kProbe}}};
  messages.push_back(saying("Go.").front());
  apply_content_form(form, messages);
  return !try_out(chat_template, special_tokens, std::move(messages), kProbe).empty();
}

void apply_system_role(Value::List& messages) {
  for (Value& message : messages) {
    Value* role = message.find("role");
    if (role != nullptr && *role == Value("developer")) *role = "system";
  }
}

Status check_roles_shown(const Value::List& messages, std::string_view source,
                         std::string_view rendered) {
  constexpr std::string_view kSpace = " \t\r\n";
  size_t reached = 0;  // messages come in order: one look at the whole text does for all
  for (const Value& message : messages) {
    const Value* role = message.find("role");
    const Value* content = message.find("content");
    if (role == nullptr || !role->is_string() || content == nullptr) continue;
    if (source.find(role->as_string()) != std::string_view::npos) continue;
    const std::string whole = content_text(*content);
    const size_t begin = whole.find_first_not_of(kSpace);
    if (begin == std::string::npos) continue;  // many templates trim
    const std::string_view text =
        std::string_view(whole).substr(begin, whole.find_last_not_of(kSpace) + 1 - begin);
    size_t at = rendered.find(text, reached);
    if (at == std::string_view::npos) at = rendered.find(text);
    if (at == std::string_view::npos) {
      return invalid_argument("The model's chat template shows no messages of role `" +
                              role->as_string() + "`.")
          .with_param("messages");
    }
    reached = at + text.size();
  }
  return ok_status();
}

std::string content_text(const Value& content) {
  if (content.is_string()) return content.as_string();
  if (!content.is_list()) return "";
  std::string out;
  bool first = true;
  for (const Value& part : content.as_list()) {
    const Value* text = part.find("text");
    if (text == nullptr || !text->is_string()) continue;
    if (!first) out += '\n';
    out += text->as_string();
    first = false;
  }
  return out;
}

}  // namespace octavo::text
