// OutputParser: takes an answer apart, as it arrives, into thinking, content and tool calls, by
// parsers that are chosen by vLLM's names. The server keeps one for each answer. One thread.
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
#include "text/parsers/harmony.h"
#include "text/parsers/marker_filter.h"
#include "text/parsers/reasoning_parser.h"
#include "text/parsers/tool_parser.h"

namespace octavo::text {

// How calls are written in the content: as the model does it, or as the grammar of a tool_choice
// makes it: [{"name": …, "parameters": {…}}, …], or the arguments of one function alone.
enum class CallNotation { kModel, kCallList, kNamedArguments };

struct OutputParserOptions {
  std::string reasoning_parser;  // empty: thinking is content
  std::string tool_parser;       // empty: calls are content; not read unless `notation` is kModel
  CallNotation notation = CallNotation::kModel;
  std::string named_function;  // with kNamedArguments
  // The rendered prompt ended inside a thinking block (prompt_thinking).
  bool prompt_ends_inside_thinking = false;
  Value tools;  // the request's OpenAI `tools`, or null; some parsers read types from them
  // Markers to leave out of content and thinking where no parser consumes them.
  std::vector<std::string> hidden_markers;
};

class OutputParser {
 public:
  // Errors (kInvalidArgument): an unknown name, with the known ones; harmony's parsers with others.
  static StatusOr<OutputParser> make(const OutputParserOptions& options);

  std::vector<ParseEvent> feed(std::string_view piece);
  // The rest. REQUIRES: no call follows.
  std::vector<ParseEvent> finish();
  // Whether what has been fed ends in the middle of the thinking.
  bool thinking() const;

 private:
  OutputParser() = default;
  void add_content(std::string_view text, ParseEvents& out);
  std::vector<ParseEvent> hide_markers(std::vector<ParseEvent> events, bool last);
  std::unique_ptr<ReasoningParser> reasoning_;
  std::unique_ptr<ToolParser> tools_;
  std::unique_ptr<HarmonyParser> harmony_;  // stands for both, before tools_
  std::unique_ptr<MarkerFilter> content_filter_, reasoning_filter_;
};

std::vector<std::string_view> reasoning_parser_names();
std::vector<std::string_view> tool_parser_names();

// What the end of a rendered prompt says about thinking: nothing, that a block is open, or that one
// has just been closed. Only its very end counts, since markers before it may be a user's. Where
// the answer goes on with a final message, `continued` is that message's text: its last marker
// decides. kNone for an unknown or empty name.
enum class PromptThinking { kNone, kOpen, kClosed };
PromptThinking prompt_thinking(std::string_view reasoning_parser, std::string_view prompt,
                               std::string_view continued = {});

// The marker that opens the thinking and the one that closes it, for a grammar that holds only
// after it. Empty for an unknown or empty name.
struct ThinkingMarkers {
  std::string begin, end;
};
ThinkingMarkers thinking_markers(std::string_view reasoning_parser);

// The marks that the two parsers look for, one by one: those of them that are special tokens must
// be shown to the parser. Unknown and empty names have none.
std::vector<std::string> parser_markers(std::string_view tool_parser,
                                        std::string_view reasoning_parser);

}  // namespace octavo::text
