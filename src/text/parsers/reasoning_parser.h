// ReasoningParser: takes the thinking off the head of an answer that arrives in pieces. Used by
// OutputParser, one for each answer; one thread. Decided byte by byte, so that no split of the text
// changes the result.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/parsers/events.h"

namespace octavo::text {

// How a family of models marks its thinking.
struct ReasoningFormat {
  std::string_view name;           // vLLM's
  std::vector<std::string> begin;  // only at the answer's head, after white space
  std::vector<std::string> end;
  std::vector<std::string> end_and_keep;  // ends the thinking, and belongs to the content
};

// White space at both ends of the thinking and line breaks before the content that follows it are
// notation, as in the models' templates. A prompt that ended inside a thinking block says so with
// `inside`; otherwise what begins with no marker is content to its end.
class ReasoningParser {
 public:
  // REQUIRES: `format` outlives the parser.
  ReasoningParser(const ReasoningFormat& format, bool inside)
      : format_(format), state_(inside ? State::kMaybeBegin : State::kHead), inside_(inside) {}

  // Thinking is added to `out`; what is content is returned, for the tool parser.
  std::string feed(std::string_view piece, ParseEvents& out);
  std::string finish(ParseEvents& out);
  // Between the markers, as far as they have been fed.
  bool thinking() const {
    return state_ == State::kThinking || (state_ == State::kMaybeBegin && inside_);
  }

 private:
  // kHead, kMaybeBegin (the prompt wrote the opening marker): the model may write it now.
  enum class State { kHead, kMaybeBegin, kThinking, kAfter, kContent };
  void push(char c, ParseEvents& out, std::string& content);
  void push_head(char c, ParseEvents& out, std::string& content);
  void push_thinking(ParseEvents& out, std::string& content);
  void add_thinking(char c, ParseEvents& out);

  const ReasoningFormat& format_;
  State state_;
  bool inside_;
  bool began_ = false;  // some thinking was sent
  std::string held_;    // may become a marker
  std::string space_;   // before the thinking's begin, or perhaps before its end
};

}  // namespace octavo::text
