// Chat messages in the form that a template wants: content as one string, or as a list of parts,
// {"type": "text", "text": …}; arguments of tool calls as a dict, or as JSON text; instructions
// by the role that it knows. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include "octavo/status.h"
#include "octavo/value.h"
#include "text/chat_template.h"

namespace octavo::text {

enum class ContentForm { kString, kParts, kEither };

// "string", "openai" (parts) or "auto", vLLM's words for --chat-template-content-format. `auto`
// tries it out: a template takes parts if a part renders as its text does, and needs them if text
// alone does not render. Errors (kInvalidArgument): another word.
StatusOr<ContentForm> content_form(std::string_view word, const ChatTemplate& chat_template,
                                   const Value::Dict& special_tokens);

// Brings every message's content into the form. Parts become one string joined by line breaks.
void apply_content_form(ContentForm form, Value::List& messages);

// In which form a template shows a message with tool calls; tried out, too. Most want a dict.
struct CallForm {
  bool arguments_as_text = false;  // it writes arguments as they stand
  bool null_content = false;       // beside a content, even an empty one, it shows no calls
};
CallForm call_form(const ChatTemplate& chat_template, const Value::Dict& special_tokens);

// Brings every message with tool calls into the form. Arguments that are no JSON stay as they are.
void apply_call_form(CallForm form, Value::List& messages);

// Whether a template shows a message of role `developer`, OpenAI's later word for `system`; tried
// out. Many pass over roles that they do not know, and the instructions would be lost.
bool shows_developer(const ChatTemplate& chat_template, const Value::Dict& special_tokens,
                     ContentForm form);

// Turns messages of role `developer` into those of role `system`.
void apply_system_role(Value::List& messages);

// Whether `rendered` shows the messages whose role the template's source does not name: many
// templates pass over such, and the model would answer without having read them. Errors
// (kInvalidArgument, param `messages`): it does not.
Status check_roles_shown(const Value::List& messages, std::string_view source,
                         std::string_view rendered);

// The text of a content: a string, or text parts joined by line breaks.
std::string content_text(const Value& content);

}  // namespace octavo::text
