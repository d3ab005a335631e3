// LineEditor: asks for one text at a terminal: editing keys as in a shell, several lines, history
// on the arrows, pastes taken whole. Main thread.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "cli/terminal/edit_buffer.h"
#include "cli/terminal/history.h"
#include "cli/terminal/keys.h"

namespace octavo::cli {

// What Enter does to the text before it: ends it, or goes on in a new line, with or without the
// backslash that asked for one.
enum class EnterMeans { kEnd, kNewline, kDropBackslash };

class LineEditor {
 public:
  enum class End { kText, kInterrupted, kClosed };  // Enter; Ctrl-C; Ctrl-D or no more input
  struct Result {
    End end;
    std::string text;
    bool had_text = false;  // of kInterrupted: something was thrown away
  };

  LineEditor(int in, int out, History& history,
             std::function<EnterMeans(const std::string& text)> on_enter)
      : in_(in), out_(out), history_(history), on_enter_(std::move(on_enter)) {}

  // The prompts are ASCII. Keys that come after the end wait for the next call.
  Result read(std::string_view prompt, std::string_view continuation);

 private:
  bool next_key(KeyPress& key);
  // Applies a key that edits.
  void edit(const KeyPress& key);
  void show_history(bool older);
  void draw();
  void leave();  // the cursor goes below what was drawn
  void send(std::string_view bytes) const;

  const int in_, out_;
  History& history_;
  const std::function<EnterMeans(const std::string&)> on_enter_;
  KeyReader keys_;
  std::deque<KeyPress> waiting_;
  std::string_view prompt_, continuation_;
  EditBuffer buffer_;
  size_t history_place_ = 0;  // of the entry shown; entries().size(): the new text
  std::string new_text_;      // kept while an entry is shown
  size_t rows_above_cursor_ = 0, rows_below_cursor_ = 0;
};

}  // namespace octavo::cli
