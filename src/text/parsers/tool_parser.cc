#include "text/parsers/tool_parser.h"

#include <algorithm>

#include "text/parsers/json_scanner.h"

namespace octavo::text {

void ToolParser::begin_call(std::string_view name) {
  call_is_open_ = true;
  out_->add(ParseEventKind::kCallBegin, name, next_call_);
}

void ToolParser::add_arguments(std::string_view json_piece) {
  out_->add(ParseEventKind::kCallArguments, json_piece, next_call_);
}

void ToolParser::end_call() {
  out_->add(ParseEventKind::kCallEnd, "", next_call_++);
  call_is_open_ = false;
  after_call_ = true;
  raw_.clear();
}

void ToolParser::give_back() {
  if (call_is_open_) out_->add(ParseEventKind::kCallRetracted, "", next_call_++);
  const bool only_space = !call_is_open_ && std::all_of(raw_.begin(), raw_.end(), is_json_space);
  call_is_open_ = false;
  in_call_ = false;
  if (only_space) {
    space_ += raw_;
    raw_.clear();
    return;
  }
  out_->add(ParseEventKind::kContent, raw_);
  raw_.clear();
  after_call_ = false;
}

void ToolParser::add_text_byte(char c) {
  if (is_json_space(c)) {
    space_ += c;
    return;
  }
  out_->add(ParseEventKind::kContent, space_);
  out_->add(ParseEventKind::kContent, {&c, 1});
  space_.clear();
  after_call_ = false;
}

void ToolParser::push_text(char c) {
  if (held_.empty() && !text_began_ && !is_json_space(c)) {
    text_began_ = true;
    if (opening_.first != 0 && c == opening_.first) {
      raw_ = std::move(space_);
      space_.clear();
      in_call_ = true;
      open(-1);
      push_call(c);
      return;
    }
  }
  held_ += c;
  while (!held_.empty()) {
    bool may_become_marker = false;
    for (size_t i = 0; i < opening_.markers.size(); ++i) {
      if (held_ == opening_.markers[i]) {
        raw_ = space_ + held_;
        space_.clear();
        held_.clear();
        in_call_ = true;
        open(static_cast<int>(i));
        return;
      }
      may_become_marker = may_become_marker || opening_.markers[i].starts_with(held_);
    }
    if (may_become_marker) return;
    add_text_byte(held_[0]);
    held_.erase(0, 1);
  }
}

void ToolParser::push_call(char c) {
  raw_ += c;
  const Verdict verdict = push(c);
  if (verdict == Verdict::kMore) return;
  if (verdict == Verdict::kLeave) {
    raw_.clear();
    in_call_ = false;
    return;
  }
  raw_.pop_back();
  give_back();
  push_text(c);
}

void ToolParser::feed(std::string_view piece, ParseEvents& out) {
  out_ = &out;
  for (const char c : piece) {
    if (in_call_) {
      push_call(c);
    } else {
      push_text(c);
    }
  }
  out_ = nullptr;
}

void ToolParser::finish(ParseEvents& out) {
  out_ = &out;
  if (in_call_) give_back();
  for (const char c : held_) add_text_byte(c);
  held_.clear();
  if (!after_call_) out.add(ParseEventKind::kContent, space_);
  space_.clear();
  out_ = nullptr;
}

}  // namespace octavo::text
