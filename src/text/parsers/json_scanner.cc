#include "text/parsers/json_scanner.h"

#include <cctype>

#include "octavo/value.h"

namespace octavo::text {

namespace {
constexpr size_t kMaxDepth = 128;
bool is_word_byte(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '+' || c == '.';
}
}  // namespace

bool is_json_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

bool is_json_object(std::string_view text) {
  const auto value = parse_json(text);
  return value.ok() && value->is_dict();
}

JsonScanner::Result JsonScanner::begin_value(char c) {
  if (c == '{' || c == '[') {
    if (stack_.size() == kMaxDepth) return Result::kBroken;
    stack_ += c;
    state_ = c == '{' ? State::kFirstKey : State::kFirstItem;
  } else if (c == '"') {
    string_is_key_ = false;
    state_ = State::kString;
  } else if (is_word_byte(c)) {
    word_ = c;
    state_ = State::kWord;
  } else {
    return Result::kBroken;
  }
  return Result::kMore;
}

JsonScanner::Result JsonScanner::end_value() {
  state_ = State::kAfter;
  return stack_.empty() ? Result::kDone : Result::kMore;
}

JsonScanner::Result JsonScanner::push_string(char c) {
  if (state_ == State::kEscape) {
    if (hex_digits_left_ > 0) {
      if (!std::isxdigit(static_cast<unsigned char>(c))) return Result::kBroken;
      if (--hex_digits_left_ == 0) state_ = State::kString;
    } else if (c == 'u') {
      hex_digits_left_ = 4;
    } else if (std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos) {
      state_ = State::kString;
    } else {
      return Result::kBroken;
    }
    return Result::kMore;
  }
  if (static_cast<unsigned char>(c) < 0x20) return Result::kBroken;
  if (c == '\\') state_ = State::kEscape;
  if (c != '"') return Result::kMore;
  if (!string_is_key_) return end_value();
  state_ = State::kColon;
  return Result::kMore;
}

JsonScanner::Result JsonScanner::push_after(char c) {
  const bool object = stack_.back() == '{';
  if (c == ',') {
    state_ = object ? State::kKey : State::kValue;
    return Result::kMore;
  }
  if (c != (object ? '}' : ']')) return Result::kBroken;
  stack_.pop_back();
  return end_value();
}

JsonScanner::Result JsonScanner::push(char c) {
  if (state_ == State::kString || state_ == State::kEscape) return push_string(c);
  if (state_ == State::kWord) {
    if (is_word_byte(c)) {
      word_ += c;
      return word_.size() > 4096 ? Result::kBroken : Result::kMore;
    }
    if (!parse_json(word_).ok()) return Result::kBroken;
    if (end_value() == Result::kDone) return Result::kDoneBefore;
  }
  if (is_json_space(c)) return Result::kMore;
  switch (state_) {
    case State::kFirstItem:
      if (c != ']') return begin_value(c);
      stack_.pop_back();
      return end_value();
    case State::kValue:
      return begin_value(c);
    case State::kFirstKey:
      if (c == '}') {
        stack_.pop_back();
        return end_value();
      }
      [[fallthrough]];
    case State::kKey:
      if (c != '"') return Result::kBroken;
      string_is_key_ = true;
      state_ = State::kString;
      return Result::kMore;
    case State::kColon:
      if (c != ':') return Result::kBroken;
      state_ = State::kValue;
      return Result::kMore;
    default:
      return stack_.empty() ? Result::kBroken : push_after(c);
  }
}

CallObject::Result CallObject::begin_value(char c) {
  const bool arguments = key_ == "arguments" || key_ == "parameters";
  const bool known = arguments || key_ == "name" || key_ == "type" || key_ == "id";
  if (!known && rules_.only_known_keys) return Result::kBroken;
  if (arguments && has_arguments_) return Result::kBroken;
  if (key_ == "name" && !name_.empty()) return Result::kBroken;
  scanner_ = JsonScanner();
  text_.clear();
  state_ = State::kInValue;
  streams_ = arguments && c == '{' && !name_.empty();
  if (streams_) {
    sink_->begin_call(name_);
    has_arguments_ = true;
  }
  return push_value(c);
}

CallObject::Result CallObject::push_value(char c) {
  const auto result = scanner_.push(c);
  if (result == JsonScanner::Result::kBroken) return Result::kBroken;
  if (result != JsonScanner::Result::kDoneBefore) {
    if (streams_) {
      sink_->add_arguments({&c, 1});
    } else {
      text_ += c;
    }
  }
  if (result == JsonScanner::Result::kMore) return Result::kMore;
  state_ = State::kAfter;
  if (!streams_ && !end_value()) return Result::kBroken;
  return result == JsonScanner::Result::kDoneBefore ? push(c) : Result::kMore;
}

// Takes in a value that was held in text_.
bool CallObject::end_value() {
  const bool is_name = key_ == "name";
  if (!is_name && key_ != "arguments" && key_ != "parameters") return true;
  const auto value = parse_json(text_);
  if (!value.ok()) return false;
  if (is_name) {
    if (!value->is_string() || value->as_string().empty()) return false;
    name_ = value->as_string();
  } else {
    if (value->is_string()) {
      if (!is_json_object(value->as_string())) return false;
      arguments_ = value->as_string();
    } else if (value->is_null()) {
      arguments_ = "{}";
    } else if (value->is_dict()) {
      arguments_ = text_;
    } else {
      return false;
    }
    has_arguments_ = true;
  }
  if (!name_.empty() && has_arguments_) {
    sink_->begin_call(name_);
    sink_->add_arguments(arguments_);
  }
  return true;
}

bool CallObject::close() {
  if (name_.empty()) return false;
  if (has_arguments_) return true;
  if (rules_.needs_arguments) return false;
  sink_->begin_call(name_);
  sink_->add_arguments("{}");
  return true;
}

CallObject::Result CallObject::push(char c) {
  if (state_ == State::kInValue) return push_value(c);
  if (state_ == State::kInKey) {
    const auto result = scanner_.push(c);
    if (result == JsonScanner::Result::kBroken) return Result::kBroken;
    text_ += c;
    if (result != JsonScanner::Result::kDone) return Result::kMore;
    const auto key = parse_json(text_);
    if (!key.ok()) return Result::kBroken;
    key_ = key->as_string();
    state_ = State::kColon;
    return Result::kMore;
  }
  if (is_json_space(c)) return Result::kMore;
  const auto go = [&](char expected, State next) {
    if (c != expected) return Result::kBroken;
    state_ = next;
    return Result::kMore;
  };
  switch (state_) {
    case State::kOpen:
      return go('{', State::kFirstKey);
    case State::kFirstKey:
    case State::kKey:
      if (c != '"') return Result::kBroken;
      scanner_ = JsonScanner();
      scanner_.push(c);
      text_ = c;
      state_ = State::kInKey;
      return Result::kMore;
    case State::kColon:
      return go(':', State::kValue);
    case State::kValue:
      return begin_value(c);
    default:
      if (c == '}') return close() ? Result::kDone : Result::kBroken;
      return go(',', State::kKey);
  }
}

}  // namespace octavo::text
