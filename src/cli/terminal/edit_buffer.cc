#include "cli/terminal/edit_buffer.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/utf8.h"

namespace octavo::cli {
namespace {

constexpr size_t kTabColumns = 4;

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t';
}

}  // namespace

int column_width(char32_t code_point) {
  return utf8proc_charwidth(static_cast<utf8proc_int32_t>(code_point));
}

void EditBuffer::set(std::string text) {
  text_ = std::move(text);
  cursor_ = text_.size();
}

void EditBuffer::insert(std::string_view text) {
  text_.insert(cursor_, text);
  cursor_ += text.size();
}

size_t EditBuffer::after(size_t at) const {
  if (at >= text_.size()) return text_.size();
  Decoded here = decode_utf8(text_, at);
  utf8proc_int32_t state = 0;
  for (at += here.length; at < text_.size(); at += here.length) {
    const Decoded next = decode_utf8(text_, at);
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(here.code_point),
                                         static_cast<utf8proc_int32_t>(next.code_point), &state))
      break;
    here = next;
  }
  return at;
}

// Clusters can only be told from their begin, and every line begins one.
size_t EditBuffer::before(size_t at) const {
  if (at == 0) return 0;
  size_t border = line_begin(at);
  if (border == at) return at - 1;
  for (size_t next; (next = after(border)) < at;) border = next;
  return border;
}

size_t EditBuffer::line_begin(size_t at) const {
  const size_t newline = at == 0 ? std::string::npos : text_.rfind('\n', at - 1);
  return newline == std::string::npos ? 0 : newline + 1;
}

size_t EditBuffer::line_finish(size_t at) const {
  return std::min(text_.find('\n', at), text_.size());
}

void EditBuffer::backspace() {
  const size_t begin = before(cursor_);
  text_.erase(begin, cursor_ - begin);
  cursor_ = begin;
}

void EditBuffer::delete_next() {
  text_.erase(cursor_, after(cursor_) - cursor_);
}

void EditBuffer::left() {
  cursor_ = before(cursor_);
}

void EditBuffer::right() {
  cursor_ = after(cursor_);
}

void EditBuffer::word_left() {
  while (cursor_ > 0 && is_space(text_[cursor_ - 1])) --cursor_;
  while (cursor_ > 0 && !is_space(text_[cursor_ - 1])) --cursor_;
}

void EditBuffer::word_right() {
  while (cursor_ < text_.size() && is_space(text_[cursor_])) ++cursor_;
  while (cursor_ < text_.size() && !is_space(text_[cursor_])) ++cursor_;
}

void EditBuffer::line_start() {
  cursor_ = line_begin(cursor_);
}

void EditBuffer::line_end() {
  cursor_ = line_finish(cursor_);
}

size_t EditBuffer::clusters_between(size_t begin, size_t end) const {
  size_t count = 0;
  for (; begin < end; begin = after(begin)) ++count;
  return count;
}

void EditBuffer::move_within_line(size_t begin, size_t clusters) {
  const size_t end = line_finish(begin);
  for (cursor_ = begin; clusters > 0 && cursor_ < end; --clusters) cursor_ = after(cursor_);
}

bool EditBuffer::up() {
  const size_t begin = line_begin(cursor_);
  if (begin == 0) return false;
  move_within_line(line_begin(begin - 1), clusters_between(begin, cursor_));
  return true;
}

bool EditBuffer::down() {
  const size_t end = line_finish(cursor_);
  if (end == text_.size()) return false;
  move_within_line(end + 1, clusters_between(line_begin(cursor_), cursor_));
  return true;
}

void EditBuffer::kill(size_t begin, size_t end) {
  if (begin == end) return;
  killed_ = text_.substr(begin, end - begin);
  text_.erase(begin, end - begin);
  cursor_ = begin;
}

void EditBuffer::kill_word() {
  const size_t end = cursor_;
  word_left();
  kill(cursor_, end);
}

void EditBuffer::kill_to_end() {
  kill(cursor_, line_finish(cursor_));
}

void EditBuffer::kill_to_start() {
  kill(line_begin(cursor_), cursor_);
}

Layout lay_out(std::string_view text, size_t cursor, std::string_view prompt,
               std::string_view continuation, size_t width) {
  Layout layout;
  size_t column = 0;
  const auto begin_row = [&](std::string_view before) {
    layout.rows.emplace_back(before);
    column = before.size();
  };
  begin_row(prompt);
  for (size_t at = 0;;) {
    const bool here = at == cursor;
    const bool end = at == text.size();
    const Decoded decoded = end ? Decoded{} : decode_utf8(text, at);
    const bool tab = !end && text[at] == '\t';
    const bool newline = !end && text[at] == '\n';
    const size_t columns = end || newline ? 0
                           : tab          ? kTabColumns
                                          : static_cast<size_t>(column_width(decoded.code_point));
    // The cursor needs a column of its own even where the text ends at the border.
    const bool full = column + std::max<size_t>(columns, here ? 1 : 0) > width;
    if (full && column > 0) begin_row("");
    if (here) {
      layout.cursor_row = layout.rows.size() - 1;
      layout.cursor_column = column;
    }
    if (end) return layout;
    if (newline)
      begin_row(continuation);
    else
      layout.rows.back() +=
          tab ? std::string(kTabColumns, ' ') : std::string(text.substr(at, decoded.length));
    column += columns;
    at += static_cast<size_t>(decoded.length);
  }
}

}  // namespace octavo::cli
