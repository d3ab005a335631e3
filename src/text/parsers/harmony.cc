#include "text/parsers/harmony.h"

namespace octavo::text {

namespace {

constexpr std::string_view kStart = "<|start|>", kChannel = "<|channel|>", kMessage = "<|message|>",
                           kConstrain = "<|constrain|>";
constexpr std::string_view kMarkers[] = {kStart,    kChannel,   kMessage,    kConstrain,
                                         "<|end|>", "<|call|>", "<|return|>"};
constexpr size_t kMaxHeader = 1024;

// The word after `tag` in a header; empty if there is none.
std::string_view word_after(std::string_view header, std::string_view tag) {
  const size_t at = header.find(tag);
  if (at == std::string_view::npos) return "";
  header.remove_prefix(at + tag.size());
  return header.substr(0, header.find_first_of(" \t\r\n<"));
}

}  // namespace

void HarmonyParser::add_text(std::string_view text, ParseEvents& out) {
  if (text.empty()) return;
  const bool thinking = body_ == Body::kThinking;
  bool& had = thinking ? had_thinking_ : had_content_;
  std::string line;
  if (had && !body_began_) line = "\n";  // messages of one kind are lines of it
  line += text;
  had = body_began_ = true;
  if (thinking) {
    out.add(ParseEventKind::kReasoning, line);
  } else if (options_.content_parser != nullptr) {
    options_.content_parser->feed(line, out);
  } else {
    out.add(ParseEventKind::kContent, line);
  }
}

void HarmonyParser::begin_body(ParseEvents& out) {
  const std::string_view recipient = word_after(header_, "to=");
  const std::string_view channel = word_after(header_, kChannel);
  body_ = Body::kContent;
  body_began_ = false;
  state_ = State::kBody;
  if (options_.calls && recipient.starts_with("functions.") && recipient.size() > 10) {
    body_ = Body::kCall;
    scanner_ = JsonScanner();
    call_text_.clear();
    call_began_ = false;
    out.add(ParseEventKind::kCallBegin, recipient.substr(10), next_call_);
  } else if (options_.reasoning && channel == "analysis") {
    body_ = Body::kThinking;
  }
  header_.clear();
}

void HarmonyParser::give_call_back(ParseEvents& out) {
  out.add(ParseEventKind::kCallRetracted, "", next_call_++);
  body_ = Body::kContent;
  add_text(call_text_, out);
}

// A marker, or the answer's end, closes the message.
void HarmonyParser::end_body(ParseEvents& out) {
  if (state_ != State::kBody || body_ != Body::kCall) return;
  if (call_began_) return give_call_back(out);
  out.add(ParseEventKind::kCallArguments, "{}", next_call_);
  out.add(ParseEventKind::kCallEnd, "", next_call_++);
  body_ = Body::kAfterCall;
}

void HarmonyParser::push_marker(std::string_view marker, ParseEvents& out) {
  if (marker == kMessage) {
    if (state_ == State::kBody) return;  // no header: nothing to begin
    return begin_body(out);
  }
  if (marker == kConstrain || marker == kChannel) {
    if (state_ == State::kBody || state_ == State::kBetween) end_body(out);
    state_ = State::kHeader;
    header_ += marker;
    return;
  }
  end_body(out);
  header_.clear();
  state_ = marker == kStart ? State::kHeader : State::kBetween;
}

void HarmonyParser::push_call_byte(char c, ParseEvents& out) {
  call_text_ += c;
  if (!call_began_ && is_json_space(c)) return;
  const auto result = scanner_.push(c);
  if (result == JsonScanner::Result::kBroken || (!call_began_ && c != '{')) {
    return give_call_back(out);
  }
  call_began_ = true;
  out.add(ParseEventKind::kCallArguments, {&c, 1}, next_call_);
  if (result != JsonScanner::Result::kDone) return;
  out.add(ParseEventKind::kCallEnd, "", next_call_++);
  body_ = Body::kAfterCall;
}

void HarmonyParser::push_first_byte(char c, ParseEvents& out) {
  constexpr std::string_view kRecipient = "to=";
  if (first_word_.empty() && is_json_space(c)) {
    header_ += c;
    return;
  }
  first_word_ += c;
  if (first_word_ == kRecipient) {
    header_ += first_word_;
    state_ = State::kHeader;
  } else if (!kRecipient.starts_with(first_word_)) {
    header_is_text(out);
  }
}

// What was taken for a header is the message's text.
void HarmonyParser::header_is_text(ParseEvents& out) {
  const bool first = state_ == State::kFirst;
  const bool thinking = first && options_.inside_thinking && options_.reasoning;
  if (first) header_ += first_word_;
  state_ = State::kBody;
  body_ = thinking ? Body::kThinking : Body::kContent;
  add_text(header_, out);
  header_.clear();
}

void HarmonyParser::push_byte(char c, ParseEvents& out) {
  switch (state_) {
    case State::kFirst:
      return push_first_byte(c, out);
    case State::kHeader:
      header_ += c;
      if (header_.size() > kMaxHeader) header_is_text(out);
      return;
    case State::kBetween:
      if (is_json_space(c)) return;
      state_ = State::kBody;
      body_ = Body::kContent;
      body_began_ = false;
      return add_text({&c, 1}, out);
    case State::kBody:
      if (body_ == Body::kCall) return push_call_byte(c, out);
      if (body_ == Body::kAfterCall) {
        if (is_json_space(c)) return;
        body_ = Body::kContent;
        body_began_ = false;
      }
      return add_text({&c, 1}, out);
  }
}

void HarmonyParser::push(char c, ParseEvents& out) {
  held_ += c;
  while (!held_.empty()) {
    bool possible = false;
    for (const std::string_view marker : kMarkers) {
      if (held_ == marker) {
        held_.clear();
        return push_marker(marker, out);
      }
      possible = possible || marker.starts_with(held_);
    }
    if (possible) return;
    push_byte(held_[0], out);
    held_.erase(0, 1);
  }
}

void HarmonyParser::feed(std::string_view piece, ParseEvents& out) {
  for (const char c : piece) push(c, out);
}

void HarmonyParser::finish(ParseEvents& out) {
  for (const char c : held_) push_byte(c, out);
  held_.clear();
  if (state_ == State::kFirst) header_is_text(out);  // a header cut off is notation
  end_body(out);
  if (options_.content_parser != nullptr) options_.content_parser->finish(out);
}

}  // namespace octavo::text
