#include "serve/openai/completions.h"

#include "base/status_macros.h"
#include "serve/generation_start.h"
#include "serve/openai/openai_format.h"
#include "serve/openai/openai_request.h"
#include "serve/openai/thinking.h"

namespace octavo::serve {

namespace {

StatusOr<AnswerPrompt> make_prompt(const Text& text, PromptInput&& input,
                                   const CompletionsRequest& fields) {
  AnswerPrompt prompt;
  if (auto* ids = std::get_if<std::vector<TokenId>>(&input)) {
    prompt.token_ids = std::move(*ids);
    if (fields.answer.echo) prompt.text = text.decode(prompt.token_ids, true);
    return prompt;
  }
  std::string& words = std::get<std::string>(input);
  auto ids = text.encode(words, {.add_special_tokens = fields.add_special_tokens});
  if (!ids.ok()) return Status(ids.status()).with_param("prompt");
  prompt.token_ids = *std::move(ids);
  if (fields.answer.echo) prompt.text = std::move(words);
  return prompt;
}

}  // namespace

StatusOr<std::vector<AnswerPrompt>> make_prompts(const Text& text, std::vector<PromptInput> inputs,
                                                 const CompletionsRequest& fields) {
  std::vector<AnswerPrompt> prompts;
  prompts.reserve(inputs.size());
  for (PromptInput& input : inputs) {
    ASSIGN_OR_RETURN(AnswerPrompt prompt, make_prompt(text, std::move(input), fields));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

Status start_completions(ServerContext& context, const HttpRequest& request, const Value& body,
                         std::shared_ptr<HttpExchange> exchange) {
  ASSIGN_OR_RETURN(CompletionsRequest fields,
                   parse_completions(body, context.engine.model().default_sampling));
  RETURN_IF_ERROR(context.check_model(fields.model));
  RETURN_IF_ERROR(check_thinking_budget(context.parsers, fields));
  RETURN_IF_ERROR(check_max_tokens(fields, context.engine.model().max_model_len));
  const Text& text = context.engine.text();
  ASSIGN_OR_RETURN(std::vector<AnswerPrompt> prompts,
                   make_prompts(text, std::move(fields.prompts), fields));
  auto format = make_completions_format(make_head(context, request, fields, "cmpl-"), text);
  return start_generation(context, request, fields, std::move(format), std::move(prompts),
                          std::move(exchange));
}

}  // namespace octavo::serve
