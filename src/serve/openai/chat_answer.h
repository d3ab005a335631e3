// ChatAnswer: one choice of a chat as the API tells it, thinking, content and tool calls, made from
// the engine's text as it arrives. Generation keeps one for each choice; the thread that has the
// choice's outputs, one at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "octavo/outputs.h"
#include "text/parsers/output_parser.h"

namespace octavo::serve {

// How the answers of one request are taken apart; constant.
struct ChatParsing {
  text::OutputParserOptions parser;
  bool include_reasoning = true;
  bool parallel_calls = true;    // false: the first call alone is told
  bool calls_end_answer = true;  // finish_reason `tool_calls`; false for a named choice: `stop`
  std::string call_id_prefix;    // where the model's template has no form of its own for ids
  int calls_before = 0;          // in the conversation; kimi_k2 counts its ids on from there
};

struct ToolCallDelta {
  int index = 0;
  std::string id, name;  // where the call begins; later empty
  std::string arguments;
};

// What a choice gained, or all of it.
struct ChatDelta {
  std::string reasoning;
  std::string content;
  std::vector<ToolCallDelta> calls;
  // Calls told before that turned out to be none; their text is in `content`. A stream, which
  // cannot take them back, leaves them unfinished.
  std::vector<int> retracted;
  bool called_tools = false;  // the answer has ended, with whole calls

  bool empty() const {
    return reasoning.empty() && content.empty() && calls.empty() && retracted.empty();
  }
  // Adds what came after.
  void merge(ChatDelta&& more);
};

class ChatAnswer {
 public:
  // Null: the text is all content. `parsing` must outlive it; its parsers' names are known ones.
  explicit ChatAnswer(const ChatParsing* parsing);

  // Takes the text out of `output`. Text that may be the beginning of a marker is held back, until
  // the output that finishes the choice at the latest.
  ChatDelta add(CompletionOutput& output);
  // Tokens so far that were drawn between the marks of the thinking.
  int reasoning_tokens() const { return reasoning_tokens_; }

 private:
  void take(std::vector<text::ParseEvent> events, ChatDelta& delta);
  void begin_call(const std::string& name, ChatDelta& delta);
  void retract_call(ChatDelta& delta);

  const ChatParsing* parsing_;
  std::optional<text::OutputParser> parser_;
  int reasoning_tokens_ = 0;
  int next_index_ = 0;
  int whole_calls_ = 0;
  bool call_open_ = false;
  bool call_hidden_ = false;  // the open call is one too many
};

}  // namespace octavo::serve
