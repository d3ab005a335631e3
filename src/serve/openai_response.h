// OpenAI's answers as text: whole JSON bodies, and the SSE events of a stream. What is constant
// over a request is built once, so that one token costs a few appends. Pure text building; any
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "octavo/outputs.h"
#include "octavo/text.h"
#include "serve/chat_answer.h"
#include "serve/openai_request.h"

namespace octavo::serve {

enum class Dialect { kCompletions, kChat };

// Constant over one HTTP request.
struct AnswerHead {
  Dialect dialect = Dialect::kCompletions;
  std::string id;     // "cmpl-…", "chatcmpl-…"
  std::string model;  // as reported
  int64_t created = 0;
  std::string role;                            // chat
  std::shared_ptr<const ChatParsing> parsing;  // chat; null: all text is content
  AnswerOptions options;
};

// One prompt of the request, as far as answers repeat it.
struct AnswerPrompt {
  std::vector<TokenId> token_ids;
  std::string
      text;  // of the prompt (completions), of the last message (chat): what echo puts first
  std::string rendered;  // chat: the template's output, kept for return_prompt_text only
  std::vector<std::optional<TokenLogprobs>> logprobs;
};

// What one choice gained, or all of it.
struct AnswerPiece {
  CompletionOutput output;
  ChatDelta chat;  // of a chat: the output's text, taken apart and out of it
  // Adds what came after.
  void merge(AnswerPiece&& more);
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;
  std::optional<int64_t>
      reasoning_tokens;  // of the completion's; told only of chats that are parsed
};

// {"object":…} of the whole answer; `answers[i]` is all of choice i, `prompts[i / n]`
// is its prompt.
std::string answer_body(const AnswerHead& head, const std::vector<AnswerPrompt>& prompts,
                        const std::vector<AnswerPiece>& answers, const Usage& usage,
                        const Text& text);

// Events of one choice of a stream. One thread at a time.
class ChoiceEvents {
 public:
  ChoiceEvents(const AnswerHead& head, int index);

  // Appends what a stream begins with when its first token is there: of a chat, the chunk with the
  // role and, with echo, the last message. REQUIRES: once, before append().
  void begin(std::string& out, const AnswerPrompt& prompt);
  // Appends the event of `piece` to `out`. `prompt` is repeated as the options say, by the first
  // event.
  void append(std::string& out, const AnswerPiece& piece, const AnswerPrompt& prompt,
              const Text& text);

 private:
  void append_completion(std::string& out, const CompletionOutput& output,
                         const AnswerPrompt& prompt, const Text& text);
  void append_chat(std::string& out, const AnswerPiece& piece);
  void append_tail(std::string& out, const AnswerPiece& piece, const AnswerPrompt& prompt);

  const AnswerHead& head_;
  std::string prefix_;  // up to the choice's text
  bool started_ = false;
  int text_offset_ = 0;  // characters (code points) before this event, for logprobs
};

// The chunk with usage and no choices.
std::string usage_event(const AnswerHead& head, const Usage& usage);
std::string error_event(std::string_view error_json);
inline constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";

}  // namespace octavo::serve
