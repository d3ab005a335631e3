#include "serve/openai/chat_prompt.h"

#include <algorithm>

#include "base/status_macros.h"
#include "serve/errors.h"
#include "serve/generation_start.h"
#include "serve/openai/chat_messages.h"
#include "serve/openai/thinking.h"
#include "text/parsers/output_parser.h"

namespace octavo::serve {

namespace {

// Whether this server can do what is asked of tools and thinking.
Status check_parsers(const ServerContext& context, const ChatRequest& fields) {
  if (fields.tool_choice.kind == ToolChoice::Kind::kAuto) {
    if (!context.options.enable_auto_tool_choice) {
      return field_error("tool_choice", "\"auto\" tool choice requires --enable-auto-tool-choice.");
    }
    if (context.parsers.tool.empty()) {
      return field_error("tool_choice",
                         "\"auto\" tool choice requires --tool-call-parser to be set: none is "
                         "known to fit this model's chat template.");
    }
  }
  return check_thinking_budget(context.parsers, fields);
}

// How many calls the conversation holds already.
int count_calls(const std::vector<Value>& messages) {
  size_t count = 0;
  for (const Value& message : messages) {
    const Value* calls = message.find("tool_calls");
    if (calls != nullptr && calls->is_list()) count += calls->as_list().size();
  }
  return static_cast<int>(count);
}

// How the answers are taken apart. Null: they are content as they are.
std::shared_ptr<const ChatParsing> make_parsing(const AnswerParsers& parsers,
                                                const ChatRequest& fields, bool thinking_is_open) {
  using Kind = ToolChoice::Kind;
  const ToolChoice& choice = fields.tool_choice;
  const bool calls = choice.kind != Kind::kNone;
  if (parsers.reasoning.empty() && !calls) return nullptr;
  auto parsing = std::make_shared<ChatParsing>();
  text::OutputParserOptions& parser = parsing->parser;
  parser.reasoning_parser = parsers.reasoning;
  if (calls) parser.tool_parser = parsers.tool;
  if (choice.kind == Kind::kRequired) parser.notation = text::CallNotation::kCallList;
  if (choice.kind == Kind::kNamed) parser.notation = text::CallNotation::kNamedArguments;
  parser.named_function = choice.function;
  parser.prompt_ends_inside_thinking = thinking_is_open;
  if (calls && fields.chat.tools) parser.tools = *fields.chat.tools;
  if (fields.sampling.skip_special_tokens) parser.hidden_markers = parsers.special_markers;
  parsing->include_reasoning = fields.include_reasoning;
  parsing->parallel_calls = choice.parallel;
  parsing->calls_end_answer = choice.kind != Kind::kNamed;
  parsing->call_id_prefix = fields.call_id_prefix;
  parsing->calls_before = count_calls(fields.chat.messages);
  return parsing;
}

// The grammar that a forced call obeys.
Status constrain(ChatRequest& fields) {
  if (!fields.tool_choice.forced()) return ok_status();
  ASSIGN_OR_RETURN(std::string schema, call_schema(fields.tool_choice, *fields.chat.tools));
  fields.sampling.structured_output = StructuredOutput{.kind = StructuredOutput::Kind::kJsonSchema,
                                                       .text = std::move(schema),
                                                       .disable_any_whitespace = true,
                                                       .field = "tools"};
  return ok_status();
}

}  // namespace

Status settle_template(const ServerOptions& options, ChatPrompt& chat) {
  if (!chat.chat_template.empty() && !options.trust_request_chat_template) {
    return field_error("chat_template",
                       "Chat template is passed with request, but --trust-request-chat-template is "
                       "not set. Refused request with untrusted chat template.");
  }
  Value::Dict& given = chat.template_kwargs;
  for (const auto& variable : options.default_chat_template_kwargs) {
    const bool set = std::any_of(given.begin(), given.end(),
                                 [&](const auto& other) { return other.first == variable.first; });
    if (!set) given.push_back(variable);
  }
  return ok_status();
}

StatusOr<PreparedChat> prepare_chat(const ServerContext& context, ChatRequest& fields) {
  RETURN_IF_ERROR(context.check_model(fields.model));
  RETURN_IF_ERROR(check_parsers(context, fields));
  RETURN_IF_ERROR(settle_template(context.options, fields.chat));
  if (fields.tool_choice.kind == ToolChoice::Kind::kNone &&
      context.options.exclude_tools_when_tool_choice_none) {
    fields.chat.tools.reset();
  }
  const Text& text = context.engine.text();
  PreparedChat out;
  ASSIGN_OR_RETURN(RenderedChat chat, text.render_chat(fields.chat));
  ASSIGN_OR_RETURN(out.prompt.token_ids,
                   text.encode(chat.text, {.add_special_tokens = fields.add_special_tokens,
                                           .plain = chat.from_request}));
  const std::string continued = fields.chat.continue_final_message
                                    ? message_text(fields.chat.messages.back())
                                    : std::string();
  const text::PromptThinking thinking =
      text::prompt_thinking(context.parsers.reasoning, chat.text, continued);
  RETURN_IF_ERROR(constrain(fields));
  expect_thinking(context.parsers, thinking, fields.thinking_token_budget, fields.sampling);
  out.parsing = make_parsing(context.parsers, fields, thinking == text::PromptThinking::kOpen);
  if (out.parsing != nullptr && fields.sampling.skip_special_tokens) {
    fields.sampling.shown_special_tokens = context.parsers.special_ids;
  }
  if (fields.answer.return_prompt_text) out.prompt.rendered = std::move(chat.text);
  out.prompt.text = std::move(fields.echo_text);
  return out;
}

AnswerHead make_chat_head(const ServerContext& context, const HttpRequest& request,
                          const ChatRequest& fields, const PreparedChat& chat,
                          std::string_view id_prefix) {
  AnswerHead head = make_head(context, request, fields, id_prefix);
  head.chat = true;
  head.role = fields.chat.add_generation_prompt ? context.options.response_role : fields.role;
  head.parsing = chat.parsing;
  return head;
}

}  // namespace octavo::serve
