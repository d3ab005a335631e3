// EditBuffer: the text being typed and the cursor in it; what each editing key does to them. It
// moves by what a reader takes for one character (grapheme clusters). Pure; one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace octavo::cli {

class EditBuffer {
 public:
  const std::string& text() const { return text_; }
  size_t cursor() const { return cursor_; }  // byte, at a cluster's border

  // Replaces all; the cursor stands at the end.
  void set(std::string text);
  void insert(std::string_view text);
  void backspace();
  void delete_next();
  void left();
  void right();
  void word_left();
  void word_right();
  void line_start();
  void line_end();
  // To the same place in the line above or below; false, and nothing done, where there is none.
  bool up();
  bool down();
  // What a kill takes away, yank() gives back.
  void kill_word();
  void kill_to_end();
  void kill_to_start();
  void yank() { insert(std::string(killed_)); }

 private:
  size_t before(size_t at) const;  // the border before `at`; 0 at the begin
  size_t after(size_t at) const;
  size_t line_begin(size_t at) const;
  size_t line_finish(size_t at) const;
  void kill(size_t begin, size_t end);
  void move_within_line(size_t begin, size_t clusters);
  size_t clusters_between(size_t begin, size_t end) const;

  std::string text_, killed_;
  size_t cursor_ = 0;
};

// Columns that a code point takes on a terminal: 0, 1 or 2.
int column_width(char32_t code_point);

// A text as rows of a terminal, cut where they are full; the prompts stand before its lines.
struct Layout {
  std::vector<std::string> rows;
  size_t cursor_row = 0;
  size_t cursor_column = 0;
};
// `prompt` before the first line, `continuation` before the others; `width` in columns, at least 1.
Layout lay_out(std::string_view text, size_t cursor, std::string_view prompt,
               std::string_view continuation, size_t width);

}  // namespace octavo::cli
