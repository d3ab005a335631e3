// KeyReader: the bytes that a terminal sends, as key presses. Pure: any split of the bytes gives
// the same presses. One thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace octavo::cli {

enum class Key {
  kText,  // one or more characters, valid UTF-8 without control characters
  kEnter,
  kNewline,  // Alt-Enter: a line break within the text
  kPaste,    // a whole paste; may hold line breaks and tabs
  kBackspace,
  kDelete,
  kLeft,
  kRight,
  kUp,
  kDown,
  kHome,
  kEnd,
  kWordLeft,
  kWordRight,
  kKillWord,
  kKillToEnd,
  kKillToStart,
  kYank,
  kClearScreen,
  kInterrupt,   // Ctrl-C
  kEndOfInput,  // Ctrl-D
};

struct KeyPress {
  Key key;
  std::string text;  // of kText and kPaste
  friend bool operator==(const KeyPress&, const KeyPress&) = default;
};

class KeyReader {
 public:
  static constexpr size_t kMaxPaste = 4 << 20;  // what goes beyond is dropped

  void feed(std::string_view bytes, std::vector<KeyPress>& out);

 private:
  enum class State { kGround, kEscape, kSequence, kPaste };
  void push(char byte, std::vector<KeyPress>& out);
  void push_ground(unsigned char byte, std::vector<KeyPress>& out);
  void push_escape(char byte, std::vector<KeyPress>& out);
  void push_sequence(char byte, std::vector<KeyPress>& out);
  void push_paste(char byte, std::vector<KeyPress>& out);

  State state_ = State::kGround;
  std::string character_;  // the first bytes of one that is not whole yet
  std::string sequence_;   // the parameters of an escape sequence
  std::string paste_;
};

}  // namespace octavo::cli
