// AnswerFormat: how the answer to one request is written, in one of the API's dialects: whole
// bodies, and the events of a stream. Generation drives it and knows no dialect; a new one is a
// class beside completions_format.cc and chat_format.cc.
//
// Concurrency: choice writers are used by the thread that has the choice's outputs, one at a time;
// the calls that end an answer come once, after every choice has ended. No call blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "octavo/outputs.h"
#include "octavo/status.h"
#include "serve/openai/chat_answer.h"
#include "serve/openai/openai_request.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// Constant over one HTTP request.
struct AnswerHead {
  std::string id;     // "cmpl-…", "chatcmpl-…"
  std::string model;  // as reported
  int64_t created = 0;
  AnswerOptions options;
  bool chat = false;                           // text is taken apart, into AnswerPiece::chat
  std::string role;                            // chat
  std::shared_ptr<const ChatParsing> parsing;  // chat; null: all text is content
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
  ChatDelta chat;         // of a chat: the output's text, taken apart and out of it
  RequestMetrics times;   // of its prompt's request, so far
  int cached_tokens = 0;  // of its prompt
  // Adds what came after.
  void merge(AnswerPiece&& more);
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;
  std::optional<int64_t>
      reasoning_tokens;  // of the completion's; told only of chats that are parsed
  RequestMetrics times;  // of all prompts: the earliest beginnings, the latest end
};

// Events of one choice of a stream.
class ChoiceWriter {
 public:
  virtual ~ChoiceWriter() = default;
  // Appends what the choice begins with, when the first token of its prompt's choices is there.
  // Once, before append() of any of them.
  virtual void begin(std::string& out, const AnswerPrompt& prompt) = 0;
  // Appends the events of `piece`.
  virtual void append(std::string& out, const AnswerPiece& piece, const AnswerPrompt& prompt) = 0;
};

class AnswerFormat {
 public:
  explicit AnswerFormat(AnswerHead head) : head_(std::move(head)) {}
  virtual ~AnswerFormat() = default;
  AnswerFormat(const AnswerFormat&) = delete;

  const AnswerHead& head() const { return head_; }

  // Appends what a stream begins with: once, as soon as the engine has accepted every prompt and
  // before anything else of the stream. Of the prompts only the token ids may be looked at.
  virtual void begin_stream(std::string& /*out*/, const std::vector<AnswerPrompt>& /*prompts*/) {}
  // The writer refers to this format.
  virtual std::unique_ptr<ChoiceWriter> choice(int index) = 0;
  // Appends what ends a stream: after the events of every choice, or, by a failure, in their midst;
  // a failure's in OpenAI's shape unless a dialect has its own.
  virtual void end_stream(std::string& out, const Usage& usage) = 0;
  virtual void fail_stream(std::string& out, const Status& failure);

  // The whole answer; `answers[i]` is all of choice i, `prompts[i / n]` is its prompt.
  virtual std::string body(const std::vector<AnswerPrompt>& prompts,
                           const std::vector<AnswerPiece>& answers, const Usage& usage) = 0;
  // In place of a whole answer; in OpenAI's shape unless a dialect has its own.
  virtual HttpResponse error(const Status& failure);

 private:
  const AnswerHead head_;
};

}  // namespace octavo::serve
