#include "text/parsers/reasoning_parser.h"

#include "text/parsers/json_scanner.h"

namespace octavo::text {

namespace {
enum class Match { kNo, kPrefix, kWhole };
Match match(const std::vector<std::string>& markers, std::string_view text) {
  Match best = Match::kNo;
  for (const std::string& marker : markers) {
    if (text == marker) return Match::kWhole;
    if (marker.starts_with(text)) best = Match::kPrefix;
  }
  return best;
}
}  // namespace

void ReasoningParser::add_thinking(char c, ParseEvents& out) {
  if (is_json_space(c)) {
    if (began_) space_ += c;
    return;
  }
  out.add(ParseEventKind::kReasoning, space_);
  out.add(ParseEventKind::kReasoning, {&c, 1});
  space_.clear();
  began_ = true;
}

// White space goes to space_, what may become the opening marker to held_.
void ReasoningParser::push_head(char c, ParseEvents& out, std::string& content) {
  if (held_.empty() && is_json_space(c)) {
    space_ += c;
    return;
  }
  held_ += c;
  const Match found = match(format_.begin, held_);
  if (found == Match::kPrefix) return;
  const std::string held = space_ + held_;
  space_.clear();
  held_.clear();
  if (found == Match::kWhole) {
    state_ = State::kThinking;
  } else if (inside_) {
    state_ = State::kThinking;
    for (const char c : held) push(c, out, content);
  } else {
    state_ = State::kContent;
    content += held;
  }
}

void ReasoningParser::push_thinking(ParseEvents& out, std::string& content) {
  while (!held_.empty()) {
    const Match end = match(format_.end, held_);
    const Match keep = match(format_.end_and_keep, held_);
    if (end == Match::kWhole || keep == Match::kWhole) {
      state_ = end == Match::kWhole ? State::kAfter : State::kContent;
      if (keep == Match::kWhole) content += held_;
      held_.clear();
      space_.clear();
      return;
    }
    if (end == Match::kPrefix || keep == Match::kPrefix) return;
    add_thinking(held_[0], out);
    held_.erase(0, 1);
  }
}

void ReasoningParser::push(char c, ParseEvents& out, std::string& content) {
  switch (state_) {
    case State::kHead:
    case State::kMaybeBegin:
      return push_head(c, out, content);
    case State::kThinking:
      held_ += c;
      return push_thinking(out, content);
    case State::kAfter:
      if (c == '\n' || c == '\r') return;
      state_ = State::kContent;
      [[fallthrough]];
    case State::kContent:
      content += c;
  }
}

std::string ReasoningParser::feed(std::string_view piece, ParseEvents& out) {
  std::string content;
  for (const char c : piece) push(c, out, content);
  return content;
}

std::string ReasoningParser::finish(ParseEvents& out) {
  const std::string held = std::move(held_);
  held_.clear();
  if (state_ == State::kHead) return space_ + held;
  if (state_ == State::kMaybeBegin) space_.clear();
  for (const char c : held) add_thinking(c, out);
  return "";
}

}  // namespace octavo::text
