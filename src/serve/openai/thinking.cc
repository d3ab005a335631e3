#include "serve/openai/thinking.h"

#include <algorithm>
#include <span>

#include "serve/errors.h"

namespace octavo::serve {

namespace {

// As much of a prompt's end as may hold the markers of thinking.
constexpr size_t kTailTokens = 32;

}  // namespace

Status check_thinking_budget(const AnswerParsers& parsers, const GenerationFields& fields) {
  if (!fields.thinking_token_budget || !parsers.reasoning.empty()) return ok_status();
  return field_error("thinking_token_budget",
                     "`thinking_token_budget` requires --reasoning-parser to be set: none is "
                     "known to fit this model's chat template.");
}

text::PromptThinking thinking_of(const ServerContext& context,
                                 const std::vector<TokenId>& token_ids) {
  const std::span<const TokenId> all(token_ids);
  const std::string end =
      context.engine.text().decode(all.last(std::min(kTailTokens, all.size())), false);
  return text::prompt_thinking(context.parsers.reasoning, end);
}

void expect_thinking(const AnswerParsers& parsers, text::PromptThinking in_prompt,
                     std::optional<int> max_tokens, SamplingParams& sampling) {
  if (parsers.reasoning.empty() || in_prompt == text::PromptThinking::kClosed) return;
  text::ThinkingMarkers markers = text::thinking_markers(parsers.reasoning);
  sampling.thinking = ThinkingBlock{.start = std::move(markers.begin),
                                    .end = std::move(markers.end),
                                    .open = in_prompt == text::PromptThinking::kOpen,
                                    .max_tokens = max_tokens};
  // A grammar leaves a model the choice between thinking and an answer that it would not write. One
  // that does not think would take the first and never come back.
  if (sampling.structured_output && !parsers.template_thinks) sampling.thinking->start.clear();
}

}  // namespace octavo::serve
