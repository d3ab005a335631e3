// The whole text is drawn anew after each key that changed it, from where its first row stands; a
// text that is higher than the terminal shows the rows around the cursor.
#include "cli/terminal/line_editor.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "cli/terminal/terminal.h"

namespace octavo::cli {

void LineEditor::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = write(out_, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) return;
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
  }
}

bool LineEditor::next_key(KeyPress& key) {
  while (waiting_.empty()) {
    char bytes[4096];
    const ssize_t n = ::read(in_, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    std::vector<KeyPress> pressed;
    keys_.feed({bytes, static_cast<size_t>(n)}, pressed);
    waiting_.insert(waiting_.end(), std::make_move_iterator(pressed.begin()),
                    std::make_move_iterator(pressed.end()));
  }
  key = std::move(waiting_.front());
  waiting_.pop_front();
  return true;
}

void LineEditor::draw() {
  const TerminalSize size = terminal_size(out_);
  const Layout layout = lay_out(buffer_.text(), buffer_.cursor(), prompt_, continuation_,
                                static_cast<size_t>(size.columns));
  const size_t height = static_cast<size_t>(size.rows);
  const size_t first = layout.cursor_row >= height ? layout.cursor_row - height + 1 : size_t{0};
  const size_t end = std::min(layout.rows.size(), first + height);
  std::string bytes = "\x1b[?25l\r";
  if (rows_above_cursor_ > 0) bytes += "\x1b[" + std::to_string(rows_above_cursor_) + "A";
  bytes += "\x1b[J";
  for (size_t row = first; row < end; ++row)
    bytes += (row == first ? "" : "\r\n") + layout.rows[row];
  rows_above_cursor_ = layout.cursor_row - first;
  rows_below_cursor_ = end - 1 - layout.cursor_row;
  if (rows_below_cursor_ > 0) bytes += "\x1b[" + std::to_string(rows_below_cursor_) + "A";
  bytes += "\r";
  if (layout.cursor_column > 0) bytes += "\x1b[" + std::to_string(layout.cursor_column) + "C";
  send(bytes + "\x1b[?25h");
}

void LineEditor::leave() {
  if (rows_below_cursor_ > 0) send("\x1b[" + std::to_string(rows_below_cursor_) + "B");
  send("\r\n");
  rows_above_cursor_ = rows_below_cursor_ = 0;
}

void LineEditor::show_history(bool older) {
  const auto& entries = history_.entries();
  if (older ? history_place_ == 0 : history_place_ == entries.size()) return;
  if (history_place_ == entries.size()) new_text_ = buffer_.text();
  history_place_ += older ? size_t(-1) : 1;
  buffer_.set(history_place_ == entries.size() ? new_text_ : entries[history_place_]);
}

void LineEditor::edit(const KeyPress& key) {
  switch (key.key) {
    case Key::kText:
    case Key::kPaste:
      return buffer_.insert(key.text);
    case Key::kNewline:
      return buffer_.insert("\n");
    case Key::kBackspace:
      return buffer_.backspace();
    case Key::kDelete:
      return buffer_.delete_next();
    case Key::kLeft:
      return buffer_.left();
    case Key::kRight:
      return buffer_.right();
    case Key::kWordLeft:
      return buffer_.word_left();
    case Key::kWordRight:
      return buffer_.word_right();
    case Key::kHome:
      return buffer_.line_start();
    case Key::kEnd:
      return buffer_.line_end();
    case Key::kUp:
      if (!buffer_.up()) show_history(true);
      return;
    case Key::kDown:
      if (!buffer_.down()) show_history(false);
      return;
    case Key::kKillWord:
      return buffer_.kill_word();
    case Key::kKillToEnd:
      return buffer_.kill_to_end();
    case Key::kKillToStart:
      return buffer_.kill_to_start();
    case Key::kYank:
      return buffer_.yank();
    case Key::kClearScreen:
      send("\x1b[H\x1b[2J");
      rows_above_cursor_ = 0;
      return;
    default:
      return;
  }
}

LineEditor::Result LineEditor::read(std::string_view prompt, std::string_view continuation) {
  const TerminalMode mode(in_, TerminalMode::kEditing);
  prompt_ = prompt;
  continuation_ = continuation;
  buffer_.set("");
  history_place_ = history_.entries().size();
  rows_above_cursor_ = rows_below_cursor_ = 0;
  draw();
  for (KeyPress key; next_key(key);) {
    const std::string& text = buffer_.text();
    if (key.key == Key::kInterrupt) {
      leave();
      return {End::kInterrupted, "", !text.empty()};
    }
    if (key.key == Key::kEndOfInput) {
      if (text.empty()) {
        leave();
        return {End::kClosed, ""};
      }
      key.key = Key::kDelete;
    }
    if (key.key == Key::kEnter) {
      const EnterMeans meaning = on_enter_(text);
      if (meaning == EnterMeans::kEnd) {
        draw();
        leave();
        return {End::kText, text};
      }
      key.key = Key::kNewline;
      buffer_.set(text.substr(0, text.size() - (meaning == EnterMeans::kDropBackslash ? 1 : 0)));
    }
    edit(key);
    if (waiting_.empty()) draw();
  }
  return {End::kClosed, ""};
}

}  // namespace octavo::cli
