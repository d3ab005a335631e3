// What the parsers of this folder make of a model's output: a list of events in the order of the
// text. Plain data; any thread may use its own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace octavo::text {

enum class ParseEventKind {
  kContent,        // text of the answer
  kReasoning,      // text of the thinking before it
  kCallBegin,      // text: the function's name
  kCallArguments,  // text: the next piece of the arguments; all pieces together are a JSON object
  kCallEnd,        // the call is whole and its arguments are valid JSON
  // The call turned out to be malformed or was cut off: forget it. Its text, as the model wrote it,
  // follows as content. A caller that cannot take back what it sent may hold a call until its end.
  kCallRetracted,
};

struct ParseEvent {
  ParseEventKind kind;
  std::string text;
  int call = -1;  // calls count up from 0; a retracted call's number is not used again

  friend bool operator==(const ParseEvent&, const ParseEvent&) = default;
};

class ParseEvents {
 public:
  // Joined with the event before it where that is a piece of the same thing. An empty text of
  // content or reasoning is no event.
  void add(ParseEventKind kind, std::string_view text, int call = -1);
  const std::vector<ParseEvent>& list() const { return list_; }
  std::vector<ParseEvent> take() && { return std::move(list_); }

 private:
  std::vector<ParseEvent> list_;
};

struct ParsedCall {
  std::string name;
  std::string arguments;  // a JSON object
  friend bool operator==(const ParsedCall&, const ParsedCall&) = default;
};

// All events of an answer put together.
struct ParsedOutput {
  std::string reasoning;
  std::string content;
  std::vector<ParsedCall> calls;
  friend bool operator==(const ParsedOutput&, const ParsedOutput&) = default;
};

ParsedOutput collect(const std::vector<ParseEvent>& events);

}  // namespace octavo::text
