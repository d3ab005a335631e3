#include "serve/transport/request_reader.h"

#include <algorithm>
#include <array>

#include "serve/transport/http_words.h"

namespace octavo::serve {

namespace {

constexpr size_t kMaxMethodBytes = 32;
constexpr size_t kMaxChunkLineBytes = 256;  // a size and its extensions, which mean nothing here
constexpr size_t kMaxLengthDigits = 18;

constexpr std::array<bool, 256> make_token_table() {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[c] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[c] = table[c - 'a' + 'A'] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<uint8_t>(c)] = true;
  return table;
}
constexpr std::array<bool, 256> kTokenTable = make_token_table();

// RFC 9110, 5.6.2: what methods and names of headers are made of.
bool is_token(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](uint8_t c) { return kTokenTable[c]; });
}

bool is_control(uint8_t c) {
  return (c < 0x20 && c != '\t') || c == 0x7f;
}

bool is_digit(uint8_t c) {
  return c >= '0' && c <= '9';
}

// -1: it is none.
int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// A name or an address, with or without a port; nothing that could end it early elsewhere.
bool is_host(std::string_view value) {
  return std::none_of(value.begin(), value.end(), [](uint8_t c) {
    return c <= ' ' || c >= 0x7f ||
           std::string_view("/\\?#@,\"<>").find(c) != std::string_view::npos;
  });
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (equals_ignoring_case(key, name)) return value;
  }
  return {};
}

RequestReader::State RequestReader::state() const {
  switch (part_) {
    case Part::kRequestLine:
    case Part::kHeaders:
      return State::kHead;
    case Part::kDone:
      return State::kDone;
    case Part::kFailed:
      return State::kFailed;
    default:
      return State::kBody;
  }
}

void RequestReader::fail(int status, std::string why) {
  part_ = Part::kFailed;
  error_status_ = status;
  error_ = status == 400 ? "Invalid HTTP request: " + why + "." : std::move(why);
}

size_t RequestReader::feed(std::string_view bytes) {
  const size_t size = bytes.size();
  while (!bytes.empty() && part_ < Part::kDone) {
    if (part_ == Part::kBody || part_ == Part::kChunkData) {
      take_body(bytes);
    } else if (next_line(bytes)) {
      take_line();
      line_.clear();
    }
  }
  return size - bytes.size();
}

// Moves bytes into line_, up to the end of the line. True once line_ holds one, without its end.
bool RequestReader::next_line(std::string_view& bytes) {
  const size_t end = bytes.find('\n');
  const bool complete = end != bytes.npos;
  const size_t size = complete ? end + 1 : bytes.size();
  const size_t checked = line_.empty() ? 0 : line_.size() - 1;
  line_.append(bytes.substr(0, size));
  bytes.remove_prefix(size);

  // A carriage return may only be the one before the line feed, which may not have come yet.
  const size_t text_size = line_.size() - (complete ? 1 : 0);
  size_t i = checked;
  while (i < text_size && !is_control(line_[i])) ++i;
  const bool returned = i + 1 == text_size && line_[i] == '\r';
  // What is wrong first counts, so that it does not matter in which pieces the bytes come.
  const bool in_chunks = part_ == Part::kChunkSize || part_ == Part::kChunkEnd;
  const size_t room = in_chunks ? kMaxChunkLineBytes : limits_.head_bytes - lines_bytes_;
  if (i < std::min(text_size, room) && !returned) {
    fail(400, "it holds a control character");
  } else if (line_.size() > room && in_chunks) {
    fail(400, "a chunk's size is too long");
  } else if (line_.size() > room) {
    fail(431, "The request's headers are larger than the limit of " +
                  std::to_string(limits_.head_bytes) + " bytes.");
  } else if (complete && !returned) {
    fail(400, "a line ends without a carriage return");
  } else if (complete) {
    if (!in_chunks) lines_bytes_ += line_.size();
    line_.resize(line_.size() - 2);
    return true;
  }
  return false;
}

void RequestReader::take_line() {
  switch (part_) {
    case Part::kRequestLine:
      // Blank lines before a request are some old clients' way to end the one before it.
      if (!line_.empty()) take_request_line();
      break;
    case Part::kHeaders:
      if (line_.empty()) {
        end_head();
      } else {
        take_field(true);
      }
      break;
    case Part::kChunkSize:
      take_chunk_size();
      break;
    case Part::kChunkEnd:
      if (!line_.empty()) return fail(400, "a chunk is longer than its size says");
      part_ = Part::kChunkSize;
      break;
    default:  // trailers: nothing here asks for one, and none may pass for a header
      if (line_.empty()) {
        part_ = Part::kDone;
      } else {
        take_field(false);
      }
  }
}

void RequestReader::take_body(std::string_view& bytes) {
  const size_t size = static_cast<size_t>(std::min<uint64_t>(body_left_, bytes.size()));
  request_.body.append(bytes.substr(0, size));
  bytes.remove_prefix(size);
  body_left_ -= size;
  if (body_left_ == 0) part_ = chunked_ ? Part::kChunkEnd : Part::kDone;
}

// "GET /path?query HTTP/1.1"
void RequestReader::take_request_line() {
  const std::string_view line = line_;
  const size_t first = std::min(line.find(' '), line.size());
  const size_t last = line.rfind(' ');
  const std::string_view method = line.substr(0, first);
  const std::string_view version = last == line.npos ? "" : line.substr(last + 1);
  if (!is_token(method) || method.size() > kMaxMethodBytes || last <= first) {
    return fail(400, "its first line is not `METHOD /path HTTP/1.1`");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return fail(400, "its version is neither HTTP/1.1 nor HTTP/1.0");
  }
  http10_ = version == "HTTP/1.0";
  request_.method = method;
  if (!take_target(line.substr(first + 1, last - first - 1))) {
    return fail(400, "its target is not a path");
  }
  part_ = Part::kHeaders;
}

// A path; a whole URL as clients send it to a proxy, of which the path counts; or `*` of OPTIONS.
bool RequestReader::take_target(std::string_view target) {
  for (const uint8_t c : target) {
    if (c <= ' ' || c >= 0x7f || c == '#') return false;
  }
  if (!target.starts_with('/') && !(target == "*" && request_.method == "OPTIONS")) {
    const size_t scheme = target.find("://");
    if (scheme == target.npos || !(equals_ignoring_case(target.substr(0, scheme), "http") ||
                                   equals_ignoring_case(target.substr(0, scheme), "https"))) {
      return false;
    }
    target.remove_prefix(scheme + 3);
    const size_t authority = std::min(target.find_first_of("/?"), target.size());
    if (authority == 0 || !is_host(target.substr(0, authority))) return false;
    target.remove_prefix(authority);
  }
  const size_t question = std::min(target.find('?'), target.size());
  request_.path = question == 0 ? "/" : target.substr(0, question);
  request_.query = target.substr(std::min(question + 1, target.size()));
  return true;
}

// "Name: value". False, having failed, unless it is well-formed.
bool RequestReader::take_field(bool keep) {
  const std::string_view line = line_;
  const size_t colon = line.find(':');
  if (line.front() == ' ' || line.front() == '\t') {
    fail(400, "a header is folded over two lines");
  } else if (colon == line.npos) {
    fail(400, "a header has no colon");
  } else if (!is_token(line.substr(0, colon))) {
    fail(400, "a header's name has a character that names do not have");
  } else if (keep && request_.headers.size() == static_cast<size_t>(limits_.headers)) {
    fail(431, "The request has more than " + std::to_string(limits_.headers) + " headers.");
  } else if (keep) {
    request_.headers.emplace_back(line.substr(0, colon), trim_blanks(line.substr(colon + 1)));
  }
  return part_ != Part::kFailed;
}

void RequestReader::end_head() {
  size_t hosts = 0, lengths = 0, encodings = 0;
  bool close = false, keep_alive = false;
  std::string_view length;
  for (const auto& [name, value] : request_.headers) {
    if (equals_ignoring_case(name, "host")) {
      ++hosts;
      if (!is_host(value)) return fail(400, "its Host is not a host's name");
    } else if (equals_ignoring_case(name, "content-length")) {
      ++lengths;
      length = value;
    } else if (equals_ignoring_case(name, "transfer-encoding")) {
      ++encodings;
      chunked_ = equals_ignoring_case(value, "chunked");
    } else if (equals_ignoring_case(name, "connection")) {
      close |= list_has_word(value, "close");
      keep_alive |= list_has_word(value, "keep-alive");
    } else if (equals_ignoring_case(name, "expect") && !http10_) {
      if (!equals_ignoring_case(value, "100-continue")) {
        return fail(417, "Of `Expect` nothing but 100-continue is known.");
      }
      wants_continue_ = true;
    }
  }
  if (hosts > 1 || (hosts == 0 && !http10_)) return fail(400, "it must have one Host");
  if (lengths > 1) return fail(400, "it has several Content-Lengths");
  if (lengths + encodings > 1) return fail(400, "its body's length is given twice");
  if (encodings > 0 && (!chunked_ || http10_)) {
    return fail(400, "of Transfer-Encoding nothing but `chunked` is known, in HTTP/1.1");
  }
  keep_alive_ = !close && (keep_alive || !http10_);
  lines_bytes_ = 0;
  head_is_whole_ = true;
  part_ = chunked_ ? Part::kChunkSize : Part::kDone;
  if (lengths > 0) take_length(length);
}

void RequestReader::take_length(std::string_view value) {
  if (value.empty() || !std::all_of(value.begin(), value.end(), is_digit)) {
    return fail(400, "its Content-Length is not a number");
  }
  while (value.size() > 1 && value.front() == '0') value.remove_prefix(1);
  if (value.size() > kMaxLengthDigits) return refuse_body();
  for (const char c : value) body_left_ = body_left_ * 10 + static_cast<uint64_t>(c - '0');
  if (body_left_ > limits_.body_bytes) return refuse_body();
  if (body_left_ > 0) part_ = Part::kBody;
}

// "1a3", "1a3;name=value"
void RequestReader::take_chunk_size() {
  const std::string_view line = line_;
  const std::string_view digits = line.substr(0, line.find(';'));
  uint64_t size = 0;
  for (const char c : digits) {
    const int digit = hex_digit(c);
    if (digit < 0) return fail(400, "a chunk's size is not a number");
    if (size >> 56 != 0) return refuse_body();
    size = size * 16 + static_cast<uint64_t>(digit);
  }
  if (digits.empty()) return fail(400, "a chunk has no size");
  if (size > limits_.body_bytes - request_.body.size()) return refuse_body();
  body_left_ = size;
  part_ = size == 0 ? Part::kTrailers : Part::kChunkData;
}

void RequestReader::refuse_body() {
  fail(413, "The request body is larger than the limit of " + std::to_string(limits_.body_bytes) +
                " bytes.");
}

}  // namespace octavo::serve
