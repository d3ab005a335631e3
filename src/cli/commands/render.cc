// octavo render: conversations to prompts exactly as the template writes them, to compare our Jinja
// with Python's. The server does more before it renders (serve/openai/chat_messages.h).
#include <ctime>

#include "base/clock.h"
#include "base/json_writer.h"
#include "base/status_macros.h"
#include "cli/commands/commands.h"
#include "cli/commands/jsonl.h"
#include "text/chat_template.h"
#include "text/template_file.h"

namespace octavo::cli {
namespace {

// "2026-07-26T12:34:56" of this machine's time zone, as Unix seconds.
StatusOr<int64_t> parse_local_time(const std::string& text) {
  std::tm given{};
  const char* end = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &given);
  if (end == nullptr || *end != '\0')
    return invalid_argument("'" + text + "' is no time such as 2026-07-26T12:34:56");
  given.tm_isdst = -1;
  std::tm counted = given;
  const std::time_t seconds = std::mktime(&counted);
  if (counted.tm_mday != given.tm_mday || counted.tm_mon != given.tm_mon)
    return invalid_argument("'" + text + "' is no day of the calendar");
  return seconds;
}

// A case's member, or null; refused unless it is a list.
StatusOr<Value> optional_list(const Value& object, std::string_view name) {
  const Value* found = object.find(name);
  if (found == nullptr || found->is_null()) return Value();
  if (!found->is_list()) {
    return invalid_argument("`" + std::string(name) + "` must be a list, not " +
                            std::string(found->type_name()));
  }
  return *found;
}

// The variables of one case, as transformers passes them to a template.
StatusOr<Value::Dict> variables_of(const Value& object) {
  ASSIGN_OR_RETURN(Value messages, optional_list(object, "messages"));
  if (messages.is_null()) return invalid_argument("`messages` is missing");
  text::copy_reasoning(messages.as_list());
  ASSIGN_OR_RETURN(Value tools, optional_list(object, "tools"));
  ASSIGN_OR_RETURN(Value documents, optional_list(object, "documents"));
  const Value* add_prompt = object.find("add_generation_prompt");
  Value variables(
      Value::Dict{{"messages", std::move(messages)},
                  {"tools", std::move(tools)},
                  {"documents", std::move(documents)},
                  {"add_generation_prompt", add_prompt == nullptr ? Value(false) : *add_prompt}});
  if (const Value* kwargs = object.find("kwargs"); kwargs != nullptr && !kwargs->is_null()) {
    if (!kwargs->is_dict()) {
      return invalid_argument("`kwargs` must be an object, not " +
                              std::string(kwargs->type_name()));
    }
    for (const auto& [name, value] : kwargs->as_dict()) variables.set(name, value);
  }
  return std::move(variables.as_dict());
}

StatusOr<std::string> render(const text::ChatTemplate& chat, const Value& object, int64_t now) {
  ASSIGN_OR_RETURN(const Value::Dict variables, variables_of(object));
  const text::RenderResult result = chat.render(variables, now);
  JsonWriter json;
  json.begin_object();
  if (result.ok()) {
    json.key("output").string(result.output);
  } else {
    json.key("error").begin_object();
    json.key("kind").string(text::to_string(result.error));
    json.key("message").string(result.message).end_object();
  }
  json.end_object();
  return std::move(json).take();
}

}  // namespace

int render_command(const Words& args) {
  FlagSet flags(
      "octavo render --chat-template FILE_OR_DIR --input FILE --output FILE",
      "Renders the conversation of each line: `messages`, and where given `tools`,\n"
      "`documents`, `add_generation_prompt` and `kwargs`, whose members are further\n"
      "variables, the special tokens among them. Each line of the output holds `output`, or\n"
      "`error` with `kind` and `message`.");
  std::string path;
  int64_t now = unix_seconds();
  JsonlFiles files;
  flags.text("chat-template", &path, "FILE_OR_DIR",
             "A Jinja file, a tokenizer_config.json, or a folder that holds one of them.");
  files.declare(flags);
  flags.custom("now", "TIME", "", "The time that templates see, such as 2026-07-26T12:34:56.",
               [&](const std::string& text) -> Status {
                 ASSIGN_OR_RETURN(now, parse_local_time(text));
                 return {};
               });
  if (const auto code = parse_or_exit(flags, args, "render")) return *code;
  const Status complete = require_flags(flags, {"chat-template", "input", "output"});
  if (!complete.ok()) return report(complete, kUsage);

  StatusOr<std::string> source = text::read_chat_template(path);
  if (!source.ok()) return report(source.status());
  const auto chat = text::ChatTemplate::parse(*std::move(source));
  if (!chat.ok()) return report(chat.status().with_context(path));
  const Status done =
      convert_jsonl(files, [&](const Value& object) { return render(**chat, object, now); });
  return done.ok() ? 0 : report(done);
}

}  // namespace octavo::cli
