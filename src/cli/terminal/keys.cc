// Keys as xterm and its kin send them: control bytes, ESC and a letter, CSI (ESC [) and SS3 (ESC O)
// sequences, and pastes between ESC [200~ and ESC [201~ (bracketed paste).
#include "cli/terminal/keys.h"

#include <optional>

#include "base/utf8.h"

namespace octavo::cli {
namespace {

constexpr char kEsc = '\x1b';
constexpr std::string_view kPasteEnd = "\x1b[201~";
constexpr size_t kMaxSequence = 32;

std::optional<Key> control_key(unsigned char byte) {
  switch (byte) {
    case '\r':
    case '\n':
      return Key::kEnter;
    case 0x7f:
    case 0x08:
      return Key::kBackspace;
    case 'A' & 0x1f:
      return Key::kHome;
    case 'B' & 0x1f:
      return Key::kLeft;
    case 'C' & 0x1f:
      return Key::kInterrupt;
    case 'D' & 0x1f:
      return Key::kEndOfInput;
    case 'E' & 0x1f:
      return Key::kEnd;
    case 'F' & 0x1f:
      return Key::kRight;
    case 'K' & 0x1f:
      return Key::kKillToEnd;
    case 'L' & 0x1f:
      return Key::kClearScreen;
    case 'N' & 0x1f:
      return Key::kDown;
    case 'P' & 0x1f:
      return Key::kUp;
    case 'U' & 0x1f:
      return Key::kKillToStart;
    case 'W' & 0x1f:
      return Key::kKillWord;
    case 'Y' & 0x1f:
      return Key::kYank;
    default:
      return std::nullopt;
  }
}

// The key of a CSI or SS3 sequence; `parameters` such as "1;5", where 3, 5 and 7 hold Alt or Ctrl.
std::optional<Key> sequence_key(std::string_view parameters, char last) {
  const size_t semicolon = parameters.find(';');
  const std::string_view modifier =
      semicolon == std::string_view::npos ? "" : parameters.substr(semicolon + 1);
  const bool by_word = modifier == "3" || modifier == "5" || modifier == "7";
  switch (last) {
    case 'A':
      return Key::kUp;
    case 'B':
      return Key::kDown;
    case 'C':
      return by_word ? Key::kWordRight : Key::kRight;
    case 'D':
      return by_word ? Key::kWordLeft : Key::kLeft;
    case 'H':
      return Key::kHome;
    case 'F':
      return Key::kEnd;
    case '~':
      break;
    default:
      return std::nullopt;
  }
  const std::string_view number = parameters.substr(0, semicolon);
  if (number == "1" || number == "7") return Key::kHome;
  if (number == "4" || number == "8") return Key::kEnd;
  if (number == "3") return Key::kDelete;
  return std::nullopt;
}

// Line breaks as \n, no other control characters but tabs, valid UTF-8.
std::string clean_paste(const std::string& raw) {
  std::string kept;
  for (size_t i = 0; i < raw.size(); ++i) {
    const unsigned char c = raw[i];
    if (c == '\r') {
      kept += '\n';
      if (i + 1 < raw.size() && raw[i + 1] == '\n') ++i;
    } else if ((c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t') {
      kept += raw[i];
    }
  }
  return replace_invalid_utf8(kept);
}

}  // namespace

void KeyReader::feed(std::string_view bytes, std::vector<KeyPress>& out) {
  for (const char byte : bytes) push(byte, out);
}

void KeyReader::push(char byte, std::vector<KeyPress>& out) {
  switch (state_) {
    case State::kGround:
      return push_ground(static_cast<unsigned char>(byte), out);
    case State::kEscape:
      return push_escape(byte, out);
    case State::kSequence:
      return push_sequence(byte, out);
    case State::kPaste:
      return push_paste(byte, out);
  }
}

void KeyReader::push_ground(unsigned char byte, std::vector<KeyPress>& out) {
  if (byte < 0x20 || byte == 0x7f) {
    character_.clear();
    if (byte == kEsc)
      state_ = State::kEscape;
    else if (byte == '\t')
      out.push_back({Key::kText, "  "});
    else if (const auto key = control_key(byte))
      out.push_back({*key, ""});
    return;
  }
  character_ += static_cast<char>(byte);
  const Decoded decoded = decode_utf8(character_, 0);
  if (decoded.incomplete) return;
  if (decoded.valid && decoded.code_point >= 0xa0) {
    out.push_back({Key::kText, character_});
  } else if (decoded.valid && decoded.code_point < 0x7f) {
    out.push_back({Key::kText, character_});
  }
  character_.clear();
}

void KeyReader::push_escape(char byte, std::vector<KeyPress>& out) {
  state_ = State::kGround;
  sequence_.clear();
  if (byte == '[' || byte == 'O')
    state_ = State::kSequence;
  else if (byte == kEsc)
    state_ = State::kEscape;
  else if (byte == '\r' || byte == '\n')
    out.push_back({Key::kNewline, ""});
  else if (byte == 'b')
    out.push_back({Key::kWordLeft, ""});
  else if (byte == 'f')
    out.push_back({Key::kWordRight, ""});
  else if (byte == '\x7f')
    out.push_back({Key::kKillWord, ""});
}

void KeyReader::push_sequence(char byte, std::vector<KeyPress>& out) {
  const bool parameter = byte >= 0x20 && byte < 0x40;
  if (parameter && sequence_.size() < kMaxSequence) {
    sequence_ += byte;
    return;
  }
  state_ = State::kGround;
  if (byte == '~' && sequence_ == "200") {
    state_ = State::kPaste;
    paste_.clear();
  } else if (const auto key = sequence_key(sequence_, byte)) {
    out.push_back({*key, ""});
  }
}

void KeyReader::push_paste(char byte, std::vector<KeyPress>& out) {
  paste_ += byte;
  if (paste_.ends_with(kPasteEnd)) {
    paste_.resize(paste_.size() - kPasteEnd.size());
    out.push_back({Key::kPaste, clean_paste(paste_)});
    paste_ = {};
    state_ = State::kGround;
  } else if (paste_.size() > kMaxPaste + kPasteEnd.size()) {
    // Past the limit only the last bytes move, so that the end is still seen.
    paste_.erase(kMaxPaste, 1);
  }
}

}  // namespace octavo::cli
