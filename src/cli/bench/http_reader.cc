// A line-driven state machine: head lines, then one of three framings of the body (RFC 9112,
// sections 6 and 7).
#include "cli/bench/http_reader.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace octavo::bench {
namespace {

constexpr size_t kMaxLine = 64 << 10;

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

// The text after `"name":` and any blanks, or empty. A string value that equals the name has no
// colon behind it.
std::string_view value_of(std::string_view json, std::string_view quoted_name) {
  for (size_t at = json.find(quoted_name); at != std::string_view::npos;
       at = json.find(quoted_name, at + 1)) {
    std::string_view rest = json.substr(at + quoted_name.size());
    const auto skip_blanks = [&rest] {
      rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\n"), rest.size()));
    };
    skip_blanks();
    if (rest.empty() || rest[0] != ':') continue;
    rest.remove_prefix(1);
    skip_blanks();
    return rest;
  }
  return {};
}

int number_of(std::string_view json, std::string_view quoted_name) {
  const std::string_view text = value_of(json, quoted_name);
  int value = -1;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

EventFacts read_event(std::string_view payload) {
  EventFacts facts;
  std::string_view choices = value_of(payload, "\"choices\"");
  if (!choices.empty() && choices[0] == '[') {
    choices.remove_prefix(1);
    const size_t first = choices.find_first_not_of(" \t\r\n");
    facts.has_choices = first != std::string_view::npos && choices[first] != ']';
  } else {
    const std::string_view error = value_of(payload, "\"error\"");
    facts.is_error = !error.empty() && error.substr(0, 4) != "null";
  }
  facts.completion_tokens = number_of(payload, "\"completion_tokens\"");
  if (facts.completion_tokens >= 0) facts.prompt_tokens = number_of(payload, "\"prompt_tokens\"");
  return facts;
}

bool HttpReader::next_line(std::string_view& bytes) {
  if (line_complete_) {
    line_.clear();
    line_complete_ = false;
  }
  const size_t end = bytes.find('\n');
  line_.append(bytes.substr(0, end));
  if (line_.size() > kMaxLine) {
    state_ = State::kBad;
    return false;
  }
  if (end == std::string_view::npos) {
    bytes = {};
    return false;
  }
  bytes.remove_prefix(end + 1);
  if (!line_.empty() && line_.back() == '\r') line_.pop_back();
  line_complete_ = true;
  return true;
}

void HttpReader::body_begins() {
  if (status_ == 100) {  // an interim answer: the real head follows
    status_ = 0;
    return;
  }
  state_ = State::kBody;
  if (chunked_)
    framing_ = Framing::kChunkSize;
  else if (left_ >= 0)
    framing_ = Framing::kLength;
  else
    framing_ = Framing::kToClose;
  if (framing_ == Framing::kToClose) keep_alive_ = false;
  if ((framing_ == Framing::kLength && left_ == 0) || status_ == 204) state_ = State::kDone;
}

void HttpReader::take_head_line() {
  if (status_ == 0) {
    // "HTTP/1.1 200 OK"
    if (line_.size() < 12 || line_.compare(0, 5, "HTTP/") != 0) {
      state_ = State::kBad;
      return;
    }
    std::from_chars(line_.data() + 9, line_.data() + 12, status_);
    keep_alive_ = line_.compare(5, 3, "1.0") != 0;
    if (status_ < 100) state_ = State::kBad;
    return;
  }
  if (line_.empty()) {
    body_begins();
    return;
  }
  const size_t colon = line_.find(':');
  if (colon == std::string::npos) {
    state_ = State::kBad;
    return;
  }
  const std::string_view name(line_.data(), colon);
  std::string_view value(line_.data() + colon + 1, line_.size() - colon - 1);
  while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
  if (equals_ignoring_case(name, "content-length")) {
    std::from_chars(value.data(), value.data() + value.size(), left_);
  } else if (equals_ignoring_case(name, "transfer-encoding")) {
    chunked_ = equals_ignoring_case(value, "chunked");
  } else if (equals_ignoring_case(name, "connection") && equals_ignoring_case(value, "close")) {
    keep_alive_ = false;
  }
}

void HttpReader::take_chunk_size() {
  left_ = -1;
  std::from_chars(line_.data(), line_.data() + line_.size(), left_, 16);
  if (left_ < 0)
    state_ = State::kBad;
  else
    framing_ = left_ == 0 ? Framing::kTrailer : Framing::kChunkData;
}

HttpReader::State HttpReader::feed(std::string_view bytes, std::string& body) {
  while (!bytes.empty() && state_ != State::kDone && state_ != State::kBad) {
    if (state_ == State::kHead) {
      if (next_line(bytes)) take_head_line();
      continue;
    }
    switch (framing_) {
      case Framing::kToClose:
        body.append(bytes);
        bytes = {};
        break;
      case Framing::kLength:
      case Framing::kChunkData: {
        const size_t n = std::min<size_t>(bytes.size(), static_cast<size_t>(left_));
        body.append(bytes.substr(0, n));
        bytes.remove_prefix(n);
        left_ -= static_cast<int64_t>(n);
        if (left_ > 0) break;
        if (framing_ == Framing::kLength)
          state_ = State::kDone;
        else
          framing_ = Framing::kChunkEnd;
        break;
      }
      case Framing::kChunkEnd:
        if (next_line(bytes)) framing_ = Framing::kChunkSize;
        break;
      case Framing::kChunkSize:
        if (next_line(bytes)) take_chunk_size();
        break;
      case Framing::kTrailer:
        if (next_line(bytes) && line_.empty()) state_ = State::kDone;
        break;
      case Framing::kNone:
        state_ = State::kBad;
    }
  }
  return state_;
}

HttpReader::State HttpReader::finish() {
  if (state_ == State::kBody && framing_ == Framing::kToClose)
    state_ = State::kDone;
  else if (state_ != State::kDone)
    state_ = State::kBad;
  return state_;
}

}  // namespace octavo::bench
