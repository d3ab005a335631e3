// A line-driven state machine: head lines, then one of three framings of the body (RFC 9112,
// sections 6 and 7).
#include "http/reader.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace octavo::http {
namespace {

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

}  // namespace

const std::string* find_header(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (equals_ignoring_case(key, name)) return &value;
  }
  return nullptr;
}

bool HttpReader::next_line(std::string_view& bytes) {
  if (line_complete_) {
    line_.clear();
    line_complete_ = false;
  }
  const size_t end = bytes.find('\n');
  const std::string_view part = bytes.substr(0, end);
  line_.append(part);
  if (state_ == State::kHead || framing_ == Framing::kTrailer) head_bytes_ += part.size() + 1;
  if (line_.size() > kMaxHeadBytes || head_bytes_ > kMaxHeadBytes) {
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
  if (status_ < 200) {  // an interim answer: the real head follows
    status_ = 0;
    headers_.clear();
    return;
  }
  if (no_body_ || status_ == 204 || status_ == 304) {
    state_ = State::kDone;
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
  if (framing_ == Framing::kLength && left_ == 0) state_ = State::kDone;
}

// "HTTP/1.1 200 OK"
void HttpReader::take_status_line() {
  if (line_.size() >= 12 && line_.compare(0, 5, "HTTP/") == 0)
    std::from_chars(line_.data() + 9, line_.data() + 12, status_);
  if (status_ < 100) {
    state_ = State::kBad;
    return;
  }
  keep_alive_ = line_.compare(5, 3, "1.0") != 0;
}

void HttpReader::take_head_line() {
  if (status_ == 0) return take_status_line();
  if (line_.empty()) return body_begins();
  const size_t colon = line_.find(':');
  if (colon == std::string::npos) {
    state_ = State::kBad;
    return;
  }
  const std::string_view name(line_.data(), colon);
  std::string_view value(line_.data() + colon + 1, line_.size() - colon - 1);
  while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
  while (!value.empty() && value.back() == ' ') value.remove_suffix(1);
  if (equals_ignoring_case(name, "content-length")) {
    std::from_chars(value.data(), value.data() + value.size(), left_);
  } else if (equals_ignoring_case(name, "transfer-encoding")) {
    chunked_ = equals_ignoring_case(value, "chunked");
  } else if (equals_ignoring_case(name, "connection") && equals_ignoring_case(value, "close")) {
    keep_alive_ = false;
  }
  headers_.emplace_back(name, value);
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

}  // namespace octavo::http
