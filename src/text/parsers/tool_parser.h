// ToolParser: takes the tool calls out of an answer that arrives in pieces. This base class knows
// where plain text ends and a call may begin, and gives malformed calls back as text; a format (one
// class each, in *_calls.cc) says how a call is written. OutputParser has one for each answer. One
// thread.
//
// Everything is decided byte by byte, so no split of the text into pieces can change the result.
// Invariants:
//   1. Every byte is sent as content, is part of a whole call's notation, or is held in held_,
//      space_ or raw_. raw_ begins with the white space before the call and its opening marker.
//   2. When a format refuses a byte, raw_ goes out as content and the byte is read again as text.
//   3. White space beside a call belongs to the notation, elsewhere to the content.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/value.h"
#include "text/parsers/events.h"

namespace octavo::text {

// Where a format puts the calls that it reads.
class CallSink {
 public:
  virtual ~CallSink() = default;
  virtual void begin_call(std::string_view name) = 0;
  virtual void add_arguments(std::string_view json_piece) = 0;
  virtual void end_call() = 0;
};

class ToolParser : private CallSink {
 public:
  struct Opening {
    std::vector<std::string> markers;  // each opens calls, wherever it stands
    char first = 0;  // if this is the answer's first byte but white space, it opens calls too
  };

  ~ToolParser() override = default;
  void feed(std::string_view piece, ParseEvents& out);
  // The answer is over. No call follows.
  void finish(ParseEvents& out);

 protected:
  enum class Verdict {
    kMore,    // the byte belongs to the calls
    kLeave,   // it does, and text follows it
    kRefuse,  // it does not: with what came since the last whole call it is text
  };
  explicit ToolParser(Opening opening) : opening_(std::move(opening)) {}

  // A marker was read (its index), or the answer began with `first` (-1), which push() gets next.
  virtual void open(int marker) = 0;
  virtual Verdict push(char c) = 0;

  // REQUIRES: calls are not nested.
  void begin_call(std::string_view name) override;
  void add_arguments(std::string_view json_piece) override;
  // Everything read so far, up to and with the byte being pushed, is done with; so push() must not
  // refuse that byte.
  void end_call() override;
  // The same for notation after a call: it is not given back, whatever follows.
  void take_notation() { raw_.clear(); }
  CallSink& sink() { return *this; }

 private:
  void push_text(char c);
  void add_text_byte(char c);
  void push_call(char c);
  void give_back();

  Opening opening_;
  ParseEvents* out_ = nullptr;
  bool in_call_ = false;
  bool text_began_ = false;  // anything but white space was seen
  bool after_call_ = false;  // no content since the last call
  bool call_is_open_ = false;
  int next_call_ = 0;
  std::string held_;   // may become a marker
  std::string space_;  // white space that may turn out to stand before a call
  std::string raw_;
};

// What is known of a request's tools: an OpenAI `tools` list, or null.
struct ToolParserContext {
  Value tools;
};

std::unique_ptr<ToolParser> make_hermes_parser(const ToolParserContext& context);
std::unique_ptr<ToolParser> make_llama3_json_parser(const ToolParserContext& context);
std::unique_ptr<ToolParser> make_mistral_parser(const ToolParserContext& context);
std::unique_ptr<ToolParser> make_qwen3_coder_parser(const ToolParserContext& context);
std::unique_ptr<ToolParser> make_deepseek_v31_parser(const ToolParserContext& context);
std::unique_ptr<ToolParser> make_deepseek_v3_parser(const ToolParserContext& context);
std::unique_ptr<ToolParser> make_kimi_k2_parser(const ToolParserContext& context);
std::unique_ptr<ToolParser> make_pythonic_parser(const ToolParserContext& context);
std::unique_ptr<ToolParser> make_llama4_pythonic_parser(const ToolParserContext& context);
std::unique_ptr<ToolParser> make_glm45_parser(const ToolParserContext& context);
std::unique_ptr<ToolParser> make_minimax_m2_parser(const ToolParserContext& context);
std::unique_ptr<ToolParser> make_granite_parser(const ToolParserContext& context);
std::unique_ptr<ToolParser> make_phi4_mini_json_parser(const ToolParserContext& context);
// For answers that a grammar holds to [{"name": …, "parameters": {…}}, …], and to the arguments of
// `function`.
std::unique_ptr<ToolParser> make_call_list_parser();
std::unique_ptr<ToolParser> make_named_call_parser(std::string function);

}  // namespace octavo::text
