// HarmonyParser: takes apart answers in the harmony format of gpt-oss, in which thinking, calls and
// text are messages with a header of their own:
//   <|channel|>analysis<|message|>…<|end|>
//   <|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{…}<|call|>
//   <|start|>assistant<|channel|>final<|message|>…<|return|>
// Used by OutputParser for openai_gptoss and openai; one thread. Decided byte by byte.
#pragma once

#include <string>
#include <string_view>

#include "text/parsers/events.h"
#include "text/parsers/json_scanner.h"
#include "text/parsers/tool_parser.h"

namespace octavo::text {

class HarmonyParser {
 public:
  struct Options {
    bool reasoning = true;  // the analysis channel is thinking; else it is content
    bool calls = true;      // messages to functions.* are calls; else they are content
    bool inside_thinking = false;
    // Content goes through it, if there is one; it must outlive the parser.
    ToolParser* content_parser = nullptr;
  };
  explicit HarmonyParser(Options options) : options_(options) {}

  void feed(std::string_view piece, ParseEvents& out);
  void finish(ParseEvents& out);
  bool thinking() const { return state_ == State::kBody && body_ == Body::kThinking; }

 private:
  // kFirst: the prompt has begun the message, so the answer starts within its header (" to=…" or a
  // marker), or, where the prompt wrote all of that, within its text.
  enum class State { kFirst, kHeader, kBody, kBetween };
  enum class Body { kContent, kThinking, kCall, kAfterCall };

  void push(char c, ParseEvents& out);
  void push_marker(std::string_view marker, ParseEvents& out);
  void push_byte(char c, ParseEvents& out);
  void push_first_byte(char c, ParseEvents& out);
  void header_is_text(ParseEvents& out);
  void push_call_byte(char c, ParseEvents& out);
  void begin_body(ParseEvents& out);
  void end_body(ParseEvents& out);
  void give_call_back(ParseEvents& out);
  void add_text(std::string_view text, ParseEvents& out);

  Options options_;
  State state_ = State::kFirst;
  Body body_ = Body::kContent;
  std::string held_;        // may become a marker
  std::string header_;      // so far, its markers included
  std::string first_word_;  // of a header that the prompt began, so far; white space is in header_
  std::string call_text_;
  bool call_began_ = false;  // call_text_ is more than white space
  JsonScanner scanner_;
  int next_call_ = 0;
  bool had_thinking_ = false, had_content_ = false;
  bool body_began_ = false;  // some of its text was sent
};

}  // namespace octavo::text
