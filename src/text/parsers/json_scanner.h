// Two scanners that read JSON byte by byte, so that a tool call can be passed on while it is being
// written. Used by the tool parsers; one thread.
#pragma once

#include <string>
#include <string_view>

#include "text/parsers/tool_parser.h"

namespace octavo::text {

// Finds the end of one JSON value and checks it on the way (RFC 8259, at most 128 deep).
class JsonScanner {
 public:
  enum class Result {
    kMore,
    kDone,        // this byte was the value's last
    kDoneBefore,  // the value (a number or a word) ended before this byte
    kBroken,      // no JSON value goes on like this
  };
  Result push(char c);

 private:
  enum class State { kValue, kFirstItem, kFirstKey, kKey, kColon, kAfter, kWord, kString, kEscape };
  Result begin_value(char c);
  Result end_value();
  Result push_string(char c);
  Result push_after(char c);

  State state_ = State::kValue;
  bool string_is_key_ = false;
  int hex_digits_left_ = 0;
  std::string word_;   // of a number, true, false or null
  std::string stack_;  // the containers that are open, '{' or '['
};

// Reads the object {"name": …, "arguments": {…}} ("parameters" is the same) with its keys in any
// order and passes the call on as it comes: the arguments as they are written once the name is
// known. Arguments that are a string of JSON are unpacked; null and none at all become {}.
class CallObject {
 public:
  struct Rules {
    bool needs_arguments = false;  // an object without arguments is no call
    bool only_known_keys = false;  // other keys than name, arguments, type and id: no call
  };
  enum class Result { kMore, kDone, kBroken };

  CallObject(Rules rules, CallSink& sink) : rules_(rules), sink_(&sink) {}
  // kDone: this byte closed the object; the caller ends the call.
  Result push(char c);

 private:
  enum class State { kOpen, kFirstKey, kKey, kInKey, kColon, kValue, kInValue, kAfter };
  Result begin_value(char c);
  Result push_value(char c);
  bool end_value();
  bool close();

  Rules rules_;
  CallSink* sink_;
  State state_ = State::kOpen;
  JsonScanner scanner_;
  std::string text_;  // of the key or value being read
  std::string key_;
  std::string name_;
  std::string arguments_;  // held until the name is known
  bool has_arguments_ = false;
  bool streams_ = false;  // the value goes to the sink byte by byte
};

bool is_json_space(char c);
bool is_json_object(std::string_view text);

}  // namespace octavo::text
