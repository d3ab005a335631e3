// OutputParser: takes an answer apart, as it arrives, into thinking, content and tool calls, by
// parsers that are chosen by vLLM's names. The output processor keeps one for each answer. One
// thread.
//
// The text must hold the model's markers: decode with special tokens shown, since many markers are
// special tokens. For every split of a text into pieces the events, put together by collect(), are
// the same.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/status.h"
#include "octavo/value.h"
#include "text/parsers/events.h"
#include "text/parsers/reasoning_parser.h"
#include "text/parsers/tool_parser.h"

namespace octavo::text {

struct OutputParserOptions {
  std::string reasoning_parser;  // empty: thinking is content
  std::string tool_parser;       // empty: calls are content
  // The rendered prompt ended inside a thinking block (prompt_ends_inside_thinking).
  bool prompt_ends_inside_thinking = false;
  Value tools;  // the request's OpenAI `tools`, or null; qwen3_coder reads the types from them
};

class OutputParser {
 public:
  // An unknown name is an invalid_argument that lists the known ones.
  static StatusOr<OutputParser> make(const OutputParserOptions& options);

  std::vector<ParseEvent> feed(std::string_view piece);
  // The rest. REQUIRES: no call follows.
  std::vector<ParseEvent> finish();

 private:
  OutputParser() = default;
  void add_content(std::string_view text, ParseEvents& out);
  std::unique_ptr<ReasoningParser> reasoning_;
  std::unique_ptr<ToolParser> tools_;
};

std::vector<std::string_view> reasoning_parser_names();
std::vector<std::string_view> tool_parser_names();

// Whether the last thinking marker in a prompt opens a block that the prompt does not close.
// False for an unknown or empty name.
bool prompt_ends_inside_thinking(std::string_view reasoning_parser, std::string_view prompt);

}  // namespace octavo::text
